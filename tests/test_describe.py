"""The model card, beside the programs."""

import re
import sys

import torch

from armdigits import files, paths
from armdigits.runtime import read_program
from tests.conftest import run


def snippet(language: str) -> str:
    """The code of that language in the card."""
    return re.search(rf"```{language}\n(.*?)```", paths.MODEL_CARD.read_text(), re.DOTALL)[1]


def test_the_card_tells_what_lies_beside_it(ran):
    text = paths.MODEL_CARD.read_text()
    for path in (paths.FP32_PROGRAM, paths.INT8_PROGRAM):
        content = path.read_bytes()
        assert f"{len(content):,} | `{files.sha256(content)}`" in text
    accuracy = files.read_json(paths.QUANTIZE_METRICS, "quantize")["int8"]["accuracy"]
    assert f"| `int8.pte` | {accuracy:.2%} |" in text
    assert "digits: 1,237 training and 200 validation images, 10 epochs" in text
    assert "1 to 64 images" in text


def test_the_python_of_the_card_runs(ran):
    """In a process of its own, as a reader would run it: with a tenth of ink everywhere."""
    code = snippet("python").replace("torch.zeros(1, 1, 28, 28)", "torch.full((3, 1, 28, 28), 0.1)")
    assert "torch.full" in code
    done = run(ran, sys.executable, "-W", "ignore", "-c", f"{code}\nprint(logits.tolist())")
    assert done.returncode == 0, done.stderr
    record = files.read_json(paths.PROGRAMS, "quantize")
    ours = read_program(paths.INT8_PROGRAM, record["weights_sha256"])(torch.full((3, 1, 28, 28), 0.1))
    assert done.stdout == f"{ours.tolist()}\n"


def test_the_cpp_of_the_card_has_no_leftovers_of_its_template(ran):
    code = snippet("cpp")
    assert "{{" not in code and "}}" not in code
    assert "{1, 1, 28, 28}" in code
