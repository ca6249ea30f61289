"""Turn a picture file into an image: as ink, a sign on a background, like MNIST's digits; or as a photo."""

import numpy as np
from numpy.typing import NDArray

from armdigits.core.shape import Shape
from armdigits.pictures.decode import decode
from armdigits.pictures.digit import digit
from armdigits.pictures.ink import ink
from armdigits.pictures.normalise import normalise
from armdigits.pictures.photo import photo


def read_image(content: bytes, reading: str, shape: Shape, single: bool = True) -> NDArray[np.uint8]:
    """Read a picture file as an image uint8 [C, H, W].

    Args:
        content: a file in one of the formats of decode.py; of HEIC and MPO, the main picture counts.
        reading: `ink`: the sign alone, 0 is background and 255 ink, whichever of the two is darker in the picture, and
            however uneven the light; `photo`: the whole picture.
        shape: of the image.
        single: for ink: whether a picture of several things of a digit's size is refused.

    Raises:
        BadInput: the file is not a picture, has too many pixels or too few, or shows nothing but background, or several
            digits.
    """
    if reading == "photo":
        return photo(content, shape)
    _, height, width = shape
    return normalise(digit(ink(decode(content)), single), height, width)[None]
