"""The cost of int8: the noise in each layer, and the images that the two programs classify differently."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Float32 = NDArray[np.float32]


def powers(signal: Float32, quantized: Float32) -> NDArray[np.float64]:
    """The powers of a signal and of the noise in it, float64 [2]: sum signal^2 and sum (signal - quantized)^2.

    Those of a set of images are the sums of those of its parts.

    Args:
        signal: the exact values, float32 of any shape.
        quantized: the values with noise, of the same shape.
    """
    exact = signal.astype(np.float64)
    return np.array([np.square(exact).sum(), np.square(exact - quantized).sum()])


def sqnr_db(power: float, noise: float) -> float | None:
    """The signal-to-quantization-noise ratio in decibels, from the powers of signal and noise.

    Returns:
        The ratio, or None where it is not a finite number: there is no noise, or the signal is 0 everywhere.
    """
    return round(10 * math.log10(power / noise), 2) if power and noise else None


class Disagreement(NamedTuple):
    """An image that the two programs classify differently: its position, its label, and both predictions."""

    image: int
    actual: int
    fp32: int
    int8: int


def disagreements(fp32: Tensor, int8: Tensor, targets: Tensor) -> list[Disagreement]:
    """The images for which two sets of logits predict different digits.

    Args:
        fp32, int8: logits float32 [N, 10].
        targets: labels int64 [N].
    """
    rows = zip(targets.tolist(), fp32.argmax(1).tolist(), int8.argmax(1).tolist(), strict=True)
    return [Disagreement(image, *row) for image, row in enumerate(rows) if row[1] != row[2]]


def mcnemar(found: Sequence[Disagreement]) -> dict[str, int | float]:
    """McNemar's exact test on the disagreements (Psychometrika 12, 1947).

    Returns:
        `count`: the number of disagreements. `fp32_right`, `int8_right`: on how many of them that program is correct.
        `p_value`: the probability of a split at least this uneven if both were correct equally often. Below 0.05, int8
        changes the accuracy; above, the difference may be chance.
    """
    fp32 = sum(row.fp32 == row.actual for row in found)
    int8 = sum(row.int8 == row.actual for row in found)
    count = fp32 + int8
    tail = sum(math.comb(count, right) for right in range(min(fp32, int8) + 1))  # of the 2^count ways to be right
    p_value = min(1.0, 2 * tail / 2**count)
    return {"count": len(found), "fp32_right": fp32, "int8_right": int8, "p_value": round(p_value, 6)}
