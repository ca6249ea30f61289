"""`armdigits predict`: reading digits in pictures."""

import io
import json
import os
import random
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from armdigits.cli import main
from armdigits.cli.predict import line as line_of
from armdigits.cli.predict import picture_reader
from armdigits.core import paths, records
from armdigits.core.errors import Failure
from armdigits.core.parameters import load_parameters
from armdigits.data import sources
from armdigits.data.dataset import Split, read_split
from tests.helpers import PARAMETERS, ROOT, mnist_image, needs_mnist, program_record

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
    """The accuracy on pictures of `count` test images, drawn with a fixed seed."""
    choice = random.Random(1)  # noqa: S311
    read = picture_reader("int8", program_record())
    right = 0
    for position in choice.sample(range(len(test)), count):
        right += int(np.argmax(read(picture(test.images[position, 0], choice)).probabilities)) == int(
            test.labels[position]
        )
    return right / count


@pytest.fixture
def pictures(ran: Path) -> Path:
    """A project that has run, with some pictures in it."""
    test = read_split(paths.TEST_DATA)
    for number in range(3):
        (ran / f"{number}.png").write_bytes(picture(test.images[number, 0], random.Random(number)))  # noqa: S311
    (ran / "empty.png").touch()
    (ran / "text.png").write_text("no picture", "utf-8")
    Image.new("L", (30, 30), 255).save(ran / "blank.png")
    return ran


def own_lines(stderr: str) -> list[str]:
    """Without what the runtime's C++ code logs: it is muted on file descriptor 2, but pytest captures it elsewhere."""
    return [line for line in stderr.splitlines() if not re.match(r"\[\w+\.cpp:", line)]


@pytest.mark.slow
def test_at_least_95_percent_of_mnist_pictures_of_any_size_are_read_correctly(monkeypatch):
    """500 test images; needs a run on the full MNIST, with these parameters: others may read worse."""
    monkeypatch.chdir(ROOT)
    if not paths.INT8_PROGRAM.exists() or load_parameters(paths.PARAMETERS) != load_parameters(PARAMETERS):
        pytest.skip("the pipeline has not run on MNIST here, or with other parameters than those of the tests")
    assert share_right(read_split(paths.TEST_DATA), 500) >= 0.95


@pytest.mark.slow
def test_at_least_60_percent_of_the_embedded_digits_are_read_correctly(ran):
    """Unlike MNIST's they are not placed by their centre of mass, and the model learned them so: a lower share."""
    assert share_right(read_split(paths.TEST_DATA), 100) >= 0.6


@needs_mnist
def test_preprocessing_leaves_nine_of_ten_of_mnists_images_almost_unchanged(tmp_path):
    """From files of 28x28 pixels: the digit is placed as MNIST's are. Of the others thin strokes are thickened."""
    images = sources.mnist(tmp_path / paths.DOWNLOADS)[1].images[:200, 0].numpy()
    moved = 0
    for image in images:
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "png")
        moved += np.abs(mnist_image(buffer.getvalue()).astype(int) - image).mean() > 2
    assert moved <= 20, "of 200"


def test_readable_pictures_are_classified_and_each_other_file_gives_one_line(pictures, capsys):
    assert main(["predict", "0.png", "empty.png", "gone.png", "text.png", "blank.png", "1.png", "."]) == 2
    printed = capsys.readouterr()
    assert [line.split(":")[0] for line in printed.out.splitlines()] == ["0.png", "1.png"]
    lines = [
        "empty.png: empty",
        "gone.png: No such file or directory",
        "text.png: not a picture",
        "blank.png: blank: no digit stands out",
        ".: Is a directory",
    ]
    for line, expected in zip(own_lines(printed.err), lines, strict=True):
        assert line.startswith(expected)


def test_json_has_a_line_for_each_file_and_probabilities_that_sum_to_1(pictures, capsys):
    assert main(["predict", "--json", "0.png", "blank.png", "1.png"]) == 2
    first, blank, second = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert blank.keys() == {"file", "error"}
    for answer in (first, second):
        assert sum(answer["probabilities"]) == pytest.approx(1)
        assert answer["label"] == int(np.argmax(answer["probabilities"]))
        assert isinstance(answer["unsure"], bool)


def test_an_answer_below_the_threshold_is_marked_as_unsure(pictures, capsys, monkeypatch):
    for threshold, unsure in ((0.0, False), (1.1, True)):
        monkeypatch.setattr("armdigits.pictures.confidence.UNSURE", threshold)
        assert main(["predict", "--program", "c", "0.png"]) == 0
        assert ("?  unsure  (" in capsys.readouterr().out) == unsure
        assert main(["predict", "--program", "c", "--json", "0.png"]) == 0
        assert json.loads(capsys.readouterr().out)["unsure"] == unsure


def test_show_writes_the_picture_beside_the_image_that_the_program_saw(pictures, capsys):
    assert main(["predict", "--program", "c", "--show", "0.png", "blank.png", "1.png"]) == 2
    seen = np.asarray(Image.open("seen.png"))
    for number, name in enumerate(("0.png", "1.png")):
        top = 20 + number * 324
        image = seen[top : top + 280, 320:600, 0].reshape(28, 10, 28, 10)
        assert (image == image[:, :1, :, :1]).all()
        assert (image[:, 0, :, 0] == mnist_image(Path(name).read_bytes())).all()


@pytest.mark.parametrize("encoding", ["ascii", "cp932", "utf-8"])
def test_names_of_any_bytes_are_answered_on_any_terminal(pictures, encoding):
    name = b"sieben-\xff\xe4.png"
    Path(os.fsdecode(name)).write_bytes((pictures / "0.png").read_bytes())
    command = [sys.executable.encode(), b"-m", b"armdigits", b"predict", b"--program", b"c", b"--show", name]
    env = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run(command, cwd=pictures, capture_output=True, check=False, env=env)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"sieben-")


def test_a_name_cannot_control_the_terminal(pictures, capsys):
    names = ["red\x1b[31m.png", "two\nlines.png"]
    for name in names:
        Path(name).write_bytes((pictures / "0.png").read_bytes())
    assert main(["predict", "--program", "c", "gone\x1b[2J", *names]) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith(r"gone\x1b[2J: No such file")
    assert [line.split(":")[0] for line in printed.out.splitlines()] == [r"red\x1b[31m.png", r"two\nlines.png"]


def test_a_class_cannot_control_the_terminal():
    answer = {"file": "a.png", "class": "\x1b[2J", "unsure": False, "probabilities": [0.75, 0.25]}
    assert line_of(answer, ["\x1b[2J", "b"]) == r"a.png: \x1b[2J  (\x1b[2J 75.0 %, b 25.0 %)"


def test_a_closed_pipe_ends_it_silently(pictures):
    command = f"{shlex.quote(sys.executable)} -m armdigits predict --program c 0.png 1.png 2.png | head -1"
    done = subprocess.run(["bash", "-c", command], cwd=pictures, capture_output=True, check=False, env=os.environ)
    assert done.stdout.startswith(b"0.png: ") and done.stderr == b""


@pytest.mark.slow
def test_a_dash_reads_the_picture_from_standard_input(pictures, capsys):
    command = [sys.executable, "-m", "armdigits", "predict", "--json", "-"]
    content = (pictures / "0.png").read_bytes()
    done = subprocess.run(command, cwd=pictures, input=content, capture_output=True, check=False, env=os.environ)
    assert main(["predict", "--json", "0.png"]) == 0
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads(done.stdout) == {**json.loads(capsys.readouterr().out), "file": "-"}


def test_the_fp32_program_gives_nearly_the_same_probabilities(pictures, capsys):
    for name in ("int8", "fp32"):
        assert main(["predict", "--json", "--program", name, "0.png"]) == 0
    int8, fp32 = (json.loads(line)["probabilities"] for line in capsys.readouterr().out.splitlines())
    assert int8 != fp32
    assert int8 == pytest.approx(fp32, abs=0.1)


def test_a_missing_program_names_the_stage_that_writes_it(pictures, capsys):
    paths.INT8_PROGRAM.unlink()
    with pytest.raises(SystemExit) as ended:
        main(["predict", "0.png"])
    assert ended.value.code == 2
    assert own_lines(capsys.readouterr().err) == ["predict: models/int8.pte: no such file; run: dvc repro quantize"]


def test_a_program_for_another_number_of_classes_is_refused(pictures):
    record = records.read(paths.PROGRAM_RECORD, records.Programs, "quantize")
    with pytest.raises(Failure, match="models/int8.pte: expected 2 logits, one for each class, found 10"):
        picture_reader("int8", record.model_copy(update={"classes": ["a", "b"]}))(Path("0.png").read_bytes())


def test_a_damaged_program_is_refused(pictures, capsys):
    content = bytearray(paths.INT8_PROGRAM.read_bytes())
    content[len(content) // 2] ^= 1
    paths.INT8_PROGRAM.write_bytes(content)
    with pytest.raises(SystemExit) as ended:
        main(["predict", "0.png"])
    assert ended.value.code == 2
    (line,) = own_lines(capsys.readouterr().err)
    assert line.startswith("predict: models/int8.pte: expected SHA-256 ")


@pytest.mark.parametrize("program", ["int8", "c"])
def test_a_program_that_nothing_vouches_for_is_not_loaded(
    pictures: Path, capsys: pytest.CaptureFixture[str], program: str
) -> None:
    (pictures / "dvc.lock").unlink()
    with pytest.raises(SystemExit) as ended:
        main(["predict", "--program", program, "0.png"])
    assert ended.value.code == 2
    (line,) = own_lines(capsys.readouterr().err)
    assert re.fullmatch(r"predict: models/\S+: not loaded, as dvc.lock has no hash .*; run: dvc repro \w+", line)


def test_the_c_source_gives_the_int8_programs_answers(pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = [str(pictures / f"{number}.png") for number in range(3)]
    printed = []
    for program in ("int8", "c"):
        assert main(["predict", "--program", program, *names]) == 0
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1]
