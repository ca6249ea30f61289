"""What `dvc.lock` says, and what it vouches for."""

from pathlib import Path

import pytest

from armdigits.core import lock
from armdigits.core.errors import BadInput
from armdigits.core.lock import Out, md5_of, parse_lock
from tests.helpers import ROOT, run

EMPTY = "d41d8cd98f00b204e9800998ecf8427e"  # the MD5 of nothing


def locked(path: str, md5: str, stage: str = "train") -> bytes:
    return f"stages:\n  {stage}:\n    outs:\n    - path: {path}\n      md5: {md5}\n      size: 7\n".encode()


def test_the_outputs_of_each_stage_are_read() -> None:
    assert parse_lock(locked("models/x", EMPTY), "dvc.lock") == {"train": {"models/x": Out(EMPTY, 7)}}
    assert parse_lock(b"stages: {preflight: {cmd: x}}", "dvc.lock") == {"preflight": {}}
    assert "models/int8.pte" in parse_lock((ROOT / "dvc.lock").read_bytes(), "dvc.lock")["quantize"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00\xff",
        b"stages: 1",
        b"stages: {a: {outs: [[]]}}",
        b"stages: {a: {outs: [{path: [], md5: " + EMPTY.encode() + b"}]}}",
        locked("models/x", "../../x"),
        b"<<<<<<< HEAD\n" + locked("models/x", EMPTY),
        b"- " * 100_000,
        b"{a: " * 100_000,
        b"[" * 100_000,
        b"&a [*a]",
        b" " * (lock.MAX_BYTES + 1),
    ],
    ids=lambda content: content[:20].decode(errors="replace"),
)
def test_what_is_no_lock_file_is_one_line(content: bytes) -> None:
    with pytest.raises(BadInput, match=r"^HEAD: not a lock file of DVC; run: rm dvc.lock && dvc repro$"):
        parse_lock(content, "HEAD")


@pytest.mark.slow
def test_a_folder_has_the_hash_that_dvc_gives_it(folder: Path) -> None:
    for name in ("c/b.c", "c/a.c", "c/d/a.c", "c/d.c", "c/é.c"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(name, "utf-8")
    Path("dvc.yaml").write_text("stages: {make: {cmd: 'true', outs: [c: {persist: true}]}}", "utf-8")
    for command in (["init", "--no-scm"], ["repro"]):
        assert run(folder, "dvc", *command).returncode == 0
    assert lock.read_lock()["make"]["c"].md5 == md5_of(Path("c"))
