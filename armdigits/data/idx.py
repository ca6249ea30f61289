"""Images in MNIST's format: four IDX files, compressed or not, in a folder (http://yann.lecun.com/exdb/mnist/).

Fashion-MNIST, KMNIST and EMNIST come in it. The files are named as MNIST's (`train-images-idx3-ubyte.gz`, `t10k-...`),
with any prefix. EMNIST's begin with `emnist-`; its images are transposed, and are put upright here (G. Cohen et al.,
"EMNIST: an extension of MNIST to handwritten letters", 2017).
"""

import gzip
import math
import re
import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BufferedIOBase
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from armdigits.core import files
from armdigits.core.errors import BadInput
from armdigits.core.parameters import Dataset
from armdigits.core.shape import Shape, check_shape
from armdigits.data.survey import MAX_BYTES, Survey, check_classes, check_regular, checksums, folder_of

if TYPE_CHECKING:
    from armdigits.data.images import Images

NAME = re.compile(r"(?P<prefix>.*?)(?P<part>train|t10k|test)-(?P<kind>images|labels)[-.]idx[134]-ubyte(\.gz)?")
IMAGES, LABELS = (3, 4), (1,)  # dimensions of an array
FILES = ("train images", "train labels", "test images", "test labels")
TRANSPOSED = "emnist-"  # the prefix of the files whose images are transposed
CLASSES = "classes.txt"  # the names of the classes, one per line, in the order of the labels
MAX_NAMES = 1_000_000  # bytes of classes.txt


def survey(dataset: Dataset) -> Survey:
    """The sizes, from the headers and the labels.

    Raises:
        BadInput: a file is missing, is not what its name says, or has another length than its header says; images and
            labels differ in number; there is one class, or more than 100; a test image has a label that no training
            image has.
    """
    folder = folder_of(dataset)
    found = _find(folder)
    shapes: dict[str, Shape] = {}
    for part in ("train", "test"):
        path, labels_path = found[f"{part} images"], found[f"{part} labels"]
        count, *sides = _shape(path, *IMAGES)
        shapes[part] = _image_shape(path, sides)
        if (count,) != (of_labels := _shape(labels_path, *LABELS)):
            raise BadInput(f"{path}: {count:,} images, but {of_labels[0]:,} labels in {labels_path.name}")
    if shapes["train"] != shapes["test"]:
        raise BadInput(f"{folder}: training images {list(shapes['train'])}, but test images {list(shapes['test'])}")
    labels = {part: read(found[f"{part} labels"], *LABELS) for part in ("train", "test")}
    classes = _classes(folder, found, labels["train"], labels["test"])
    names = [folder / CLASSES] if (folder / CLASSES).exists() else []
    return Survey(classes, len(labels["train"]), len(labels["test"]), (*found.values(), *names), shapes["train"])


def load(dataset: Dataset) -> "Images":
    """Read the four files.

    Raises:
        BadInput: as `survey`, or a file is damaged.
    """
    import torch  # takes seconds, and preflight needs only the survey

    from armdigits.data.dataset import Split
    from armdigits.data.images import Images

    surveyed = survey(dataset)
    folder = folder_of(dataset)
    found = _find(folder)
    train_images, train_labels, test_images, test_labels = (
        read(found[name], *(IMAGES if name.endswith("images") else LABELS)) for name in FILES
    )
    classes = _classes(folder, found, train_labels, test_labels)
    values = np.unique(train_labels)

    def split(images: NDArray[np.uint8], labels: NDArray[np.uint8]) -> Split:
        colours = images.reshape(*images.shape[:3], -1)  # a pixel's channels come together in a file
        turned = found["train images"].name.lower().startswith(TRANSPOSED)
        upright = colours.transpose(0, 3, 2, 1) if turned else colours.transpose(0, 3, 1, 2)
        positions = np.searchsorted(values, labels).astype(np.uint8)
        return Split(torch.from_numpy(np.array(upright, order="C")), torch.from_numpy(positions))

    source = {path.name: checksum for path, checksum in checksums(surveyed.files).items()}
    return Images(split(train_images, train_labels), split(test_images, test_labels), source, classes)


def _find(folder: Path) -> dict[str, Path]:
    """The path of each of `FILES`.

    Raises:
        BadInput: one is missing or there twice, or the folder has the files of several data sets.
    """
    found: dict[str, list[Path]] = {name: [] for name in FILES}
    prefixes = set()
    for path in sorted(folder.iterdir()):
        if match := NAME.fullmatch(path.name):
            prefixes.add(match["prefix"])
            found[f"{'train' if match['part'] == 'train' else 'test'} {match['kind']}"].append(path)
    if len(prefixes) > 1:
        listed = ", ".join(map(repr, sorted(prefixes)))
        raise BadInput(f"{folder}: files of several data sets, whose names begin with {listed}; give each a folder")
    for name, candidates in found.items():
        if len(candidates) > 1:
            raise BadInput(f"{folder}: the {name} twice ({', '.join(path.name for path in candidates)}); remove one")
    if missing := [name for name, candidates in found.items() if not candidates]:
        example = "train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-..., t10k-labels-..., each .gz or not"
        raise BadInput(f"{folder}: has no {', '.join(missing)}; expected {example}")
    return {name: candidates[0] for name, candidates in found.items()}


def _image_shape(path: Path, sides: Sequence[int]) -> Shape:
    """The shape of images [height, width], or [height, width, 3] in colour; raises BadInput for another one."""
    height, width, channels = (*sides, 1)[:3]
    try:
        check_shape((channels, height, width))
    except ValueError as error:
        raise BadInput(f"{path}: {error}") from None
    return channels, height, width


def read(path: Path, *dimensions: int) -> NDArray[np.uint8]:
    """The array of an IDX file, [N, height, width], [N, height, width, 3] or [N].

    torchvision's reader is not used here: it takes seconds to import, and fails without a reason.

    Raises:
        BadInput: the file cannot be read, is damaged, has another magic number or another length.
    """
    with _opened(path) as file:
        shape = _header(path, file, dimensions)
        expected = math.prod(shape)
        content = file.read(expected + 1)  # a small .gz file may hold any number of bytes
    if len(content) != expected:
        found = f"{len(content):,}" if len(content) < expected else "more"
        raise BadInput(f"{path}: expected {expected:,} bytes after the header, found {found}; copy it again")
    return np.frombuffer(content, np.uint8).reshape(shape)


def _shape(path: Path, *dimensions: int) -> tuple[int, ...]:
    with _opened(path) as file:
        return _header(path, file, dimensions)


@contextmanager
def _opened(path: Path) -> Iterator[BufferedIOBase]:
    """A regular file, decompressed where it is compressed; raises BadInput where it cannot be read."""
    try:
        check_regular(path)
        _check_compression(path)
        with (gzip.open if path.suffix == ".gz" else Path.open)(path, "rb") as file:
            yield file
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise BadInput(f"{path}: not a complete gzip file ({error}); copy it again") from None
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror})") from None


def _check_compression(path: Path) -> None:
    """Raise BadInput for a file that is compressed while its name says that it is not, or the other way round."""
    with path.open("rb") as file:
        first = file.read(len(files.LFS_POINTER))
    if first == files.LFS_POINTER:
        raise BadInput(f"{path}: {files.LFS_REMEDY}")
    if path.suffix == ".gz" and first.startswith(b"\0\0"):  # as every IDX file; some browsers decompress downloads
        raise BadInput(f"{path}: is not compressed; remove .gz from its name")
    if path.suffix != ".gz" and first.startswith(b"\x1f\x8b"):
        raise BadInput(f"{path}: is compressed; add .gz to its name")


def _header(path: Path, file: BufferedIOBase, dimensions: Sequence[int]) -> tuple[int, ...]:
    """The shape that an IDX file begins with: its magic number has the type (8: uint8) and the number of `dimensions`.

    Raises:
        BadInput: it is another one, larger than can be read, or larger or smaller than the file.
    """
    magic = file.read(4)
    if magic not in {bytes([0, 0, 8, number]) for number in dimensions}:
        numbers = " or ".join(f"0x0000080{number}" for number in dimensions)
        what = f"uint8, {' or '.join(map(str, dimensions))} {'dimension' if dimensions == LABELS else 'dimensions'}"
        found = f"0x{magic.hex()}" if magic else "an empty file"
        raise BadInput(f"{path}: expected an IDX file of magic number {numbers} ({what}), found {found}")
    size = 4 + 4 * magic[3]
    content = magic + file.read(size - 4)
    if len(content) < size:
        raise BadInput(f"{path}: ends within its header; copy it again")
    shape: tuple[int, ...] = struct.unpack_from(f">{magic[3]}I", content, 4)
    length, stored = math.prod(shape), path.stat().st_size - size
    if length > MAX_BYTES:
        raise BadInput(f"{path}: expected at most {MAX_BYTES:,} bytes after the header, which says {length:,}")
    if path.suffix != ".gz" and length != stored:
        raise BadInput(f"{path}: expected {length:,} bytes after the header, found {stored:,}; copy it again")
    return shape


def _classes(
    folder: Path, found: dict[str, Path], train: NDArray[np.uint8], test: NDArray[np.uint8]
) -> tuple[str, ...]:
    """The name of each label that the training images have, from classes.txt; without it, `class 0`, `class 1`, ...

    Labels alone do not say that the images are digits, which are read differently.
    """
    labels = np.unique(train)
    if len(unknown := np.setdiff1d(test, labels)):
        listed = ", ".join(map(str, unknown[:10]))
        raise BadInput(f"{found['test labels']}: labels that no training image has ({listed})")
    if len(absent := np.setdiff1d(labels, test)):
        listed = ", ".join(map(str, absent[:10]))
        raise BadInput(f"{found['train labels']}: labels that no test image has ({listed})")
    names = [f"class {label}" for label in labels]
    where = folder
    if (folder / CLASSES).exists():
        where = folder / CLASSES
        names = _lines(where)
        if len(names) != len(labels):
            raise BadInput(f"{where}: expected {len(labels)} lines, one for each label, found {len(names)}")
    check_classes(where, names)
    return tuple(names)


def _lines(path: Path) -> list[str]:
    try:
        check_regular(path, MAX_NAMES)
        return path.read_text("utf-8", errors="surrogateescape").splitlines()
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror})") from None
