"""One's own pictures, in a folder for each class: `<dataset.path>/<class>/<picture>`.

The layout is that of torchvision's ImageFolder; the classes are in sorted order. Where the folder has the folders
`train` and `test` and nothing else, each has the folders of the classes, and the test images are those in `test`. Each
picture becomes an image in the same way as in `armdigits predict`. Hidden files are ignored; whatever else cannot be
used is reported with the reason.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from armdigits.core import files
from armdigits.core.errors import BadInput, printable
from armdigits.core.parameters import Dataset
from armdigits.data.survey import Survey, check_classes, check_regular, checksums, digest, folder_of, name_of

if TYPE_CHECKING:
    from armdigits.data.dataset import Split
    from armdigits.data.images import Images

FEWEST = 10  # pictures of a class, so that the training, validation and test images have at least one each
TEST_SHARE = 5  # one picture in five is a test image
MAX_BYTES = 200_000_000  # of a picture
LISTED = 10  # lines about pictures that are left out


class Listing(NamedTuple):
    """The pictures of each class, in sorted order, and a line for each entry that is none: its path and the reason."""

    folder: Path
    pictures: dict[str, list[Path]]
    others: list[str]

    def files(self) -> tuple[Path, ...]:
        """All pictures, class by class."""
        return tuple(path for pictures in self.pictures.values() for path in pictures)


class Pictures(NamedTuple):
    """Images uint8 [N, C, H, W] and their labels, and a line for each entry of the folder that is left out."""

    images: NDArray[np.uint8]
    labels: list[int]
    left_out: list[str]

    def split(self) -> "Split":
        """The images and labels as the stages take them."""
        import torch

        from armdigits.data.dataset import Split

        return Split(torch.from_numpy(self.images), torch.tensor(self.labels, dtype=torch.uint8))


def survey(dataset: Dataset) -> Survey:
    """The number of pictures, damaged ones included.

    Raises:
        BadInput: there are fewer than 2 classes or more than 100, or a class has too few pictures.
    """
    folder = folder_of(dataset)
    train, test = _listings(folder)
    classes = tuple(train.pictures)
    check_classes(folder, classes)
    _check_counts(train.folder, {name: len(pictures) for name, pictures in train.pictures.items()})
    if test is None:
        found, count = train.files(), _test_images(len(train.files()))
        return Survey(classes, len(found) - count, count, found, dataset.shape)
    if tuple(test.pictures) != classes:
        (name, *_) = sorted({*classes} ^ {*test.pictures})
        raise BadInput(f"{folder}: expected the same classes in train/ and test/, found {name} in one of them only")
    _check_counts(test.folder, {name: len(pictures) for name, pictures in test.pictures.items()}, fewest=1)
    found = (*train.files(), *test.files())
    return Survey(classes, len(train.files()), len(test.files()), found, dataset.shape)


def load(dataset: Dataset) -> "Images":
    """Read the pictures. Without a folder `test`, set a fifth of them aside for the test, stratified by class.

    Raises:
        BadInput: as `survey`, or a class has too few pictures that can be read.
    """
    from armdigits.data.images import Images, split_off

    surveyed = survey(dataset)
    folder = folder_of(dataset)
    listings = _listings(folder)
    first: dict[str, str] = {}
    parts, left_out = [], []
    for listing, fewest in zip(listings, (FEWEST, 1), strict=True):
        if listing:
            pictures = _read(folder, listing, surveyed.classes, dataset, first)
            counts = Counter(pictures.labels)
            found = {name: counts[label] for label, name in enumerate(surveyed.classes)}
            _check_counts(listing.folder, found, pictures.left_out, fewest)
            parts.append(pictures.split())
            left_out += pictures.left_out
    train, test = parts if len(parts) == 2 else split_off(parts[0], _test_images(len(parts[0])), dataset.seed)
    source = {folder.name: digest(folder, checksums(surveyed.files))}
    return Images(train, test, source, surveyed.classes, tuple(left_out))


def survey_added(dataset: Dataset, classes: Sequence[str]) -> tuple[Path, ...]:
    """The pictures in a folder that are added to the training images of another data set.

    Raises:
        BadInput: there is no picture, or a folder is none of the data set's classes.
    """
    folder = folder_of(dataset)
    listing = _list(folder)
    if unknown := [name for name in listing.pictures if name not in classes]:
        expected = ", ".join(classes)
        raise BadInput(f"{folder / unknown[0]}: no class of {dataset.name}; expected folders named {expected}")
    if not listing.files():
        raise BadInput(f"{folder}: no picture in it; expected {folder}/<class>/<picture>")
    return listing.files()


def load_added(dataset: Dataset, classes: Sequence[str]) -> tuple["Split", dict[str, str], tuple[str, ...]]:
    """Read the pictures that are added to the training images of another data set.

    Returns:
        The images, the digest of the folder by its name, and a line for each entry that is left out.

    Raises:
        BadInput: as `survey_added`, or no picture can be read.
    """
    found = survey_added(dataset, classes)
    folder = folder_of(dataset)
    pictures = _read(folder, _list(folder), classes, dataset, {})
    if not pictures.labels:
        raise BadInput(*shortened(pictures.left_out), f"{folder}: none of its pictures can be used")
    return pictures.split(), {folder.name: digest(folder, checksums(found))}, tuple(pictures.left_out)


def shortened(lines: Sequence[str]) -> list[str]:
    """The first lines, and how many more there are."""
    more = len(lines) - LISTED
    return [*lines[:LISTED], *([f"... and {more:,} more"] if more > 0 else [])]


def left_out_lines(lines: Sequence[str]) -> list[str]:
    """What is printed of pictures that are left out: their number, and the first of them."""
    return [f"{len(lines):,} left out:", *shortened(lines)] if lines else []


def _test_images(count: int) -> int:
    return -(-count // TEST_SHARE)


def _check_counts(folder: Path, counts: Mapping[str, int], left_out: Sequence[str] = (), fewest: int = FEWEST) -> None:
    """Raise BadInput where a class has too few pictures; the reasons why some are left out come first."""
    few = [f"{name}: {count}" for name, count in counts.items() if count < fewest]
    if few:
        line = f"{folder}: expected at least {fewest} pictures of each class, found {', '.join(few[:LISTED])}"
        raise BadInput(*shortened(left_out), f"{line}{', ...' if len(few) > LISTED else ''}")


def _listings(folder: Path) -> tuple[Listing, Listing | None]:
    """The pictures, or those for training and those for the test where the user has split them."""
    if {path.name for path in _visible(folder) if path.is_dir()} == {"train", "test"}:
        return _list(folder / "train"), _list(folder / "test")
    return _list(folder), None


def _list(folder: Path) -> Listing:
    """The folder's entries; raises BadInput where it cannot be read."""
    pictures: dict[str, list[Path]] = {}
    others = []
    try:
        for entry in _visible(folder):
            if not entry.is_dir():
                others.append(f"{printable(entry.name)}: not in the folder of a class")
                continue
            name = name_of(entry)
            pictures[name] = []
            for path in _visible(entry):
                if reason := _not_a_file(path):
                    others.append(f"{printable(f'{entry.name}/{path.name}')}: {reason}")
                else:
                    pictures[name].append(path)
    except OSError as error:
        raise BadInput(f"{error.filename}: cannot be read ({error.strerror})") from None
    return Listing(folder, pictures, others)


def _not_a_file(path: Path) -> str:
    """Why an entry in the folder of a class cannot be a picture; empty where it can."""
    try:
        if path.is_dir():
            return "a folder within that of a class"
        check_regular(path, MAX_BYTES)
    except OSError as error:
        return error.strerror or "cannot be read"
    return ""


def _visible(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _read(folder: Path, listing: Listing, classes: Sequence[str], dataset: Dataset, first: dict[str, str]) -> Pictures:
    """Every picture that can be read, with the position of its class among `classes` as label.

    The same file twice could be among the training and among the test images, so only the first one counts; `first` has
    the name of each file by its SHA-256.
    """
    from armdigits.pictures.reading import read_image

    found = listing.files()
    images = np.empty((len(found), *dataset.shape), np.uint8)
    labels: list[int] = []
    left_out = list(listing.others)
    for path in tqdm(found, desc="pictures", unit="picture", disable=None, leave=False):
        name = printable(str(path.relative_to(folder)))
        try:
            content = _content(path)
            same = first.setdefault(files.sha256(content), name)
            if same != name:
                raise BadInput(f"the same file as {same}")
            # Its folder says that it shows one sign.
            images[len(labels)] = read_image(content, dataset.reading, dataset.shape, single=False)
        except BadInput as problem:
            left_out.append(f"{name}: {problem}")
        else:
            labels.append(classes.index(name_of(path.parent)))
    return Pictures(images[: len(labels)], labels, left_out)


def _content(path: Path) -> bytes:
    try:
        check_regular(path, MAX_BYTES)
        return path.read_bytes()
    except OSError as error:
        raise BadInput(error.strerror or "cannot be read") from None
