"""The model card, beside the programs."""

import json
import re
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from armdigits.core import files, paths
from armdigits.core.shape import MNIST
from armdigits.models.mlp import NeuralNetwork
from armdigits.program.runtime import Program
from stages.describe import table
from tests.helpers import run


@pytest.fixture
def text(pipeline: Path) -> str:
    return (pipeline / paths.MODEL_CARD).read_text("utf-8")


def snippet(text: str, language: str) -> str:
    """The code of that language in the card."""
    found = re.search(rf"```{language}\n(.*?)```", text, re.DOTALL)
    assert found
    return found[1]


def test_the_card_has_the_size_digest_and_accuracy_of_each_program(pipeline: Path, text: str) -> None:
    metrics = json.loads((pipeline / paths.QUANTIZE_METRICS).read_text("utf-8"))
    for path in (paths.FP32_PROGRAM, paths.INT8_PROGRAM):
        content = (pipeline / path).read_bytes()
        accuracy = metrics[path.stem]["accuracy"]
        assert f"| `{path.name}` | {accuracy:.2%} | {len(content):,} | `{files.sha256(content)}` |" in text


def test_the_card_has_the_models_layers_and_number_of_parameters(text: str) -> None:
    model = NeuralNetwork(use_dropout=False)
    assert f"with {sum(tensor.numel() for tensor in model.parameters()):,} parameters" in text
    for name, layer in model.named_children():
        assert (f"| `{name}` | `{layer}` | " in text) is not isinstance(layer, nn.Identity)
    assert "| `linear1` | `Linear(in_features=784, out_features=96, bias=True)` | 96 | 75,360 |" in text
    assert "float32 [N, 10]: the logits of the classes 0, 1, 2, 3, 4, 5, 6, 7, 8, 9." in text


def test_the_layers_are_those_of_any_model() -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 3, bias=False), nn.ReLU(), nn.Identity(), nn.Flatten(), nn.Linear(2704, 2))
    *_, first, second, flatten, last = table(model, MNIST).splitlines()
    assert first == "| `0` | `Conv2d(1, 4, kernel_size=(3, 3), stride=(1, 1), bias=False)` | 4 x 26 x 26 | 36 |"
    assert second == "| `1` | `ReLU()` | 4 x 26 x 26 |  |"
    assert "| `3` | `Flatten(" in flatten
    assert last.endswith("| 2 | 5,410 |")


def test_the_card_has_the_data_and_the_conditions(text: str) -> None:
    assert "digits: 1,237 training and 200 validation images, 10 epochs" in text
    assert "360 test images" in text
    assert "N from 1 to 64" in text


@pytest.mark.slow  # importing executorch.runtime takes ten seconds
def test_the_python_code_of_the_card_gives_the_programs_logits(pipeline: Path, text: str) -> None:
    code = snippet(text, "python").replace("torch.zeros(1, 1, 28, 28)", "torch.full((3, 1, 28, 28), 0.1)")
    assert "torch.full" in code
    done = run(pipeline, sys.executable, "-W", "ignore", "-c", f"{code}\nprint(logits.tolist())")
    assert done.returncode == 0, done.stderr
    program = Program((pipeline / paths.INT8_PROGRAM).read_bytes(), "int8.pte")
    assert done.stdout == f"{program(torch.full((3, 1, 28, 28), 0.1)).tolist()}\n"


def test_the_cpp_code_of_the_card_has_no_braces_of_its_template(text: str) -> None:
    code = snippet(text, "cpp")
    assert "{{" not in code and "}}" not in code
    assert "{1, 1, 28, 28}" in code
