"""What the program saw, for people: each picture beside its image of 28x28 pixels."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from armdigits.pictures.decode import decode

SIDE, GAP, LINE = 280, 20, 24  # pixels: of a picture, between two, of a line of text


def sheet(rows: list[tuple[bytes, NDArray[np.uint8], str]]) -> bytes:
    """A PNG with a row for each picture.

    Args:
        rows: the content of the picture file, its image uint8 [28, 28], and the answer as text.
    """
    height = SIDE + LINE + GAP
    page = Image.new("L", (2 * SIDE + 3 * GAP, height * len(rows) + GAP), 255)
    draw = ImageDraw.Draw(page)
    font = ImageFont.load_default(14)
    for number, (content, image, text) in enumerate(rows):
        top = GAP + number * height
        picture = Image.fromarray(decode(content).clip(0, 255).astype(np.uint8))
        factor = SIDE / max(picture.size)
        size = (max(1, round(picture.width * factor)), max(1, round(picture.height * factor)))
        page.paste(picture.resize(size, Image.Resampling.BICUBIC), (GAP, top))
        draw.rectangle((GAP - 1, top - 1, GAP + size[0], top + size[1]), outline=160)
        page.paste(Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.NEAREST), (2 * GAP + SIDE, top))
        draw.text((GAP, top + SIDE + 4), text.encode("ascii", "replace").decode(), fill=0, font=font)
    buffer = io.BytesIO()
    page.save(buffer, "png")
    return buffer.getvalue()
