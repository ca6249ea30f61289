"""Reading and writing files. A file that is written here appears complete or not at all."""

import csv
import errno
import hashlib
import io
import json
import os
import re
import stat
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from armdigits.core import lock
from armdigits.core.errors import BadInput, Failure

LFS_POINTER = b"version https://git-lfs.github.com/spec/"  # how the file begins that stands for one in Git LFS
LFS_REMEDY = "a Git LFS pointer, not the file itself; run: git lfs pull"
MAX_BYTES = 2**28  # of a file that a stage writes, images apart: more than any network for these processors needs
DVC_CONFIGURATION = (Path(".dvc/config"), Path(".dvc/config.local"))


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path` atomically and durably, as `write_all`."""
    write_all({path: data})


def write_all(contents: Mapping[Path, bytes]) -> None:
    """Write files that belong together durably, all or none; create their folders when they are missing.

    The bytes are written to temporary files, flushed to the disk, and only then renamed: after a crash or a power cut,
    each path has either the old or the new content. The temporary names are fixed, because a stage's lock excludes a
    second writer; the next write replaces the leftovers of a killed one.

    Raises:
        Failure: the disk is full, the folder is read-only, ...; the files are unchanged. When only some could be
            renamed, these are removed. When only their folder could not be flushed, the files are complete, and the
            message says so.
    """
    temporaries = {path: path.with_name(f".{path.name}.tmp") for path in contents}
    renamed: list[Path] = []
    path = next(iter(contents))
    try:
        for path, data in contents.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with temporaries[path].open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        for path, temporary in temporaries.items():
            temporary.replace(path)
            renamed.append(path)
    except BaseException as error:
        incomplete = renamed if len(renamed) < len(contents) else []
        for leftover in (*temporaries.values(), *incomplete):
            with suppress(OSError):
                leftover.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise Failure(f"{path}: {error.strerror}; nothing was left half-written") from None
        raise
    for parent in {path.parent for path in contents}:
        _flush(parent)


def _flush(folder: Path) -> None:
    """Make the renames in a folder durable where its file system can; VirtualBox's shared folders and old CIFS cannot.

    Raises:
        Failure: the file system could, but failed.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise Failure(f"{folder}: {error.strerror}; the files are written, but a power cut may undo it") from None


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write `content` as indented JSON, keys in their order. NaN and infinity are refused with a ValueError."""
    write_bytes(path, (json.dumps(content, indent=2, allow_nan=False) + "\n").encode())


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a table with a header line; numbers keep all their digits."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write_bytes(path, text.getvalue().encode())


def check_size(path: Path, limit: int) -> None:
    """Raise OSError when the file is missing, has more than `limit` bytes, or is a pipe, which may never end."""
    status = path.stat()
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    if status.st_size > limit:
        raise OSError(errno.EFBIG, f"larger than {limit:,} bytes", str(path))


def read_limited(path: Path, limit: int) -> bytes:
    """Read a file of at most `limit` bytes; raises OSError as `check_size`, or when the file is unreadable."""
    check_size(path, limit)
    return path.read_bytes()


def remedy(stage: str) -> str:
    """The commands that bring a missing output of `stage`; DVC's configuration is read here, as DVC takes 0.4 s."""
    configured = (path.read_text("utf-8", errors="replace") for path in DVC_CONFIGURATION if path.exists())
    has_remote = any(re.search(r"^\s*remote\s*=\s*\S", text, re.MULTILINE) for text in configured)
    return f"dvc pull; or, to make it here: dvc repro {stage}" if has_remote else f"dvc repro {stage}"


def read_bytes(path: Path, stage: str, limit: int = MAX_BYTES) -> bytes:
    """Read a file of at most `limit` bytes that `stage` writes, in any stage but that one.

    Raises:
        BadInput: the file is missing, unreadable, larger, or not the one in `dvc.lock`, where that has its hash; the
            message says what to run.
    """
    with _unreadable_is_bad_input(path, stage):
        content = read_limited(path, limit)
    lock.vouch(path, content, stage)
    return content


def read_utf8(path: Path, stage: str) -> str:
    """As `read_bytes`, for UTF-8 text."""
    try:
        return read_bytes(path, stage).decode()
    except UnicodeDecodeError:
        raise BadInput(f"{path}: not UTF-8 text; run: dvc repro --force {stage}") from None


def read_verified(path: Path, stage: str, expected: str, source: Path) -> bytes:
    """Read a file of any size that `stage` writes, once it has the SHA-256 `expected`, which is from `source`.

    Raises:
        BadInput: as `read_bytes`, except for the size, or the file has another SHA-256.
    """
    with _unreadable_is_bad_input(path, stage):
        check_size(path, sys.maxsize)
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != expected:
            line = f"{path}: expected SHA-256 {expected} (from {source}), found {found}"
            raise BadInput(f"{line}; run: dvc repro --force {stage}")
        content = path.read_bytes()
    lock.vouch(path, content, stage)
    return content


@contextmanager
def _unreadable_is_bad_input(path: Path, stage: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise BadInput(f"{path}: no such file; run: {remedy(stage)}") from None
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror}); run: rm -rf {path} && dvc repro {stage}") from None


def sha256(data: bytes | memoryview) -> str:
    """The SHA-256 of `data`, 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()
