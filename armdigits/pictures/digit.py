"""Find the digit: dirt, frames and ruled lines go, and what remains is one thing."""

import numpy as np

from armdigits.pictures.components import components
from armdigits.pictures.normalise import Ink

STROKE = 0.3  # ink
SPECK = 0.05  # a stroke with less than this share of the largest stroke's area is dirt


def digit(ink: Ink) -> Ink:
    found = components(ink > STROKE)
    kept = found.mask(found.areas >= SPECK * found.areas.max())
    p = np.pad(kept, 1)
    h, w = kept.shape
    wide = np.logical_or.reduce([p[y : y + h, x : x + w] for y in range(3) for x in range(3)])
    return np.where(wide, ink, 0)
