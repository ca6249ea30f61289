"""Proofs that a program implements the model: its contents, checked against the checkpoint it was built from.

What a program must contain follows from the layers of the network, of whatever kind and number they are.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from textwrap import fill

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from armdigits.core.shape import Shape
from armdigits.data.dataset import shape_of
from armdigits.models.layers import Operation, operations_of
from armdigits.models.scoring import activations_of
from armdigits.program.build import SMALLEST_SCALE
from armdigits.program.contents import (
    BACKEND,
    TO_CHANNELS_FIRST,
    TO_CHANNELS_LAST,
    Activation,
    Constant,
    Contents,
    Convolution,
    Linear,
    MaxPool,
    Node,
    Window,
)

# The portable kernels may look the batch size up and view [N, C, H, W] as [N, C * H * W]. Neither touches a pixel.
VIEWS = ("aten::sym_size.int", "executorch_prim::et_view.default")
ROUNDING = 0.5  # steps between a number and its integer
# The quantizer divides by a product of scales in float32. A bias of many steps can miss its integer by that rounding.
FLOAT32_ERROR = 2.0**-22  # relative
INPUT = Activation(np.float32(1 / 255), -128)  # loses nothing: each of the 256 values of a pixel is one integer


@dataclass(frozen=True)
class Proof:
    """One check: its name in the metrics, its result, and what was expected and found, as text."""

    name: str
    holds: bool
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.name}: expected {self.expected}, found {self.found}"


def prove_fp32(program: Contents, model: nn.Module, shape: Shape) -> list[Proof]:
    """The checks on the fp32 program: one delegate of fused layers, with the float32 numbers of the model.

    Args:
        program: the contents of the fp32 program.
        model: in evaluation mode.
        shape: of an image.
    """
    operations = operations_of(model, shape)
    weights, biases = _weights(operations), _biases(operations)
    return [
        *_structure(program, operations, _nodes(operations)),
        _equal("weight_types", ["float32"] * len(weights), _types(program.weighted)),
        _close("weights", 0, _errors((layer.weight for layer in program.weighted), weights)),
        _close("biases", 0, _errors((layer.bias for layer in program.weighted), biases)),
    ]


def prove_int8(program: Contents, model: nn.Module, calibration: Tensor) -> list[Proof]:
    """The checks on the int8 program: fused int8 layers, the model's numbers rounded, calibrated on these images.

    The scale of an activation must be that of the range which the activations of the model have on the calibration
    images: a program that was calibrated on other images has other scales.

    Args:
        program: the contents of the int8 program.
        model: as for `prove_fp32`.
        calibration: float32 [N, C, H, W].
    """
    operations = operations_of(model, shape_of(calibration))
    weights, biases = _weights(operations), _biases(operations)
    first = program.weighted[0].input if program.weighted else None
    expected = _scales(model, calibration)
    found = [float(layer.output.scale) if layer.output else 0.0 for layer in program.weighted]
    return [
        *_structure(program, operations, ["XNNConvert", *_nodes(operations), "XNNConvert"]),
        _equal("weight_types", ["int8"] * len(weights), _types(program.weighted)),
        _close("weights", ROUNDING, _errors((layer.weight for layer in program.weighted), weights)),
        _close("biases", ROUNDING, _errors((layer.bias for layer in program.weighted), biases)),
        Proof("input_scale", first == INPUT, f"{_activation(INPUT)} (1/255)", _activation(first)),
        Proof(
            "activation_scales",
            len(found) == len(expected) and np.allclose(found, expected, rtol=1e-3),
            f"{_numbers(expected)} (from the calibration images)",
            _numbers(found),
        ),
    ]


def prove_logits(found: NDArray[np.float32], expected: NDArray[np.float32]) -> Proof:
    """The check that the NumPy reference computes what the runtime computes, to the bit.

    Args:
        found: the runtime's logits float32 [N, 10] of the int8 program.
        expected: the reference's.
    """
    bits = found.view(np.int32), np.ascontiguousarray(expected).view(np.int32)
    equal = int((bits[0] == bits[1]).sum()) if found.shape == expected.shape else 0
    text = "{:,} logits equal to the reference's"
    return Proof("logits", equal == expected.size, text.format(expected.size), text.format(equal))


def table(program: str, proofs: Iterable[Proof]) -> str:
    """The proofs of a program as text of at most 80 columns, a paragraph for each."""
    lines = [f"  {'proven' if proof.holds else 'FAILED'}  {proof.name:<18} {proof.found}" for proof in proofs]
    return "\n".join([program, *(fill(line, 80, subsequent_indent=" " * 29) for line in lines)])


def _weights(operations: Sequence[Operation]) -> list[Tensor]:
    return [layer.weight.detach() for layer in _weighted(operations)]


def _biases(operations: Sequence[Operation]) -> list[Tensor | None]:
    return [layer.bias.detach() if layer.bias is not None else None for layer in _weighted(operations)]


def _weighted(operations: Sequence[Operation]) -> list[nn.Conv2d | nn.Linear]:
    modules = [operation.module for operation in operations]
    return [module for module in modules if isinstance(module, nn.Conv2d | nn.Linear)]


def _nodes(operations: Sequence[Operation]) -> list[str]:
    """XNNPACK's nodes for a network: images are transposed once, to its order of the axes, and back to flatten them."""
    nodes: list[str] = []
    for operation in operations:
        match operation.module:
            case nn.Conv2d() as convolution:
                depthwise = convolution.groups == convolution.in_channels
                before = [] if nodes else [TO_CHANNELS_LAST]
                nodes += [*before, "XNNDepthwiseConv2d" if depthwise else "XNNConv2d"]
            case nn.MaxPool2d():
                nodes.append("XNNMaxPooling2d")
            case nn.Flatten() if nodes:
                nodes += [TO_CHANNELS_FIRST, "XNNStaticReshape"]
            case nn.Linear():
                nodes.append("XNNFullyConnected")
    return nodes


def _structure(program: Contents, operations: Sequence[Operation], nodes: list[str]) -> list[Proof]:
    """The checks on either program: one delegate with exactly the layers of the model, each ReLU fused."""
    layers = [_expected(operation.module) for operation in operations if not isinstance(operation.module, nn.Flatten)]
    fused = [operation.relu for operation in operations if isinstance(operation.module, nn.Conv2d | nn.Linear)]
    return [
        _equal("delegates", [BACKEND], program.delegates),
        _equal("portable_operators", [], [name for name in program.operators if name not in VIEWS]),
        _equal("nodes", nodes, program.nodes),
        _equal("layers", layers, map(_found, program.layers)),
        _equal("fused_relus", fused, [layer.relu for layer in program.weighted]),
    ]


def _expected(module: nn.Module) -> str:
    """The size of a layer of the model, as `_found` gives it for a layer of a program."""
    match module:
        case nn.Conv2d() as layer:
            window = Window(*(_pair(value) for value in (layer.kernel_size, layer.stride, layer.padding)))
            return f"{layer.in_channels}-{layer.out_channels} of {window}"
        case nn.MaxPool2d() as layer:
            return f"largest of {Window(*(_pair(value) for value in (layer.kernel_size, layer.stride, layer.padding)))}"
        case nn.Linear() as layer:
            return f"{layer.in_features}-{layer.out_features}"
    return type(module).__name__


def _found(layer: Node) -> str:
    match layer:
        case Convolution():
            outputs, inputs, *_ = layer.weight.stored.shape
            return f"{inputs * layer.groups}-{outputs} of {layer.window}"
        case MaxPool():
            return f"largest of {layer.window}"
        case Linear():
            return "{1}-{0}".format(*layer.weight.stored.shape)


def _pair(size: object) -> tuple[int, int]:
    """(height, width) of an option of a layer, which can be one number for both."""
    height, width = size if isinstance(size, tuple) else (size, size)
    return height, width


def _types(layers: Iterable[Linear]) -> list[str]:
    return [str(layer.weight.stored.dtype) for layer in layers]


def _errors(constants: Iterable[Constant | None], originals: Sequence[Tensor | None]) -> list[float]:
    """How far each constant is from its original, at most: in quantization steps, or the difference of float32.

    Steps exclude the rounding error of float32, at most `FLOAT32_ERROR` times the number.
    """
    errors = [_error(constant, original) for constant, original in zip(constants, originals, strict=False)]
    return errors + [float("inf")] * (len(originals) - len(errors))


def _error(constant: Constant | None, original: Tensor | None) -> float:
    if constant is None and original is None:
        return 0.0
    if constant is None or original is None or constant.stored.shape != original.shape:
        return float("inf")
    expected, stored = original.double().numpy(), constant.stored.astype(np.float64)
    if constant.scale is None:
        return float(np.abs(stored - expected).max())
    step = constant.scale.astype(np.float64).reshape(-1, *[1] * (stored.ndim - 1))
    return float(((np.abs(stored * step - expected) - FLOAT32_ERROR * np.abs(expected)) / step).max().clip(min=0))


def _scales(model: nn.Module, calibration: Tensor) -> list[float]:
    """The scale of the output of each layer with weights: its range on the images, including 0, over 255."""
    activations = activations_of(model, calibration).values()
    ranges = [(values.min().clamp(max=0), values.max().clamp(min=0)) for values in activations]
    return [max(float(high - low) / 255, SMALLEST_SCALE) for low, high in ranges]


def _equal(name: str, expected: Iterable[object], found: Iterable[object]) -> Proof:
    expected, found = list(expected), list(found)
    return Proof(name, expected == found, _listed(expected), _listed(found))


def _close(name: str, limit: float, errors: list[float]) -> Proof:
    unit = "of a step " if limit else ""
    expected = f"each within {limit} {unit}of the checkpoint's"
    return Proof(name, max(errors, default=0) <= limit, expected, f"within {_numbers(errors)}")


def _listed(values: Iterable[object]) -> str:
    """The values with commas between them, repetitions counted: 3 x int8."""
    runs = [(value, len(list(run))) for value, run in groupby(map(str, values))]
    return ", ".join(f"{count} x {value}" if count > 1 else value for value, count in runs) or "none"


def _activation(activation: Activation | None) -> str:
    return f"{activation.scale:.9f}, zero point {activation.zero_point}" if activation else "none"


def _numbers(values: Iterable[float]) -> str:
    return ", ".join(f"{value:.4g}" for value in values)
