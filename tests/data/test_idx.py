"""Data sets in MNIST's format: four IDX files in a folder."""

import gzip
import math
import os
import shutil
import struct
import tracemalloc
from pathlib import Path

import pytest
import torch

from armdigits.core.errors import BadInput
from armdigits.core.files import LFS_POINTER
from armdigits.core.parameters import Dataset
from armdigits.core.shape import Shape
from armdigits.data import idx
from armdigits.data.dataset import Split
from armdigits.pictures.digit import are_digits
from tests.helpers import IMAGES, MIRROR, needs_mnist, some_images, write_idx

FASHION = Dataset(name="idx", path="fashion", validation=20, seed=1, **IMAGES)
CLASSES = tuple(f"class {number}" for number in range(10))
TRAIN, TEST = some_images(60, 1), some_images(30, 2)


@pytest.fixture
def fashion(folder: Path) -> Path:
    """A folder `fashion` in the current one, with compressed files: 60 and 30 images of noise."""
    write_idx(folder / "fashion", {"train": TRAIN, "t10k": TEST})
    return folder / "fashion"


def refusal(where: Path) -> str:
    """The line with which the files are refused, by the survey already."""
    with pytest.raises(BadInput) as caught:
        idx.survey(FASHION)
    line = str(caught.value)
    assert "\n" not in line
    assert line.startswith("fashion")
    return line


def unpack(path: Path) -> bytes:
    return gzip.decompress(path.read_bytes())


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("prefix", ["", "kmnist-"])
def test_four_files_are_read_compressed_or_not_with_any_prefix(folder: Path, compressed: bool, prefix: str) -> None:
    write_idx(folder / "fashion", {"train": TRAIN, "t10k": TEST}, prefix, compressed)
    images = idx.load(FASHION)
    assert torch.equal(images.train.images, TRAIN.images)
    assert torch.equal(images.test.labels, TEST.labels)
    assert images.classes == CLASSES
    assert len(images.source) == 4


@pytest.mark.parametrize("shape", [(3, 28, 28), (1, 32, 32), (3, 9, 40)])
def test_images_in_colour_and_of_other_sizes_keep_their_shape(folder: Path, shape: Shape) -> None:
    train, test = some_images(60, 1, shape), some_images(30, 2, shape)
    write_idx(folder / "fashion", {"train": train, "t10k": test})
    assert idx.survey(FASHION).shape == shape
    images = idx.load(FASHION)
    assert torch.equal(images.train.images, train.images)
    assert torch.equal(images.test.images, test.images)


def test_classes_without_names_are_not_taken_for_digits(fashion: Path) -> None:
    assert not are_digits(idx.load(FASHION).classes)


def test_the_survey_counts_what_is_loaded(fashion: Path) -> None:
    survey = idx.survey(FASHION)
    assert survey[:3] == (CLASSES, 60, 30)
    assert len(survey.files) == 4


@pytest.mark.parametrize("prefix", ["emnist-letters-", "EMNIST-letters-"])
def test_the_images_of_emnist_are_put_upright(folder: Path, prefix: str) -> None:
    write_idx(folder / "fashion", {"train": TRAIN, "test": TEST}, prefix)
    images = idx.load(FASHION)
    assert torch.equal(images.train.images, TRAIN.images.transpose(2, 3))
    assert torch.equal(images.test.images, TEST.images.transpose(2, 3))


def test_labels_may_start_at_1_and_have_gaps_and_the_names_of_the_classes_say_so(folder: Path) -> None:
    splits = {name: Split(split.images, split.labels * 2 + 1) for name, split in (("train", TRAIN), ("t10k", TEST))}
    write_idx(folder / "fashion", splits)
    images = idx.load(FASHION)
    assert images.classes == tuple(f"class {label}" for label in range(1, 20, 2))
    assert torch.equal(images.train.labels, TRAIN.labels)


def test_a_file_may_name_the_classes(fashion: Path) -> None:
    names = ["T-shirt", "trousers", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot"]
    (fashion / "classes.txt").write_text("\n".join(names) + "\n", "utf-8")
    assert idx.load(FASHION).classes == tuple(names)
    assert fashion / "classes.txt" in [fashion / path.name for path in idx.survey(FASHION).files]
    (fashion / "classes.txt").write_text("\n".join(names[:-1]), "utf-8")
    assert refusal(fashion) == "fashion/classes.txt: expected 10 lines, one for each label, found 9"
    (fashion / "classes.txt").write_text("\n".join([*names[:-1], "coat"]), "utf-8")
    assert refusal(fashion) == "fashion/classes.txt: expected each name of a class once, found coat again"


@needs_mnist
def test_mnists_own_files_are_read_as_the_data_set_mnist_is(folder: Path) -> None:
    shutil.copytree(MIRROR, folder / "fashion")
    images = idx.load(FASHION)
    assert (len(images.train), len(images.test)) == (60_000, 10_000)
    assert images.test.labels[:5].tolist() == [7, 2, 1, 0, 4]


TRAIN_IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
HEADER = struct.pack(">4B3I", 0, 0, 8, 3, 60, 28, 28)
MAGIC = "magic number 0x00000803 or 0x00000804 (uint8, 3 or 4 dimensions)"
SAME_LABELS = struct.pack(">4BI", 0, 0, 8, 1, 60) + bytes(60)


def images(*shape: int) -> bytes:
    """An IDX file of black images."""
    return struct.pack(">4B3I", 0, 0, 8, 3, *shape) + bytes(math.prod(shape))


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        (TRAIN_IMAGES, b"", f"expected an IDX file of {MAGIC}, found an empty file"),
        (TRAIN_IMAGES, b"\0\0\x0d\3" + HEADER[4:], f"expected an IDX file of {MAGIC}, found 0x00000d03"),
        (LABELS, HEADER, "expected an IDX file of magic number 0x00000801 (uint8, 1 dimension), found 0x00000803"),
        (TRAIN_IMAGES, HEADER[:10], "ends within its header; copy it again"),
        (TRAIN_IMAGES, images(60, 32, 20), "training images [1, 32, 20], but test images [1, 28, 28]"),
        (TRAIN_IMAGES, images(60, 32, 7), "expected 1 or 3 channels and sides of 8 to 224 pixels, got [1, 32, 7]"),
        (TRAIN_IMAGES, images(59, 28, 28), "59 images, but 60 labels in " + LABELS),
        (LABELS, SAME_LABELS[:-1], "expected 60 bytes after the header, found 59; copy it again"),
        (TRAIN_IMAGES, HEADER + bytes(47_041), "expected 47,040 bytes after the header, found 47,041; copy it again"),
        (TRAIN_IMAGES, struct.pack(">4B3I", 0, 0, 8, 3, 2_000_000, 28, 28), "expected at most 1,000,000,000 bytes "
         "after the header, which says 1,568,000,000"),
        (TRAIN_IMAGES, LFS_POINTER + b"v1", "a Git LFS pointer, not the file itself; run: git lfs pull"),
        (TRAIN_IMAGES, gzip.compress(HEADER), "is compressed; add .gz to its name"),
        (LABELS, SAME_LABELS, "labels that no training image has"),
    ],
    ids=["empty", "floats", "images as labels", "header", "size", "small", "count", "length", "longer", "huge", "LFS",
         "compressed", "one class"],
)  # fmt: skip
def test_a_file_that_is_not_what_its_name_says_is_refused_before_images_are_read(
    folder: Path, name: str, content: bytes, line: str
) -> None:
    write_idx(folder / "fashion", {"train": TRAIN, "t10k": TEST}, compressed=False)
    (folder / "fashion" / name).write_bytes(content)
    found = refusal(folder)
    assert line in found
    assert found.startswith("fashion")


def test_a_compressed_file_that_expands_to_more_than_its_header_says_is_not_expanded(fashion: Path) -> None:
    bomb = gzip.compress(SAME_LABELS + bytes(100_000_000), 1)
    (fashion / f"{LABELS}.gz").write_bytes(bomb)
    tracemalloc.start()
    line = refusal(fashion)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert line == f"fashion/{LABELS}.gz: expected 60 bytes after the header, found more; copy it again"
    assert peak < 10_000_000


def test_a_file_without_end_is_refused_before_it_is_opened(fashion: Path) -> None:
    for name, reason in ((f"{TRAIN_IMAGES}.gz", "not a regular file"), ("classes.txt", "not a regular file")):
        (fashion / name).unlink(missing_ok=True)
        os.mkfifo(fashion / name)
        assert refusal(fashion) == f"fashion/{name}: cannot be read ({reason})"
        (fashion / name).unlink()
        write_idx(fashion, {"train": TRAIN})
    with (fashion / f"{TRAIN_IMAGES}.gz").open("wb") as file:
        file.truncate(10_000_000_000)  # sparse: it takes no space
    assert refusal(fashion) == f"fashion/{TRAIN_IMAGES}.gz: cannot be read (larger than 1,000 MB)"


def test_a_gz_file_that_a_browser_has_decompressed_is_named_with_the_remedy(fashion: Path) -> None:
    path = fashion / f"{LABELS}.gz"
    path.write_bytes(unpack(path))
    assert refusal(fashion) == f"fashion/{LABELS}.gz: is not compressed; remove .gz from its name"


def test_images_that_are_cut_off_are_refused_when_they_are_read(folder: Path) -> None:
    write_idx(folder / "fashion", {"train": TRAIN, "t10k": TEST})
    path = folder / "fashion" / f"{TRAIN_IMAGES}.gz"
    path.write_bytes(gzip.compress(unpack(path)[:-1]))
    idx.survey(FASHION)
    with pytest.raises(BadInput, match="^fashion/.*expected 47,040 bytes after the header, found 47,039; copy it"):
        idx.load(FASHION)


def test_a_label_without_a_test_image_is_refused(folder: Path) -> None:
    write_idx(folder / "fashion", {"train": TRAIN, "t10k": Split(TEST.images[:9], TEST.labels[:9])})
    assert refusal(folder) == f"fashion/{LABELS}.gz: labels that no test image has (9)"


@pytest.mark.parametrize("content", [b"no gzip", gzip.compress(SAME_LABELS)[:-9]], ids=["text", "cut off"])
def test_a_damaged_gzip_file_is_refused(fashion: Path, content: bytes) -> None:
    (fashion / f"{LABELS}.gz").write_bytes(content)
    assert f"fashion/{LABELS}.gz: not a complete gzip file (" in refusal(fashion)


def test_a_missing_file_and_one_that_is_there_twice_are_named(fashion: Path) -> None:
    (fashion / LABELS).write_bytes(unpack(fashion / f"{LABELS}.gz"))
    assert refusal(fashion) == f"fashion: the train labels twice ({LABELS}, {LABELS}.gz); remove one"
    for path in fashion.glob("*labels*"):
        path.unlink()
    assert refusal(fashion).startswith("fashion: has no train labels, test labels; expected train-images-idx3-ubyte")


def test_the_files_of_two_data_sets_in_one_folder_are_refused(fashion: Path) -> None:
    write_idx(fashion, {"train": TRAIN, "test": TEST}, "emnist-balanced-")
    assert refusal(fashion) == (
        "fashion: files of several data sets, whose names begin with '', 'emnist-balanced-'; give each a folder"
    )


def test_one_class_is_refused(folder: Path) -> None:
    splits = {name: Split(split.images, split.labels * 0) for name, split in (("train", TRAIN), ("t10k", TEST))}
    write_idx(folder / "fashion", splits)
    assert refusal(folder) == "fashion: expected 2 to 100 classes, found 1 (class 0)"


def test_more_than_100_classes_are_refused(folder: Path) -> None:
    labels = torch.arange(101, dtype=torch.uint8)
    images = some_images(101).images
    write_idx(folder / "fashion", {"train": Split(images, labels), "t10k": Split(images, labels)})
    assert refusal(folder) == "fashion: expected 2 to 100 classes, found 101"
