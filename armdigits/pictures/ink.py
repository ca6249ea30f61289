"""Tell ink from background: grey levels become amounts of ink.

The background is taken for a smooth surface first, which serves every picture without a hard shadow, and strokes of
any width. When that leaves no ink, ink in most of the picture, or at its edge ink in which a square wider than a stroke
fits, the background is a closing of the picture: its surroundings without anything narrower than a larger square (the
black top-hat transform of mathematical morphology; for bright ink, the white one).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from armdigits.core.errors import BadInput
from armdigits.pictures.decode import Gray
from armdigits.pictures.normalise import Ink

BACKGROUND_BAND = 0.15  # largest difference between two background pixels, as a share of the picture's contrast
FITTED = 10_000  # pixels; the surface is fitted to about as many
MIN_CONTRAST = 16.0  # between background and ink, in grey levels of 0 to 255
FAINTEST = 0.04  # ink; below, it is an artefact of a lossy format
MIN_SIGNAL = 6.0  # the same, in standard deviations of the background's noise
THICK = 6  # a square of 1 / THICK of the picture's shorter side is wider than a stroke at the edge
SOLID = 4  # the same for every stroke
DEPENDENT = 1e-9  # of the mean square of a term: what is left of one that follows from the others
NARROW = 12  # a stroke is narrower than 1 / NARROW of it where the colour of the ink is in question


def ink(gray: Gray) -> Ink:
    """The amount of ink of each pixel of grey levels [height, width]: from 0 (background) to 1.

    The ink may be darker or lighter than the background, and the light uneven.

    Raises:
        BadInput: the picture shows nothing but background.
    """
    amount = _on_a_surface(gray)
    if amount is None or _has_a_shadow(amount > 0.3):
        amount = _on_a_closing(gray)
    if amount is None:
        raise BadInput("blank: no digit stands out from the background")
    return amount


def _has_a_shadow(mask: NDArray[np.bool_]) -> bool:
    """Whether most of the picture is "ink", or a square wider than a stroke fits in at the picture's edge."""
    thick = _eroded(mask, max(2, min(mask.shape) // THICK))
    return float(mask.mean()) > 0.5 or bool(thick[[0, -1]].any() or thick[:, [0, -1]].any())


def _on_a_surface(gray: Gray) -> Ink | None:
    """Ink on a smooth background; None if there is none."""
    border = np.concatenate([gray[0], gray[-1], gray[:, 0], gray[:, -1]])
    contrast = float(np.ptp(gray))
    difference = gray - _background(gray, float(np.median(border)), contrast)
    near = difference[np.abs(difference) <= BACKGROUND_BAND * contrast]
    noise = 1.4826 * float(np.median(np.abs(near))) if near.size else 0.0  # robust against the grey rims of strokes
    return _scaled(-difference if -difference.min() > difference.max() else difference, noise)


def _scaled(difference: NDArray[np.float64], noise: float) -> Ink | None:
    """Differences in grey levels as ink, less the noise; None if they are too small."""
    amount = np.maximum(difference, 0)
    full = float(np.percentile(amount[amount > 0.5 * amount.max()], 90)) if amount.any() else 0.0
    if full < max(MIN_CONTRAST, MIN_SIGNAL * noise):
        return None
    floor = min(max(3 * noise, FAINTEST * full), 0.4 * full)
    return np.clip((amount - floor) / (full - floor), 0, 1)


def _background(gray: Gray, level: float, contrast: float) -> NDArray[np.float64]:
    """The brightness of the background at each pixel [height, width].

    A quadratic surface is fitted to the background's pixels, seven times: at first they are those near `level`, then
    those near the surface of the last fit; in the end those within its noise, without the grey rims of strokes.
    """
    height, width = gray.shape
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    terms = np.stack([np.ones_like(x), x, y, x * y, x * x, y * y])
    step = max(1, int((gray.size / FITTED) ** 0.5))
    some, values = terms[:, ::step, ::step].reshape(6, -1), gray[::step, ::step].ravel().astype(np.float64)
    surface: NDArray[np.float64] = np.full(values.shape, level)
    coefficients = [level, 0.0, 0.0, 0.0, 0.0, 0.0]
    for turn in range(7):
        distance = np.abs(values - surface)
        near = distance <= BACKGROUND_BAND * contrast
        if turn >= 5:
            near &= distance <= max(1.0, 4.5 * float(np.median(distance[near])))  # three standard deviations
        if near.sum() < values.size / 5:
            break  # too few for a fit
        coefficients = _least_squares(some[:, near], values[near])
        surface = _surface(some, coefficients)
    return _surface(terms, coefficients)


def _surface(terms: NDArray[np.float64], coefficients: Sequence[float]) -> NDArray[np.float64]:
    """The sum of the terms [6, ...] times their coefficients."""
    return sum((term * factor for term, factor in zip(terms, coefficients, strict=True)), np.zeros(terms.shape[1:]))


def _least_squares(terms: NDArray[np.float64], values: NDArray[np.float64]) -> list[float]:
    """The coefficients with which the sum of the terms [6, N] comes closest to the values [N].

    Solves the normal equations. NumPy's own solvers use BLAS, which rounds differently on each kind of CPU, and images
    must not depend on that. A term that follows from those before it, as in a picture of one row, gets a 0.
    """
    columns = [*terms, values]
    rows = [[float((one * other).sum()) for other in columns] for one in terms]
    kept: list[int] = []
    for pivot, row in enumerate(rows):
        if row[pivot] <= DEPENDENT * len(values):
            continue
        kept.append(pivot)
        for number, other in enumerate(rows):
            if number != pivot:
                factor = other[pivot] / row[pivot]
                rows[number] = [a - factor * b for a, b in zip(other, row, strict=True)]
    return [rows[number][-1] / rows[number][number] if number in kept else 0.0 for number in range(len(rows))]


def _on_a_closing(gray: Gray) -> Ink | None:
    """Ink on a background of any shape; None if there is none."""
    narrow, wide = (max(3, min(gray.shape) // parts) for parts in (NARROW, SOLID))
    smooth = _mean(gray.astype(np.float64))
    if float(((smooth - _opened(smooth, narrow)) ** 2).sum()) > float(((_closed(smooth, narrow) - smooth) ** 2).sum()):
        gray, smooth = 255 - gray, 255 - smooth
    background = _closed(smooth, wide)
    # Light multiplies: ink in a shadow has the contrast of ink outside of it after a division.
    difference = 255 * (background - gray) / np.maximum(background, 32)
    level = float(np.median(difference))  # above 0: a closing follows the brighter pixels of the noise
    noise = 1.4826 * float(np.median(np.abs(difference - level)))
    return _scaled(difference - level, noise)


def _mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean of each pixel and its eight neighbours."""
    height, width = values.shape
    padded = np.pad(values, 1, mode="edge")
    mean: NDArray[np.float64] = np.mean(
        [padded[y : y + height, x : x + width] for y in range(3) for x in range(3)], axis=0
    )
    return mean


def _closed(values: NDArray[np.float64], side: int) -> NDArray[np.float64]:
    """Dark parts in which no square of `side` pixels fits are filled; the picture goes on beyond its edges."""
    return -_opened(-values, side)


def _opened(values: NDArray[np.float64], side: int) -> NDArray[np.float64]:
    """Bright parts in which no square of `side` pixels fits are removed."""
    eroded = _eroded(np.pad(values, side - 1, mode="edge"), side)
    return -_eroded(-eroded, side)


def _eroded(values: NDArray[Any], side: int) -> NDArray[Any]:
    """The smallest value in every square of `side` pixels: [height - side + 1, width - side + 1]."""
    for _ in range(2):
        reach = 1
        while reach < side:
            step = min(reach, side - reach)
            values = np.minimum(values[:-step], values[step:])
            reach += step
        values = values.T
    return values
