"""docs/your-own.md does what it says about data: its code and its commands, in a copy of the project."""

import itertools
import json
import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from armdigits.cli import main
from armdigits.core import paths
from armdigits.core.shape import Shape
from armdigits.data.dataset import Split, read_split
from armdigits.data.sources import digits
from armdigits.models import networks
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
    """The page's first command for the data set, or with the option, `name`."""
    found = next(line for line in COMMANDS if f" {name} " in line)
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


def write_photos(folder: Path, count: int, seed: int) -> None:
    """Discs, crosses and stripes in random colours and places: 48x40 pixels, PNG and JPEG in turns."""
    random = np.random.default_rng(seed)
    for name, number in itertools.product(("cross", "disc", "stripes"), range(count)):
        dark, light = (tuple(int(value) for value in random.integers(low, low + 100, 3)) for low in (0, 156))
        x, y = (int(value) for value in random.integers((14, 12), (34, 28)))
        picture = Image.new("RGB", (48, 40), light)
        draw = ImageDraw.Draw(picture)
        if name == "disc":
            draw.circle((x, y), 10, dark)
        else:
            for offset in (0,) if name == "cross" else range(-48, 49, 12):
                draw.line((x + offset, 0, x + offset, 39), dark, 6)
        if name == "cross":
            draw.line((0, y, 47, y), dark, 6)
        (folder / name).mkdir(parents=True, exist_ok=True)
        picture.save(folder / name / f"{number}.{'png' if number % 2 else 'jpg'}")


def noise(shape: Shape, classes: int, each: int) -> Split:
    """Random images, `each` of a class."""
    count = classes * each
    images = np.random.default_rng(count).integers(0, 256, (count, *shape), np.uint8)
    return Split(torch.from_numpy(images), torch.arange(classes, dtype=torch.uint8).repeat(each))


@pytest.mark.parametrize(("shape", "classes"), [((3, 32, 32), 3), ((1, 28, 28), 100)])
def test_idx_files_of_any_shape_and_up_to_100_classes_are_selected_and_read(
    project: Path, shape: Shape, classes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, test = noise(shape, classes, 20), noise(shape, classes, 2)
    write_idx(project / "fashion", {"train": train, "t10k": test})
    monkeypatch.chdir(project)
    main(command("idx")[3:])
    assert [run_stage_here(stage) for stage in ("preflight", "download")] == [0, 0]
    assert len(record(project)["classes"]) == classes
    read = read_split(paths.TEST_DATA)
    assert torch.equal(read.images, test.images)
    assert torch.equal(read.labels, test.labels)


def test_large_images_of_ink_in_two_classes_are_selected_and_read_and_fit_each_network(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pictures(project / "pictures", 15, {"circle": 0, "square": 7}, side=120)
    monkeypatch.chdir(project)
    main(command("--ink")[3:])
    assert [run_stage_here(stage) for stage in ("preflight", "download")] == [0, 0]
    images = read_split(paths.TEST_DATA).images
    assert tuple(images.shape[1:]) == (1, 96, 96)
    for name in networks.NETWORKS:
        logits = networks.build(name, (1, 96, 96), classes=2)(images.float() / 255)
        assert logits.shape == (len(images), 2)


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
def test_the_pipeline_runs_to_its_end_on_photos_in_colour_that_the_user_has_split(project: Path) -> None:
    start(project)
    write_photos(project / "pictures" / "train", 40, seed=1)
    write_photos(project / "pictures" / "test", 10, seed=2)
    done(project, *[word.replace("96", "32") for word in command("--photo")])
    sgd = {"train.optimizer": "sgd", "train.momentum": "0.9", "train.learning_rate": "0.05", "train.epochs": "8"}
    set_parameters(project, {**sgd, "benchmark.max_ratio": "100.0"})
    repro(project)
    header = (project / "models" / "c" / "digits.h").read_text("utf-8")
    assert re.findall(r"#define DIGITS_(?:HEIGHT|WIDTH|CHANNELS) (\d+)", header) == ["32", "32", "3"]
    picture = "pictures/test/disc/0.jpg"
    for program in ("int8", "c"):
        (project / "seen.png").unlink(missing_ok=True)
        answer = done(project, sys.executable, "-m", "armdigits", "predict", "--show", "--program", program, picture)
        assert re.match(rf"{picture}: (cross|disc|stripes)(\?  unsure)?  \(", answer)
        assert (project / "seen.png").exists()
    done(project, sys.executable, "-m", "armdigits", "report")
    assert ">stripes</text>" in (project / "report" / "index.html").read_text("utf-8")


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
