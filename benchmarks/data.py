"""What several benchmarks train on."""

import torch

from armdigits.core.parameters import Augmentation
from armdigits.core.shape import MNIST, Shape
from armdigits.data.dataset import Split

NO_AUGMENTATION = Augmentation(rotation=0, zoom=0, shear=0, shift=0, stroke=0, flip=0, fade=0)


def noise(count: int, seed: int = 1, classes: int = 10, shape: Shape = MNIST) -> Split:
    """Random images, which cost as much as digits: uint8 [count, *shape], with labels 0, 1, ..., classes - 1, 0, ..."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (count, *shape), dtype=torch.uint8, generator=generator)
    return Split(images, (torch.arange(count) % classes).to(torch.uint8))
