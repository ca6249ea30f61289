"""A small convolutional network through program, proofs, reference and C source; untrained, so that it is quick."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from armdigits.core.shape import MNIST
from armdigits.program import reference
from armdigits.program.build import lower, quantize, trace
from armdigits.program.contents import Contents, Convolution, MaxPool, Window, read_back
from armdigits.program.proofs import prove_fp32, prove_int8
from armdigits.program.runtime import Program
from tests.helpers import some_images
from tests.program.networks import convolutional
from tests.program.test_proofs import failed

pytestmark = pytest.mark.slow  # torch's export and ExecuTorch take half a minute

BATCH = 20  # more than 16, from which on torch chooses other convolutions


@pytest.fixture(scope="module")
def model() -> nn.Module:
    """A first convolution with padding and stride, a depthwise one, a plain one, with and without pooling and bias."""
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(1, 4, 5, stride=2, padding=2), nn.ReLU()),
        *(nn.Conv2d(4, 8, 3, padding=1, groups=4), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(8, 6, (1, 3), bias=False), nn.ReLU(), nn.MaxPool2d((3, 2))),
        *(nn.Flatten(), nn.Linear(24, 12), nn.ReLU(), nn.Linear(12, 10)),
    ).eval()


@pytest.fixture(scope="module")
def pixels() -> Tensor:
    return some_images(100).pixels()


@pytest.fixture(scope="module")
def programs(model: nn.Module, pixels: Tensor) -> dict[str, bytes]:
    exported = trace(model, MNIST, BATCH)
    return {"fp32": lower(exported), "int8": lower(quantize(exported, pixels, BATCH))}


@pytest.fixture(scope="module")
def contents(programs: dict[str, bytes]) -> dict[str, Contents]:
    return {name: read_back(content, name) for name, content in programs.items()}


def test_the_programs_pass_every_proof(contents: dict[str, Contents], model: nn.Module, pixels: Tensor) -> None:
    assert failed(prove_fp32(contents["fp32"], model, MNIST)) == set()
    assert failed(prove_int8(contents["int8"], model, pixels)) == set()


def test_the_programs_of_another_network_fail(contents: dict[str, Contents], pixels: Tensor) -> None:
    other = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(2704, 10)).eval()
    expected = {"nodes", "layers", "fused_relus", "weights", "biases"}
    assert expected <= failed(prove_fp32(contents["fp32"], other, MNIST))
    assert expected <= failed(prove_int8(contents["int8"], other, pixels))


def test_another_window_fails_the_proof_of_the_layers(
    contents: dict[str, Contents], model: nn.Module, pixels: Tensor
) -> None:
    for position, layer in enumerate(contents["int8"].layers):
        if isinstance(layer, Convolution | MaxPool):
            window = dataclasses.replace(layer.window, padding=(1, 0))
            assert window != layer.window
            layers = list(contents["int8"].layers)
            layers[position] = dataclasses.replace(layer, window=window)
            changed = dataclasses.replace(contents["int8"], layers=tuple(layers))
            assert failed(prove_int8(changed, model, pixels)) == {"layers"}


def test_the_contents_are_the_models_layers(contents: dict[str, Contents], model: nn.Sequential) -> None:
    layers = contents["fp32"].layers
    assert [type(layer).__name__ for layer in layers] == [
        *("Convolution", "Convolution", "MaxPool", "Convolution", "MaxPool", "Linear", "Linear")
    ]
    assert layers[0].window == Window((5, 5), (2, 2), (2, 2))
    assert layers[4].window == Window((3, 2), (3, 2), (0, 0))
    assert layers[1].groups == 4
    for layer, position in zip(contents["fp32"].weighted, (0, 2, 5, 9, 11), strict=True):
        assert np.array_equal(layer.weight.values(), model[position].weight.detach().numpy())
    assert layers[3].bias is None


def test_any_batch_up_to_the_largest_gives_the_models_logits(
    programs: dict[str, bytes], model: nn.Module, pixels: Tensor
) -> None:
    program = Program(programs["fp32"], "fp32")
    assert program.max_batch == BATCH
    for count in (1, 15, 16, 20):
        torch.testing.assert_close(program(pixels[:count]), model(pixels[:count]), atol=1e-5, rtol=0)


def test_the_reference_gives_the_int8_programs_logits_to_the_bit(
    programs: dict[str, bytes], contents: dict[str, Contents], pixels: Tensor
) -> None:
    found, expected = (
        Program(programs["int8"], "int8").logits(pixels),
        reference.activations(contents["int8"], pixels.numpy())[-1],
    )
    assert found.numpy().tobytes() == expected.tobytes()
    assert len(np.unique(expected)) > 10


def test_the_reference_computes_convolutions_as_torch() -> None:
    program, pixels = convolutional(), some_images(3).pixels()
    _, pool, depthwise, *_ = program.layers
    layer = reference.quantized_layers(program)[1]
    before, after, *_ = reference.activations(program, pixels.numpy())
    inputs = nn.functional.max_pool2d(torch.from_numpy(before), pool.window.size)
    weight, bias = torch.from_numpy(depthwise.weight.values()), torch.from_numpy(depthwise.bias.stored)
    scale = torch.from_numpy(depthwise.weight.scale) * float(layer.input.scale)
    expected = nn.functional.conv2d(inputs, weight, bias * scale, padding=1, groups=4).relu()
    expected = expected.clamp(max=255 * float(layer.output.scale))
    assert np.abs(after - expected.numpy()).max() < 0.51 * layer.output.scale
