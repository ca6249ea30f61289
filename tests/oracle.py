"""The int8 program once more, in NumPy, from the integers, scales and zero points that stand in its file.

What XNNPACK's kernels for int8 with a weight scale for each channel do: sums in int32, one float32 factor an output,
rounding to the nearest integer (halves to the even one), saturation, and the ReLU as a lower bound.
"""

import numpy as np
from numpy.typing import NDArray

from armdigits.inspection import Activation, Contents, Linear

Int8 = NDArray[np.int8]
Float32 = NDArray[np.float32]


def stored(scaled: Float32, activation: Activation, low: int = -128) -> Int8:
    """float32 in steps of the activation's scale -> int8: rounded, moved to the zero point, saturated."""
    low, high = np.float32(low - activation.zero_point), np.float32(127 - activation.zero_point)
    return (np.rint(np.clip(scaled, low, high)).astype(np.int32) + activation.zero_point).astype(np.int8)


def sums(linear: Linear, inputs: Int8) -> NDArray[np.int32]:
    """bias + weight (input - zero point), int8 [N, in] -> int32 [N, out].

    NumPy multiplies float64 matrices far faster than integer ones, and as exactly: all sums are below 2^53.
    """
    centred = inputs.astype(np.float64) - linear.input.zero_point
    exact = centred @ linear.weight.stored.T.astype(np.float64) + linear.bias.stored
    assert np.abs(exact).max() < 2**31, "int32 would overflow"
    return exact.astype(np.int32)


def apply(linear: Linear, inputs: Int8) -> Int8:
    """One fused layer, int8 [N, in] -> int8 [N, out]."""
    factor = linear.input.scale * linear.weight.scale / linear.output.scale
    low = linear.output.zero_point if linear.relu else -128
    return stored(sums(linear, inputs).astype(np.float32) * factor, linear.output, low)


def activations(program: Contents, pixels: Float32) -> list[Float32]:
    """What follows each layer, float32 [N, features], for pixels float32 [N, 1, 28, 28]; the logits last."""
    first = program.linears[0].input
    values = stored(pixels.reshape(len(pixels), -1) * (np.float32(1) / first.scale), first)
    results = []
    for linear in program.linears:
        values = apply(linear, values)
        results.append((values.astype(np.int32) - linear.output.zero_point).astype(np.float32) * linear.output.scale)
    return results
