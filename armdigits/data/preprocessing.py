"""Turn a picture of a digit into an image like MNIST's: find the digit, crop, scale and centre it.

MNIST's digits were scaled to fit a box of 20x20 pixels, with their proportions kept, which turned black and white
into grey levels, and placed in a field of 28x28 with their centre of mass in the middle
(http://yann.lecun.com/exdb/mnist/). The model was trained on such images only.
"""

import io
import struct
import warnings

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from scipy import ndimage

from armdigits.core.errors import BadInput

BOX, FIELD = 20, 28  # pixels per side
MAX_PIXELS = 64_000_000  # a photo from a phone has up to 50 million; a decompression bomb has more
WORKING_SIDE = 256  # pixels; larger pictures are reduced first, as the digit ends up 20 pixels high
BACKGROUND_BAND = 0.15  # largest difference between two background pixels, as a share of the picture's contrast
SPECK = 0.05  # a stroke with less than this share of the largest stroke's area is dirt
MIN_CONTRAST = 16.0  # between background and ink, in grey levels of 0 to 255
MIN_SIGNAL = 6.0  # the same, in standard deviations of the background's noise

Gray = NDArray[np.float32]  # [height, width]


def mnist_image(content: bytes) -> NDArray[np.uint8]:
    """Read the digit in a picture file: uint8 [28, 28], 0 is background and 255 ink.

    The picture shows one digit. Its ink may be darker or lighter than the background, and the light uneven.

    Args:
        content: a file in any format that Pillow reads; of an animation, the first picture counts.

    Raises:
        BadInput: the file is not a picture, has too many pixels, or shows nothing but background.
    """
    return _place(_scale(_ink(_decode(content))))


def _decode(content: bytes) -> Gray:
    """The grey levels of a picture file, 0 to 255, upright, at most `WORKING_SIDE` pixels per side."""
    if not content:
        raise BadInput("empty")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of the size, which is checked here, and of harmless details
            with Image.open(io.BytesIO(content)) as picture:
                width, height = picture.size
                if width * height > MAX_PIXELS:
                    raise BadInput(f"{width} x {height} pixels are more than {MAX_PIXELS:,}; reduce its size")
                picture.draft("L", (2 * WORKING_SIDE, 2 * WORKING_SIDE))  # a JPEG is decoded at a fraction of its size
                return _gray(ImageOps.exif_transpose(picture))
    except Image.DecompressionBombError:
        raise BadInput(f"more than {MAX_PIXELS:,} pixels; reduce its size") from None
    except UnidentifiedImageError:
        raise BadInput("not a picture, or a format that Pillow does not read") from None
    except (OSError, SyntaxError, ValueError, EOFError, MemoryError, OverflowError, IndexError, KeyError, struct.error):
        raise BadInput("a damaged picture") from None  # Pillow's decoders raise all of these


def _gray(picture: Image.Image) -> Gray:
    if picture.mode in ("I", "F") or picture.mode.startswith("I;16"):  # more than 8 bits, of unknown range
        values = np.nan_to_num(np.asarray(picture, np.float32))
        low, high = float(values.min()), float(values.max())
        picture = Image.fromarray((values - low) * np.float32(255 / ((high - low) or 1)))
    elif picture.has_transparency_data:
        picture = _on_contrasting_background(picture.convert("RGBA"))
    else:
        picture = picture.convert("L").convert("F")
    factor = -(-max(picture.size) // WORKING_SIDE)
    return np.asarray(picture.reduce(factor) if factor > 1 else picture, np.float32)


def _on_contrasting_background(picture: Image.Image) -> Image.Image:
    """Put a transparent picture on white, or on black when its ink is bright."""
    gray, opacity = np.asarray(picture.convert("L"), np.float32), np.asarray(picture.getchannel("A"), np.float32) / 255
    brightness = (gray * opacity).sum() / max(opacity.sum(), 1)
    return Image.fromarray(gray * opacity + (0 if brightness > 127 else 255) * (1 - opacity))


def _ink(gray: Gray) -> Gray:
    """The amount of ink of each pixel, from 0 (background) to 1; dirt is removed.

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
    ink = np.maximum(difference, 0)
    full = float(np.percentile(ink[ink > 0.5 * ink.max()], 90)) if ink.any() else 0.0
    if full < max(MIN_CONTRAST, MIN_SIGNAL * noise):
        raise BadInput("blank: no digit stands out from the background")
    floor = min(3 * noise, 0.4 * full)
    ink = np.clip((ink - floor) / (full - floor), 0, 1)
    strokes, count = ndimage.label(ink > 0.3, np.ones((3, 3)))
    areas = np.bincount(strokes.ravel(), minlength=count + 1)
    areas[0] = 0
    kept = ndimage.binary_dilation(np.isin(strokes, np.flatnonzero(areas >= SPECK * areas.max())), np.ones((3, 3)))
    return np.where(kept, ink, 0).astype(np.float32)


def _background(gray: Gray, level: float, contrast: float) -> NDArray[np.float64]:
    """The brightness of the background at each pixel [height, width].

    A quadratic surface is fitted to the background's pixels, five times: at first they are those near `level`, then
    those near the surface of the last fit.
    """
    height, width = gray.shape
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    terms = np.stack([np.ones_like(x), x, y, x * y, x * x, y * y], axis=-1).reshape(-1, 6)
    values = gray.ravel()
    surface: NDArray[np.float64] = np.full(values.shape, level)
    for _ in range(5):
        near = np.abs(values - surface) <= BACKGROUND_BAND * contrast
        if near.sum() < values.size / 5:
            break  # too few for a fit
        surface = terms @ np.linalg.lstsq(terms[near], values[near], rcond=None)[0]
    return surface.reshape(gray.shape)


def _scale(ink: Gray) -> Gray:
    """Crop the digit and scale it to fit the box, with its proportions kept."""
    # The grey rim of a stroke is partly background. In a picture as small as MNIST's, it belongs to the digit.
    digit = _crop(ink, 0.3)
    if max(digit.shape) <= 2 * BOX:
        digit = _crop(ink, 0.0)
    height, width = digit.shape
    factor = BOX / max(height, width)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    scaled = np.asarray(Image.fromarray(digit).resize(size, Image.Resampling.BICUBIC), np.float32)
    return scaled.clip(0, 1)


def _crop(ink: Gray, edge: float) -> Gray:
    """The smallest rectangle that holds all pixels with more than `edge` ink."""
    rows, columns = np.flatnonzero((ink > edge).any(1)), np.flatnonzero((ink > edge).any(0))
    return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _place(digit: Gray) -> NDArray[np.uint8]:
    """Place the digit in the field, with its centre of mass in the middle, to the nearest pixel."""
    field = np.zeros((FIELD, FIELD), np.uint8)
    y, x = (round(FIELD / 2 - centre) for centre in ndimage.center_of_mass(digit))
    for row, line in enumerate(digit, start=y):
        for column, value in enumerate(line, start=x):
            if 0 <= row < FIELD and 0 <= column < FIELD:
                field[row, column] = round(float(value) * 255)
    return field
