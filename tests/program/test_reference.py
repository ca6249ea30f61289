import dataclasses
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor

from armdigits.core import paths
from armdigits.data import sources
from armdigits.models.mlp import NeuralNetwork
from armdigits.models.scoring import activations_of
from armdigits.program import reference
from armdigits.program.contents import Activation, Contents
from armdigits.program.runtime import Program
from benchmarks.onnx_model import onnx_model
from tests.helpers import needs_mnist


def assert_equal_logits(program: Program, contents: Contents, pixels: Tensor) -> None:
    found, expected = program.logits(pixels).numpy(), reference.activations(contents, pixels.numpy())[-1]
    assert found.tobytes() == expected.tobytes(), f"{np.mean(found == expected):.4%} of the logits are equal"


def test_the_reference_gives_the_int8_programs_logits_to_the_bit(
    int8: Program, int8_contents: Contents, test_pixels: Tensor
) -> None:
    assert_equal_logits(int8, int8_contents, test_pixels)


def test_the_reference_gives_the_int8_programs_logits_to_the_bit_on_images_of_noise(
    int8: Program, int8_contents: Contents
) -> None:
    assert_equal_logits(int8, int8_contents, torch.rand(500, 1, 28, 28, generator=torch.Generator().manual_seed(1)))


@pytest.mark.slow
@needs_mnist
def test_the_reference_gives_all_logits_of_mnists_test_images_to_the_bit(
    int8: Program, int8_contents: Contents, tmp_path: Path
) -> None:
    assert_equal_logits(int8, int8_contents, sources.mnist(tmp_path / paths.DOWNLOADS)[1].pixels())


def test_the_reference_notices_a_weight_that_is_off_by_one(int8_contents: Contents, test_pixels: Tensor) -> None:
    first, *others = int8_contents.layers
    stored = first.weight.stored.copy()
    stored[:, 400] ^= 1
    changed = dataclasses.replace(first, weight=dataclasses.replace(first.weight, stored=stored))
    broken = dataclasses.replace(int8_contents, layers=(changed, *others))
    right, wrong = (reference.activations(program, test_pixels.numpy())[0] for program in (int8_contents, broken))
    assert not np.array_equal(right, wrong)


def test_the_activations_are_those_of_the_models_layers_within_the_noise(
    int8_contents: Contents, model: NeuralNetwork, test_pixels: Tensor
) -> None:
    pairs = zip(
        reference.activations(int8_contents, test_pixels.numpy()),
        activations_of(model, test_pixels).items(),
        strict=True,
    )
    for found, (name, expected) in pairs:
        assert found.dtype == np.float32 and found.shape == expected.shape
        assert np.abs(found - expected.numpy()).max() < 0.1 * expected.abs().max(), name


def test_sums_wrap_around_like_int32() -> None:
    unit = Activation(np.float32(1), 0)
    bias = np.array([2**31 - 1, 0], np.int32)
    layer = reference.QuantizedLayer(np.ones((2, 1), np.int8), bias, np.ones(2, np.float32), False, unit, unit)
    assert layer.sums(np.array([[3]], np.int8)).tolist() == [[-(2**31) + 2, 3]]


@pytest.mark.parametrize(
    ("scaled", "zero_point", "relu", "stored"),
    [
        ([0.5, 1.5, -0.5, -1.5], 0, False, [0, 2, 0, -2]),  # halves to the even integer
        ([200.0, -200.0], 10, False, [127, -128]),
        ([200.0, -200.0], -128, True, [72, -128]),
        ([3.0, -3.0], 10, True, [13, 10]),  # 0 is stored as the zero point
    ],
)
def test_outputs_are_rounded_clamped_and_moved_to_the_zero_point(
    scaled: list[float], zero_point: int, relu: bool, stored: list[int]
) -> None:
    values = np.array(scaled, np.float32)
    layer = reference.QuantizedLayer(
        np.zeros((len(values), 1), np.int8),
        np.ones(len(values), np.int32),
        values,
        relu,
        Activation(np.float32(1), 0),
        Activation(np.float32(1), zero_point),
    )
    assert layer(np.zeros((1, 1), np.int8)).tolist() == [stored]


def test_a_program_with_float_layers_is_refused(fp32_contents: Contents, test_pixels: Tensor) -> None:
    with pytest.raises(ValueError, match="^layer 0: expected int8 weights and activations$"):
        reference.activations(fp32_contents, test_pixels.numpy())


def test_onnx_runtime_gives_the_fp32_programs_logits(fp32: Program, model: NeuralNetwork, test_pixels: Tensor) -> None:
    session = onnxruntime.InferenceSession(onnx_model(model), providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {"images": test_pixels.numpy()})
    torch.testing.assert_close(fp32.logits(test_pixels), torch.from_numpy(expected), atol=1e-4, rtol=0)
