"""The page to draw on, in a real browser."""

import base64
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from armdigits.cli import main
from armdigits.cli.predict import digit_reader
from armdigits.core import paths
from armdigits.data.dataset import read_split
from armdigits.data.preprocessing import mnist_image
from armdigits.program.c_runtime import read_c_program
from armdigits.report.draw import DRAW, render
from tests.helpers import ROOT
from tests.report.browser import Page, Strokes, browser, needs_browser

DIGITS: dict[int, Strokes] = {
    0: [[(128, 40), (180, 60), (195, 128), (180, 195), (128, 215), (75, 195), (60, 128), (75, 60), (128, 40)]],
    1: [[(110, 70), (140, 40), (140, 215)]],
    2: [[(75, 80), (100, 45), (150, 45), (170, 85), (150, 130), (75, 210), (180, 210)]],
    3: [[(80, 50), (170, 50), (120, 115), (170, 150), (160, 200), (110, 215), (75, 195)]],
    4: [[(80, 45), (70, 140), (180, 140)], [(150, 60), (150, 215)]],
    5: [[(95, 45), (88, 115), (130, 105), (165, 125), (172, 165), (150, 200), (110, 210), (80, 195)], [(95, 45), (175, 45)]],
    6: [[(160, 45), (110, 90), (85, 150), (90, 200), (130, 215), (165, 190), (160, 150), (120, 135), (90, 160)]],
    7: [[(70, 60), (190, 60), (150, 140), (115, 215)]],
    8: [[(128, 125), (80, 90), (100, 45), (155, 45), (175, 90), (128, 125), (80, 165), (95, 210), (160, 210), (175, 165), (128, 125)]],
    9: [[(170, 90), (130, 120), (90, 90), (110, 50), (160, 50), (170, 90), (160, 215)]],
}
WIDTHS = (4, 9, 18, 28, 40)
LOGITS = """
const images = Uint8Array.from(atob(arguments[0]), (character) => character.charCodeAt(0));
const logits = [];
for (let at = 0; at < images.length; at += 784) {
  network.image.set(images.subarray(at, at + 784));
  network.run();
  logits.push(...network.logits);
}
return btoa(String.fromCharCode(...new Uint8Array(Float32Array.from(logits).buffer)));
"""  # as bytes, so that no bit is lost in a text


@pytest.fixture(scope="module")
def page_file(pipeline: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of the small pipeline's program."""
    return page_of(pipeline, tmp_path_factory.mktemp("page"))


def page_of(project: Path, folder: Path) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project)
        text = render()
    path = folder / "draw.html"
    path.write_text(text)
    return path


@pytest.fixture(scope="module")
def opened() -> Iterator[Page]:
    with browser() as page:
        yield page


@pytest.fixture
def page(opened: Page, page_file: Path) -> Iterator[Page]:
    """The page, loaded; afterwards there must be no complaint on the console, and no request but that for the page."""
    opened.complaints(), opened.requests()
    yield opened.load(page_file)
    assert opened.complaints() == []
    assert [address for address in opened.requests() if not address.startswith("data:")] == [page_file.resolve().as_uri()]


def logits_of(page: Page, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The logits [N, classes] of uint8 [N, 28, 28], from the page's own instance of the program."""
    content = [base64.b64decode(page.run(LOGITS, base64.b64encode(part).decode())) for part in np.array_split(images, 10)]
    return np.frombuffer(b"".join(content), np.float32).reshape(len(images), -1)


def slanted(digit: int, number: int) -> Strokes:
    """The strokes of a digit, turned, slanted and of another size, by `number`."""
    random = np.random.default_rng(number)
    change = random.normal(0, 0.1, (2, 2)) + np.eye(2) * random.uniform(0.6, 1.05)
    return [[tuple((change @ (np.array(point) - 128) + 128).tolist()) for point in points] for points in DIGITS[digit]]


@needs_browser
def test_every_test_image_gives_the_programs_logits_to_the_bit(page: Page, pipeline: Path, monkeypatch) -> None:
    monkeypatch.chdir(pipeline)
    images = read_split(paths.TEST_DATA).images.numpy()
    expected = read_c_program()(images)
    assert logits_of(page, images).tobytes() == expected.tobytes()


@needs_browser
def test_twenty_drawings_give_the_image_and_the_digit_of_predict_on_their_png(page: Page, pipeline: Path, monkeypatch) -> None:
    monkeypatch.chdir(pipeline)
    read = digit_reader("c")
    for number in range(20):
        page.draw(slanted(number % 10, number), WIDTHS[number % len(WIDTHS)])
        png = page.png()
        assert np.abs(page.seen() - mnist_image(png)).max() <= 1, number  # of 255
        assert int(page.text("answer")) == int(np.argmax(read(png))), number


@needs_browser
@pytest.mark.parametrize("kind", ["mouse", "touch", "pen"])
def test_strokes_of_a_pointer_are_drawn_where_it_moves(page: Page, kind: str) -> None:
    page.point(kind, DIGITS[4])
    drawn = page.run("return present().strokes.map((stroke) => stroke.points)")
    assert len(drawn) == 2
    for found, expected in zip(drawn, DIGITS[4], strict=True):
        for point in expected:
            assert np.abs(np.array(found) - point).max(1).min() < 1  # each corner was visited, to a pixel of the screen
    assert page.text("answer") in "0123456789"
