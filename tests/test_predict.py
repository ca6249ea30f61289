"""Reading digits in pictures, from the command line."""

import io
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from armdigits import paths
from armdigits.dataset import Split, read_provenance, read_split
from armdigits.preprocessing import mnist_image
from tests.conftest import ROOT, run
from tools.predict import load, main, predict

SIZES = (28, 63, 224)


def picture(image: torch.Tensor, choice: random.Random) -> bytes:
    """A PNG of uint8 [28, 28], scaled to one of three sizes, inverted or not, with margins of random widths."""
    side = choice.choice(SIZES)
    values = np.asarray(Image.fromarray(image.numpy()).resize((side, side), Image.Resampling.BICUBIC))
    values = np.pad(values, [[choice.randrange(side) for _ in range(2)] for _ in range(2)])
    buffer = io.BytesIO()
    Image.fromarray(255 - values if choice.random() < 0.5 else values).save(buffer, "png")
    return buffer.getvalue()


def share_right(test: Split, count: int) -> float:
    """Of `count` test images, drawn with a fixed seed."""
    choice = random.Random(1)  # noqa: S311
    program = load("int8")
    right = 0
    for position in choice.sample(range(len(test)), count):
        probabilities = predict(program, picture(test.images[position], choice))
        right += int(np.argmax(probabilities)) == int(test.labels[position])
    return right / count


@pytest.fixture
def pictures(ran: Path) -> Path:
    """A project that has run, with some pictures in it."""
    test = read_split(paths.TEST_DATA)
    for number in range(3):
        (ran / f"{number}.png").write_bytes(picture(test.images[number], random.Random(number)))  # noqa: S311
    (ran / "empty.png").touch()
    (ran / "text.png").write_text("no picture")
    Image.new("L", (30, 30), 255).save(ran / "blank.png")
    return ran


def predicted(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run(project, sys.executable, "-m", "tools.predict", *arguments)


def the_data_are_mnists() -> bool:
    """By their own record: metrics/ come with every clone, whatever ran there."""
    return paths.PROVENANCE.exists() and read_provenance()["name"] == "mnist"


def test_mnist_is_read_from_pictures_of_any_size(monkeypatch):
    """500 test images; needs the project's own run on the full MNIST."""
    monkeypatch.chdir(ROOT)
    if not paths.INT8_PROGRAM.exists() or not the_data_are_mnists():
        pytest.skip("the pipeline has not run on MNIST here")
    assert share_right(read_split(paths.TEST_DATA), 500) >= 0.95


def test_the_embedded_digits_are_read_from_pictures_of_any_size(ran):
    """They were not placed by their centre of mass as MNIST's are, and the network learned them so: a lower share."""
    assert share_right(read_split(paths.TEST_DATA), 200) >= 0.6


def test_the_placing_is_that_of_mnist(monkeypatch):
    """MNIST's images, through files of the same size, come back as they were."""
    monkeypatch.chdir(ROOT)
    if not the_data_are_mnists():
        pytest.skip("the data of this project are not MNIST's")
    images = read_split(paths.TEST_DATA).images[:200].numpy()
    moved = 0
    for image in images:
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "png")
        moved += np.abs(mnist_image(buffer.getvalue()).astype(int) - image).mean() > 2
    assert moved <= 2


def test_every_picture_is_answered_and_every_failure_gets_a_line(pictures):
    done = predicted(pictures, "0.png", "empty.png", "gone.png", "text.png", "blank.png", "1.png", ".")
    assert done.returncode == 2
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == ["0.png", "1.png"]
    assert done.stderr.splitlines() == [
        "empty.png: empty",
        "gone.png: No such file or directory",
        "text.png: not a picture, or of a format that Pillow does not read",
        "blank.png: blank: no digit stands out from the paper",
        ".: Is a directory",
    ]


def test_json_has_a_line_a_file_and_probabilities_that_sum_to_1(pictures, capsys):
    assert main(["--json", "0.png", "blank.png", "1.png"]) == 2
    first, blank, second = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert blank == {"file": "blank.png", "error": "blank: no digit stands out from the paper"}
    for answer in (first, second):
        assert sum(answer["probabilities"]) == pytest.approx(1)
        assert answer["label"] == int(np.argmax(answer["probabilities"]))


def test_standard_input_is_a_picture_too(pictures, capsys):
    command = [sys.executable, "-m", "tools.predict", "--json", "-"]
    content = (pictures / "0.png").read_bytes()
    done = subprocess.run(command, cwd=pictures, input=content, capture_output=True, check=False, env=os.environ)
    assert main(["--json", "0.png"]) == 0
    assert done.returncode == 0
    assert json.loads(done.stdout) == {**json.loads(capsys.readouterr().out), "file": "-"}


def test_the_program_can_be_chosen(pictures, capsys):
    for name in ("int8", "fp32"):
        assert main(["--json", "--program", name, "0.png"]) == 0
    int8, fp32 = (json.loads(line)["probabilities"] for line in capsys.readouterr().out.splitlines())
    assert int8 != fp32
    assert int8 == pytest.approx(fp32, abs=0.1)


def test_no_program_is_one_line(pictures):
    paths.INT8_PROGRAM.unlink()
    done = predicted(pictures, "0.png")
    assert done.returncode == 2
    assert done.stderr == "predict: models/int8.pte: there is no such file; run: dvc repro quantize\n"


def test_what_is_not_needed_is_not_imported():
    """The first answer must not wait for the exporters, the trainers or the plots."""
    code = "import sys, tools.predict; print(*sorted(sys.modules))"
    loaded = set(run(ROOT, sys.executable, "-c", code).stdout.split())
    assert "torch" in loaded
    assert (
        not {"torchvision", "torchao", "executorch.exir", "executorch.runtime", "sklearn", "matplotlib", "dvc"} & loaded
    )
    assert not {"pydantic", "torchinfo"} & loaded
