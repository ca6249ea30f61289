"""Centred inputs: the model learns from images minus the mean image.

Pixels are 0 or positive, so the gradients of all weights of a first-layer neuron share a direction, that of the mean
image, and the steps are spent on it; centred inputs avoid that (Y. LeCun et al., "Efficient BackProp", 1998, section
4.3). The network stays as it is: a bias of the first layer holds what the mean image adds.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from armdigits.data.dataset import Split

BLOCK = 4096  # images; 255 times as many are less than 2^24


def mean_image(data: Split) -> Tensor:
    """The mean of the images, float32 [1, 28, 28]; its sums are exact, so it is the same on every device.

    Sums up to 2^24 are exact in float32, which takes a thirtieth of the time that int64 takes, and less memory.
    """
    sums = torch.stack([block.float().sum(0) for block in data.images.split(BLOCK)])
    return (sums.sum(0, dtype=torch.int64) / (255 * len(data))).unsqueeze(0)


@contextmanager
def centred_inputs(model: nn.Module, mean: Tensor | None) -> Iterator[None]:
    """In this context a model that `can_be_centred` expects images minus `mean` [1, 28, 28]; None changes nothing.

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
