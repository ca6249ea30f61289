"""The int8 program as C source: two files without dependencies, an example and a CMake project.

The text is in the folder `templates`. Here the numbers of the program become tables, after a check that the
program is one that the templates can express. The arithmetic is that of `armdigits.program.reference`.
"""

import textwrap
from collections.abc import Iterable
from dataclasses import dataclass, replace
from importlib import resources
from math import ceil, prod
from typing import Any

import jinja2
import numpy as np
from numpy.typing import NDArray

from armdigits.core.errors import BadInput
from armdigits.core.shape import Shape
from armdigits.csource.emulate import STACK_BYTES
from armdigits.program import reference
from armdigits.program.contents import TO_CHANNELS_FIRST, TO_CHANNELS_LAST, Contents, MaxPool, Window

TEMPLATES = ("digits.h", "digits.c")
COPIED = ("example.c", "CMakeLists.txt")
BACKGROUND = -128  # zero point of an activation that is 0 or more: its int8 values stand for 0 to 255 times its scale
NODES = {  # of a program that can be written in C, between a conversion to int8 and one from it
    *("XNNFullyConnected", "XNNConv2d", "XNNDepthwiseConv2d", "XNNMaxPooling2d"),
    *(TO_CHANNELS_LAST, TO_CHANNELS_FIRST, "XNNStaticReshape"),
}
ONE = Window((1, 1), (1, 1), (0, 0))  # a pooling of single pixels, which leaves them as they are


@dataclass(frozen=True)
class About:
    """What the head of the files says.

    Attributes:
        dataset: the name of the training data.
        shape: of an image.
        reading: of a picture file, see armdigits/pictures/reading.py.
        classes: their names, in the order of the logits.
        accuracy: a share and of what.
        weights_sha256: of the checkpoint.
    """

    dataset: str
    shape: Shape
    reading: str
    classes: tuple[str, ...]
    accuracy: str
    weights_sha256: str


@dataclass(frozen=True)
class Step:
    """A layer of the C source: the numbers of a linear layer, or of a convolution with the pooling after it.

    Attributes:
        layer: the numbers; the inputs of a weight are in the order in which they lie in memory.
        inputs, outputs: shapes (height, width, channels), or (features,) where the layer is no convolution.
        pool: of a convolution.
    """

    layer: reference.QuantizedLayer
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    pool: Window = ONE

    @property
    def windows(self) -> int:
        """How often the linear layer is computed for an image."""
        return prod(self.outputs[:2]) * prod(self.pool.size) if self.layer.window else 1


def sources(program: Contents, about: About) -> dict[str, str]:
    """The text of each file by its name, for an int8 program.

    Raises:
        BadInput: the program has other parts than the templates can express.
    """
    steps = _steps(program, about.shape)
    channels, height, width = about.shape
    layers = [step.layer for step in steps]
    first, last = layers[0], layers[-1]
    levels = input_levels(first)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("armdigits.csource", "templates"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - C, not HTML
    )
    environment.filters["comment"] = _comment
    shapes = ["x".join(map(str, shape)) for shape in (steps[0].inputs, *(step.outputs for step in steps))]
    windows = [layer.weight.shape[1] for layer in layers if layer.window]
    values = {
        "about": about,
        "title": f"{_image(about.shape)} to the logits of {len(about.classes)} classes; trained on {about.dataset}",
        "layers": [_tables(step) for step in steps],
        "levels": None if np.array_equal(levels, np.arange(256)) else _table(levels),
        "constant_bytes": sum(layer.weight.nbytes + layer.bias.nbytes + layer.factor.nbytes for layer in layers),
        "stack_kilobytes": stack_bytes(program, about.shape) // 1024,
        "shape": "-".join(shapes),
        "channels": channels,
        "height": height,
        "width": width,
        "index": "uint16_t" if max(layer.weight.shape[1] for layer in layers) <= 2**16 else "uint32_t",
        "steps": f"{np.float32(1) / first.input.scale:.6g}",
        "input_factor": _float(np.float32(1) / first.input.scale),
        "most_inputs": max(layer.weight.shape[1] for layer in layers),
        "most_outputs": max(len(layer.weight) for layer in layers),
        "largest_window": max(windows, default=0),
        "low": -128 - last.output.zero_point,
        "high": 127 - last.output.zero_point,
        "logit_scale": _float(last.output.scale),
    }
    folder = resources.files("armdigits.csource") / "templates"
    return {
        **{name: environment.get_template(f"{name}.in").render(values) for name in TEMPLATES},
        **{name: (folder / name).read_text("utf-8") for name in COPIED},
    }


def _image(shape: Shape) -> str:
    channels, height, width = shape
    return f"{height}x{width} pixels{' in colour' if channels == 3 else ''}"


def input_levels(first: reference.QuantizedLayer) -> NDArray[np.int64]:
    """The input of the first layer, above its zero point, for each value of a pixel: int64 [256]."""
    pixels = np.arange(256, dtype=np.float32) / np.float32(255)
    scaled = np.clip(pixels * (np.float32(1) / first.input.scale), np.float32(0), np.float32(255))
    levels: NDArray[np.int64] = np.rint(scaled).astype(np.int64)
    return levels


def stack_bytes(program: Contents, shape: Shape) -> int:
    """The stack that the C source stays below, in whole kilobytes: its arrays, and room for the rest.

    Raises:
        BadInput: as `sources`, or it is more than the emulators have.
    """
    steps = _steps(program, shape)
    layers = [step.layer for step in steps]
    most_inputs, most_outputs = (max(layer.weight.shape[axis] for layer in layers) for axis in (1, 0))
    windows = [layer.weight.shape[1] for layer in layers if layer.window]
    index = 2 if most_inputs <= 2**16 else 4  # bytes
    multiply = index * most_inputs + 4 * most_outputs  # convolutions have them in a function of their own
    arrays = prod(shape) + sum(prod(step.outputs) for step in steps[:-1]) + multiply
    arrays += max(windows) + multiply if windows else 0
    stack: int = 1024 * ceil((arrays + 256) / 1024)
    if stack > STACK_BYTES:
        raise BadInput(f"C source: the layers need {stack:,} bytes of stack, more than {STACK_BYTES:,}")
    return stack


def multiplications(program: Contents, shape: Shape) -> int:
    """The multiplications of weights for one image.

    Raises:
        BadInput: as `sources`.
    """
    return sum(step.layer.weight.size * step.windows for step in _steps(program, shape))


def _steps(program: Contents, image: Shape) -> list[Step]:
    """The layers, after a check that there is nothing else and that the arithmetic of the templates holds for them.

    Args:
        program: the contents of an int8 program.
        image: the shape of one.
    """
    first, *inner, last = program.nodes if len(program.nodes) > 2 else ("", "nothing", "")
    if (first, last) != ("XNNConvert", "XNNConvert") or not set(inner) <= NODES or len(program.delegates) != 1:
        raise BadInput(f"C source: expected layers between two conversions, found {', '.join(program.nodes) or 'none'}")
    try:
        layers = reference.quantized_layers(program)
    except ValueError as error:
        raise BadInput(f"C source: {error}") from None
    for position, layer in enumerate(layers):
        _check(f"C source: layer {position}", layer, last=layer is layers[-1])
    steps: list[Step] = []
    left = iter(layers)
    channels, height, width = image
    shape: tuple[int, ...] = (height, width, channels)
    for part in program.layers:
        if isinstance(part, MaxPool):
            size = part.window.size
            apart = part.window == Window(size, size, (0, 0))
            if not (steps and steps[-1].layer.window and steps[-1].pool == ONE and apart):
                raise BadInput(
                    f"C source: pooling of {part.window}; expected a stride of its size, after a convolution"
                )
            shape = (shape[0] // size[0], shape[1] // size[1], shape[2])
            steps[-1] = replace(steps[-1], pool=part.window, outputs=shape)
            continue
        layer = next(left)
        if steps and steps[-1].layer.output != layer.input:
            raise BadInput("C source: expected each layer to take the output of the one before it")
        step = _convolution(layer, layer.window, shape) if layer.window else _linear(layer, shape)
        steps.append(step)
        shape = step.outputs
    return steps


def _check(name: str, layer: reference.QuantizedLayer, last: bool) -> None:
    """Raise BadInput where the arithmetic of the templates would not hold for a layer."""
    most = np.abs(layer.weight.astype(np.int64)).sum(1) * 255 + np.abs(layer.bias.astype(np.int64))
    if layer.input.zero_point != BACKGROUND:
        raise BadInput(f"{name}: expected an input with zero point {BACKGROUND}, found {layer.input.zero_point}")
    if layer.relu is last or (not last and layer.output.zero_point != BACKGROUND):
        raise BadInput(f"{name}: expected a ReLU after each layer but the last")
    if most.max() >= 2**31:
        raise BadInput(f"{name}: its sums do not fit into 32 bits")
    if not (np.isfinite(layer.factor).all() and np.isfinite(layer.output.scale) and layer.input.scale > 0):
        raise BadInput(f"{name}: expected finite scales above 0")


def _linear(layer: reference.QuantizedLayer, shape: tuple[int, ...]) -> Step:
    """A linear layer. After a convolution its weights move: the channels come last in C, and first in torch."""
    outputs, inputs = layer.weight.shape
    if inputs != prod(shape):
        raise BadInput(f"C source: expected {prod(shape)} inputs, found {inputs}")
    if len(shape) == 3:
        height, width, channels = shape
        moved = layer.weight.reshape(outputs, channels, height, width).transpose(0, 2, 3, 1)
        layer = replace(layer, weight=moved.reshape(outputs, inputs))
    return Step(layer, (inputs,), (outputs,))


def _convolution(layer: reference.QuantizedLayer, window: Window, shape: tuple[int, ...]) -> Step:
    """A convolution, the inputs of its windows in the order (row, column, channel)."""
    outputs, (rows, columns) = len(layer.weight), window.size
    if len(shape) != 3 or layer.weight.shape[1] != rows * columns * shape[2]:
        raise BadInput("C source: expected each layer to take the output of the one before it")
    moved = layer.weight.reshape(outputs, shape[2], rows, columns).transpose(0, 2, 3, 1)
    sizes = zip(shape, window.size, window.stride, window.padding, strict=False)
    height, width = ((size + 2 * padding - seen) // stride + 1 for size, seen, stride, padding in sizes)
    return Step(replace(layer, weight=moved.reshape(outputs, -1)), shape, (height, width, outputs))


def _tables(step: Step) -> dict[str, Any]:
    layer, window = step.layer, step.layer.window
    outputs, inputs = layer.weight.shape
    return {
        "inputs": inputs,
        "outputs": outputs,
        "weight": _table(layer.weight.T.reshape(-1)),
        "bias": _table(layer.bias),
        "factor": _table(layer.factor),
        "size": prod(step.outputs),
        "shape": window and ", ".join(map(str, (*step.inputs, *window.size, *window.stride, *window.padding))),
        "pooled": ", ".join(map(str, (*step.pool.size, *step.outputs))),
    }


def _comment(text: str) -> str:
    """A text for a comment in C, in lines of at most 120 columns, 3 columns in after the first. It cannot end it."""
    harmless = "".join(letter if letter.isprintable() else " " for letter in text).replace("*/", "* /")
    return textwrap.fill(harmless.replace("/*", "/ *"), 114, subsequent_indent="   ", break_on_hyphens=False)


def _table(numbers: Iterable[Any]) -> str:
    """The numbers as lines of C, each 2 columns in and at most 120 wide."""
    texts = (_float(number) if isinstance(number, np.floating) else str(int(number)) for number in numbers)
    return textwrap.fill(", ".join(texts), 118, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False)


def _float(number: np.floating[Any]) -> str:
    """A float32 constant in C; nine digits determine it."""
    text = f"{number:.9g}"
    return f"{text}f" if "." in text or "e" in text else f"{text}.0f"
