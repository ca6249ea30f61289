"""Find the digit in the ink: dirt, frames and ruled lines go.

A frame, or a line, goes only when something of a digit's size remains, so that a 1 from edge to edge stays. Four
kinds are looked for, one after the other:

- strokes apart from the digit that touch the edge of the picture and span a side of it;
- a stroke along the sides of its own rectangle: a frame around the digit, somewhere in the picture;
- straight lines from edge to edge of the picture which the digit touches or crosses;
- the same in the rectangle that holds all ink: a frame inside of the picture which the digit touches.

Lines that touch the digit are cut out only when what remains keeps clear of all edges. The strokes of a digit that
fills its picture, such as the top of a 7, also run from edge to edge, but another part of it is then at an edge, too.
"""

import math
from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from armdigits.core.errors import BadInput
from armdigits.pictures.components import Components, Mask, components
from armdigits.pictures.normalise import Ink, full_ink

STROKE = 0.3  # ink
SPECK = 0.05  # a stroke with less than this share of the largest stroke's area is dirt
DIGIT = 0.25  # smallest size of a digit beside lines, as a share of the picture's shorter side
SPAN = 0.8  # of a side: what a line covers at least
NEAR = 0.25  # of a side: how close to the edges the lines of a frame are
HUG = 0.12  # of a side: how close to the sides of its rectangle a frame stays
TOUCH = 0.01  # of a side: how close to an edge a line ends that touches it
CLEAR = 0.04  # of a side: how far from an edge a digit is whose stroke is taken for a line
ALIKE = 0.5  # of the tallest stroke's height: another digit
GAP_ABOVE, GAP_BESIDE = 0.3, 0.1  # of its height: between two strokes of one digit, at most
FAINT = 0.12  # ink of a digit beside darker lines, at least


def are_digits(classes: Iterable[str]) -> bool:
    """Whether classes are digits, which are in one piece; letters and signs need not be."""
    return set(classes) <= set("0123456789")


def digit(ink: Ink, single: bool = True) -> Ink:
    """The ink of the digit alone.

    Args:
        ink: float64 [height, width], from 0 to 1.
        single: whether several things of a digit's size are refused.

    Raises:
        BadInput: there are several.
    """
    ink = _without(_without(ink, _spanning, TOUCH), _frames, TOUCH)
    ink = _without(ink, _crossing, CLEAR)
    rows, columns = _bounds(ink > STROKE)
    ink[rows, columns] = _without(ink[rows, columns], _four_sides, TOUCH)
    found = components(ink > STROKE)
    kept = found.mask(found.areas >= SPECK * found.areas.max())
    if single and (count := _count(kept)) > 1:
        raise BadInput(f"found {count} digits; crop the picture to one")
    return np.where(_grown(kept, 1), ink, 0)


def _count(mask: Mask) -> int:
    """How many things of a digit's height there are.

    Strokes are one thing if the gap between their rectangles is small. A larger one may be above or below than beside
    a stroke: pens that fail break a digit into an upper and a lower part, and digits are written side by side.
    """
    found = components(mask)
    heights = found.bottom - found.top + 1
    above, beside = (math.ceil(gap * int(heights.max()) / 2) for gap in (GAP_ABOVE, GAP_BESIDE))
    joined = np.zeros_like(mask)
    for number in np.flatnonzero(heights >= ALIKE * heights.max()):
        rows = slice(max(0, found.top[number] - above), found.bottom[number] + 1 + above)
        columns = slice(max(0, found.left[number] - beside), found.right[number] + 1 + beside)
        joined[rows, columns] = True
    return len(components(joined).areas)


def _without(ink: Ink, lines: Callable[[Mask], Mask], clearance: float) -> Ink:
    """The ink without lines, if a digit remains; it is brightened, because lines may be darker than a digit.

    Args:
        ink: float64 [height, width].
        lines: finds them.
        clearance: between the digit and the edges, as a share of a side.
    """
    mask = ink > STROKE
    found = lines(mask)
    if not found.any():
        return ink
    rest = np.where(_grown(found, 1), 0, ink)
    if rest.max() < FAINT:
        return ink
    rest = np.clip(rest / full_ink(rest), 0, 1)
    left = components(rest > STROKE)
    inside = ~_at_edge(left, mask.shape, clearance)
    if not (inside & _of_a_digits_size(left, mask.shape)).any():
        return ink
    return np.where(_grown(left.mask(inside), 1), rest, 0)


def _spanning(mask: Mask) -> Mask:
    """Strokes that touch the edge and span a side."""
    found = components(mask)
    height, width = mask.shape
    spans = (found.bottom - found.top >= SPAN * height) | (found.right - found.left >= SPAN * width)
    return found.mask(spans & _at_edge(found, mask.shape, TOUCH))


def _frames(mask: Mask) -> Mask:
    """Strokes that stay close to the sides of their own rectangle, all four of them."""
    found = components(mask)
    result = np.zeros(len(found.areas), bool)
    shorter = np.minimum(found.bottom - found.top, found.right - found.left) + 1
    for number in np.flatnonzero(shorter >= DIGIT * min(mask.shape)):  # a digit fits in
        top, left = found.top[number], found.left[number]
        stroke = found.labels[top : found.bottom[number] + 1, left : found.right[number] + 1] == number
        rows, columns = (int(HUG * size) + 1 for size in stroke.shape)
        middle = stroke[rows:-rows, columns:-columns]
        sides = (stroke[:rows], stroke[-rows:], stroke[:, :columns].T, stroke[:, -columns:].T)
        covered = min(float(side.any(0).mean()) for side in sides)
        result[number] = not middle.any() and covered >= SPAN
    return found.mask(result)


def _crossing(mask: Mask) -> Mask:
    """Straight lines from edge to edge. Of two that cross, as in a 4, only those near the edges, as in a frame."""
    across, down = _straight(mask), [line.T for line in _straight(mask.T)]
    if len(across) == len(down) == 1:
        across = [line for line in across if _margin(line) <= NEAR]
        down = [line for line in down if _margin(line.T) <= NEAR]
    return np.asarray(np.logical_or.reduce([np.zeros_like(mask), *across, *down]))


def _four_sides(mask: Mask) -> Mask:
    """The lines of a frame, if there is one near each edge."""
    lines = _crossing(mask)
    rows, columns = lines.mean(1) >= SPAN / 2, lines.mean(0) >= SPAN / 2
    height, width = (int(NEAR * size) + 1 for size in mask.shape)
    ends = (rows[:height], rows[-height:], columns[:width], columns[-width:])
    return lines if all(end.any() for end in ends) else np.zeros_like(mask)


def _margin(line: Mask) -> float:
    """How far a horizontal line is from the nearer one of the upper and the lower edge, as a share of the height."""
    position = float(np.flatnonzero(line.any(1)).mean()) / len(line)
    return min(position, 1 - position)


def _bounds(mask: Mask) -> tuple[slice, slice]:
    """The rows and the columns of the smallest rectangle with all set pixels."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _straight(mask: Mask) -> list[Mask]:
    """Horizontal lines, tilted by a few degrees at most, from the left edge to the right one."""
    height, width = mask.shape
    thick = _grown_along(mask, max(1, height // 128), 0)
    found = components(_opened(thick, max(5, width // 6)))
    across = (found.left <= TOUCH * width) & (found.right >= (1 - TOUCH) * width - 1)
    flat = (found.areas <= 0.12 * height * width) & (found.bottom - found.top <= 0.2 * height)
    lines = [mask & (found.labels == number) for number in np.flatnonzero(across & flat)]
    return [_band(line) for line in lines if line.any()]


def _band(line: Mask) -> Mask:
    """The pixels of a line without strokes along it: those near the straight line through the pixels."""
    height, width = line.shape
    thickness = line.sum(0)
    columns = np.flatnonzero((thickness > 0) & (thickness <= np.median(thickness[thickness > 0])))
    rows = np.arange(height)[:, None]
    centres = (rows * line).sum(0)[columns] / thickness[columns]
    apart = columns - columns.mean()
    slope = (apart * centres).sum() / max(float((apart * apart).sum()), 1.0)  # of the line with the least squares
    middle = centres.mean() + slope * (np.arange(width) - columns.mean())
    return np.asarray(line & (np.abs(rows - middle) <= np.median(thickness[columns]) / 2 + 1))


def _opened(mask: Mask, length: int) -> Mask:
    """The runs of at least `length` pixels along the rows."""
    width = mask.shape[1]
    if width < length:
        return np.zeros_like(mask)
    sums: NDArray[np.int64] = np.cumsum(np.pad(mask, ((0, 0), (1, 0))), axis=1)
    starts = sums[:, length:] - sums[:, :-length] == length  # a run begins here
    marks: NDArray[np.int64] = np.cumsum(np.pad(starts, ((0, 0), (length, length - 1))), axis=1)
    return np.asarray(marks[:, length:] - marks[:, :-length] > 0)


def _grown(mask: Mask, reach: int) -> Mask:
    return _grown_along(mask, reach, reach)


def _grown_along(mask: Mask, rows: int, columns: int) -> Mask:
    """The pixels at most `rows` above or below and `columns` beside a set one."""
    height, width = mask.shape
    padded = np.pad(mask, ((rows, rows), (columns, columns)))
    tall = np.logical_or.reduce([padded[y : y + height] for y in range(2 * rows + 1)])
    return np.asarray(np.logical_or.reduce([tall[:, x : x + width] for x in range(2 * columns + 1)]))


def _at_edge(found: Components, shape: tuple[int, int], margin: float) -> NDArray[np.bool_]:
    """Which components are within `margin`, a share of a side, of an edge."""
    rows, columns = (margin * size for size in shape)
    low = (found.top <= rows) | (found.left <= columns)
    return low | (found.bottom >= shape[0] - 1 - rows) | (found.right >= shape[1] - 1 - columns)


def _of_a_digits_size(found: Components, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Which components are large enough for a digit."""
    size = np.maximum(found.bottom - found.top, found.right - found.left) + 1
    return np.asarray(size >= DIGIT * min(shape))
