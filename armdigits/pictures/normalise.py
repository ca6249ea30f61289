"""Ink becomes an image like MNIST's: crop the digit, thicken thin strokes, scale, brighten and centre it.

MNIST's digits were scaled to fit a box of 20x20 pixels, with their proportions kept, which turned black and white
into grey levels, and placed in a field of 28x28 with their centre of mass in the middle
(http://yann.lecun.com/exdb/mnist/). The model was trained on such images only. Half of their strokes are wider than 2
pixels, and nearly all are bright: a thin stroke that is only scaled arrives faint, and is misread.

The recipe, for ink from 0 to 1 in any number of pixels, in float64; to round is floor(x + 0.5):

1. Crop: the smallest rectangle with all pixels above EDGE; of a crop of at most 40 pixels, with all ink.
2. Measure the stroke: resample the crop so that the longer side has FINE times the pixels of the box, divide it by its
   full ink, limit it to 0 to 1. Of the A pixels above 0.5, B stay when each with a background pixel among its 4
   neighbours goes, and C of these when each with one among its diagonal neighbours goes, too. The stroke is
   4 A / (2 A - B - C) wide: along an axis both layers are 1 thick on either side, across a diagonal 0.71 and 1.41.
3. Thicken a stroke of less than THIN of the box's pixels: in the resampled crop each pixel becomes the largest one in
   a disc around it, whose radius makes the stroke THICK wide in the box; the digit grows by it. Crop as in 1.
4. Resample to the box: the longer side to its pixels, the other in proportion, rounded, at least 1; limit to 0 to 1.
5. Brighten: divide by the full ink, limit to 1.
6. Place in the field, moved by whole pixels so that the centre of mass is in the middle; multiply by 255, round.

The full ink is the 90th percentile of the pixels above half of the largest one: in ascending order the one at
floor(0.9 (count - 1)).

To resample is to convolve the columns, then the rows, with a cubic kernel, a = -0.5 (Keys 1981), widened by the factor
of a reduction; the result is divided by the sum of the weights. Pixels outside of an array are background.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

BOX, FIELD = 20, 28  # pixels per side of MNIST's; other images have a box in proportion
FINE = 6  # times the box: pixels of the longer side of the digit in which strokes are measured and thickened
THIN, THICK = 1.5, 2.4  # pixels of MNIST's box
EDGE = 0.3  # ink; the grey rim of a stroke is partly background
SMALL = 40  # pixels per side; in a digit as small as MNIST's, the rim belongs to it

Ink = NDArray[np.float64]  # [height, width], from 0 (background) to 1


class Sizes(NamedTuple):
    """The sizes of the recipe for one size of images, in pixels."""

    box: int
    fine: int
    thin: float
    thick: float


def sizes(height: int, width: int) -> Sizes:
    """The box is in proportion to the shorter side, and the strokes to the box."""
    box = round(min(height, width) * BOX / FIELD)
    return Sizes(box, FINE * box, THIN * box / BOX, THICK * box / BOX)


def normalise(ink: Ink, height: int = FIELD, width: int = FIELD) -> NDArray[np.uint8]:
    """The digit as an image like MNIST's: uint8 [height, width], 0 is background and 255 ink.

    Args:
        ink: float64, from 0 to 1, with at least one pixel above `EDGE`.
        height, width: of the image.
    """
    box, longer, thin, thick = sizes(height, width)
    digit = crop(ink)
    fine = resample(digit, longer)
    fine = np.clip(fine / full_ink(fine), 0, 1)
    stroke = stroke_width(fine > 0.5) * box / longer
    if stroke < thin:
        digit = crop(thicken(fine, (thick - stroke) / (1 - thick / box) / 2 * longer / box))
    scaled = np.clip(resample(digit, box), 0, 1)
    return _place(np.minimum(scaled / full_ink(scaled), 1), height, width)


def crop(ink: Ink) -> Ink:
    """The digit's rectangle."""
    digit = _cropped(ink, EDGE)
    return _cropped(ink, 0.0) if max(digit.shape) <= SMALL else digit


def _cropped(ink: Ink, edge: float) -> Ink:
    """The smallest rectangle with all pixels above `edge`."""
    rows, columns = np.flatnonzero((ink > edge).any(1)), np.flatnonzero((ink > edge).any(0))
    return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def resample(values: Ink, longer: int) -> Ink:
    """Scale an array so that its longer side has `longer` pixels."""
    rows, columns = (max(1, int(size * longer / max(values.shape) + 0.5)) for size in values.shape)
    return _resampled(_resampled(values, rows).T, columns).T


def _resampled(values: Ink, target: int) -> Ink:
    """Scale the first axis to `target` pixels. Adds up in a fixed order, where a product of matrices would not."""
    size, step = len(values), len(values) / target
    centres = (np.arange(target) + 0.5) * step
    widened = max(step, 1)
    first = np.ceil(centres - 0.5 - 2 * widened).astype(np.int64)
    result, total = np.zeros((target, values.shape[1])), np.zeros((target, 1))
    for tap in range(int(4 * widened) + 1):
        at = first + tap
        x = np.abs(at + 0.5 - centres) / widened
        weights = np.where(x < 1, (1.5 * x - 2.5) * x * x + 1, np.where(x < 2, ((2.5 - 0.5 * x) * x - 4) * x + 2, 0.0))
        weights = np.where((at >= 0) & (at < size), weights, 0.0)[:, None]
        result += weights * values[at.clip(0, size - 1)]
        total += weights
    return result / total


def full_ink(ink: Ink) -> float:
    """The 90th percentile of the pixels above half of the largest one."""
    strong = np.sort(ink[ink > 0.5 * ink.max()])
    return float(strong[int(0.9 * (len(strong) - 1))])


def stroke_width(mask: NDArray[np.bool_]) -> float:
    """The mean width of the strokes in a mask [height, width], in pixels; 0 for an empty one."""
    padded = np.pad(mask, 1)
    above, below, left, right = padded[:-2], padded[2:], padded[:, :-2], padded[:, 2:]
    straight = mask & above[:, 1:-1] & below[:, 1:-1] & left[1:-1] & right[1:-1]
    diagonal = straight & above[:, :-2] & above[:, 2:] & below[:, :-2] & below[:, 2:]
    area = int(mask.sum())
    return 4 * area / (2 * area - int(straight.sum()) - int(diagonal.sum())) if area else 0.0


def thicken(ink: Ink, radius: float) -> Ink:
    """Each pixel becomes the largest one at a distance of at most `radius`; the array grows by floor(radius)."""
    reach = int(radius)
    ink = np.pad(ink, reach)
    rows = np.pad(ink, ((reach, reach), (0, 0)))
    result = np.zeros_like(ink)
    for offset in range(reach + 1):
        half = int((radius**2 - offset**2) ** 0.5)
        wide = _widest(rows, half)
        for moved in (offset, -offset):
            np.maximum(result, wide[reach + moved :][: len(ink)], out=result)
    return result


def _widest(ink: Ink, half: int) -> Ink:
    """Each pixel becomes the largest one of its row at a distance of at most `half` pixels."""
    padded = np.pad(ink, ((0, 0), (half, half)))
    result = ink.copy()
    for moved in range(2 * half + 1):
        np.maximum(result, padded[:, moved:][:, : ink.shape[1]], out=result)
    return result


def _place(digit: Ink, rows: int, columns: int) -> NDArray[np.uint8]:
    """The digit in the field, with its centre of mass in the middle, to the nearest pixel."""
    height, width = digit.shape
    row = int(np.floor(rows / 2 - (digit.sum(1) * np.arange(height)).sum() / digit.sum() + 0.5))
    column = int(np.floor(columns / 2 - (digit.sum(0) * np.arange(width)).sum() / digit.sum() + 0.5))
    around = np.pad(digit, ((rows, rows), (columns, columns)))[rows - row :, columns - column :]
    field = around[:rows, :columns]
    return np.floor(field * 255 + 0.5).astype(np.uint8)
