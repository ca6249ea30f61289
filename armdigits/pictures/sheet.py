"""What the program saw, for people: each picture beside its image."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from armdigits.pictures.decode import decode, open_picture
from armdigits.pictures.shown import shown

SIDE, GAP, LINE = 280, 20, 24  # pixels: of a picture, between two, of a line of text


def sheet(rows: list[tuple[bytes, NDArray[np.uint8], str]], reading: str) -> bytes:
    """A PNG with a row for each picture.

    Args:
        rows: the content of the picture file, its image uint8 [C, H, W], and the answer as text.
        reading: how the image was made.
    """
    height = SIDE + LINE + GAP
    page = Image.new("RGB", (2 * SIDE + 3 * GAP, height * len(rows) + GAP), "white")
    draw = ImageDraw.Draw(page)
    font = ImageFont.load_default(14)
    for number, (content, image, text) in enumerate(rows):
        top = GAP + number * height
        picture = _picture(content, reading)
        factor = SIDE / max(picture.size)
        size = (max(1, round(picture.width * factor)), max(1, round(picture.height * factor)))
        page.paste(picture.resize(size, Image.Resampling.BICUBIC), (GAP, top))
        draw.rectangle((GAP - 1, top - 1, GAP + size[0], top + size[1]), outline="darkgrey")
        seen = shown(image, "photo")  # ink as the program sees it: light on dark
        scale = SIDE // max(image.shape[1:]) or 1
        page.paste(Image.fromarray(seen.repeat(scale, 0).repeat(scale, 1)), (2 * GAP + SIDE, top))
        draw.text((GAP, top + SIDE + 4), text.encode("ascii", "replace").decode(), fill="black", font=font)
    buffer = io.BytesIO()
    page.save(buffer, "png")
    return buffer.getvalue()


def _picture(content: bytes, reading: str) -> Image.Image:
    """The picture as it was read: in grey levels for ink."""
    if reading == "ink":
        return Image.fromarray(decode(content).clip(0, 255).astype(np.uint8))
    with open_picture(content) as picture:
        return picture.convert("RGB")
