import errno
import json
import math
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from armdigits.core.errors import BadInput, Failure
from armdigits.core.files import (
    read_bytes,
    read_utf8,
    read_verified,
    sha256,
    write_all,
    write_bytes,
    write_csv,
    write_json,
)
from tests.helpers import run


def names() -> list[str]:
    """The names of the files in the current folder."""
    return sorted(path.name for path in Path().iterdir())


def test_a_written_file_is_complete_and_alone_in_its_new_folder(folder: Path) -> None:
    write_bytes(Path("new/file"), b"content")
    assert Path("new/file").read_bytes() == b"content"
    assert [path.name for path in Path("new").iterdir()] == ["file"]


def test_a_write_replaces_the_temporary_file_of_a_killed_writer(folder: Path) -> None:
    Path(".file.tmp").write_bytes(b"a much longer text than the new content")
    write_bytes(Path("file"), b"content")
    assert Path("file").read_bytes() == b"content"
    assert names() == ["file"]


def test_a_write_that_fails_names_the_file_and_leaves_nothing(folder: Path) -> None:
    Path("file").touch()
    with pytest.raises(Failure) as caught:
        write_bytes(Path("file/below"), b"content")
    assert str(caught.value) == "file/below: File exists; nothing was left half-written"
    Path("taken/x").mkdir(parents=True)
    with pytest.raises(Failure, match=r"^taken: Is a directory; nothing was left half-written$"):
        write_bytes(Path("taken"), b"content")
    assert names() == ["file", "taken"]


def test_an_exception_while_writing_leaves_the_old_file_and_no_other(folder: Path) -> None:
    write_bytes(Path("file"), b"old")
    with pytest.raises(TypeError):
        write_bytes(Path("file"), "a str")  # type: ignore[arg-type]
    assert Path("file").read_bytes() == b"old"
    assert names() == ["file"]


def test_json_keeps_the_order_of_its_keys_and_refuses_nan(folder: Path) -> None:
    write_json(Path("a.json"), {"b": 1, "a": 0.1})
    assert list(json.loads(Path("a.json").read_text("utf-8"))) == ["b", "a"]
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(Path("a.json"), {"loss": math.nan})


def test_a_table_keeps_every_digit(folder: Path) -> None:
    write_csv(Path("a.csv"), ("epoch", "loss"), [(1, 0.1 + 0.2)])
    assert Path("a.csv").read_text("utf-8") == "epoch,loss\n1,0.30000000000000004\n"


@pytest.mark.parametrize("where", ["--project", "--local"])
def test_with_a_remote_a_missing_file_is_pulled_rather_than_made(folder: Path, where: str) -> None:
    assert run(folder, "dvc", "init", "--quiet", "--no-scm").returncode == 0
    with pytest.raises(BadInput, match=r"^x: no such file; run: dvc repro train$"):
        read_bytes(Path("x"), "train")
    assert run(folder, "dvc", "remote", "add", "--quiet", where, "--default", "store", "there").returncode == 0
    with pytest.raises(BadInput, match=r"^x: no such file; run: dvc pull; or, to make it here: dvc repro train$"):
        read_bytes(Path("x"), "train")


def test_a_failed_read_does_not_mention_half_written_files(folder: Path) -> None:
    Path("x").mkdir()
    with pytest.raises(BadInput) as caught:
        read_bytes(Path("x"), "train")
    assert str(caught.value) == "x: cannot be read (Is a directory); run: rm -rf x && dvc repro train"


def test_a_pipe_or_a_file_that_is_too_large_is_refused_before_it_is_read(folder: Path) -> None:
    os.mkfifo("pipe")
    with Path("large").open("wb") as file:
        file.truncate(10**12)
    for name, reason in (("pipe", "not a regular file"), ("large", "larger than 268,435,456 bytes")):
        advice = f"run: rm -rf {name} && dvc repro train"
        with pytest.raises(BadInput, match=rf"^{name}: cannot be read \({reason}\); {advice}$"):
            read_bytes(Path(name), "train")


def test_text_that_is_not_utf_8_is_refused(folder: Path) -> None:
    Path("x").write_bytes(b"\xff")
    with pytest.raises(BadInput, match=r"^x: not UTF-8 text; run: dvc repro --force train$"):
        read_utf8(Path("x"), "train")


def test_a_file_of_any_size_is_compared_with_its_digest_before_it_is_read(folder: Path) -> None:
    with Path("x").open("wb") as file:
        file.truncate(2**31)
    with pytest.raises(
        BadInput, match=r"^x: expected SHA-256 ab \(from y\), found \w{64}; run: dvc repro --force train$"
    ):
        read_verified(Path("x"), "train", "ab", Path("y"))
    write_bytes(Path("x"), b"content")
    assert read_verified(Path("x"), "train", sha256(b"content"), Path("y")) == b"content"


def test_a_file_that_matches_its_record_is_compared_with_the_lock_too(folder: Path) -> None:
    write_bytes(Path("x"), b"content")
    write_bytes(Path("dvc.lock"), f"stages:\n  train:\n    outs:\n    - path: x\n      md5: {'a' * 32}\n".encode())
    with pytest.raises(BadInput, match=r"^x: expected MD5 a{32} \(from dvc.lock\), found "):
        read_verified(Path("x"), "train", sha256(b"content"), Path("y"))


def fsync_fails(number: int, is_kind: Callable[[int], bool], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let fsync fail with this error for files, or for folders, as some file systems do."""

    def fsync(descriptor: int) -> None:
        if is_kind(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fsync)


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EOPNOTSUPP])
def test_a_file_system_that_cannot_flush_folders_is_good_enough(
    folder: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    fsync_fails(number, stat.S_ISDIR, monkeypatch)
    write_bytes(Path("file"), b"content")
    assert Path("file").read_bytes() == b"content"


def test_when_only_the_folder_cannot_be_flushed_the_file_is_complete_and_the_line_says_so(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync_fails(errno.EIO, stat.S_ISDIR, monkeypatch)
    with pytest.raises(Failure) as caught:
        write_bytes(Path("new/file"), b"content")
    assert str(caught.value) == "new: Input/output error; the files are written, but a power cut may undo it"
    assert Path("new/file").read_bytes() == b"content"


def test_a_file_that_cannot_be_flushed_is_not_written(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fsync_fails(errno.EINVAL, stat.S_ISREG, monkeypatch)
    with pytest.raises(Failure, match=r"^file: Invalid argument; nothing was left half-written$"):
        write_bytes(Path("file"), b"content")
    assert names() == []


def test_files_that_belong_together_are_written_all_or_none(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace = Path.replace

    def fails_for_the_second(path: Path, target: Path) -> Path:
        if target.name == "second":
            raise OSError(errno.EIO, "Input/output error")
        return replace(path, target)

    contents = {Path("new/first"): b"1", Path("new/second"): b"2"}
    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", fails_for_the_second)
        with pytest.raises(Failure, match="^new/second: Input/output error; nothing was left half-written$"):
            write_all(contents)
    assert list(Path("new").iterdir()) == []
    write_all(contents)
    assert {path: path.read_bytes() for path in Path("new").iterdir()} == contents
