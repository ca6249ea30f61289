"""Centred inputs: the model learns from images minus the mean image.

Pixels are 0 or positive, so the gradients of all weights of a first-layer neuron share a direction, that of the mean
image, and the steps are spent on it; centred inputs avoid that (Y. LeCun et al., "Efficient BackProp", 1998, section
4.3). The network stays as it is: a bias of the first layer holds what the mean image adds.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

BLOCK = 1024  # images at a time, to limit memory; 255 times as many are less than 2^24


def mean_image(images: Tensor) -> Tensor:
    """The mean of images uint8 [N, C, H, W], float32 [C, H, W]; its sums are exact, so all devices give the same.

    Sums up to 2^24 are exact in float32, which takes a thirtieth of the time that int64 takes, and less memory.
    """
    sums = torch.stack([block.float().sum(0) for block in images.split(BLOCK)])
    mean = sums.sum(0, dtype=torch.int64) / (255 * len(images))
    return mean.reshape(-1, *mean.shape[-2:])  # of images [N, H, W] as well


@contextmanager
def centred_inputs(model: nn.Module, mean: Tensor | None) -> Iterator[None]:
    """In this context a model that `can_be_centred` expects images minus `mean` [C, H, W]; None changes nothing.

    The logits of an image are the same within and without, up to rounding.
    """
    layer = _first_layer(model)
    if mean is None or layer is None:
        yield
        return
    with torch.no_grad():
        layer.bias.add_(layer.weight @ mean.flatten())
    yield
    with torch.no_grad():
        layer.bias.sub_(layer.weight @ mean.flatten())


def can_be_centred(model: nn.Module) -> bool:
    """Whether the model begins with a flattening and a linear layer with a bias, which can make up for the mean image.

    A convolution cannot: it pads images with 0, and centred ones with the background's mean, which differs by pixel.
    """
    return _first_layer(model) is not None


def _first_layer(model: nn.Module) -> nn.Linear | None:
    match list(model.children()):
        case [nn.Flatten(), nn.Linear() as layer, *_] if layer.bias is not None:
            return layer
    return None
