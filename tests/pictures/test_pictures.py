"""Strokes of any width, light, shadows, frames and lines: the image is that of the plain drawing."""

import io

import numpy as np
import pillow_heif
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from armdigits.core.errors import BadInput
from armdigits.pictures.components import components
from armdigits.pictures.confidence import confidence, shifted
from armdigits.pictures.decode import WORKING_SIDE, decode
from armdigits.pictures.normalise import THICK, normalise, stroke_width
from tests.helpers import mnist_image
from tests.pictures.drawings import STROKES, boxed, drawing, encoded, on_paper

DIGITS = sorted(STROKES)


def similar(image: NDArray[np.uint8], other: NDArray[np.uint8], least: float = 0.85) -> bool:
    """Whether the pixels correlate, after a shift by at most one pixel."""
    shifts = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1)]
    return max(np.corrcoef(np.roll(image, shift, (0, 1)).ravel(), other.ravel())[0, 1] for shift in shifts) >= least


def plain(digit: int) -> NDArray[np.uint8]:
    return normalise(drawing(digit, 100, 12))


@pytest.mark.parametrize("digit", DIGITS)
@pytest.mark.parametrize("stroke", [1, 2, 4, 12])
def test_strokes_of_any_width_arrive_bright_and_as_thick_as_mnists(digit, stroke):
    image = mnist_image(encoded((255 * drawing(digit, 300, stroke)).astype(np.uint8)))
    assert np.percentile(image[image > 127], 90) >= 250
    assert similar(image, plain(digit))


@pytest.mark.parametrize(("width", "expected"), [(3, 3), (10, 10), (25, 25)])
@pytest.mark.parametrize("rotation", [0, 20, 45, 90])
def test_the_width_of_a_stroke_is_measured_in_every_direction(width, expected, rotation):
    assert stroke_width(drawing(1, 200, width, rotation=rotation) > 0.5) == pytest.approx(expected, rel=0.2)


def test_a_thickened_stroke_has_mnists_thickness():
    image = normalise(drawing(1, 300, 2))
    assert image.sum(1).max() / 255 == pytest.approx(THICK, abs=0.4)


@pytest.mark.parametrize("digit", DIGITS)
@pytest.mark.parametrize("shadow", [False, True])
def test_uneven_light_noise_and_hard_shadows_do_not_matter(digit, shadow):
    picture = on_paper(drawing(digit, 240, 12), shadow=shadow)
    assert similar(mnist_image(encoded(picture, "jpeg", quality=70)), plain(digit))


@pytest.mark.parametrize("digit", DIGITS)
@pytest.mark.parametrize("sides", ["tblr", "bl", "b", "tr", "l"])
@pytest.mark.parametrize("offset", [0, 5])
def test_frames_and_lines_at_the_edge_are_removed(digit, sides, offset):
    picture = on_paper(boxed(0.6 * drawing(digit, 60, 5, rotation=4), sides, 4, offset), noise=1)
    assert similar(mnist_image(encoded(picture)), plain(digit), 0.75)


@pytest.mark.parametrize("digit", DIGITS)
def test_a_frame_inside_of_the_picture_is_removed(digit):
    picture = on_paper(np.pad(boxed(drawing(digit, 60, 5), "tblr", 3, 0), 15), noise=1)
    assert similar(mnist_image(encoded(picture)), plain(digit))


def test_a_line_that_the_digit_stands_on_is_cut_out():
    ink = drawing(7, 80, 6)
    ink[ink.shape[0] - 28 : ink.shape[0] - 23] = 1
    assert similar(mnist_image(encoded(on_paper(ink, noise=1))), plain(7))


@pytest.mark.parametrize("digit", DIGITS)
@pytest.mark.parametrize("margin", [0, 0.01, 0.03])
def test_no_stroke_of_a_digit_that_fills_the_picture_is_taken_for_a_line(digit, margin):
    ink = drawing(digit, 100, 8, margin)
    columns = np.flatnonzero(ink.any(0))
    border = round(100 * margin)
    ink = ink[:, max(0, columns[0] - border) : columns[-1] + 1 + border]
    assert similar(mnist_image(encoded((255 - 255 * np.pad(ink, 1)).astype(np.uint8))), plain(digit))


@pytest.mark.parametrize("count", [2, 3, 5])
def test_several_digits_are_counted(count):
    ink = np.hstack([drawing(digit, 60, 5) for digit in (2, 7, 0, 4, 2)[:count]])
    with pytest.raises(BadInput, match=f"found {count} digits; crop the picture to one"):
        mnist_image(encoded(on_paper(ink, noise=1)))


def test_the_two_strokes_of_a_4_are_one_digit():
    ink = drawing(4, 100, 6)
    ink[:, 95:101] = 0  # a gap between them
    assert mnist_image(encoded((255 * ink).astype(np.uint8))).any()


def test_a_stroke_that_a_failing_pen_broke_is_one_digit():
    ink = drawing(1, 100, 8)
    ink[80:90] = 0
    assert similar(mnist_image(encoded((255 * ink).astype(np.uint8))), plain(1))


@pytest.mark.parametrize("density", [0.0, 0.1, 0.4, 0.9])
def test_components_are_those_of_scipy(density):
    mask = np.random.default_rng(0).random((40, 50)) < density
    labels, count = ndimage.label(mask, np.ones((3, 3)))
    found = components(mask)
    assert len(found.areas) == count
    assert len(set(zip(labels.ravel().tolist(), found.labels.ravel().tolist(), strict=True))) == count + 1
    for number, (rows, columns) in enumerate(ndimage.find_objects(labels), 1):
        own = found.labels[labels == number][0]
        bounds = (found.top[own], found.bottom[own] + 1, found.left[own], found.right[own] + 1)
        assert bounds == (rows.start, rows.stop, columns.start, columns.stop)
        assert found.areas[own] == (labels == number).sum()


def test_heic_is_read():
    buffer = io.BytesIO()
    picture = Image.fromarray(on_paper(drawing(2, 200, 12))).convert("RGB")
    pillow_heif.from_pillow(picture).save(buffer, quality=80)
    assert buffer.getvalue()[4:8] == b"ftyp"
    assert similar(mnist_image(buffer.getvalue()), plain(2))


def test_a_damaged_heic_file_is_refused_in_one_line():
    buffer = io.BytesIO()
    pillow_heif.from_pillow(Image.new("RGB", (64, 64))).save(buffer)
    with pytest.raises(BadInput, match="^(a damaged picture|not a picture)"):
        mnist_image(buffer.getvalue()[: len(buffer.getvalue()) // 2])


def test_a_large_picture_is_reduced_first():
    assert max(decode(encoded(np.zeros((100, 4000), np.uint8))).shape) <= WORKING_SIDE


def test_the_positions_of_an_image_are_it_and_its_neighbours():
    image = np.zeros((1, 28, 28), np.uint8)
    image[0, 10, 12] = 255
    where = [tuple(int(place[0]) for place in np.nonzero(moved[0])) for moved in shifted(image)]
    assert where == [(10, 12), (11, 12), (9, 12), (10, 13), (10, 11)]


def test_confidence_is_the_mean_probability_of_the_first_rows_label():
    assert confidence(np.array([[0.9, 0.1], [0.5, 0.5], [0.2, 0.8]])) == pytest.approx(1.6 / 3)
