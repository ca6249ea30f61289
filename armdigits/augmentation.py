"""Distorted digits: every image gets a rotation, zoom, shear and shift of its own, all in one affine map."""

import math

import torch
from torch import Tensor
from torch.nn import functional

from armdigits.parameters import Augmentation

CHUNK = 1000  # images at a time: their coordinates fit into the processor's cache


def augment(pixels: Tensor, ranges: Augmentation, generator: torch.Generator) -> Tensor:
    """Distort images float32 [N, 1, 28, 28]; what comes from outside the image is paper (0)."""
    return distort(pixels, ranges, draw(len(pixels), generator))


def draw(count: int, generator: torch.Generator) -> Tensor:
    """The random numbers that decide how `count` images are distorted, float32 [6, count] from -1 to 1.

    They are drawn on the CPU, so that a seed means the same distortions on every device.
    """
    sizes = [min(CHUNK, count - start) for start in range(0, count, CHUNK)]
    return torch.cat([2 * torch.rand(6, size, generator=generator) - 1 for size in sizes], dim=1)


def distort(pixels: Tensor, ranges: Augmentation, numbers: Tensor) -> Tensor:
    """Distort images float32 [N, 1, 28, 28] as their `numbers` [6, N] from `draw` say."""
    chunks = zip(pixels.split(CHUNK), numbers.split(CHUNK, dim=1), strict=True)
    return torch.cat([_distort(chunk, ranges, numbers_of_chunk) for chunk, numbers_of_chunk in chunks])


def _distort(pixels: Tensor, ranges: Augmentation, numbers: Tensor) -> Tensor:
    count, pixel = len(pixels), 2 / pixels.shape[-1]  # a pixel in grid_sample's coordinates, which go from -1 to 1
    turn, log_x, log_y, shear, shift_x, shift_y = numbers
    sine, cosine = (turn * math.radians(ranges.rotation)).sin(), (turn * math.radians(ranges.rotation)).cos()
    zoom_x, zoom_y = (log_x * ranges.zoom).exp(), (log_y * ranges.zoom).exp()
    shear = shear * ranges.shear
    shift = ranges.shift * pixel
    rows = (
        cosine * zoom_x, cosine * shear - sine * zoom_y, shift_x * shift,
        sine * zoom_x, sine * shear + cosine * zoom_y, shift_y * shift,
    )  # fmt: skip
    affine = torch.stack(rows, dim=1).view(count, 2, 3).to(pixels.device)
    grid = functional.affine_grid(affine, list(pixels.shape), align_corners=False)
    return functional.grid_sample(pixels, grid, padding_mode="zeros", align_corners=False)
