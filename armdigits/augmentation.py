"""Distorted digits: every image gets a rotation, zoom, shear, shift and elastic bend of its own.

Affine distortions and elastic ones (P. Simard, D. Steinkraus, J. Platt, ICDAR 2003) in one: both move the point from
which a pixel is read, and both are linear in a few fixed maps. The points of a whole batch are one matrix product.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

from armdigits.parameters import Augmentation

SIDE = 28
NODES = 6  # the elastic field is given at 6 x 6 points and bicubic between them
CHUNK = 1000  # images at a time: their coordinates fit into the processor's cache


def augment(pixels: Tensor, ranges: Augmentation, generator: torch.Generator) -> Tensor:
    """Distort images float32 [N, 1, 28, 28]; what comes from outside the image is paper (0).

    The random numbers are drawn on the CPU, so that a seed means the same distortions on every device.
    """
    maps = _maps().to(pixels.device)
    return torch.cat([_distort(chunk, ranges, generator, maps) for chunk in pixels.split(CHUNK)])


def _maps() -> Tensor:
    """The maps x, y, 1 and a bump for each node of the elastic field: float32 [3 + 36, 784], coordinates in [-1, 1]."""
    centres = (2 * torch.arange(SIDE) + 1) / SIDE - 1
    y, x = torch.meshgrid(centres, centres, indexing="ij")
    nodes = torch.eye(NODES**2).view(-1, 1, NODES, NODES)
    bumps = functional.interpolate(nodes, (SIDE, SIDE), mode="bicubic", align_corners=False)
    return torch.cat([torch.stack([x, y, torch.ones_like(x)]).flatten(1), bumps.flatten(1)])


def _distort(pixels: Tensor, ranges: Augmentation, generator: torch.Generator, maps: Tensor) -> Tensor:
    count, pixel = len(pixels), 2 / SIDE  # a pixel in the units of the coordinates
    turn, log_x, log_y, shear, shift_x, shift_y = 2 * torch.rand(6, count, generator=generator) - 1
    sine, cosine = (turn * math.radians(ranges.rotation)).sin(), (turn * math.radians(ranges.rotation)).cos()
    zoom_x, zoom_y = (log_x * ranges.zoom).exp(), (log_y * ranges.zoom).exp()
    shear = shear * ranges.shear
    shift = ranges.shift * pixel
    rows = (
        cosine * zoom_x, cosine * shear - sine * zoom_y, shift_x * shift,
        sine * zoom_x, sine * shear + cosine * zoom_y, shift_y * shift,
    )  # fmt: skip
    affine = torch.stack(rows, dim=1).view(count, 2, 3)
    elastic = torch.randn(count, 2, NODES**2, generator=generator) * (ranges.elastic * pixel)
    points = torch.cat([affine, elastic], dim=2).to(pixels.device) @ maps
    grid = points.view(count, 2, SIDE, SIDE).permute(0, 2, 3, 1)
    return functional.grid_sample(pixels, grid, padding_mode="zeros", align_corners=False)
