"""The int8 program in NumPy, to the bit, from the integers, scales and zero points in its file.

The method is that of XNNPACK's fully connected kernels for int8 with a weight scale per output channel
(https://github.com/google/XNNPACK, `qs8-qc8w-gemm`): sums in int32, times one float32 factor per channel, clamped,
rounded to the nearest integer (halves to the even one), moved to the output's zero point. A fused ReLU is the lower
bound of the clamp.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from armdigits.program.contents import Activation, Contents, Linear

Int8 = NDArray[np.int8]
Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class Layer:
    """The numbers of one fused linear layer.

    Attributes:
        weight: int8 [out, in].
        bias: int32 [out]; 0 where the layer has none.
        factor: float32 [out], input scale * weight scale / output scale.
        relu: whether outputs below 0 become 0.
        input, output: scale and zero point of its activations.
    """

    weight: Int8
    bias: NDArray[np.int32]
    factor: Float32
    relu: bool
    input: Activation
    output: Activation

    def __call__(self, inputs: Int8) -> Int8:
        """Map int8 [N, in] to int8 [N, out]."""
        low = self.output.zero_point if self.relu else -128
        return _rounded(self.sums(inputs).astype(np.float32) * self.factor, self.output.zero_point, low)

    def sums(self, inputs: Int8) -> NDArray[np.int32]:
        """bias + weight (input - zero point): int8 [N, in] -> int32 [N, out], modulo 2^32.

        NumPy multiplies matrices of float64 faster than those of integers, and as exactly: all sums are below 2^53.
        """
        centred = inputs.astype(np.float64) - self.input.zero_point
        exact = centred @ self.weight.T.astype(np.float64) + self.bias
        return exact.astype(np.int64).astype(np.int32)


def layers_of(program: Contents) -> list[Layer]:
    """The linear layers of an int8 program.

    Raises:
        ValueError: a layer has weights or activations that are not int8.
    """
    return [_layer(position, linear) for position, linear in enumerate(program.linears)]


def activations(program: Contents, pixels: Float32) -> list[Float32]:
    """The output of each linear layer of an int8 program, after its fused ReLU; the last is the logits.

    Args:
        program: the contents of the int8 program.
        pixels: float32 [N, 1, 28, 28] in [0, 1].

    Returns:
        float32 [N, out] for each layer: the values that its int8 outputs represent.

    Raises:
        ValueError: as `layers_of`.
    """
    layers = layers_of(program)
    first = layers[0].input
    values = _rounded(pixels.reshape(len(pixels), -1) * (np.float32(1) / first.scale), first.zero_point)
    results = []
    for layer in layers:
        values = layer(values)
        results.append((values.astype(np.float32) - np.float32(layer.output.zero_point)) * layer.output.scale)
    return results


def _layer(position: int, linear: Linear) -> Layer:
    weight = linear.weight
    if weight.scale is None or weight.stored.dtype != np.int8 or not linear.input or not linear.output:
        raise ValueError(f"linear layer {position}: expected int8 weights and activations")
    bias = linear.bias.stored if linear.bias else np.zeros(len(weight.stored), np.int32)
    factor = linear.input.scale * weight.scale / linear.output.scale
    return Layer(weight.stored, bias, factor, linear.relu, linear.input, linear.output)


def _rounded(scaled: Float32, zero_point: int, low: int = -128) -> Int8:
    """float32 in units of the scale -> int8: clamped to [low, 127], rounded, moved to the zero point."""
    clamped = np.clip(scaled, np.float32(low - zero_point), np.float32(127 - zero_point))
    return (np.rint(clamped).astype(np.int16) + np.int16(zero_point)).astype(np.int8)
