"""What int8 costs: the noise that each layer adds up to, and the images on which the two programs disagree."""

import math
from typing import NamedTuple

import torch
from scipy.stats import binomtest
from torch import Tensor
from torch.nn import functional

from armdigits.inspection import Activation, Contents


@torch.inference_mode()
def int8_activations(program: Contents, pixels: Tensor) -> list[Tensor]:
    """What follows each linear layer of an int8 program, float32 [N, features], from the numbers in its file.

    The integers are carried as the float32 numbers that they stand for, which is the same but for roundings of
    exact halves. (Bit for bit, in integers: tests/oracle.py.)

    Args:
        program: read back from the int8 program.
        pixels: float32 [N, 1, 28, 28].
    """
    stored = _rounded(pixels.flatten(1), program.linears[0].input)
    activations = []
    for linear in program.linears:
        weight, bias = (torch.from_numpy(constant.values()) for constant in (linear.weight, linear.bias))
        stored = functional.linear(stored, weight, bias)
        stored = _rounded(stored.relu() if linear.relu else stored, linear.output)
        activations.append(stored)
    return activations


def _rounded(values: Tensor, activation: Activation) -> Tensor:
    return torch.fake_quantize_per_tensor_affine(values, float(activation.scale), activation.zero_point, -128, 127)


def sqnr_db(signal: Tensor, quantized: Tensor) -> float | None:
    """The signal-to-quantization-noise ratio, 10 log10(sum signal^2 / sum (signal - quantized)^2), in decibels.

    None where there is no noise, or no signal: a layer that is always 0.
    """
    signal, quantized = signal.double(), quantized.double()
    power, noise = signal.square().sum().item(), (signal - quantized).square().sum().item()
    return round(10 * math.log10(power / noise), 2) if power and noise else None


class Disagreement(NamedTuple):
    """An image that the two programs read differently: its position, its label, and both readings."""

    image: int
    actual: int
    fp32: int
    int8: int


def disagreements(fp32: Tensor, int8: Tensor, targets: Tensor) -> list[Disagreement]:
    """The images for which two sets of logits [N, 10] predict different digits."""
    rows = zip(targets.tolist(), fp32.argmax(1).tolist(), int8.argmax(1).tolist(), strict=True)
    return [Disagreement(image, *row) for image, row in enumerate(rows) if row[1] != row[2]]


def mcnemar(found: list[Disagreement]) -> dict[str, int | float]:
    """How often which program is right where they disagree, and McNemar's exact test (Psychometrika 12, 1947).

    `p_value` is the probability of a split at least as uneven as this one, were both right equally often: below
    0.05 int8 costs or gains accuracy, above it the difference is not to be told from chance.
    """
    fp32 = sum(row.fp32 == row.actual for row in found)
    int8 = sum(row.int8 == row.actual for row in found)
    p_value = float(binomtest(fp32, fp32 + int8).pvalue) if fp32 + int8 else 1.0
    return {"count": len(found), "fp32_right": fp32, "int8_right": int8, "p_value": round(p_value, 6)}
