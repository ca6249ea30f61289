"""One's own pictures in folders, read as a data set or added to another one."""

import os
import re
import shutil
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from armdigits.core.errors import BadInput
from armdigits.core.parameters import Dataset
from armdigits.data import folder as pictures
from tests.helpers import ASCII, IMAGES, mnist_image, needs_utf8_names, run, write_pictures

MINE = Dataset(name="folder", path="mine", validation=6, seed=1, **IMAGES)


@pytest.fixture
def mine(folder: Path) -> Path:
    """A folder `mine` in the current one, with 12 pictures each of `a`, `b` and `c`."""
    write_pictures(folder / "mine", 12)
    return folder / "mine"


def refusal() -> list[str]:
    with pytest.raises(BadInput) as caught:
        pictures.load(MINE)
    return str(caught.value).splitlines()


def test_each_folder_is_a_class_and_each_picture_is_read_as_predict_reads_it(mine: Path) -> None:
    images = pictures.load(MINE)
    assert images.classes == ("a", "b", "c")
    assert (len(images.train), len(images.test)) == (28, 8)
    found = {image.numpy().tobytes() for image in torch.cat([images.train.images, images.test.images])}
    assert found == {mnist_image(path.read_bytes(), single=False).tobytes() for path in mine.glob("*/*.png")}


def test_pictures_in_colour_and_of_other_formats_are_read(mine: Path) -> None:
    for path in mine.glob("a/*.png"):
        Image.open(path).convert("RGB").resize((90, 120)).save(path.with_suffix(".jpg"))
        path.unlink()
    assert torch.bincount(pictures.load(MINE).train.labels).min() >= 9


def test_the_survey_counts_what_is_loaded(mine: Path) -> None:
    survey, images = pictures.survey(MINE), pictures.load(MINE)
    assert survey.classes == images.classes
    assert (survey.train_images, survey.test_images) == (len(images.train), len(images.test))
    assert len(survey.files) == 36


def test_the_test_images_are_stratified_and_depend_on_the_seed_only(mine: Path) -> None:
    first, same, other = (pictures.load(MINE.model_copy(update={"seed": seed})) for seed in (1, 1, 2))
    assert torch.bincount(first.test.labels).min() >= 2
    assert torch.equal(first.test.images, same.test.images)
    assert not torch.equal(first.test.images, other.test.images)


def test_what_cannot_be_used_is_listed_with_the_reason(mine: Path) -> None:
    (mine / "a" / "3.png").write_bytes((mine / "a" / "3.png").read_bytes()[:60])
    (mine / "a" / "4.png").write_bytes(b"")
    (mine / "b" / "notes.txt").write_text("no picture", "utf-8")
    (mine / "b" / "copy.png").write_bytes((mine / "c" / "0.png").read_bytes())
    (mine / "c" / "gone.png").symlink_to("nowhere")
    (mine / "c" / "more").mkdir()
    os.mkfifo(mine / "c" / "pipe\x1b[31m.png")
    with (mine / "c" / "sparse.png").open("wb") as file:
        file.truncate(10_000_000_000)
    (mine / "stray.png").write_bytes((mine / "a" / "0.png").read_bytes())
    (mine / "a" / ".hidden").write_text("ignored", "utf-8")
    images = pictures.load(MINE)
    assert len(images.train) + len(images.test) == 34
    assert list(images.left_out) == [
        "c/gone.png: No such file or directory",
        "c/more: a folder within that of a class",
        r"c/pipe\x1b[31m.png: not a regular file",
        "c/sparse.png: larger than 200 MB",
        "stray.png: not in the folder of a class",
        "a/3.png: a damaged picture",
        "a/4.png: empty",
        "b/notes.txt: not a picture in AVIF, BMP, GIF, HEIC, JPEG, PNG, PPM, TIFF or WebP; save it as JPEG or PNG",
        "c/0.png: the same file as b/copy.png",
    ]


def test_the_users_split_is_kept_and_a_file_in_both_parts_is_left_out_of_the_test(folder: Path) -> None:
    write_pictures(folder / "mine" / "train", 12)
    for picture in (folder / "mine" / "train").glob("*/11.png"):
        (folder / "mine" / "test" / picture.parent.name).mkdir(parents=True)
        picture.rename(folder / "mine" / "test" / picture.parent.name / "0.png")
    shutil.copy("mine/train/b/3.png", "mine/test/b/3.png")
    survey, images = pictures.survey(MINE), pictures.load(MINE)
    assert survey.classes == images.classes == ("a", "b", "c")
    assert (survey.train_images, survey.test_images) == (33, 4)
    assert (len(images.train), images.test.labels.tolist()) == (33, [0, 1, 2])
    assert images.left_out == ("test/b/3.png: the same file as train/b/3.png",)


def test_a_split_with_other_classes_in_one_of_its_parts_is_refused(folder: Path) -> None:
    write_pictures(folder / "mine" / "train", 10)
    write_pictures(folder / "mine" / "test", 1, {"a": 0, "b": 1, "d": 7})
    assert refusal() == ["mine: expected the same classes in train/ and test/, found c in one of them only"]
    (folder / "mine" / "test" / "d").rename(folder / "mine" / "test" / "c")
    (folder / "mine" / "test" / "c" / "0.png").unlink()
    assert refusal() == ["mine/test: expected at least 1 pictures of each class, found c: 0"]


def test_a_picture_smaller_than_the_image_is_left_out_with_both_sizes(mine: Path) -> None:
    Image.new("L", (30, 40)).save(mine / "a" / "small.png")
    photos = MINE.model_copy(update={"reading": "photo", "channels": 3, "height": 32, "width": 36})
    images = pictures.load(photos)
    assert images.train.shape == (3, 32, 36)
    assert images.left_out == ("a/small.png: 30x40 pixels are fewer than the image's 36x32",)


def test_a_long_list_is_shortened_with_the_number_of_the_others() -> None:
    assert pictures.shortened(["one", "two"]) == ["one", "two"]
    assert pictures.shortened([str(number) for number in range(2010)])[-2:] == ["9", "... and 2,000 more"]


def test_classes_with_too_few_pictures_are_named_with_their_number(mine: Path) -> None:
    for path in mine.glob("b/1*.png"):
        path.unlink()
    (mine / "d").mkdir()
    assert refusal() == ["mine: expected at least 10 pictures of each class, found b: 9, d: 0"]


def test_too_few_pictures_that_can_be_read_are_refused_after_the_reasons(mine: Path) -> None:
    for path in mine.glob("c/*.png"):
        path.write_bytes(b"damaged")
    lines = refusal()
    assert lines[0].startswith("c/0.png: not a picture in AVIF, BMP, ")
    assert lines[-2:] == ["... and 2 more", "mine: expected at least 10 pictures of each class, found c: 0"]


@pytest.mark.parametrize(
    ("names", "line"),
    [
        ([], "mine: expected 2 to 100 classes, found 0"),
        (["a"], "mine: expected 2 to 100 classes, found 1 (a)"),
        ([str(number) for number in range(101)], "mine: expected 2 to 100 classes, found 101"),
        (["a", "b\n"], "mine: expected names of classes that can be printed, found 'b\\n'"),
    ],
    ids=["none", "one", "101", "line break"],
)
def test_another_number_of_classes_and_odd_names_are_refused(folder: Path, names: list[str], line: str) -> None:
    for name in names:
        (folder / "mine" / name).mkdir(parents=True)
    (folder / "mine").mkdir(exist_ok=True)
    assert refusal() == [line]


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        (None, "expected the folder of the data set folder, got null"),
        ("gone", "gone: no such folder"),
        ("mine/a/0.png", "mine/a/0.png: not a folder"),
    ],
)
def test_a_path_that_is_no_folder_is_refused(mine: Path, path: str | None, reason: str) -> None:
    with pytest.raises(BadInput, match=f"^params.yaml: dataset.path: {re.escape(reason)}$"):
        pictures.survey(MINE.model_copy(update={"path": path}))


@pytest.mark.skipif(sys.platform == "darwin", reason="names of files are UTF-8 there")
def test_a_folder_whose_real_name_is_not_utf8_is_refused_before_a_picture_is_read(mine: Path) -> None:
    mine.rename(os.fsdecode(b"\xe4"))
    Path("link").symlink_to(os.fsdecode(b"\xe4"))
    with pytest.raises(BadInput) as caught:
        pictures.survey(MINE.model_copy(update={"path": "link"}))
    line = "link: expected a folder with a name in UTF-8, got '\\udce4'; rename it"
    assert str(caught.value) == f"params.yaml: dataset.path: {line}"


def test_names_of_classes_do_not_depend_on_the_locale(folder: Path) -> None:
    write_pictures(folder / "mine", 10, {os.fsdecode("ä".encode()): 3, os.fsdecode("か".encode()): 4})
    code = "from armdigits.core.parameters import Dataset; from armdigits.data import folder\n"
    code += f"mine = Dataset(name='folder', path='mine', validation=7, seed=1, **{IMAGES})\n"
    code += "print(ascii(folder.survey(mine).classes), ascii(folder.load(mine).classes))"
    done = run(folder, sys.executable, "-c", code, **ASCII)
    assert done.stdout == f"{('ä', 'か')!a} {('ä', 'か')!a}\n", done.stderr


@needs_utf8_names
@pytest.mark.parametrize("absolute", [False, True])
def test_a_path_may_have_spaces_and_umlauts_and_be_absolute(folder: Path, absolute: bool) -> None:
    name = "it's ü 100% #1"
    write_pictures(folder / name, 10, {"ä ö": 3, "$x$": 4})
    path = str(folder / name) if absolute else name
    assert pictures.load(MINE.model_copy(update={"path": path})).classes == ("$x$", "ä ö")


ADDED = Dataset(name="digits", path="mine", validation=200, seed=1, **IMAGES)


def test_added_pictures_get_the_labels_of_the_data_set(folder: Path) -> None:
    write_pictures(folder / "mine", 2, {"7": 7, "3": 3})
    added, _, left_out = pictures.load_added(ADDED, tuple("0123456789"))
    assert added.labels.tolist() == [3, 3, 7, 7]
    assert left_out == ()


@pytest.mark.parametrize(
    ("classes", "line"),
    [
        ({"1": 7, "x": 3}, "mine/x: no class of digits; expected folders named 0, 1"),
        ({}, "mine: no picture in it; expected mine/<class>/<picture>"),
    ],
)
def test_added_pictures_of_an_unknown_class_or_none_at_all_are_refused(
    folder: Path, classes: dict[str, int], line: str
) -> None:
    (folder / "mine" / "1").mkdir(parents=True)
    if classes:
        write_pictures(folder / "mine", 1, classes)
    with pytest.raises(BadInput, match=f"^{line}$"):
        pictures.load_added(ADDED, ("0", "1"))


def test_added_pictures_that_are_all_damaged_are_refused(folder: Path) -> None:
    write_pictures(folder / "mine", 1, {"1": 1})
    (folder / "mine" / "1" / "0.png").write_bytes(b"x")
    with pytest.raises(BadInput, match="(?s)^1/0.png: not a picture.*mine: none of its pictures can be used$"):
        pictures.load_added(ADDED, ("0", "1"))
