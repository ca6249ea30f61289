"""What `dvc.lock` vouches for: each output of each stage, by its hash. DVC writes it, after each stage; Git holds it.

DVC itself compares nothing with it when it pulls a file or restores one from its cache.
"""

import hashlib
import json
import re
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

from armdigits.core.errors import BadInput

LOCK = Path("dvc.lock")
MAX_BYTES = 10_000_000
MAX_DEPTH = 50  # of nested lists and mappings: the parser, which is written in C, crashes the process at some depth
MD5 = re.compile(r"[0-9a-f]{32}(\.dir)?")
UNVOUCHED = ("benchmark",)  # its figures never come from a remote, and people look at them when its gate failed


class Out(NamedTuple):
    """An output: its MD5, for a folder that of DVC's list of its files and `.dir`; and its size in bytes."""

    md5: str
    size: int


Outs = dict[str, dict[str, Out]]  # stage -> path -> output


def read_lock() -> Outs:
    """The outputs in the `dvc.lock` of the current folder; empty where there is none.

    Raises:
        BadInput: it cannot be read, or is no lock file.
    """
    try:
        with LOCK.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise BadInput(f"{LOCK}: cannot be read ({error.strerror}); run: rm -rf {LOCK} && dvc repro") from None
    return parse_lock(content, str(LOCK))


def locked_outs() -> dict[Path, str]:
    """Path -> MD5 of every output of every stage.

    Raises:
        BadInput: there is no `dvc.lock`, or as `read_lock`.
    """
    if not LOCK.exists():
        raise BadInput(f"{LOCK}: no such file; run: dvc repro")
    return {Path(path): out.md5 for outs in read_lock().values() for path, out in outs.items()}


def size_of(path: Path) -> int:
    """The size in bytes of an output, also where it is not on this disk.

    Raises:
        BadInput: `dvc.lock` does not have it, or as `read_lock`.
    """
    for outs in read_lock().values():
        if out := outs.get(str(path)):
            return out.size
    raise BadInput(f"{LOCK}: has no entry {path}; run: dvc repro")


@lru_cache(maxsize=1)
def parse_lock(content: bytes, name: str) -> Outs:
    """The outputs in the bytes of a lock file; `name` appears in the message.

    Raises:
        BadInput: it is no lock file.
    """
    import yaml  # not where `armdigits compare` and `sweep` run, which need nothing but Python

    loader: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)  # makes strings, lists and mappings only
    try:
        starts, ends = yaml.CollectionStartEvent, yaml.CollectionEndEvent
        steps = (isinstance(event, starts) - isinstance(event, ends) for event in yaml.parse(content, loader))
        if len(content) > MAX_BYTES or any(depth > MAX_DEPTH for depth in accumulate(steps)):
            raise ValueError
        stages = yaml.load(content, loader)["stages"]  # noqa: S506 - a base loader runs no code
        return {stage: dict(map(_out, entry.get("outs", []))) for stage, entry in stages.items()}
    except (yaml.YAMLError, LookupError, TypeError, ValueError, AttributeError):
        raise BadInput(f"{name}: not a lock file of DVC; run: rm {LOCK} && dvc repro") from None


def _out(entry: Any) -> tuple[str, Out]:
    path, md5 = entry["path"], entry["md5"]
    if not (isinstance(path, str) and "\0" not in path and MD5.fullmatch(md5)):
        raise ValueError
    return path, Out(md5, int(entry.get("size", 0)))


def vouch(path: Path, content: bytes, stage: str) -> None:
    """Compare the bytes of an output of `stage` with the hash in `dvc.lock`, where that has one.

    Raises:
        BadInput: they differ, or as `read_lock`.
    """
    if stage in UNVOUCHED or not (voucher := _voucher(path, stage)):
        return
    output, expected = voucher
    found = _md5(content) if output == path else md5_of(output)
    if found != expected:
        raise BadInput(
            f"{output}: expected MD5 {expected} (from {LOCK}), found {found}; to repair it, run: armdigits verify; "
            f"if you ran {stage} by hand: dvc commit --force {stage}"
        )


def require(path: Path, stage: str) -> None:
    """Check that `dvc.lock` has a hash of an output of `stage`, so that `vouch` compares it.

    Raises:
        BadInput: it has none, or as `read_lock`.
    """
    if not _voucher(path, stage):
        raise BadInput(f"{path}: not loaded, as {LOCK} has no hash that vouches for it; run: dvc repro {stage}")


def _voucher(path: Path, stage: str) -> tuple[Path, str] | None:
    """The output of `stage` that is the file, or a folder that holds it, and its MD5; None where there is none."""
    outs = read_lock().get(stage, {})
    return next(((each, outs[str(each)].md5) for each in (path, *path.parents) if str(each) in outs), None)


def md5_of(path: Path) -> str:
    """The MD5 of a file, or of a folder as DVC computes it.

    Raises:
        OSError: it cannot be read.
    """
    if path.is_dir():
        files = [each for each in path.rglob("*") if each.is_file()]
        listing = [{"md5": md5_of(file), "relpath": file.relative_to(path).as_posix()} for file in files]
        listing.sort(key=lambda entry: entry["relpath"])
        return f"{_md5(json.dumps(listing).encode())}.dir"
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
