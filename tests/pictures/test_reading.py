"""Pictures of any kind become images like MNIST's."""

import io
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from armdigits.core.errors import BadInput
from armdigits.core.files import LFS_POINTER
from armdigits.pictures.decode import decode
from armdigits.pictures.reading import read_image
from tests.helpers import mnist_image


def encoded(values: NDArray[Any] | Image.Image, kind: str = "png", **options: Any) -> bytes:
    """A picture file of uint8 [height, width], or of a picture."""
    picture = values if isinstance(values, Image.Image) else Image.fromarray(values)
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def seven(side: int = 100) -> NDArray[np.uint8]:
    """A 7 in white on black: uint8 [side, side]."""
    field = np.zeros((100, 100), np.uint8)
    field[20:28, 30:70] = 255
    for row in range(28, 80):
        field[row, 62 - (row - 28) // 2 : 70 - (row - 28) // 2] = 255
    return np.asarray(Image.fromarray(field).resize((side, side), Image.Resampling.BICUBIC))


def similar(image: NDArray[np.uint8], other: NDArray[np.uint8]) -> bool:
    """Whether the pixels correlate by 0.9 or more, after a shift by at most one pixel."""
    shifts = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1)]
    correlations = [np.corrcoef(np.roll(image, shift, (0, 1)).ravel(), other.ravel())[0, 1] for shift in shifts]
    return bool(max(correlations) >= 0.9)


REFERENCE = mnist_image(encoded(seven()))


def test_the_longer_side_has_20_pixels_and_the_centre_of_mass_is_in_the_middle() -> None:
    rows, columns = np.nonzero(REFERENCE)
    assert max(np.ptp(rows), np.ptp(columns)) + 1 == 20
    assert REFERENCE.shape == (28, 28) and REFERENCE.dtype == np.uint8
    assert np.abs(np.array(ndimage.center_of_mass(REFERENCE)) - 14).max() <= 0.5


@pytest.mark.parametrize(("height", "width", "box"), [(96, 96, 69), (64, 96, 46)])
def test_in_an_image_of_another_size_the_box_is_in_proportion_to_its_shorter_side(
    height: int, width: int, box: int
) -> None:
    (image,) = read_image(encoded(seven(300)), "ink", (1, height, width))
    assert image.shape == (height, width)
    assert max(np.ptp(axis) + 1 for axis in np.nonzero(image)) == box
    assert np.abs(np.array(ndimage.center_of_mass(image)) - (height / 2, width / 2)).max() <= 0.5


def test_the_centre_of_mass_is_rounded_as_in_mnist() -> None:
    """An L, computed by hand: its centre of mass is at row 11.79 and column 3.21 of its box; 14 is the middle."""
    ell = np.zeros((28, 28), np.uint8)
    ell[2:22, 11:15] = 255
    ell[18:22, 11:23] = 255
    assert (mnist_image(encoded(ell)) == ell).all()
    assert (mnist_image(encoded(np.roll(ell, (3, -4), (0, 1)))) == ell).all()


@pytest.mark.parametrize("side", [40, 64, 200, 900])
@pytest.mark.parametrize("inverted", [False, True])
def test_size_and_polarity_do_not_matter(side: int, inverted: bool) -> None:
    picture = seven(side)
    assert similar(mnist_image(encoded(255 - picture if inverted else picture)), REFERENCE)


@given(st.tuples(*[st.integers(0, 150)] * 4))
@settings(max_examples=10, deadline=None)
def test_margins_do_not_matter(margins: tuple[int, int, int, int]) -> None:
    above, below, left, right = margins
    picture = np.pad(255 - seven(), ((above, below), (left, right)), constant_values=255)
    assert similar(mnist_image(encoded(picture)), REFERENCE)


@pytest.mark.parametrize("kind", ["png", "jpeg", "gif", "bmp", "tiff", "webp", "ppm", "avif"])
def test_common_formats_are_read(kind: str) -> None:
    assert similar(mnist_image(encoded(255 - seven(), kind)), REFERENCE)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "CMYK", "I;16", "LA", "LAB"])
def test_colour_modes_are_read(mode: str) -> None:
    gray = 255 - seven()
    picture = Image.fromarray(gray.astype(np.uint16) * 200) if mode == "I;16" else converted(gray, mode)
    assert similar(mnist_image(encoded(picture, "tiff")), REFERENCE)


def converted(gray: NDArray[np.uint8], mode: str) -> Image.Image:
    return Image.fromarray(gray).convert("RGB" if mode == "LAB" else "L").convert(mode)  # LAB is made from RGB only


@pytest.mark.parametrize("kind", ["gif", "png", "webp", "tiff", "avif"])
def test_a_file_of_several_pages_is_refused(kind: str) -> None:
    pages = encoded(seven(), kind, save_all=True, append_images=[Image.fromarray(255 - seven())])
    with pytest.raises(BadInput, match="^an animation, or several pages; save the one with the digit as JPEG or PNG$"):
        mnist_image(pages)


def test_of_a_phones_file_with_several_pictures_the_main_one_is_read() -> None:
    blank = Image.new("L", (100, 100))
    assert similar(mnist_image(encoded(seven(), "mpo", save_all=True, append_images=[blank])), REFERENCE)


def test_values_of_any_size_are_scaled() -> None:
    values = (255 - seven()).astype(np.float32)
    for factor in (1e-45, 1e36, np.inf):
        with np.errstate(all="ignore"):
            picture = Image.fromarray(np.where(values > 127, values * np.float32(factor), -values))
        assert np.isfinite(decode(encoded(picture, "tiff"))).all()


@pytest.mark.parametrize("mode", ["L", "LA", "I;16", "F"])
def test_a_picture_is_the_same_in_bands(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    big = np.asarray(Image.fromarray(255 - seven()).resize((1100, 777)))
    picture = Image.fromarray(big.astype(np.uint16) * 200) if mode == "I;16" else Image.fromarray(big).convert(mode)
    whole = decode(encoded(picture, "tiff"))
    monkeypatch.setattr("armdigits.pictures.decode.BAND_PIXELS", 9_000)
    assert np.array_equal(decode(encoded(picture, "tiff")), whole)


@pytest.mark.parametrize("ink", [0, 255])
def test_ink_of_any_colour_on_a_transparent_background_is_found(ink: int) -> None:
    gray = Image.new("L", (100, 100), ink)
    gray.putalpha(Image.fromarray(seven()))
    assert similar(mnist_image(encoded(gray)), REFERENCE)


def test_uneven_light_noise_and_dirt_do_not_matter() -> None:
    y, x = np.mgrid[0:1:200j, 0:1:200j]
    background = 200 - 70 * x - 30 * y * y + np.random.default_rng(1).normal(0, 4, x.shape)
    photo = background - 110 * (seven(200) / 255)
    photo[5:9, 5:9] = 30
    assert similar(mnist_image(encoded(photo.clip(0, 255).astype(np.uint8), "jpeg", quality=85)), REFERENCE)


def test_a_photo_is_rotated_as_its_exif_data_says() -> None:
    turned = np.rot90(255 - seven())
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees clockwise
    assert similar(mnist_image(encoded(turned, "jpeg", exif=exif)), REFERENCE)


def test_a_digit_with_its_mass_at_the_edge_keeps_its_ink() -> None:
    picture = np.zeros((100, 100), np.uint8)
    picture[:, :2] = 255
    picture[90:, :] = 255
    assert mnist_image(encoded(picture)).max() == 255


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"hello", "not a picture in AVIF, BMP, GIF, HEIC, JPEG, PNG, PPM, TIFF or WebP; save it as JPEG or PNG"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "a file in EPS, which is not read; save it as JPEG or PNG"),
        (encoded(seven(), "dds"), "a file in DDS, which is not read; save it as JPEG or PNG"),
        (LFS_POINTER + b"v1\noid sha256:0\n", "a Git LFS pointer, not the file itself; run: git lfs pull"),
        (encoded(seven())[:120], "a damaged picture"),
        (encoded(seven())[:20], "a damaged picture"),
        (encoded(seven(), "avif")[:-9], "a damaged picture"),
        (encoded(seven(), "gif").replace(b"d\0d\0", b"\0\0\0\0"), "a damaged picture"),
        (encoded(seven(), "jpeg", progressive=True) + 100 * b"\xff\xda", "a damaged picture"),
        (encoded(np.full((50, 50), 255, np.uint8)), "blank: no digit stands out from the background"),
        (encoded(np.zeros((1, 1), np.uint8)), "blank"),
        (encoded(seven()[:, 65:66]), "blank: too narrow to show a digit"),
        (encoded(np.random.default_rng(0).normal(128, 30, (80, 80)).clip(0, 255).astype(np.uint8)), "blank"),
        (encoded(Image.new("RGBA", (40, 40))), "blank"),
        (encoded(Image.fromarray(np.full((30, 30), np.nan, np.float32)), "tiff"), "blank"),
        (encoded(Image.new("1", (9000, 9000))), "9000 x 9000 pixels are more than 64,000,000"),
        (encoded(Image.new("1", (16000, 16000))), "more than 64,000,000 pixels"),
    ],
)
def test_a_file_without_a_digit_is_refused_in_one_line(content: bytes, message: str) -> None:
    with warnings.catch_warnings(), pytest.raises(BadInput) as caught:
        warnings.simplefilter("error")
        mnist_image(content)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@given(st.binary(max_size=60), st.integers(0, 400))
@settings(max_examples=40, deadline=None)
def test_a_damaged_file_is_read_or_refused_in_one_line(noise: bytes, position: int) -> None:
    content = bytearray(encoded(seven()))
    content[position : position + len(noise)] = noise
    try:
        assert mnist_image(bytes(content)).shape == (28, 28)
    except BadInput as problem:
        assert "\n" not in str(problem)
