"""The one writer and the one reader of files: a file appears whole or not at all."""

import csv
import glob
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
        OSError: the disk is full, the folder read-only, ...; `path` is then what it was before, or whole and new
            when it was the folder that did not reach the disk.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_orphans(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            error.filename, error.filename2 = str(path), None  # for the message: the file that somebody misses
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # a rename is durable only when its folder is
    finally:
        os.close(folder)


def _remove_orphans(path: Path) -> None:
    """Remove the temporary files beside `path` whose writers were killed."""
    for temporary in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        writer = temporary.name.split(".")[-2]
        if writer.isdecimal() and not _is_alive(int(writer)):
            temporary.unlink(missing_ok=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):  # another user's process; no process at all, and no file of ours
        return True
    return True


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
        BadInput: the file is missing, unreadable, not JSON or not an object. So does whoever asks the object, or one
            inside it, for an entry that is not there.
    """

    class JsonObject(dict):
        def __missing__(self, key: str) -> None:
            raise BadInput(f"{path}: it has no entry {key}; run: dvc repro --force {stage}")

    try:
        content = json.loads(read_bytes(path, stage), object_hook=JsonObject)
    except ValueError as error:
        raise BadInput(f"{path}: not valid JSON ({error}); run: dvc repro --force {stage}") from None
    if not isinstance(content, dict):
        raise BadInput(f"{path}: expected a JSON object; run: dvc repro --force {stage}")
    return content


def safetensors_record(content: bytes) -> dict[str, Any]:
    """The JSON object in the metadata entry `record` of a safetensors file.

    Layout: 8 bytes with the length of a JSON header, little-endian, then the header
    (https://huggingface.co/docs/safetensors, "Format").

    Raises:
        ValueError: there is none.
    """
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    try:
        record = json.loads(header["__metadata__"]["record"])
    except (KeyError, TypeError):
        raise ValueError("it has no record") from None
    if not isinstance(record, dict):
        raise ValueError("its record is no JSON object")
    return record


def sha256(data: bytes | memoryview) -> str:
    """The SHA-256 of `data`, 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()
