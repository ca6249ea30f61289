"""What `dvc.lock` says, and what it vouches for."""

from pathlib import Path

import pytest

from armdigits.core import lock
from armdigits.core.errors import BadInput
from armdigits.core.files import read_bytes, write_bytes
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


def test_other_bytes_than_the_lock_files_are_refused_with_what_to_run(folder: Path) -> None:
    write_bytes(Path("models/x"), b"")
    assert read_bytes(Path("models/x"), "train") == b""
    Path("dvc.lock").write_bytes(locked("models/x", EMPTY))
    assert read_bytes(Path("models/x"), "train") == b""
    write_bytes(Path("models/x"), b"foreign")
    expected = (
        rf"^models/x: expected MD5 {EMPTY} \(from dvc.lock\), found \w{{32}}; to repair it, run: armdigits verify; "
    )
    with pytest.raises(BadInput, match=expected + "if you ran train by hand: dvc commit --force train$"):
        read_bytes(Path("models/x"), "train")


def test_a_file_of_a_folder_is_vouched_for_by_the_folder(folder: Path) -> None:
    write_bytes(Path("models/c/x"), b"1")
    Path("dvc.lock").write_bytes(locked("models/c", md5_of(Path("models/c"))))
    lock.require(Path("models/c/x"), "train")
    assert read_bytes(Path("models/c/x"), "train") == b"1"
    write_bytes(Path("models/c/y"), b"foreign")
    with pytest.raises(BadInput, match=r"^models/c: expected MD5 \w{32}.dir .from dvc.lock., found \w{32}.dir; "):
        read_bytes(Path("models/c/x"), "train")


def test_figures_of_a_benchmark_whose_gate_failed_are_shown(folder: Path) -> None:
    write_bytes(Path("metrics/x"), b"new")
    Path("dvc.lock").write_bytes(locked("metrics/x", EMPTY, "benchmark"))
    assert read_bytes(Path("metrics/x"), "benchmark") == b"new"


@pytest.mark.slow
def test_a_folder_has_the_hash_that_dvc_gives_it(folder: Path) -> None:
    for name in ("c/b.c", "c/a.c", "c/d/a.c", "c/d.c", "c/é.c"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(name, "utf-8")
    Path("dvc.yaml").write_text("stages: {make: {cmd: 'true', outs: [c: {persist: true}]}}", "utf-8")
    for command in (["init", "--no-scm"], ["repro"]):
        assert run(folder, "dvc", *command).returncode == 0
    assert lock.read_lock()["make"]["c"].md5 == md5_of(Path("c"))
