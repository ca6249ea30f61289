"""The one writer and the one reader of files: a file appears whole or not at all."""

import csv
import hashlib
import io
import json
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from armdigits.errors import BadInput


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path` atomically and durably; the folder is made when it is missing.

    The bytes go to a temporary file beside the target, reach the disk, and only then take the name: a reader,
    a killed process or a power cut meets the old content or the new, never a mixture.

    Raises:
        OSError: the disk is full, the folder read-only, ...; `path` is then what it was before.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # a rename is durable only when its folder is
    finally:
        os.close(folder)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write `content` as indented JSON in the order of its keys. NaN and infinity are refused (ValueError)."""
    write_bytes(path, (json.dumps(content, indent=2, allow_nan=False) + "\n").encode())


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a table with a header line; numbers keep the digits that Python prints."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write_bytes(path, text.getvalue().encode())


def read_bytes(path: Path, stage: str) -> bytes:
    """Read a file that `stage` makes.

    Raises:
        BadInput: the file is missing or cannot be read; the message names the stage to run.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise BadInput(f"{path}: there is no such file; run: dvc repro {stage}") from None
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror}); mend it or run: dvc repro {stage}") from None


def read_json(path: Path, stage: str) -> dict[str, Any]:
    """Read a JSON object that `stage` makes.

    Raises:
        BadInput: the file is missing, unreadable, not JSON or not an object.
    """
    try:
        content = json.loads(read_bytes(path, stage))
    except ValueError as error:
        raise BadInput(f"{path}: not valid JSON ({error}); run: dvc repro --force {stage}") from None
    if not isinstance(content, dict):
        raise BadInput(f"{path}: expected a JSON object; run: dvc repro --force {stage}")
    return content


def sha256(data: bytes | memoryview) -> str:
    """The SHA-256 of `data`, 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()
