"""Reading and writing files. A file that is written here appears complete or not at all."""

import csv
import errno
import hashlib
import io
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from armdigits.core.errors import BadInput, Failure

LFS_POINTER = b"version https://git-lfs.github.com/spec/"  # how the file begins that stands for one in Git LFS
LFS_REMEDY = "a Git LFS pointer, not the file itself; run: git lfs pull"


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


def read_bytes(path: Path, stage: str) -> bytes:
    """Read a file that `stage` writes.

    Raises:
        BadInput: the file is missing or unreadable; the message names the stage to run.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise BadInput(f"{path}: no such file; run: dvc repro {stage}") from None
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror}); run: dvc repro --force {stage}") from None


def read_json(path: Path, stage: str) -> dict[str, Any]:
    """Read a JSON object that `stage` writes.

    Raises:
        BadInput: the file is missing, unreadable or not a JSON object. Looking up a key that is missing, at any
            depth of the result, raises it too.
    """

    class JsonObject(dict[str, Any]):
        def __missing__(self, key: str) -> None:
            raise BadInput(f"{path}: has no entry {key}; run: dvc repro --force {stage}")

    try:
        content = json.loads(read_bytes(path, stage), object_hook=JsonObject)
    except ValueError as error:
        raise BadInput(f"{path}: not valid JSON ({error}); run: dvc repro --force {stage}") from None
    if not isinstance(content, dict):
        raise BadInput(f"{path}: expected a JSON object; run: dvc repro --force {stage}")
    return content


def sha256(data: bytes | memoryview) -> str:
    """The SHA-256 of `data`, 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()
