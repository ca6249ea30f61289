import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor

from armdigits import paths, sources
from armdigits.checkpoint import read_checkpoint
from armdigits.comparison import int8_activations
from armdigits.dataset import read_split
from armdigits.inspection import Contents, read_back
from armdigits.runtime import Program, read_program
from benchmarks.runtimes import onnx_model
from tests import oracle


@pytest.fixture
def contents(ran) -> Contents:
    return read_back(paths.INT8_PROGRAM.read_bytes(), paths.INT8_PROGRAM)


def program(path: Path) -> Program:
    return read_program(path, read_checkpoint(paths.MODEL)[1])


def all_of_mnist() -> Tensor:
    return sources.mnist(paths.DOWNLOADS)[1].pixels()


def agree(contents: Contents, pixels: Tensor) -> None:
    """Equal predictions, and logits within one step; measured so far: equal to the bit."""
    found, expected = (
        program(paths.INT8_PROGRAM).logits_of(pixels).numpy(),
        oracle.activations(contents, pixels.numpy())[-1],
    )
    assert np.array_equal(found.argmax(1), expected.argmax(1))
    steps = np.rint((found - expected) / contents.linears[-1].output.scale)
    assert np.abs(steps).max() <= 1, f"{np.mean(steps == 0):.4%} of the logits are equal"


def test_integer_arithmetic_gives_the_programs_logits(contents):
    agree(contents, read_split(paths.TEST_DATA).pixels())


@pytest.mark.skipif("DATA_MIRROR" not in os.environ, reason="DATA_MIRROR names no folder with MNIST")
def test_integer_arithmetic_gives_the_programs_logits_on_all_of_mnist(contents):
    agree(contents, all_of_mnist())


def test_the_oracle_sees_a_weight_that_is_off_by_one(contents):
    pixels = read_split(paths.TEST_DATA).pixels().numpy()
    right = oracle.activations(contents, pixels)[0]
    first = contents.linears[0]
    stored = first.weight.stored.copy()
    stored[:, 400] ^= 1
    other = replace(first, weight=replace(first.weight, stored=stored))
    wrong = oracle.activations(replace(contents, linears=(other, *contents.linears[1:])), pixels)[0]
    assert not np.array_equal(wrong, right)


def test_the_noise_is_measured_on_the_activations_of_the_program(contents):
    pixels = read_split(paths.TEST_DATA).pixels()
    pairs = zip(
        int8_activations(contents, pixels), oracle.activations(contents, pixels.numpy()), contents.linears, strict=True
    )
    for found, expected, linear in pairs:
        steps = np.rint((found.numpy() - expected) / linear.output.scale)
        assert np.abs(steps).max() <= 1
        assert np.mean(steps == 0) > 0.999


def test_onnx_runtime_gives_the_fp32_programs_logits(ran):
    pixels = read_split(paths.TEST_DATA).pixels()
    network, _ = read_checkpoint(paths.MODEL)
    session = onnxruntime.InferenceSession(onnx_model(network), providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {"images": pixels.numpy()})
    torch.testing.assert_close(
        program(paths.FP32_PROGRAM).logits_of(pixels), torch.from_numpy(expected), atol=1e-4, rtol=0
    )
