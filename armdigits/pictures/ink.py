"""Tell ink from background: grey levels become amounts of ink."""

import numpy as np
from numpy.typing import NDArray

from armdigits.core.errors import BadInput
from armdigits.pictures.decode import Gray
from armdigits.pictures.normalise import Ink

BACKGROUND_BAND = 0.15  # largest difference between two background pixels, as a share of the picture's contrast
FITTED = 10_000  # pixels; the surface is fitted to about as many
MIN_CONTRAST = 16.0  # between background and ink, in grey levels of 0 to 255
MIN_SIGNAL = 6.0  # the same, in standard deviations of the background's noise


def ink(gray: Gray) -> Ink:
    """The amount of ink of each pixel of grey levels [height, width]: from 0 (background) to 1.

    The ink may be darker or lighter than the background, and the light uneven.

    Raises:
        BadInput: the picture shows nothing but background.
    """
    border = np.concatenate([gray[0], gray[-1], gray[:, 0], gray[:, -1]])
    contrast = float(np.ptp(gray))
    difference = gray - _background(gray, float(np.median(border)), contrast)
    near = difference[np.abs(difference) <= BACKGROUND_BAND * contrast]
    noise = 1.4826 * float(np.median(np.abs(near))) if near.size else 0.0  # robust against the grey rims of strokes
    if -difference.min() > difference.max():
        difference = -difference
    amount = np.maximum(difference, 0)
    full = float(np.percentile(amount[amount > 0.5 * amount.max()], 90)) if amount.any() else 0.0
    if full < max(MIN_CONTRAST, MIN_SIGNAL * noise):
        raise BadInput("blank: no digit stands out from the background")
    floor = min(3 * noise, 0.4 * full)
    return np.clip((amount - floor) / (full - floor), 0, 1)


def _background(gray: Gray, level: float, contrast: float) -> NDArray[np.float64]:
    """The brightness of the background at each pixel [height, width].

    A quadratic surface is fitted to the background's pixels, five times: at first they are those near `level`, then
    those near the surface of the last fit.
    """
    height, width = gray.shape
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    terms = np.stack([np.ones_like(x), x, y, x * y, x * x, y * y], axis=-1)
    step = max(1, int((gray.size / FITTED) ** 0.5))
    some, values = terms[::step, ::step].reshape(-1, 6), gray[::step, ::step].ravel()
    surface: NDArray[np.float64] = np.full(values.shape, level)
    coefficients = np.array([level, 0, 0, 0, 0, 0])
    for _ in range(5):
        near = np.abs(values - surface) <= BACKGROUND_BAND * contrast
        if near.sum() < values.size / 5:
            break  # too few for a fit
        coefficients = np.linalg.lstsq(some[near], values[near], rcond=None)[0]
        surface = some @ coefficients
    return terms @ coefficients
