"""The page to draw on, in a real browser."""

import base64
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter
from selenium.webdriver.common.keys import Keys

from armdigits.cli import main
from armdigits.cli.predict import picture_reader
from armdigits.core import paths
from armdigits.core.errors import BadInput
from armdigits.csource.binding import read_c_program
from armdigits.data.dataset import pixels_of, read_provenance, read_split
from armdigits.draw.page import DRAW, render
from armdigits.pictures.confidence import UNSURE
from armdigits.program.runtime import read_program
from tests.draw.browser import Page, Strokes, browser, needs_browser
from tests.helpers import ROOT, mnist_image, program_record

DIGITS: dict[int, Strokes] = {
    0: [[(128, 40), (180, 60), (195, 128), (180, 195), (128, 215), (75, 195), (60, 128), (75, 60), (128, 40)]],
    1: [[(110, 70), (140, 40), (140, 215)]],
    2: [[(75, 80), (100, 45), (150, 45), (170, 85), (150, 130), (75, 210), (180, 210)]],
    3: [[(80, 50), (170, 50), (120, 115), (170, 150), (160, 200), (110, 215), (75, 195)]],
    4: [[(80, 45), (70, 140), (180, 140)], [(150, 60), (150, 215)]],
    5: [
        [(95, 45), (88, 115), (130, 105), (165, 125), (172, 165), (150, 200), (110, 210), (80, 195)],
        [(95, 45), (175, 45)],
    ],
    6: [[(160, 45), (110, 90), (85, 150), (90, 200), (130, 215), (165, 190), (160, 150), (120, 135), (90, 160)]],
    7: [[(70, 60), (190, 60), (150, 140), (115, 215)]],
    8: [
        [
            (128, 125),
            (80, 90),
            (100, 45),
            (155, 45),
            (175, 90),
            (128, 125),
            (80, 165),
            (95, 210),
            (160, 210),
            (175, 165),
            (128, 125),
        ]
    ],
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

SHEET_PIXEL = """((x, y) => {
  const shown = newCanvas(256, 256).getContext("2d");
  shown.fillStyle = getComputedStyle(page.sheet).backgroundColor;
  shown.fillRect(0, 0, 256, 256);
  shown.drawImage(page.sheet, 0, 0, 256, 256);
  return shown.getImageData(x, y, 1, 1).data[1];
})"""
CONTROL, DELETE, TAB, UP, DOWN, LEFT, SPACE = (
    Keys.CONTROL,
    Keys.DELETE,
    Keys.TAB,
    Keys.UP,
    Keys.DOWN,
    Keys.LEFT,
    Keys.SPACE,
)


@pytest.fixture(scope="module")
def page_file(pipeline: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of the small pipeline's program."""
    return page_of(pipeline, tmp_path_factory.mktemp("page"))


def page_of(project: Path, folder: Path) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project)
        text = render()
    path = folder / "draw.html"
    path.write_text(text, "utf-8")
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
    assert [address for address in opened.requests() if not address.startswith("data:")] == [
        page_file.resolve().as_uri()
    ]


def page_logits(page: Page, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The logits [N, classes] of uint8 [N, 28, 28], from the page's own instance of the program."""
    content = [
        base64.b64decode(page.run(LOGITS, base64.b64encode(part).decode())) for part in np.array_split(images, 10)
    ]
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
    assert page_logits(page, images).tobytes() == expected.tobytes()


@needs_browser
def test_twenty_drawings_give_the_image_and_the_digit_of_predict_on_their_png(
    page: Page, pipeline: Path, monkeypatch
) -> None:
    monkeypatch.chdir(pipeline)
    read = picture_reader("c", program_record())
    for number in range(20):
        page.draw(slanted(number % 10, number), WIDTHS[number % len(WIDTHS)])
        png = page.png()
        assert np.abs(page.seen() - mnist_image(png)).max() <= 1, number  # of 255
        expected = read(png)
        assert int(page.text("answer")) == int(np.argmax(expected.probabilities)), number
        assert page.run("return !page.unsure.hidden") == (expected.confidence < UNSURE), number


@needs_browser
@pytest.mark.parametrize("kind", ["mouse", "touch", "pen"])
def test_strokes_of_a_pointer_are_drawn_where_it_moves(page: Page, kind: str) -> None:
    page.point(kind, DIGITS[4])
    drawn = page.run("return present().strokes.map((stroke) => stroke.points)")
    assert len(drawn) == 2
    for found, expected in zip(drawn, DIGITS[4], strict=True):
        for point in expected:
            assert np.abs(np.array(found) - point).max(1).min() < 1  # each corner was visited, to a pixel of the screen
    assert page.text("answer") in set("0123456789")


@needs_browser
def test_undo_and_clear_work_from_the_keyboard_and_can_be_undone(page: Page) -> None:
    page.draw(DIGITS[4], 18)
    count = "return present().strokes.length"
    page.press(CONTROL, "z")
    assert page.run(count) == 1
    page.press(DELETE)
    assert (page.run(count), page.text("answer"), page.text("time")) == (0, "", "")
    page.press(CONTROL, "z")
    assert (page.run(count), page.text("answer") in set("0123456789")) == (1, True)
    page.press(CONTROL, "z")
    assert page.run("return [present() === EMPTY, page.undo.disabled, page.clear.disabled]") == [True, True, True]


@needs_browser
def test_the_buttons_undo_and_clear(page: Page) -> None:
    page.draw(DIGITS[4], 18)
    for button, left in (("undo", 1), ("clear", 0), ("undo", 1)):
        page.run("page[arguments[0]].click()", button)
        assert page.run("return present().strokes.length") == left


@needs_browser
def test_a_digit_can_be_drawn_with_the_keyboard_alone(page: Page) -> None:
    page.press(TAB)
    assert page.run("return document.activeElement.id") == "sheet"
    page.press(*[UP] * 8, SPACE, *[DOWN] * 16, SPACE, *[LEFT] * 3)
    (stroke,) = page.run("return present().strokes")
    assert stroke["points"] == [[128, y] for y in range(64, 200, 8)]
    assert page.run("return [pen.x, pen.y, pen.down]") == [104, 192, False]


@needs_browser
def test_the_answer_is_spoken_once_the_drawing_pauses(page: Page) -> None:
    page.draw(DIGITS[1], 18)
    page.wait("return page.spoken.textContent !== ''")
    assert page.text("spoken").startswith(f"{page.text('answer')}, {page.text('share')}")
    assert page.run("return page.spoken.getAttribute('aria-live')") == "polite"
    tree = page.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    named = {node["role"]["value"]: node["name"]["value"] for node in tree if node.get("name", {}).get("value")}
    assert named["application"] == "Drawing area"
    assert {node["name"]["value"] for node in tree if node["role"]["value"] == "button"} >= {"Undo", "Clear"}


@needs_browser
def test_the_page_shows_the_probabilities_of_predict_and_the_time_of_a_call(
    page: Page, pipeline: Path, monkeypatch
) -> None:
    monkeypatch.chdir(pipeline)
    page.draw(DIGITS[3], 18)
    expected = picture_reader("c", program_record())(page.png()).probabilities
    shown = page.run("return [...page.bars.children].map((bar) => bar.innerText.split(/\\s/)[1])")
    assert shown == [f"{share * 100:.1f}" for share in expected]
    assert re.fullmatch(r"\d+(\.\d)? µs", page.text("time"))


@needs_browser
@pytest.mark.parametrize("way", ["drop", "paste", "open"])
def test_a_picture_file_is_read_as_predict_reads_it(page: Page, way: str, tmp_path: Path) -> None:
    content = photo()
    if way == "open":
        path = tmp_path / "photo.png"
        path.write_bytes(content)
        page.driver.find_element("id", "file").send_keys(str(path))
    else:
        page.give(way, content, "photo.png")
    page.wait("return page.answer.textContent !== ''")
    assert np.abs(page.seen() - mnist_image(content)).max() <= 1  # of 255
    page.point("mouse", DIGITS[1])
    assert page.run("return present().photo") is None, "drawing starts on an empty sheet"


@needs_browser
@pytest.mark.parametrize("kind", ["bright", "small", "boxed", "crossed", "ruled", "shadow", "transparent", "empty box"])
def test_pictures_of_every_kind_are_prepared_as_predict_prepares_them(page: Page, kind: str) -> None:
    content = picture(kind)
    page.give("drop", content, "picture.png")
    page.wait("return present().photo !== null")
    page.settle()
    assert np.abs(page.seen() - mnist_image(content)).max() <= 1  # of 255


@needs_browser
@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"no picture", "notes.png: not a picture that this browser reads"),
        (None, "blank: no digit stands out from the background"),
    ],
)
def test_a_file_without_a_digit_gets_one_line(page: Page, content: bytes | None, problem: str) -> None:
    page.give("drop", content or encoded(np.full((60, 60), 200)), "notes.png")
    page.wait("return page.problem.textContent !== ''")
    assert page.text("problem") == problem
    assert page.text("answer") == ""


@needs_browser
@pytest.mark.parametrize("mode", ["light", "dark"])
@pytest.mark.parametrize(("width", "height"), [(390, 844), (1280, 900)])
def test_the_page_fits_the_screen_in_light_and_in_dark(page: Page, width: int, height: int, mode: str) -> None:
    page.screen(width, height, mode)
    page.draw(DIGITS[2], 18)
    assert page.run("const root = document.documentElement; return root.scrollWidth <= root.clientWidth")
    answer = page.run("return page.answer.getBoundingClientRect().bottom")
    assert answer <= height, "the answer is seen while drawing"
    paper, ink = page.run("return [sheetPixel(5, 5), sheetPixel(120, 210)]".replace("sheetPixel", SHEET_PIXEL))
    assert (ink < paper) is (mode == "light")


@needs_browser
@pytest.mark.parametrize(("count", "rows"), [(2, 2), (12, 12), (47, 10), (100, 10)])
def test_the_bars_show_any_number_of_classes(
    opened: Page, page_file: Path, tmp_path: Path, count: int, rows: int
) -> None:
    names = [f"class {number}" for number in range(count)]
    path = tmp_path / "draw.html"
    path.write_text(
        re.sub(r'"classes": \[.*?\]', f'"classes": {json.dumps(names)}', page_file.read_text("utf-8")), "utf-8"
    )
    page = opened.load(path)
    shares = [(number * 7 % count) / (count * (count - 1) / 2) for number in range(count)]
    page.run("showBars(arguments[0], arguments[1])", shares, int(np.argmax(shares)))
    shown = page.run("return [...page.bars.children].map((bar) => bar.children[0].textContent)")
    likely = sorted(range(count), key=lambda number: -shares[number])[:10]
    assert shown == (names if rows == count else [names[number] for number in likely])
    assert page.run("return page.bars.querySelectorAll('.best').length") == 1
    assert page.text("rest") == ("" if rows == count else f"The 10 most likely of {count} classes.")


@needs_browser
def test_a_browser_that_cannot_run_the_program_says_so(opened: Page, page_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "draw.html"
    path.write_text(page_file.read_text("utf-8").replace('id="program">AGFzbQ', 'id="program">AGFzbR'), "utf-8")
    page = opened.load(path)
    assert page.text("problem").startswith("This browser cannot run the program")
    page.draw(DIGITS[1], 18)
    assert page.text("answer") == ""


@needs_browser
def test_two_digits_are_counted_as_predict_counts_them(page: Page) -> None:
    page.draw([[(x + 0.3 * (a - 128), b) for a, b in DIGITS[1][0]] for x in (60, 180)], 12)
    with pytest.raises(BadInput) as refused:
        mnist_image(page.png())
    assert page.text("problem") == str(refused.value)
    assert page.text("answer") == ""


def test_the_command_writes_the_page_where_it_is_told(ran: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["draw"]) == 0
    assert main(["draw", "-o", "site/digit.html"]) == 0
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()] == [str(DRAW), "site/digit.html"]
    text = DRAW.read_text("utf-8")
    assert text == Path("site/digit.html").read_text("utf-8"), "the same run gives the same bytes"
    assert not re.search(r"(src|href)=\"(?!data:)|url\(|@import|https?://(?!www.w3.org/2000/svg)", text)


def test_a_missing_file_names_the_stage_that_writes_it(ran: Path) -> None:
    for path, stage in ((paths.C_SOURCE, "export"), (paths.PROGRAM_RECORD, "quantize")):
        path.unlink()
        with pytest.raises(BadInput, match=f"^{path}: no such file; run: dvc repro {stage}$"):
            render()


@needs_browser
@pytest.mark.slow
def test_mnists_test_images_give_the_programs_logits_and_every_drawn_digit_is_read(
    opened: Page, tmp_path: Path, monkeypatch
) -> None:
    """Needs a run on the full MNIST."""
    monkeypatch.chdir(ROOT)
    if not paths.C_SOURCE.exists() or read_provenance().name != "mnist":
        pytest.skip("the pipeline has not run on MNIST here")
    page = opened.load(page_of(ROOT, tmp_path))
    images = read_split(paths.TEST_DATA).images.numpy()
    program = read_program(paths.INT8_PROGRAM)
    expected = np.concatenate([program(pixels_of(part)).numpy() for part in torch.from_numpy(images).split(500)])
    assert page_logits(page, images).tobytes() == expected.tobytes()
    for digit, strokes in DIGITS.items():
        for kind, width in (("mouse", 9), ("touch", 18), ("pen", 28)):
            page.run("clear(); page.pen.value = arguments[0]", width)
            page.point(kind, strokes)
            assert page.text("answer") == str(digit), (kind, width)


def photo() -> bytes:
    """A picture file: a thin seven on paper under uneven light, with noise, larger than what is read of it."""
    drawn = Image.new("L", (600, 800))
    ImageDraw.Draw(drawn).line([(180, 240), (390, 240), (300, 440), (252, 640)], fill=255, width=20, joint="curve")
    ink = np.asarray(drawn.filter(ImageFilter.GaussianBlur(3)), np.float64) / 255
    y, x = np.mgrid[0:1:800j, 0:1:600j]
    noise = np.random.default_rng(0).normal(0, 3, ink.shape)
    return encoded((190 + 40 * x - 30 * y * x) * (1 - ink) + 40 * ink + noise)


def picture(kind: str) -> bytes:
    """A picture file: a seven with what `kind` says."""
    drawn = Image.new("L", (160, 200), 235)
    pen = ImageDraw.Draw(drawn)
    if kind != "empty box":
        pen.line([(45, 50), (105, 50), (80, 100), (65, 150)], fill=40, width=9, joint="curve")
    if "box" in kind:
        pen.polygon([(12, 10), (150, 14), (145, 188), (9, 183)], outline=90, width=3)
    if kind == "crossed":  # the box touches the digit
        pen.rectangle((20, 20, 112, 180), outline=90, width=3)
    if kind == "ruled":
        for height in (30, 90, 155):
            pen.line([(0, height), (160, height + 4)], fill=120, width=2)
    if kind == "small":
        drawn = drawn.resize((22, 28), Image.Resampling.BOX)
    values = np.asarray(drawn, np.float64)
    if kind == "shadow":
        values = values * np.where(np.arange(160) < 75, 0.4, 1)
    if kind == "bright":
        values = 255 - values
    if kind == "transparent":
        ink = np.where(values < 100, 255, 0)
        values = np.stack([np.full_like(ink, level) for level in (20, 60, 140)] + [ink], axis=-1)
    return encoded(values)


def encoded(values: NDArray[Any]) -> bytes:
    """A picture file with these levels, limited to 0 to 255."""
    buffer = io.BytesIO()
    Image.fromarray(np.clip(values, 0, 255).astype(np.uint8)).save(buffer, "png")
    return buffer.getvalue()
