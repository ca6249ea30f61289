"""The int8 program in NumPy, to the bit, from the integers, scales and zero points in its file.

The method is that of XNNPACK's kernels for int8 with a weight scale per output channel
(https://github.com/google/XNNPACK, `qs8-qc8w-gemm`, `-igemm`, `-dwconv`): sums in int32, times one float32 factor per
channel, clamped, rounded to the nearest integer (halves to the even one), moved to the output's zero point. A fused
ReLU is the lower bound of the clamp. A convolution is a linear layer on each of its windows, padded with zero points.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from armdigits.program.contents import Activation, Contents, Convolution, Linear, MaxPool, Window

Int8 = NDArray[np.int8]
Float32 = NDArray[np.float32]

BATCH = 500  # images at a time, to limit memory


@dataclass(frozen=True)
class QuantizedLayer:
    """The numbers of one fused linear layer; a convolution is a linear layer on each of its windows.

    Attributes:
        weight: int8 [out, in].
        bias: int32 [out]; 0 where the layer has none.
        factor: float32 [out], input scale * weight scale / output scale.
        relu: whether outputs below 0 become 0.
        input, output: scale and zero point of its activations.
        window: of a convolution, whose weights have the order [out, channel, row, column], flattened.
    """

    weight: Int8
    bias: NDArray[np.int32]
    factor: Float32
    relu: bool
    input: Activation
    output: Activation
    window: Window | None = None

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


def quantized_layers(program: Contents) -> list[QuantizedLayer]:
    """The layers with weights of an int8 program.

    Raises:
        ValueError: a layer has weights or activations that are not int8.
    """
    return [_layer(position, part) for position, part in enumerate(program.weighted)]


def reference_logits(program: Contents, images: NDArray[np.uint8]) -> Float32:
    """The logits float32 [N, classes] of any number of images uint8 [N, C, H, W]; see `activations`."""
    batches = (images[at : at + BATCH].astype(np.float32) / np.float32(255) for at in range(0, len(images), BATCH))
    return np.concatenate([activations(program, pixels)[-1] for pixels in batches])


def activations(program: Contents, pixels: Float32) -> list[Float32]:
    """The output of each layer with weights of an int8 program, after its fused ReLU; the last is the logits.

    Args:
        program: the contents of the int8 program.
        pixels: float32 [N, C, H, W] in [0, 1].

    Returns:
        float32 [N, out], or [N, out, height, width], for each layer: the values that its int8 outputs represent.

    Raises:
        ValueError: as `quantized_layers`.
    """
    layers = quantized_layers(program)
    first = layers[0].input
    values = _rounded(pixels * (np.float32(1) / first.scale), first.zero_point)
    left, results = iter(layers), []
    for part in program.layers:
        if isinstance(part, MaxPool):
            values = _windows(values, part.window, -128).max(-1)
            continue
        layer = next(left)
        values = _convolved(layer, layer.window, values) if layer.window else layer(values.reshape(len(values), -1))
        results.append((values.astype(np.float32) - np.float32(layer.output.zero_point)) * layer.output.scale)
    return results


def _layer(position: int, part: Linear | Convolution) -> QuantizedLayer:
    weight = part.weight
    if weight.scale is None or weight.stored.dtype != np.int8 or not part.input or not part.output:
        raise ValueError(f"layer {position}: expected int8 weights and activations")
    bias = part.bias.stored if part.bias else np.zeros(len(weight.stored), np.int32)
    factor = part.input.scale * weight.scale / part.output.scale
    stored, window = weight.stored, None
    if isinstance(part, Convolution):
        stored, window = _without_groups(stored, part.groups), part.window
    return QuantizedLayer(stored.reshape(len(stored), -1), bias, factor, part.relu, part.input, part.output, window)


def _without_groups(weight: Int8, groups: int) -> Int8:
    """The weight int8 [out, in, height, width] of a convolution of groups: 0 where an output does not see an input."""
    outputs, inputs = len(weight) // groups, weight.shape[1]
    dense = np.zeros((len(weight), inputs * groups, *weight.shape[2:]), np.int8)
    for group in range(groups):
        rows = slice(group * outputs, (group + 1) * outputs)
        dense[rows, group * inputs : (group + 1) * inputs] = weight[rows]
    return dense


def _convolved(layer: QuantizedLayer, window: Window, values: Int8) -> Int8:
    """The output int8 [N, out, height, width] of a convolution of int8 [N, in, height, width]."""
    windows = _windows(values, window, layer.input.zero_point).transpose(0, 2, 3, 1, 4)
    count, height, width, *_ = windows.shape
    outputs = layer(windows.reshape(count * height * width, -1))
    return outputs.reshape(count, height, width, -1).transpose(0, 3, 1, 2)


def _windows(values: Int8, window: Window, padding: int) -> Int8:
    """What a window sees at each of its places: int8 [N, channels, H, W] -> [N, channels, H', W', height * width]."""
    (rows, columns), (down, right) = window.padding, window.stride
    padded = np.pad(values, ((0, 0), (0, 0), (rows, rows), (columns, columns)), constant_values=padding)
    views = np.lib.stride_tricks.sliding_window_view(padded, window.size, axis=(2, 3))[:, :, ::down, ::right]
    return views.reshape(*views.shape[:4], -1)


def _rounded(scaled: Float32, zero_point: int, low: int = -128) -> Int8:
    """float32 in units of the scale -> int8: clamped to [low, 127], rounded, moved to the zero point."""
    clamped = np.clip(scaled, np.float32(low - zero_point), np.float32(127 - zero_point))
    return (np.rint(clamped).astype(np.int16) + np.int16(zero_point)).astype(np.int8)
