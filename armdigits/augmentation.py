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
    maps = _maps(numbers, ranges, pixels.shape[-1]).to(pixels.device)
    parts = zip(pixels.split(CHUNK), maps.split(CHUNK, dim=2), strict=True)
    return torch.cat([_sample(*part) for part in parts])


def _maps(numbers: Tensor, ranges: Augmentation, side: int) -> Tensor:
    """The affine maps from places in the distorted images to places in the images, float32 [2, 3, N].

    Places are grid_sample's: x and y go from -1 to 1.
    """
    turn, log_x, log_y, shear, shift_x, shift_y = numbers
    sine, cosine = (turn * math.radians(ranges.rotation)).sin(), (turn * math.radians(ranges.rotation)).cos()
    zoom_x, zoom_y = (log_x * ranges.zoom).exp(), (log_y * ranges.zoom).exp()
    shear = shear * ranges.shear
    shift = ranges.shift * 2 / side
    to_x = cosine * zoom_x, cosine * shear - sine * zoom_y, shift_x * shift
    to_y = sine * zoom_x, sine * shear + cosine * zoom_y, shift_y * shift
    return torch.stack([*to_x, *to_y]).view(2, 3, -1)


def _sample(pixels: Tensor, maps: Tensor) -> Tensor:
    side = pixels.shape[-1]
    middles = torch.linspace(-1, 1, side, device=pixels.device) * (side - 1) / side  # of the pixels
    of_x, of_y, shift = maps.transpose(0, 1)[..., None]  # each [2, N, 1]
    # What functional.affine_grid gives, which takes ten times as long: it multiplies a matrix for each pixel.
    grid = (of_y * middles)[..., None] + (of_x * middles)[..., None, :]  # [2, N, side, side]
    grid += shift[..., None]
    return functional.grid_sample(pixels, grid.permute(1, 2, 3, 0), padding_mode="zeros", align_corners=False)
