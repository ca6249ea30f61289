"""That a program is what it says: a list of checks on what was read back, against the checkpoint it was made from."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from torch import Tensor, nn

from armdigits.inspection import BACKEND, Constant, Contents, Linear
from armdigits.model import NeuralNetwork
from armdigits.scoring import activations_of

# What the portable kernels may do: look the batch up and see [N, 1, 28, 28] as [N, 784]. Neither touches a pixel.
MOVES = ("aten::sym_size.int", "executorch_prim::et_view.default")
ROUNDED = (
    0.51  # steps between a number and its integer: a half, and what float32 rounds off a bias of some 10,000 steps
)
SMALLEST_SCALE = 2**-12  # of an activation, see `programs.quantize`
PIXEL = np.float32(1 / 255)


@dataclass(frozen=True)
class Proof:
    """One check: what must be so, and what was found."""

    name: str
    holds: bool
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.name}: expected {self.expected}, found {self.found}"


def prove_fp32(program: Contents, network: NeuralNetwork) -> list[Proof]:
    """The checks on the fp32 program of `network`: the same float32 numbers, fused, in one delegate."""
    weights, biases = _constants(network)
    return [
        *_structure(program, network, ["XNNFullyConnected"] * len(weights)),
        _same("weight_types", ["float32"] * len(weights), _types(program.linears)),
        _close("weights", 0, _errors((linear.weight for linear in program.linears), weights)),
        _close("biases", 0, _errors((linear.bias for linear in program.linears), biases)),
    ]


def prove_int8(program: Contents, network: NeuralNetwork, calibration: Tensor) -> list[Proof]:
    """The checks on the int8 program of `network`: integers inside, calibrated on these images [N, 1, 28, 28].

    An activation's scale must be that of the range which the network's own activations take on the calibration
    images: a program that was calibrated on anything else has other scales.
    """
    weights, biases = _constants(network)
    first = program.linears[0].input if program.linears else None
    expected = _scales(network, calibration)
    found = [linear.output.scale or 0 for linear in program.linears]
    return [
        *_structure(program, network, ["XNNConvert", *["XNNFullyConnected"] * len(weights), "XNNConvert"]),
        _same("weight_types", ["int8"] * len(weights), _types(program.linears)),
        _close("weights", ROUNDED, _errors((linear.weight for linear in program.linears), weights)),
        _close("biases", ROUNDED, _errors((linear.bias for linear in program.linears), biases)),
        Proof(
            "input_scale",
            first is not None and (first.scale, first.zero_point) == (PIXEL, -128),
            f"{PIXEL:.9f} (1/255), zero point -128",
            f"{first.scale:.9f}, zero point {first.zero_point}" if first and first.scale else "none",
        ),
        Proof(
            "activation_scales",
            len(found) == len(expected) and np.allclose(found, expected, rtol=1e-3),
            f"{_numbers(expected)} (from the calibration images)",
            _numbers(found),
        ),
    ]


def table(program: str, proofs: list[Proof]) -> str:
    """The proofs for people, one a line."""
    lines = [f"  {'proven' if proof.holds else 'FAILED'}  {proof.name:<18} {proof.found}" for proof in proofs]
    return "\n".join([program, *lines])


def _constants(network: NeuralNetwork) -> tuple[list[Tensor], list[Tensor]]:
    layers = [layer for layer in network.layers if isinstance(layer, nn.Linear)]
    return [layer.weight.detach() for layer in layers], [layer.bias.detach() for layer in layers]


def _structure(program: Contents, network: NeuralNetwork, nodes: list[str]) -> list[Proof]:
    """What both programs share: one delegate that holds exactly the linear layers, with their ReLUs inside."""
    layers = [layer for layer in network.layers if isinstance(layer, nn.Linear | nn.ReLU)]
    fused = [isinstance(after, nn.ReLU) for layer, after in pairwise([*layers, None]) if isinstance(layer, nn.Linear)]
    left = [name for name in program.operators if name not in MOVES]
    shapes = [f"{weight.shape[1]}-{weight.shape[0]}" for weight in _constants(network)[0]]
    return [
        _same("delegates", [BACKEND], program.delegates),
        _same("portable_operators", [], left),
        _same("nodes", nodes, program.nodes),
        _same("layers", shapes, ["{1}-{0}".format(*linear.weight.stored.shape) for linear in program.linears]),
        _same("fused_relus", fused, [linear.relu for linear in program.linears]),
    ]


def _types(linears: Iterable[Linear]) -> list[str]:
    return [str(linear.weight.stored.dtype) for linear in linears]


def _errors(constants: Iterable[Constant | None], originals: list[Tensor]) -> list[float]:
    """The largest distance of a constant from its original, in steps; of float32 ones, in their own unit."""
    errors = []
    for constant, original in zip(constants, originals, strict=False):
        if constant is None or constant.stored.shape != original.shape:
            errors.append(float("inf"))
            continue
        distance = np.abs(constant.values().astype(np.float64) - original.double().numpy())
        step = 1 if constant.scale is None else constant.scale.reshape(-1, *[1] * (distance.ndim - 1))
        errors.append(float((distance / step).max()))
    return errors + [float("inf")] * (len(originals) - len(errors))


def _scales(network: NeuralNetwork, calibration: Tensor) -> list[float]:
    """The scale of each layer's output: its range on these images, 0 included, in 255 steps."""
    activations = activations_of(network, calibration).values()
    ranges = [(values.min().clamp(max=0), values.max().clamp(min=0)) for values in activations]
    return [max(float(high - low) / 255, SMALLEST_SCALE) for low, high in ranges]


def _same(name: str, expected: Iterable[object], found: Iterable[object]) -> Proof:
    return Proof(name, list(expected) == list(found), _words(expected), _words(found))


def _close(name: str, most: float, errors: list[float]) -> Proof:
    unit = "of a step " if most else ""
    return Proof(
        name, max(errors) <= most, f"each within {most} {unit}of the checkpoint's", f"within {_numbers(errors)}"
    )


def _words(values: Iterable[object]) -> str:
    return ", ".join(map(str, values)) or "none"


def _numbers(values: Iterable[float]) -> str:
    return ", ".join(f"{value:.4g}" for value in values)
