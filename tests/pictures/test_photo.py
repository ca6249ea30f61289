"""Picture files become images as photos: the whole picture."""

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from armdigits.core.errors import BadInput
from armdigits.core.shape import Shape
from armdigits.pictures.reading import read_image

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
COLOUR: Shape = (3, 20, 20)


def photo(picture: Image.Image, kind: str = "png", shape: Shape = COLOUR, **options: object) -> NDArray[np.uint8]:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return read_image(buffer.getvalue(), "photo", shape)


def stripes() -> Image.Image:
    """A red, a green and a blue square from left to right, 60x20 pixels."""
    picture = Image.new("RGB", (60, 20), GREEN)
    picture.paste(RED, (0, 0, 20, 20))
    picture.paste(BLUE, (40, 0, 60, 20))
    return picture


def colours(image: NDArray[np.uint8]) -> set[tuple[int, ...]]:
    """All colours of an image uint8 [3, H, W]."""
    return {tuple(map(int, colour)) for colour in image.reshape(3, -1).T}


def test_the_middle_is_taken_as_large_as_fits() -> None:
    assert colours(photo(stripes())) == {GREEN}
    wide = photo(stripes(), shape=(3, 10, 30))
    assert colours(wide[:, :, :9]) == {RED} and colours(wide[:, :, -9:]) == {BLUE}


def test_a_picture_is_scaled_with_antialiasing() -> None:
    checks = np.indices((80, 80)).sum(0) % 2 * np.uint8(255)
    assert np.abs(photo(Image.fromarray(checks.astype(np.uint8)), shape=(1, 20, 20)).astype(int) - 127).max() <= 1


def test_a_picture_is_turned_upright_by_its_orientation() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn it by 90 degrees, clockwise: what is left comes up
    turned = photo(stripes(), "png", (3, 30, 10), exif=exif)
    assert colours(turned[:, :9]) == {RED} and colours(turned[:, -9:]) == {BLUE}


def test_transparent_parts_are_white() -> None:
    picture = stripes().convert("RGBA")
    picture.putalpha(Image.new("L", picture.size, 0))
    assert colours(photo(picture)) == {(255, 255, 255)}


def test_a_palette_is_read_in_its_colours() -> None:
    assert colours(photo(stripes().quantize(3))) == {GREEN}


def test_a_picture_of_16_bits_keeps_its_high_ones() -> None:
    picture = Image.fromarray(np.full((20, 20), 0x8080, np.uint16))
    assert photo(picture, shape=(1, 20, 20)).tolist() == [[[0x80] * 20] * 20]


def test_grey_becomes_three_equal_channels_and_colour_one_of_luma() -> None:
    assert colours(photo(Image.new("L", (20, 20), 77))) == {(77, 77, 77)}
    assert photo(stripes(), shape=(1, 20, 20)).tolist() == [[[150] * 20] * 20]  # 0.587 of 255


def srgb(**changes: bytes) -> bytes:
    """The profile of sRGB, with some of its tags under other names."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for position in range(132, 132 + 12 * int.from_bytes(profile[128:132]), 12):
        new = changes.get(profile[position : position + 4].decode())
        profile = profile[:position] + (new or profile[position : position + 4]) + profile[position + 4 :]
    return profile


def test_a_colour_profile_is_converted_to_srgb() -> None:
    swapped = srgb(rXYZ=b"gXYZ", gXYZ=b"rXYZ")
    assert colours(photo(Image.new("RGB", (20, 20), RED), icc_profile=srgb())) == {RED}
    assert colours(photo(Image.new("RGB", (20, 20), RED), icc_profile=swapped)) == {GREEN}
    assert colours(photo(Image.new("RGBA", (20, 20), RED), icc_profile=swapped)) == {GREEN}


def test_a_grey_picture_may_have_a_profile_of_colours() -> None:
    assert colours(photo(Image.new("L", (20, 20), 77), icc_profile=srgb())) == {(77, 77, 77)}


def test_a_profile_that_cannot_be_used_is_refused_in_one_line() -> None:
    xyz = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()
    for profile in (b"no profile", xyz):
        with pytest.raises(BadInput, match="^a colour profile that cannot be used; save the picture in sRGB$"):
            photo(stripes(), icc_profile=profile)


@pytest.mark.parametrize(("width", "height"), [(19, 40), (40, 19)])
def test_a_picture_smaller_than_the_image_is_refused_with_both_sizes(width: int, height: int) -> None:
    with pytest.raises(BadInput, match=f"^{width}x{height} pixels are fewer than the image's 20x20$"):
        photo(Image.new("RGB", (width, height)))


def test_a_picture_of_32_bits_is_refused() -> None:
    with pytest.raises(BadInput, match="^more than 16 bits a pixel; save it as JPEG or PNG$"):
        photo(Image.fromarray(np.zeros((20, 20), np.float32)), "tiff")


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp"])
def test_a_damaged_photo_is_refused(kind: str) -> None:
    buffer = io.BytesIO()
    stripes().save(buffer, kind)
    with pytest.raises(BadInput, match="damaged"):
        read_image(buffer.getvalue()[:60], "photo", COLOUR)
