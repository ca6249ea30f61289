"""Augmentation: a random change of the stroke width of each training image, then a random affine map.

The map combines rotation, zoom, shear, shift and mirroring.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

from armdigits.core.parameters import Augmentation

BLOCK = 1000  # images at a time, whose coordinates fit into the processor's cache
NUMBERS = 7  # random numbers per image, and one more where images are mirrored


def augment(pixels: Tensor, ranges: Augmentation, generator: torch.Generator) -> Tensor:
    """Augment images float32 [N, C, H, W]. Where the map reads beyond an image, there is background (0)."""
    return transform(pixels, ranges, draw(len(pixels), ranges, generator))


def draw(count: int, ranges: Augmentation, generator: torch.Generator) -> Tensor:
    """The random numbers for `count` images, uniform from -1 to 1: float32 [7, count], with `ranges.flip` [8, count].

    They are drawn on the CPU: a seed gives the same augmentation on every device.
    """
    numbers = NUMBERS + bool(ranges.flip)
    sizes = [min(BLOCK, count - start) for start in range(0, count, BLOCK)]
    return torch.cat([2 * torch.rand(numbers, size, generator=generator) - 1 for size in sizes], dim=1)


def transform(pixels: Tensor, ranges: Augmentation, numbers: Tensor) -> Tensor:
    """Augment images float32 [N, C, H, W] with the `numbers` from `draw`."""
    height, width = pixels.shape[-2:]
    maps = _maps(numbers, ranges, height, width).to(pixels.device)
    growth = (numbers[6] * ranges.stroke).to(pixels.device)
    parts = zip(pixels.split(BLOCK), growth.split(BLOCK), maps.split(BLOCK, dim=2), strict=True)
    return torch.cat(
        [_sample(_widen(images, growth) if ranges.stroke else images, maps) for images, growth, maps in parts]
    )


def _widen(pixels: Tensor, growth: Tensor) -> Tensor:
    """Widen strokes by `growth` [N] pixels, from -1 to 1, on each side; narrow them where it is negative.

    A dilation or an erosion with a square of 3 x 3 pixels changes a width by one pixel on each side. A part of it is a
    linear interpolation between the image and the result.
    """
    sign = torch.where(growth < 0, -1.0, 1.0)[:, None, None, None]
    pixels = pixels * sign  # an erosion is a dilation of the negative image
    # The same as functional.max_pool2d(pixels, 3, 1, 1), which takes ten times as long.
    rows = pixels.clone()
    torch.maximum(rows[..., 1:], pixels[..., :-1], out=rows[..., 1:])
    torch.maximum(rows[..., :-1], pixels[..., 1:], out=rows[..., :-1])
    dilated = rows.clone()
    torch.maximum(dilated[..., 1:, :], rows[..., :-1, :], out=dilated[..., 1:, :])
    torch.maximum(dilated[..., :-1, :], rows[..., 1:, :], out=dilated[..., :-1, :])
    return pixels.lerp_(dilated, growth.abs()[:, None, None, None]).mul_(sign)


def _maps(numbers: Tensor, ranges: Augmentation, height: int, width: int) -> Tensor:
    """The affine maps from coordinates in the results to coordinates in the images, float32 [2, 3, N].

    Coordinates are those of `grid_sample`: x and y from -1 to 1. A pixel is 2 / width by 2 / height of them, so the
    terms that take y to x and x to y have a factor; with it, turned pixels remain squares.
    """
    turn, log_x, log_y, shear, shift_x, shift_y, _, *mirror = numbers
    sine, cosine = (turn * math.radians(ranges.rotation)).sin(), (turn * math.radians(ranges.rotation)).cos()
    zoom_x, zoom_y = (log_x * ranges.zoom).exp(), (log_y * ranges.zoom).exp()
    shear = shear * ranges.shear
    aspect = height / width
    to_x = cosine * zoom_x, (cosine * shear - sine * zoom_y) * aspect, shift_x * (ranges.shift * 2 / width)
    to_y = sine * zoom_x / aspect, sine * shear + cosine * zoom_y, shift_y * (ranges.shift * 2 / height)
    maps = torch.stack([*to_x, *to_y]).view(2, 3, -1)
    if mirror:
        maps[0] *= torch.where(mirror[0] < 2 * ranges.flip - 1, -1.0, 1.0)
    return maps


def _sample(pixels: Tensor, maps: Tensor) -> Tensor:
    sides = pixels.shape[-2:]
    rows, columns = (torch.linspace(-1, 1, side, device=pixels.device) * (side - 1) / side for side in sides)
    of_x, of_y, shift = maps.transpose(0, 1)[..., None]  # each [2, N, 1]
    # The same as functional.affine_grid, which multiplies a matrix for each pixel and takes ten times as long.
    grid = (of_y * rows)[..., None] + (of_x * columns)[..., None, :]  # [2, N, H, W]
    grid += shift[..., None]
    return functional.grid_sample(pixels, grid.permute(1, 2, 3, 0), padding_mode="zeros", align_corners=False)
