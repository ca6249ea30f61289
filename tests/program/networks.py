"""Small int8 programs without ExecuTorch: the contents that a file of theirs would have."""

from itertools import pairwise

import numpy as np

from armdigits.program.contents import Activation, Constant, Contents, Linear

PIXEL = Activation(np.float32(1) / np.float32(255), -128)


def contents(linears: tuple[Linear, ...], nodes: tuple[str, ...] | None = None) -> Contents:
    expected = ("XNNConvert", *["XNNFullyConnected"] * len(linears), "XNNConvert")
    return Contents(("XnnpackBackend",), (), expected if nodes is None else nodes, linears)


def network(*sizes: int, seed: int = 0, pixel: Activation = PIXEL) -> Contents:
    """Layers of random weights, with activations that use most of their range."""
    random = np.random.default_rng(seed)
    linears, before = [], pixel
    for position, (inputs, outputs) in enumerate(pairwise(sizes)):
        relu = position < len(sizes) - 2
        weight = Constant(
            random.integers(-127, 128, (outputs, inputs)).astype(np.int8),
            random.uniform(0.001, 0.002, outputs).astype(np.float32),
        )
        bias = Constant(random.integers(-20_000, 20_000, outputs).astype(np.int32), None)
        spread = float(before.scale) * 0.0015 * 73 * 60 * inputs**0.5
        after = Activation(np.float32(spread / 60), -128 if relu else 7)
        linears.append(Linear(weight, bias, relu, before, after))
        before = after
    return contents(tuple(linears))


def halves(count: int) -> Contents:
    """One layer whose sums, for an empty image, round differently when multiplication and addition are fused.

    The float32 product of sum and factor ends in exactly .5, which the exact product does not.
    """
    random = np.random.default_rng(1)
    sums, scales = np.zeros(count, np.int32), np.zeros(count, np.float32)
    found = 0
    while found < count:
        scale = np.float32(random.uniform(5e-6, 2e-5))
        factor = PIXEL.scale * scale / PIXEL.scale
        value = np.int32(round((random.integers(-100, 100) + 0.5) / float(factor)))
        product, exact = np.float32(value) * factor, float(value) * float(factor)
        if np.rint(product) != np.rint(exact):
            sums[found], scales[found] = value, scale
            found += 1
    weight = Constant(random.integers(-127, 128, (count, 784)).astype(np.int8), scales)
    return contents((Linear(weight, Constant(sums, None), False, PIXEL, Activation(PIXEL.scale, 7)),))


def pictures(count: int) -> np.ndarray:
    """uint8 [count, 28, 28]: an empty image, one without zeros, then noise with more and more of its pixels zero."""
    random = np.random.default_rng(2)
    images = random.integers(0, 256, (count, 28, 28)).astype(np.uint8)
    for position, image in enumerate(images):
        image[random.random((28, 28)) < position / count] = 0
    images[0], images[1] = 0, np.maximum(images[1], 1)
    return images
