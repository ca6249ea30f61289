"""What is known of a data set before its images are read: how many there are, and the checksums of the user's files.

`preflight` and `armdigits dataset` use it, so nothing here imports torch, which takes seconds.
"""

import errno
import hashlib
import os
import re
import stat
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from armdigits.core import files, paths
from armdigits.core.errors import BadInput
from armdigits.core.parameters import Dataset
from armdigits.core.shape import MNIST, Shape

MIN_CLASSES, MAX_CLASSES = 2, 100
MAX_BYTES = 1_000_000_000  # of a file of the user's: EMNIST's largest has 547,178,704 bytes
MAX_LIST = 10_000_000  # bytes of data/checksums.txt
LISTED = re.compile(r"([0-9a-f]{64})  (.+)")  # a line of sha256sum
HEADER = """\
# SHA-256 of the user's IDX files, written by preflight at their first run and checked in every later one.
# To accept a changed file, remove its line. To check by hand: sha256sum --check data/checksums.txt
"""


class Survey(NamedTuple):
    """The classes, the number of images, damaged pictures included, and the user's files that are read."""

    classes: tuple[str, ...]
    train_images: int
    test_images: int
    files: tuple[Path, ...] = ()
    shape: Shape = MNIST  # of an image
    added: int = 0  # training images besides these, from which no validation images are taken
    largest_class: int = 0  # test images of the class that has most of them; 0 where the images were not read


def folder_of(dataset: Dataset) -> Path:
    """The folder that `dataset.path` names.

    Raises:
        BadInput: it names none, or no folder.
    """
    key = f"{paths.PARAMETERS}: dataset.path"
    if dataset.path is None:
        raise BadInput(f"{key}: expected the folder of the data set {dataset.name}, got null")
    folder = Path(dataset.path)
    if not folder.is_dir():
        raise BadInput(f"{key}: {folder}: {'not a folder' if folder.exists() else 'no such folder'}")
    if not os.access(folder, os.R_OK | os.X_OK):
        raise BadInput(f"{key}: {folder}: cannot be read (Permission denied)")
    if not (name := name_of(folder.resolve())).isprintable():  # it stands in metrics and pages
        raise BadInput(f"{key}: {folder}: expected a folder with a name in UTF-8, got {name!a}; rename it")
    return folder


def name_of(path: Path) -> str:
    """The last part of a path, read as UTF-8 whatever the locale's encoding is; other bytes cannot be printed."""
    return os.fsencode(path.name).decode("utf-8", "surrogateescape")


def check_regular(path: Path, limit: int = MAX_BYTES) -> int:
    """The size of a file of the user's, before it is opened: to read a FIFO or a device may never end.

    Raises:
        OSError: the file is missing, larger than `limit` bytes, or not a regular file.
    """
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    if found.st_size > limit:
        raise OSError(errno.EFBIG, f"larger than {limit // 1_000_000:,} MB", str(path))
    return found.st_size


def check_classes(where: Path, names: Sequence[str]) -> None:
    """Raise BadInput unless there are 2 to 100 classes, with different names that can be printed."""
    if not MIN_CLASSES <= len(names) <= MAX_CLASSES:
        found = f"{len(names)} ({', '.join(names)})" if len(names) == 1 else str(len(names))
        raise BadInput(f"{where}: expected {MIN_CLASSES} to {MAX_CLASSES} classes, found {found}")
    if odd := [name for name in names if not (name.strip() and name.isprintable())]:
        raise BadInput(f"{where}: expected names of classes that can be printed, found {odd[0]!a}")
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise BadInput(f"{where}: expected each name of a class once, found {twice[0]} again")


def checksums(found: tuple[Path, ...]) -> dict[Path, str]:
    """The SHA-256 of each file. A file that cannot be read has the reason in its place."""
    return {path: _checksum(path) for path in tqdm(found, desc="checksums", unit="file", disable=None, leave=False)}


def _checksum(path: Path) -> str:
    try:
        check_regular(path)
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return error.strerror or "cannot be read"


def digest(folder: Path, found: dict[Path, str]) -> str:
    """One SHA-256 of the checksums of files and of their paths in the folder."""
    listing = _listing({path.relative_to(folder): checksum for path, checksum in found.items()})
    return files.sha256(os.fsencode(listing))


def hold(found: dict[Path, str]) -> None:
    """Compare checksums with those in data/checksums.txt, and add to it those of files that it does not list.

    The file has the format of sha256sum, and belongs into Git.

    Raises:
        BadInput: a file differs from its checksum, or the list cannot be read, is empty or malformed; nothing is
            written.
    """
    text = _recorded() if paths.CHECKSUMS.exists() else HEADER
    known = _parsed(text)
    wrong = [
        f"{path}: expected SHA-256 {known[str(path)]} ({paths.CHECKSUMS}), found {checksum}; "
        f"restore the file, or remove its line from {paths.CHECKSUMS} to accept this one"
        for path, checksum in found.items()
        if known.get(str(path), checksum) != checksum
    ]
    if wrong:
        raise BadInput(*wrong)
    if broken := [path for path in found if "\n" in str(path) or "\r" in str(path)]:
        raise BadInput(f"{broken[0]}: expected a path without line breaks, for {paths.CHECKSUMS}; rename it")
    new = {path: checksum for path, checksum in found.items() if str(path) not in known}
    if new or not paths.CHECKSUMS.exists():
        files.write_bytes(paths.CHECKSUMS, os.fsencode(text + _listing(new)))


def _recorded() -> str:
    try:
        check_regular(paths.CHECKSUMS, MAX_LIST)
        return os.fsdecode(paths.CHECKSUMS.read_bytes()).replace("\r\n", "\n")
    except OSError as error:
        raise BadInput(f"{paths.CHECKSUMS}: cannot be read ({error.strerror})") from None


def _parsed(text: str) -> dict[str, str]:
    """The checksum of each path. A list that is empty, cut off or damaged must not pass for one of fewer files."""
    *lines, rest = text.split("\n")  # not splitlines: a path may contain U+2028
    wrong = [number for number, line in enumerate(lines, 1) if not (line.startswith("#") or LISTED.fullmatch(line))]
    if rest or wrong or not lines:
        number = wrong[0] if wrong else len(lines) + 1
        remedy = "restore it, or remove it to record the files again"
        raise BadInput(f"{paths.CHECKSUMS}: line {number}: expected a SHA-256, two spaces and a path; {remedy}")
    return {match[2]: match[1] for line in lines if (match := LISTED.fullmatch(line))}


def _listing(found: dict[Path, str]) -> str:
    return "".join(f"{checksum}  {path}\n" for path, checksum in found.items())
