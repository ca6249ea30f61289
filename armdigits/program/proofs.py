"""Proofs that a program implements the model: its contents, checked against the checkpoint it was built from."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

import numpy as np
from torch import Tensor, nn

from armdigits.models.scoring import activations_of
from armdigits.program.build import SMALLEST_SCALE
from armdigits.program.contents import BACKEND, Activation, Constant, Contents, Linear

# The portable kernels may look the batch size up and view [N, 1, 28, 28] as [N, 784]. Neither touches a pixel.
VIEWS = ("aten::sym_size.int", "executorch_prim::et_view.default")
# Steps between a number and its integer: a half, and the rounding of a bias of some 10,000 steps to float32.
ROUNDING = 0.51
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


def prove_fp32(program: Contents, model: nn.Module) -> list[Proof]:
    """The checks on the fp32 program: one delegate of fused layers, with the float32 numbers of the model.

    Args:
        program: the contents of the fp32 program.
        model: in evaluation mode; its layers are children that run in the order in which they were registered.
    """
    weights, biases = _weights(model), _biases(model)
    return [
        *_structure(program, model, ["XNNFullyConnected"] * len(weights)),
        _equal("weight_types", ["float32"] * len(weights), _types(program.linears)),
        _close("weights", 0, _errors((linear.weight for linear in program.linears), weights)),
        _close("biases", 0, _errors((linear.bias for linear in program.linears), biases)),
    ]


def prove_int8(program: Contents, model: nn.Module, calibration: Tensor) -> list[Proof]:
    """The checks on the int8 program: fused int8 layers, the model's numbers rounded, calibrated on these images.

    The scale of an activation must be that of the range which the activations of the model have on the calibration
    images: a program that was calibrated on other images has other scales.

    Args:
        program: the contents of the int8 program.
        model: as for `prove_fp32`.
        calibration: float32 [N, 1, 28, 28].
    """
    weights, biases = _weights(model), _biases(model)
    first = program.linears[0].input if program.linears else None
    expected = _scales(model, calibration)
    found = [float(linear.output.scale) if linear.output else 0.0 for linear in program.linears]
    return [
        *_structure(program, model, ["XNNConvert", *["XNNFullyConnected"] * len(weights), "XNNConvert"]),
        _equal("weight_types", ["int8"] * len(weights), _types(program.linears)),
        _close("weights", ROUNDING, _errors((linear.weight for linear in program.linears), weights)),
        _close("biases", ROUNDING, _errors((linear.bias for linear in program.linears), biases)),
        Proof("input_scale", first == INPUT, f"{_activation(INPUT)} (1/255)", _activation(first)),
        Proof(
            "activation_scales",
            len(found) == len(expected) and np.allclose(found, expected, rtol=1e-3),
            f"{_numbers(expected)} (from the calibration images)",
            _numbers(found),
        ),
    ]


def table(program: str, proofs: Iterable[Proof]) -> str:
    """The proofs of a program as text, one per line."""
    lines = [f"  {'proven' if proof.holds else 'FAILED'}  {proof.name:<18} {proof.found}" for proof in proofs]
    return "\n".join([program, *lines])


def _linear_layers(model: nn.Module) -> list[nn.Linear]:
    return [layer for layer in model.children() if isinstance(layer, nn.Linear)]


def _weights(model: nn.Module) -> list[Tensor]:
    return [layer.weight.detach() for layer in _linear_layers(model)]


def _biases(model: nn.Module) -> list[Tensor | None]:
    return [layer.bias.detach() if layer.bias is not None else None for layer in _linear_layers(model)]


def _structure(program: Contents, model: nn.Module, nodes: list[str]) -> list[Proof]:
    """The checks on either program: one delegate with exactly the linear layers of the model, each ReLU fused."""
    layers = [layer for layer in model.children() if isinstance(layer, nn.Linear | nn.ReLU)]
    fused = [isinstance(after, nn.ReLU) for layer, after in pairwise([*layers, None]) if isinstance(layer, nn.Linear)]
    shapes = [f"{layer.in_features}-{layer.out_features}" for layer in _linear_layers(model)]
    return [
        _equal("delegates", [BACKEND], program.delegates),
        _equal("portable_operators", [], [name for name in program.operators if name not in VIEWS]),
        _equal("nodes", nodes, program.nodes),
        _equal("layers", shapes, ["{1}-{0}".format(*linear.weight.stored.shape) for linear in program.linears]),
        _equal("fused_relus", fused, [linear.relu for linear in program.linears]),
    ]


def _types(linears: Iterable[Linear]) -> list[str]:
    return [str(linear.weight.stored.dtype) for linear in linears]


def _errors(constants: Iterable[Constant | None], originals: Sequence[Tensor | None]) -> list[float]:
    """How far each constant is from its original, at most: in quantization steps, or the difference of float32."""
    errors = [_error(constant, original) for constant, original in zip(constants, originals, strict=False)]
    return errors + [float("inf")] * (len(originals) - len(errors))


def _error(constant: Constant | None, original: Tensor | None) -> float:
    if constant is None and original is None:
        return 0.0
    if constant is None or original is None or constant.stored.shape != original.shape:
        return float("inf")
    distance = np.abs(constant.values().astype(np.float64) - original.double().numpy())
    step = 1 if constant.scale is None else constant.scale.reshape(-1, *[1] * (distance.ndim - 1))
    return float((distance / step).max())


def _scales(model: nn.Module, calibration: Tensor) -> list[float]:
    """The scale of the output of each linear layer: its range on these images, extended to include 0, over 255."""
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
