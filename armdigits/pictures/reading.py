"""Turn a picture file of a digit into an image like MNIST's."""

import numpy as np
from numpy.typing import NDArray

from armdigits.pictures.decode import decode
from armdigits.pictures.digit import digit
from armdigits.pictures.ink import ink
from armdigits.pictures.normalise import normalise


def mnist_image(content: bytes, single: bool = True) -> NDArray[np.uint8]:
    """Read the digit in a picture file: uint8 [28, 28], 0 is background and 255 ink.

    The picture shows one digit. Its ink may be darker or lighter than the background, and the light uneven.

    Args:
        content: a picture file; see armdigits/pictures/decode.py for the formats.
        single: whether a picture of several things of a digit's size is refused.

    Raises:
        BadInput: the file is not a picture, or has several pages or too many pixels; it shows nothing but background,
            or several digits.
    """
    return normalise(digit(ink(decode(content)), single))
