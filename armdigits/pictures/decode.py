"""The grey levels of a picture file."""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from armdigits.core.errors import BadInput
from armdigits.core.files import LFS_POINTER, LFS_REMEDY
from armdigits.pictures.contained import contained

# Those that cameras, scanners, phones and browsers write. Pillow knows more, but starts Ghostscript for EPS, cannot
# decode WMF, and asks for any amount of memory for others.
FORMATS = ("BMP", "GIF", "JPEG", "PPM", "PNG", "AVIF", "TIFF", "WEBP")
NAMES = "AVIF, BMP, GIF, HEIC, JPEG, PNG, PPM, TIFF or WebP"
REMEDY = "save it as JPEG or PNG"
HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")  # ISO/IEC 23008-12, bytes 8-11
WITH_MAIN_PICTURE = ("HEIF", "MPO")  # phones write these, with a main picture and others, such as a depth map

MAX_PIXELS = 64_000_000  # a photo from a phone has up to 50 million; a decompression bomb has more
MEMORY_TO_OPEN = 600_000_000  # bytes: WebP's decoder takes 8 for each pixel as soon as a file is opened
MEMORY_TO_DECODE = 400_000_000  # bytes, and `BYTES_PER_PIXEL` for each pixel, where the largest need is 9 (AVIF)
BYTES_PER_PIXEL = 12
WORKING_SIDE = 512  # pixels; larger pictures are reduced first, as the digit ends up 20 pixels high
MAX_SCANS = 100  # of a progressive JPEG, as in libtiff: usual are 10, and each takes as long as a whole picture
BAND_PIXELS = 1 << 22  # of a large picture, which are in memory as floats

Gray = NDArray[np.float32]  # [height, width], 0 to 255


def decode(content: bytes) -> Gray:
    """The grey levels of a picture file, 0 to 255, upright, 2 to `WORKING_SIDE` pixels per side.

    Raises:
        BadInput: as `open_picture`, or a side has one pixel only.
    """
    with open_picture(content, (2 * WORKING_SIDE, 2 * WORKING_SIDE)) as picture:
        gray = _gray(picture)
    if min(gray.shape) < 2:
        raise BadInput("blank: too narrow to show a digit")
    return gray


@contextmanager
def open_picture(content: bytes, draft: tuple[int, int] | None = None) -> Iterator[Image.Image]:
    """The picture in a file, upright; what fails while it is used is a fault of the file.

    Args:
        content: of the file.
        draft: a size, in pixels: a larger JPEG is decoded at a fraction of its own size, in grey.

    Raises:
        BadInput: the file is not a picture in one of `FORMATS` or HEIC, is damaged, or has several pages or too many
            pixels.
    """
    if not content:
        raise BadInput("empty")
    if content.startswith(LFS_POINTER):
        raise BadInput(LFS_REMEDY)
    try:
        formats = _formats(content)
        with contained(MEMORY_TO_OPEN):
            picture = Image.open(io.BytesIO(content), formats=formats)
            _check(picture, content)
        with contained(MEMORY_TO_DECODE + BYTES_PER_PIXEL * picture.width * picture.height), picture:
            if draft:
                picture.draft("L", draft)
            ImageOps.exif_transpose(picture, in_place=True)
            yield picture
    except BadInput:
        raise
    except Image.DecompressionBombError:
        raise BadInput(f"more than {MAX_PIXELS:,} pixels; reduce its size") from None
    except UnidentifiedImageError:
        raise BadInput(_unidentified(content)) from None
    except MemoryError:
        raise BadInput(f"a damaged picture, or one that takes too much memory; {REMEDY}") from None
    except Exception:  # decoders raise anything
        raise BadInput("a damaged picture") from None


def _formats(content: bytes) -> tuple[str, ...]:
    if content[4:8] != b"ftyp" or content[8:12] not in HEIC_BRANDS:
        return FORMATS
    import pillow_heif  # only for such a file: it takes as long as reading another one

    pillow_heif.register_heif_opener()
    return ("HEIF", *FORMATS)  # AVIF shares two brands with it


def _check(picture: Image.Image, content: bytes) -> None:
    """Raise BadInput for what must not be decoded."""
    width, height = picture.size
    scans = content.count(b"\xff\xda") if "progressive" in picture.info else 1  # the marker SOS of ITU-T T.81
    if not width * height or scans > MAX_SCANS:
        raise BadInput("a damaged picture")
    if width * height > MAX_PIXELS:
        raise BadInput(f"{width} x {height} pixels are more than {MAX_PIXELS:,}; reduce its size")
    if getattr(picture, "is_animated", False) and picture.format not in WITH_MAIN_PICTURE:
        raise BadInput("an animation, or several pages; save the one with the digit as JPEG or PNG")


def _unidentified(content: bytes) -> str:
    """What to say of a file that none of `FORMATS` can open: its first bytes may tell its format."""
    Image.init()
    first = content[:16].ljust(16, b"\0")  # as many as Pillow looks at
    accepting = [name for name in Image.ID if (accept := Image.OPEN[name][1]) and accept(first) is True]
    if not accepting:
        return f"not a picture in {NAMES}; {REMEDY}"
    if {"HEIF", *FORMATS} & {*accepting}:
        return "a damaged picture"
    return f"a file in {accepting[0]}, which is not read; {REMEDY}"


def _gray(picture: Image.Image) -> Gray:
    if picture.mode in ("I", "F") or picture.mode.startswith("I;16"):  # more than 8 bits, of unknown range
        low, high = _range(picture)
        factor = np.float32(255 / max(high - low, 1e-30))
        return _reduced(picture, lambda band: Image.fromarray((_values(band) - low) * factor))
    if picture.has_transparency_data:
        background = 0 if _is_bright(picture) else 255  # on which the ink can be seen
        return _reduced(picture, lambda band: _composed(band, background))
    if picture.mode == "LAB":
        return _reduced(picture, lambda band: band.getchannel("L").convert("F"))
    return _reduced(picture, lambda band: band.convert("L").convert("F"))


def _reduced(picture: Image.Image, grays: Callable[[Image.Image], Image.Image]) -> Gray:
    """The picture reduced to `WORKING_SIDE`, band by band; `grays` gives the grey levels of a band, of mode F."""
    factor = -(-max(picture.size) // WORKING_SIDE)
    return np.concatenate([np.asarray(grays(band).reduce(factor), np.float32) for band in _bands(picture, factor)])


def _bands(picture: Image.Image, factor: int = 1) -> Iterator[Image.Image]:
    """The picture from top to bottom, in bands of a multiple of `factor` rows."""
    width, height = picture.size
    rows = factor * max(1, BAND_PIXELS // (width * factor))
    return (picture.crop((0, top, width, min(top + rows, height))) for top in range(0, height, rows))


def _range(picture: Image.Image) -> tuple[float, float]:
    lows, highs = zip(*[(values.min(), values.max()) for values in map(_values, _bands(picture))], strict=True)
    return float(min(lows)), float(max(highs))


def _values(band: Image.Image) -> Gray:
    """The values of a band, without those whose differences are infinite."""
    return np.clip(np.nan_to_num(np.asarray(band, np.float32)), -1e37, 1e37)


def _is_bright(picture: Image.Image) -> bool:
    """Whether the opaque part of a transparent picture, its ink, is bright."""
    parts = [(float((gray * opacity).sum()), float(opacity.sum())) for gray, opacity in map(_layers, _bands(picture))]
    light, area = map(sum, zip(*parts, strict=True))
    return light / max(area, 1) > 127


def _layers(band: Image.Image) -> tuple[Gray, Gray]:
    """The grey levels, and the opacity from 0 to 1."""
    picture = band.convert("RGBA")
    gray = np.asarray(picture.convert("L"), np.float32)
    return gray, np.asarray(picture.getchannel("A"), np.float32) / np.float32(255)


def _composed(band: Image.Image, background: int) -> Image.Image:
    gray, opacity = _layers(band)
    return Image.fromarray(gray * opacity + background * (1 - opacity))
