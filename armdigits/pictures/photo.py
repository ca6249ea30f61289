"""A photo becomes an image: the whole picture in sRGB, its middle, scaled with antialiasing."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps

from armdigits.core.errors import BadInput
from armdigits.core.shape import Shape
from armdigits.pictures.decode import open_picture

WHITE = (255, 255, 255, 255)
SPACES = {"GRAY": "L", "RGB ": "RGB", "CMYK": "CMYK", "Lab ": "LAB"}  # of a colour profile: the mode of its pictures


def photo(content: bytes, shape: Shape) -> NDArray[np.uint8]:
    """The middle of a picture file, as large as fits, scaled to an image uint8 [C, H, W]; transparent parts are white.

    Raises:
        BadInput: the file is not a picture, is damaged, or has fewer pixels than the image.
    """
    channels, height, width = shape
    with open_picture(content) as picture:
        if picture.width < width or picture.height < height:
            raise BadInput(f"{picture.width}x{picture.height} pixels are fewer than the image's {width}x{height}")
        colours = _in_srgb(picture).convert("RGB" if channels == 3 else "L")
        fitted = np.asarray(ImageOps.fit(colours, (width, height), Image.Resampling.BILINEAR))
    return np.ascontiguousarray(fitted.reshape(height, width, channels).transpose(2, 0, 1))


def _in_srgb(picture: Image.Image) -> Image.Image:
    """The picture with 8 bits a channel, opaque, without a colour profile of its own."""
    if picture.mode in ("I", "F"):
        raise BadInput("more than 16 bits a pixel; save it as JPEG or PNG")
    if picture.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(picture, np.uint16) // 257).astype(np.uint8))
    content = picture.info.get("icc_profile")
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, WHITE), picture).convert("RGB")
    if not content:
        return picture
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(content))
        source = picture.convert(SPACES[profile.profile.xcolor_space])  # a grey picture may have a profile of colours
        converted = ImageCms.profileToProfile(source, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, KeyError, OSError, ValueError):
        raise BadInput("a colour profile that cannot be used; save the picture in sRGB") from None
    return converted or picture
