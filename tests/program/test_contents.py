from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from armdigits.core import paths
from armdigits.core.errors import BadInput
from armdigits.models.mlp import NeuralNetwork
from armdigits.program.contents import Contents, read_back


def test_the_fp32_program_contains_the_models_numbers(fp32_contents: Contents, model: NeuralNetwork) -> None:
    for linear, layer in zip(fp32_contents.layers, (model.linear1, model.linear2, model.linear3), strict=True):
        assert linear.bias is not None
        assert np.array_equal(linear.weight.values(), layer.weight.detach().numpy())
        assert np.array_equal(linear.bias.values(), layer.bias.detach().numpy())
        assert linear.input is linear.output is None


def test_the_int8_program_contains_integers_and_scales(int8_contents: Contents) -> None:
    for linear in int8_contents.layers:
        assert linear.bias is not None and linear.input is not None and linear.output is not None
        assert linear.weight.stored.dtype == np.int8
        assert linear.bias.stored.dtype == np.int32
        assert linear.weight.scale is not None and linear.weight.scale.shape == (len(linear.weight.stored),)
        assert linear.input.scale > 0 and linear.output.scale > 0
    first, second, _ = int8_contents.layers
    assert first.output == second.input


def flip_a_bit(content: bytes) -> bytes:
    """Flip one bit of a weight: the weights are most of the file."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize("damage", [flip_a_bit, lambda c: c[:-1], lambda c: c[:40], lambda _: b"", lambda c: c[::-1]])
def test_damaged_bytes_are_refused_and_the_file_is_named(pipeline: Path, damage: Callable[[bytes], bytes]) -> None:
    content = damage((pipeline / paths.INT8_PROGRAM).read_bytes())
    with pytest.raises(BadInput, match=r"^int8.pte: not a complete program of .*; run: dvc repro --force quantize$"):
        read_back(content, "int8.pte")
