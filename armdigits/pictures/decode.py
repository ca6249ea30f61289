"""The grey levels of a picture file."""

import io
import struct
import warnings

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from armdigits.core.errors import BadInput

MAX_PIXELS = 64_000_000  # a photo from a phone has up to 50 million; a decompression bomb has more
WORKING_SIDE = 512  # pixels; larger pictures are reduced first, as the digit ends up 20 pixels high
HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")  # ISO/IEC 23008-12, bytes 8-11

Gray = NDArray[np.float32]  # [height, width], 0 to 255


def decode(content: bytes) -> Gray:
    """The grey levels of a picture file, 0 to 255, upright, at most `WORKING_SIDE` pixels per side.

    Raises:
        BadInput: the file is not a picture, or has too many pixels.
    """
    if not content:
        raise BadInput("empty")
    if content[4:8] == b"ftyp" and content[8:12] in HEIC_BRANDS:
        import pillow_heif  # only for such a file: it takes as long as reading another one

        pillow_heif.register_heif_opener()
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
        raise BadInput("not a picture, or a format that is not supported; save it as JPEG or PNG") from None
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
