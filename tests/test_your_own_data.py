"""docs/your-own.md does what it says about data: its code and its commands, in a copy of the project."""

import json
import re
import shlex
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from armdigits.data.dataset import Split
from armdigits.data.sources import digits
from tests.helpers import MNIST, ROOT, copy_project, needs_mnist, run, set_parameters, write_idx, write_pictures

PAGE = (ROOT / "docs" / "your-own.md").read_text().partition("\n## Data\n")[2].partition("\n## ")[0]
COMMANDS = re.findall(r"^armdigits dataset [^#\n]*", PAGE, re.MULTILINE)
MODULE, ENTRY = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
SHAPES = {"circle": 0, "cross": 4, "square": 7}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the project, without data and history."""
    return copy_project(tmp_path / "a clone")


def command(name: str) -> list[str]:
    """The page's command for the data set `name`."""
    (found,) = [line for line in COMMANDS if f" {name} " in line]
    return [sys.executable, "-m", *shlex.split(found)]


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
        add_to_registry(project)


def add_to_registry(project: Path) -> None:
    """The file, the import and the entry of the page's example."""
    (project / "armdigits" / "data" / "arrays.py").write_text(MODULE)
    imports, entry = ENTRY.strip("\n").split("\n\n")
    registry = project / "armdigits" / "data" / "registry.py"
    text = registry.read_text()
    names = re.search(r"^from armdigits.data import .*$", text, re.MULTILINE)
    last = re.search(r"^    \"folder\": DataSet.*$", text, re.MULTILINE)
    assert names
    assert last
    registry.write_text(text.replace(names[0], imports).replace(last[0], f"{last[0]}\n{entry}"))


def done(project: Path, *arguments: str, **variables: str) -> str:
    """Run a command that must succeed; returns its output."""
    ended = run(project, *arguments, **variables)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def record(project: Path) -> dict[str, list[str]]:
    content: dict[str, list[str]] = json.loads((project / "data" / "provenance.json").read_text())
    return content


@pytest.mark.parametrize("name", ["folder", "idx", "arrays", pytest.param("mnist", marks=needs_mnist)])
def test_the_pages_command_selects_the_data_set_and_download_reads_it(project: Path, name: str) -> None:
    put_files(project, name)
    printed = done(project, *command(name))
    path = command(name)[-1]
    assert f"dataset.path: null -> {path}" in printed
    for stage in ("preflight", "download"):
        printed = done(project, sys.executable, "-m", f"stages.{stage}", DATA_MIRROR=str(MNIST))
    assert (
        re.findall(r": ([\d,]+) \w+ images", printed)
        == {
            "folder": ["30", "6", "9"],
            "idx": ["128", "22", "360"],
            "arrays": ["30", "6", "9"],
            "mnist": ["55,030", "5,000", "10,000"],
        }[name]
    )
    assert record(project)["classes"] == list("0123456789" if name in ("idx", "mnist") else SHAPES)


def start(project: Path) -> None:
    for words in ("git init -q -b main", "git config user.name t", "git config user.email t@x.invalid", "dvc init -q"):
        done(project, *words.split())


def repro(project: Path) -> str:
    return done(project, "dvc", "repro")


@pytest.mark.slow
def test_the_pipeline_runs_to_its_end_on_a_folder_of_pictures_and_again_when_one_changes(project: Path) -> None:
    start(project)
    put_files(project, "folder", 40)
    (project / "pictures" / "cross" / "damaged.png").write_bytes(b"x")
    done(project, *command("folder"))
    set_parameters(project, {"benchmark.max_ratio": "100.0"})
    printed = repro(project)
    assert "1 left out:\ncross/damaged.png: not a picture, or a format that Pillow does not read\n" in printed
    classes = json.loads((project / "metrics" / "evaluate-details.json").read_text())["classes"]
    assert list(classes) == list(SHAPES)
    assert set((project / "metrics" / "predictions.csv").read_text().split()[1:]) <= {
        f"{actual},{predicted}" for actual in SHAPES for predicted in SHAPES
    }
    assert "folder pictures" in (project / "models" / "README.md").read_text()
    picture = "pictures/square/0.png"
    assert "(circle" in (answer := done(project, sys.executable, "-m", "armdigits", "predict", picture)) or (
        "square" in answer
    )
    done(project, sys.executable, "-m", "armdigits", "report")
    page = (project / "report" / "index.html").read_text()
    assert all(f">{name}</text>" in page for name in SHAPES)

    assert "Running stage 'download'" not in repro(project)
    (project / picture).unlink()
    assert "Running stage 'train'" in repro(project)


@pytest.mark.slow
def test_the_pipeline_runs_to_its_end_on_idx_files_and_refuses_changed_ones(project: Path) -> None:
    start(project)
    put_files(project, "idx", 100)
    (project / "fashion" / "classes.txt").write_text("".join(f"class {number}\n" for number in range(10)))
    done(project, *command("idx"))
    set_parameters(project, {"benchmark.max_ratio": "100.0"})
    repro(project)
    assert "class 7" in (project / "metrics" / "predictions.csv").read_text()
    shutil.copy(project / "fashion" / "t10k-labels-idx1-ubyte.gz", project / "labels.gz")
    put_files(project, "idx", 90)
    again = run(project, "dvc", "repro")
    assert again.returncode != 0
    assert "expected SHA-256" in again.stderr
    assert (project / "data" / "train.safetensors").exists()
