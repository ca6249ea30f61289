"""Small int8 programs without ExecuTorch: the contents that a file of theirs would have."""

from itertools import pairwise
from math import prod

import numpy as np

from armdigits.program.contents import Activation, Constant, Contents, Convolution, Linear, MaxPool, Node, Window

PIXEL = Activation(np.float32(1) / np.float32(255), -128)


def contents(layers: tuple[Node, ...]) -> Contents:
    nodes = {Linear: "XNNFullyConnected", Convolution: "XNNConv2d", MaxPool: "XNNMaxPooling2d"}
    return Contents(
        ("XnnpackBackend",), (), ("XNNConvert", *(nodes[type(layer)] for layer in layers), "XNNConvert"), layers
    )


def network(*sizes: int, seed: int = 0, pixel: Activation = PIXEL) -> Contents:
    """Linear layers of random weights, with activations that use most of their range."""
    random, layers, before = np.random.default_rng(seed), [], pixel
    for position, (inputs, outputs) in enumerate(pairwise(sizes)):
        layers.append(linear(random, (outputs, inputs), before, relu=position < len(sizes) - 2))
        before = layers[-1].output
    return contents(tuple(layers))


def linear(random: np.random.Generator, shape: tuple[int, ...], before: Activation | None, relu: bool = True) -> Linear:
    """One layer of random weights int8 [out, in, ...]."""
    weight = Constant(
        random.integers(-127, 128, shape).astype(np.int8), random.uniform(0.001, 0.002, shape[0]).astype(np.float32)
    )
    bias = Constant(random.integers(-20_000, 20_000, shape[0]).astype(np.int32), None)
    assert before
    spread = float(before.scale) * 0.0015 * 73 * 60 * prod(shape[1:]) ** 0.5
    return Linear(weight, bias, relu, before, Activation(np.float32(spread / 60), -128 if relu else 7))


def convolutional(seed: int = 0) -> Contents:
    """All that a network of convolutions can have: windows that are not square, groups, pooling with a remainder."""
    random = np.random.default_rng(seed)
    first = linear(random, (4, 1, 5, 3), PIXEL)
    second = linear(random, (8, 1, 3, 3), first.output)
    third = linear(random, (6, 4, 2, 3), second.output)
    hidden = linear(random, (20, 6 * 3 * 4), third.output)
    return contents(
        (
            Convolution(**vars(first), window=Window((5, 3), (2, 1), (2, 0)), groups=1),  # 14 x 26
            MaxPool(Window((2, 3), (2, 3), (0, 0))),  # 7 x 8
            Convolution(**vars(second), window=Window((3, 3), (1, 1), (1, 1)), groups=4),  # depthwise
            Convolution(**vars(third), window=Window((2, 3), (1, 1), (0, 1)), groups=2),  # 6 x 8
            MaxPool(Window((2, 2), (2, 2), (0, 0))),  # 3 x 4
            hidden,
            linear(random, (10, 20), hidden.output, relu=False),
        )
    )


def colourful(seed: int = 0) -> Contents:
    """A convolution with pooling of images [3, 24, 40]."""
    random = np.random.default_rng(seed)
    first = linear(random, (5, 3, 5, 3), PIXEL)
    last = linear(random, (10, 5 * 6 * 12), first.output, relu=False)
    window, pool = Window((5, 3), (2, 1), (2, 0)), Window((2, 3), (2, 3), (0, 0))  # 12 x 38, then 6 x 12
    return contents((Convolution(**vars(first), window=window, groups=1), MaxPool(pool), last))


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
