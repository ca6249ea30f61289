"""docs/your-own.md does what it says about data: its code and its commands, in a copy of the project."""

import json
import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from armdigits.cli import main
from armdigits.data.dataset import Split
from armdigits.data.sources import digits
from tests.helpers import (
    MIRROR,
    copy_project,
    needs_mnist,
    run,
    run_stage_here,
    set_parameters,
    write_idx,
    write_pictures,
)
from tests.test_your_own import blocks, edit

COMMANDS = [line for _, block in blocks("Data") for line in block.splitlines() if line.startswith("armdigits dataset")]
SHAPES = {"circle": 0, "cross": 4, "square": 7}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the project, without data and history."""
    return copy_project(tmp_path / "a clone")


def command(name: str) -> list[str]:
    """The page's command for the data set `name`."""
    (found,) = [line for line in COMMANDS if f" {name} " in line]
    return [sys.executable, "-m", *shlex.split(found, comments=True)]


def put_files(project: Path, name: str, count: int = 15) -> None:
    """The files that the page's command for the data set `name` expects: as many of each class, or digits."""
    if name in ("folder", "mnist"):
        write_pictures(project / "pictures", count, SHAPES if name == "folder" else {"3": 3, "7": 7})
    elif name == "idx":
        train, test, _ = digits(seed=1)
        few = slice(count * 10)
        write_idx(project / "fashion", {"train": Split(train.images[few], train.labels[few]), "t10k": test})
    else:
        (project / "shapes").mkdir()
        train, _, _ = digits(seed=1)
        shown = torch.cat([(train.labels == digit).nonzero().flatten()[:count] for digit in SHAPES.values()])
        np.save(project / "shapes" / "images.npy", train.images[shown].numpy())
        np.save(project / "shapes" / "labels.npy", np.repeat(np.arange(3, dtype=np.uint8), count))
        for language, block in blocks("Data"):
            edit(project, language, block)


def done(project: Path, *arguments: str, **variables: str) -> str:
    """Run a command that must succeed; returns its output."""
    ended = run(project, *arguments, **variables)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def record(project: Path) -> dict[str, list[str]]:
    content: dict[str, list[str]] = json.loads((project / "data" / "provenance.json").read_text("utf-8"))
    return content


def test_the_pages_example_of_another_source_is_selected_and_read(project: Path) -> None:
    put_files(project, "arrays")
    assert "dataset.path: null -> shapes" in done(project, *command("arrays"))
    printed = done(project, sys.executable, "-m", "stages.download")
    assert re.findall(r": ([\d,]+) \w+ images", printed) == ["30", "6", "9"]
    assert record(project)["classes"] == list(SHAPES)


SIZES = {"folder": ["30", "6", "9"], "idx": ["128", "22", "360"], "mnist": ["55,030", "5,000", "10,000"]}
NAMES = {"folder": list(SHAPES), "idx": [f"class {number}" for number in range(10)], "mnist": list("0123456789")}


@pytest.mark.parametrize("name", ["folder", "idx", pytest.param("mnist", marks=needs_mnist)])
def test_the_pages_command_selects_the_data_set_and_download_reads_it(
    project: Path, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    put_files(project, name)
    monkeypatch.chdir(project)
    monkeypatch.setenv("DATA_MIRROR", str(MIRROR))
    main(command(name)[3:])
    assert f"dataset.path: null -> {command(name)[-1]}" in capsys.readouterr().out
    assert [run_stage_here(stage) for stage in ("preflight", "download")] == [0, 0]
    assert re.findall(r": ([\d,]+) \w+ images", capsys.readouterr().out) == SIZES[name]
    assert record(project)["classes"] == NAMES[name]


def start(project: Path) -> None:
    for words in ("git init -q -b main", "git config user.name t", "git config user.email t@x.invalid", "dvc init -q"):
        done(project, *words.split())


def repro(project: Path, *stages: str) -> str:
    return done(project, "dvc", "repro", *stages)


@pytest.mark.slow
def test_the_pipeline_runs_to_its_end_on_a_folder_of_pictures_and_again_when_one_changes(project: Path) -> None:
    start(project)
    put_files(project, "folder", 40)
    (project / "pictures" / "cross" / "damaged.png").write_bytes(b"x")
    done(project, *command("folder"))
    set_parameters(project, {"benchmark.max_ratio": "100.0"})
    printed = repro(project)
    assert "1 left out:\ncross/damaged.png: not a picture in AVIF, " in printed
    classes = json.loads((project / "metrics" / "evaluate-details.json").read_text("utf-8"))["classes"]
    assert list(classes) == list(SHAPES)
    assert set((project / "metrics" / "predictions.csv").read_text("utf-8").split()[1:]) <= {
        f"{actual},{predicted}" for actual in SHAPES for predicted in SHAPES
    }
    assert "folder pictures" in (project / "models" / "README.md").read_text("utf-8")
    picture = "pictures/square/0.png"
    for program in ("int8", "c"):
        answer = done(project, sys.executable, "-m", "armdigits", "predict", "--program", program, picture)
        assert re.fullmatch(
            rf"{picture}: (circle|cross|square)(?:\?  unsure)?  \(\1 [\d.]+ %, \w+ [\d.]+ %, \w+ [\d.]+ %\)\n", answer
        )
    done(project, sys.executable, "-m", "armdigits", "report")
    page = (project / "report" / "index.html").read_text("utf-8")
    assert all(f">{name}</text>" in page for name in SHAPES)

    assert "Running stage 'download'" not in repro(project, "download")
    (project / picture).unlink()
    assert "Running stage 'download'" in repro(project, "download")


@pytest.mark.slow
def test_the_pipeline_runs_to_its_end_on_idx_files_and_refuses_changed_ones(project: Path) -> None:
    start(project)
    put_files(project, "idx", 100)
    (project / "fashion" / "classes.txt").write_text("".join(f"class {number}\n" for number in range(10)), "utf-8")
    done(project, *command("idx"))
    set_parameters(project, {"benchmark.max_ratio": "100.0"})
    repro(project)
    assert "class 7" in (project / "metrics" / "predictions.csv").read_text("utf-8")
    put_files(project, "idx", 90)
    again = run(project, "dvc", "repro")
    assert again.returncode != 0
    assert "expected SHA-256" in again.stderr
    assert (project / "data" / "train.safetensors").exists()
