"""The int8 program as C source: two files without dependencies, an example and a CMake project.

The text is in the templates of the folder `c`. Here the numbers of the program become tables, after a check that the
program is one that the templates can express. The arithmetic is that of `armdigits.program.reference`.
"""

import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources
from itertools import pairwise
from typing import Any

import jinja2
import numpy as np
from numpy.typing import NDArray

from armdigits.core.errors import BadInput
from armdigits.program import reference
from armdigits.program.contents import Contents

TEMPLATES = ("digits.h", "digits.c")
COPIED = ("example.c", "CMakeLists.txt")
SIDE = 28  # of the images, in pixels
BACKGROUND = -128  # zero point of an activation that is 0 or more: its int8 values stand for 0 to 255 times its scale
STACK_BYTES = 4096


@dataclass(frozen=True)
class About:
    """What the head of the files says.

    Attributes:
        title: one line: which network, trained on which data.
        accuracy: a share and of what.
        weights_sha256: of the checkpoint.
    """

    title: str
    accuracy: str
    weights_sha256: str


def sources(program: Contents, about: About) -> dict[str, str]:
    """The text of each file by its name, for an int8 program.

    Raises:
        BadInput: the program has other parts than the templates can express.
    """
    layers = _layers(program)
    first, last = layers[0], layers[-1]
    levels = input_levels(first)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("armdigits.program", "c"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - C, not HTML
    )
    values = {
        "about": about,
        "layers": [_tables(layer) for layer in layers],
        "levels": None if np.array_equal(levels, np.arange(256)) else _table(levels),
        "constant_bytes": sum(layer.weight.nbytes + layer.bias.nbytes + layer.factor.nbytes for layer in layers),
        "shape": "-".join(str(size) for size in (first.weight.shape[1], *(len(layer.weight) for layer in layers))),
        "side": SIDE,
        "steps": f"{np.float32(1) / first.input.scale:.6g}",
        "input_factor": _float(np.float32(1) / first.input.scale),
        "most_inputs": max(layer.weight.shape[1] for layer in layers),
        "most_outputs": max(len(layer.weight) for layer in layers),
        "low": -128 - last.output.zero_point,
        "high": 127 - last.output.zero_point,
        "logit_scale": _float(last.output.scale),
    }
    folder = resources.files("armdigits.program") / "c"
    return {
        **{name: environment.get_template(f"{name}.in").render(values) for name in TEMPLATES},
        **{name: (folder / name).read_text() for name in COPIED},
    }


def input_levels(first: reference.Layer) -> NDArray[np.int64]:
    """The input of the first layer, above its zero point, for each value of a pixel: int64 [256]."""
    pixels = np.arange(256, dtype=np.float32) / np.float32(255)
    scaled = np.clip(pixels * (np.float32(1) / first.input.scale), np.float32(0), np.float32(255))
    levels: NDArray[np.int64] = np.rint(scaled).astype(np.int64)
    return levels


def _layers(program: Contents) -> list[reference.Layer]:
    """The layers, after a check that there is nothing else and that the arithmetic of the templates holds for them."""
    expected = ("XNNConvert", *["XNNFullyConnected"] * len(program.linears), "XNNConvert")
    if not program.linears or program.nodes != expected or len(program.delegates) != 1:
        raise BadInput(f"C source: expected linear layers between two conversions, found {', '.join(program.nodes)}")
    try:
        layers = reference.layers_of(program)
    except ValueError as error:
        raise BadInput(f"C source: {error}") from None
    *hidden, last = layers
    for position, layer in enumerate(layers):
        name = f"C source: linear layer {position}"
        most = np.abs(layer.weight.astype(np.int64)).sum(1) * 255 + np.abs(layer.bias.astype(np.int64))
        if layer.input.zero_point != BACKGROUND:
            raise BadInput(f"{name}: expected an input with zero point {BACKGROUND}, found {layer.input.zero_point}")
        if layer.relu is (layer is last) or (layer is not last and layer.output.zero_point != BACKGROUND):
            raise BadInput(f"{name}: expected a ReLU after each layer but the last")
        if most.max() >= 2**31:
            raise BadInput(f"{name}: its sums do not fit into 32 bits")
        if not (np.isfinite(layer.factor).all() and np.isfinite(layer.output.scale) and layer.input.scale > 0):
            raise BadInput(f"{name}: expected finite scales above 0")
    if layers[0].weight.shape[1] != SIDE * SIDE:
        raise BadInput(f"C source: expected {SIDE * SIDE} inputs, found {layers[0].weight.shape[1]}")
    for before, after in pairwise(layers):
        if before.output != after.input or len(before.weight) != after.weight.shape[1]:
            raise BadInput("C source: expected each layer to take the output of the one before it")
    stack = 2 * (SIDE * SIDE + 2) + 4 * max(len(layer.weight) for layer in layers)
    stack += sum(len(layer.weight) for layer in hidden)
    if stack + SIDE * SIDE > STACK_BYTES or max(layer.weight.shape[1] for layer in layers) > SIDE * SIDE:
        raise BadInput(
            f"C source: layers of {SIDE * SIDE}-{'-'.join(str(len(layer.weight)) for layer in layers)} "
            f"outputs need more than {STACK_BYTES} bytes of stack"
        )
    return layers


def _tables(layer: reference.Layer) -> dict[str, Any]:
    outputs, inputs = layer.weight.shape
    return {
        "inputs": inputs,
        "outputs": outputs,
        "weight": _table(layer.weight.T.reshape(-1)),
        "bias": _table(layer.bias),
        "factor": _table(layer.factor),
    }


def _table(numbers: Iterable[Any]) -> str:
    """The numbers as lines of C, each 2 columns in and at most 120 wide."""
    texts = (_float(number) if isinstance(number, np.floating) else str(int(number)) for number in numbers)
    return textwrap.fill(", ".join(texts), 118, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False)


def _float(number: np.floating[Any]) -> str:
    """A float32 constant in C; nine digits determine it."""
    text = f"{number:.9g}"
    return f"{text}f" if "." in text or "e" in text else f"{text}.0f"
