"""Connected components of a mask, without scipy, whose import takes longer than reading a picture."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]  # [height, width]


class Components(NamedTuple):
    """The components of a mask, numbered from 0 in the order of their first pixels.

    Attributes:
        labels: int64 [height, width], the number of each pixel's component, -1 for the background.
        areas: int64 [count], in pixels.
        top, bottom, left, right: int64 [count], the rows and columns of the rectangle, the last ones included.
    """

    labels: NDArray[np.int64]
    areas: NDArray[np.int64]
    top: NDArray[np.int64]
    bottom: NDArray[np.int64]
    left: NDArray[np.int64]
    right: NDArray[np.int64]

    def mask(self, chosen: NDArray[np.bool_]) -> Mask:
        """The pixels of the components that `chosen`, bool [count], says."""
        return np.append(chosen, False)[self.labels]


def components(mask: Mask) -> Components:
    """Label the components of a mask; pixels that touch at a corner are connected.

    Each row is a list of runs; runs that touch one of the row above are united (the two-pass algorithm of Rosenfeld
    and Pfaltz, 1966, on runs).
    """
    rows, starts, ends = _runs(mask)
    parents = list(range(len(rows)))

    def root(run: int) -> int:
        while parents[run] != run:
            parents[run] = parents[parents[run]]
            run = parents[run]
        return run

    stride = mask.shape[1] + 2
    above = (rows - 1) * stride
    first = np.searchsorted(rows * stride + ends, above + starts)  # an end is exclusive: touching at a corner counts
    last = np.searchsorted(rows * stride + starts, above + ends, side="right")
    for run, (begin, end) in enumerate(zip(first.tolist(), last.tolist(), strict=True)):
        for other in range(begin, end):
            one, two = root(other), root(run)
            parents[max(one, two)] = min(one, two)

    roots = np.array([root(run) for run in range(len(rows))], np.int64)
    kept, numbers = np.unique(roots, return_inverse=True)
    labels = np.full(mask.shape, -1, np.int64)
    labels[mask] = np.repeat(numbers, ends - starts)
    bounds = [np.zeros(len(kept), np.int64) for _ in range(5)]
    areas, bottom, right = bounds[0], bounds[1], bounds[2]
    top, left = np.full(len(kept), mask.shape[0]), np.full(len(kept), mask.shape[1])
    np.add.at(areas, numbers, ends - starts)
    np.minimum.at(top, numbers, rows)
    np.maximum.at(bottom, numbers, rows)
    np.minimum.at(left, numbers, starts)
    np.maximum.at(right, numbers, ends - 1)
    return Components(labels, areas, top, bottom, left, right)


def _runs(mask: Mask) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """The rows, first columns and columns after the last one of all runs of set pixels, row by row."""
    edges = np.diff(np.pad(mask, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    rows, starts = np.nonzero(edges == 1)
    return rows, starts, np.nonzero(edges == -1)[1]
