from pathlib import Path

import pytest
import torch

from armdigits.core import paths
from armdigits.core.errors import BadInput
from armdigits.core.shape import MNIST
from armdigits.models.mlp import NeuralNetwork
from armdigits.program import build
from armdigits.program.runtime import Program, load
from tests.helpers import some_images

BATCH = 8


@pytest.fixture(scope="module")
def model() -> NeuralNetwork:
    torch.manual_seed(1)
    return NeuralNetwork(use_dropout=False).eval()


def test_the_empty_program_returns_the_first_pixels(pipeline: Path) -> None:
    empty = load((pipeline / paths.EMPTY_PROGRAM).read_bytes())
    images = some_images(3).pixels()
    assert empty.input_shape == (64, 1, 28, 28)
    assert torch.equal(empty.forward(images), images.flatten(1)[:, :10])


@pytest.mark.slow
def test_a_program_with_a_largest_batch_of_1_takes_single_images(model: NeuralNetwork) -> None:
    program = Program(build.lower(build.trace(model, MNIST, 1)), "single.pte")
    images = some_images(2).pixels()
    torch.testing.assert_close(program.logits(images), model(images).detach())
    with pytest.raises(BadInput, match=r"expected float32 \[1 to 1, 1, 28, 28\]"):
        program(images)


@pytest.mark.slow
def test_equal_weights_and_calibration_images_give_equal_bytes(model: NeuralNetwork) -> None:
    def programs() -> list[bytes]:
        exported = build.trace(model, MNIST, BATCH)
        return [build.lower(exported), build.lower(build.quantize(exported, some_images(50).pixels(), BATCH))]

    assert programs() == programs()
