"""Pictures of digits, drawn by code: strokes of any width, on paper, in boxes."""

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

STROKES: dict[int, list[list[tuple[float, float]]]] = {  # in a square of side 1: x to the right, y down
    0: [[(0.5 + 0.3 * np.sin(turn), 0.5 - 0.48 * np.cos(turn)) for turn in np.linspace(0, 2 * np.pi, 40)]],
    1: [[(0.5, 0.0), (0.5, 1.0)]],
    2: [[(0.15, 0.25), (0.25, 0.05), (0.5, 0), (0.75, 0.1), (0.8, 0.3), (0.6, 0.6), (0.1, 1), (0.9, 1)]],
    4: [[(0.45, 0.0), (0.1, 0.65), (0.9, 0.65)], [(0.7, 0.1), (0.7, 1.0)]],
    7: [[(0.1, 0.0), (0.9, 0.0), (0.4, 1.0)]],
}


def drawing(digit: int, size: int, stroke: float, margin: float = 0.3, rotation: float = 0) -> NDArray[np.float64]:
    """The ink of a digit, from 0 to 1.

    Args:
        digit: of `STROKES`.
        size: its height in pixels.
        stroke: the width of its strokes in pixels.
        margin: around it, as a share of its size.
        rotation: in degrees, counter-clockwise.
    """
    scale = 4  # drawn larger and reduced, so that edges are smooth
    border, width = margin * size * scale, stroke * scale
    side = int(size * scale + 2 * border + width)
    picture = Image.new("L", (side, side))
    draw = ImageDraw.Draw(picture)
    for points in STROKES[digit]:
        placed = [(x * size * scale + border + width / 2, y * size * scale + border + width / 2) for x, y in points]
        draw.line(placed, 255, max(1, round(width)), joint="curve")
        for x, y in placed:
            draw.ellipse((x - width / 2, y - width / 2, x + width / 2, y + width / 2), 255)
    picture = picture.rotate(rotation, Image.Resampling.BICUBIC)
    return np.asarray(picture.reduce(scale), np.float64) / 255


def boxed(ink: NDArray[np.float64], sides: str, line: int, offset: int) -> NDArray[np.float64]:
    """The ink with dark lines on some of the sides: top, bottom, left, right, by their first letters."""
    result = ink.copy()
    for side in sides:
        lines = {"t": result, "b": result[::-1], "l": result.T, "r": result.T[::-1]}[side]
        lines[offset : offset + line] = 1
    return result


def on_paper(ink: NDArray[np.float64], noise: float = 3, shadow: bool = False) -> NDArray[np.uint8]:
    """Grey levels of ink on paper in uneven light, with noise, and with the hard shadow of a hand."""
    y, x = np.mgrid[0 : 1 : ink.shape[0] * 1j, 0 : 1 : ink.shape[1] * 1j]
    paper = 215 - 50 * x - 30 * y * y
    if shadow:
        paper *= np.where(x + 0.4 * y > 0.75, 0.55, 1)
    values = paper * (1 - 0.7 * ink) + np.random.default_rng(1).normal(0, noise, ink.shape)
    return np.clip(values, 0, 255).astype(np.uint8)


def encoded(values: NDArray[Any], kind: str = "png", **options: Any) -> bytes:
    """A picture file of uint8 [height, width]."""
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, kind, **options)
    return buffer.getvalue()
