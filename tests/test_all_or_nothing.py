"""An output appears whole or not at all: a stage that meets a full disk or a read-only folder, on real file systems."""

import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from armdigits import files, programs
from armdigits.errors import Failure
from armdigits.model import NeuralNetwork
from tests.conftest import results, run_stage_here

needs_root = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can mount")


def run_with_limit(project: Path, name: str, size: int) -> subprocess.CompletedProcess[str]:
    """Run a stage none of whose files may grow beyond `size` bytes."""
    code = (
        f"import resource, runpy; resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size}));"
        f"runpy.run_module('stages.{name}', run_name='__main__', alter_sys=True)"
    )
    return subprocess.run([sys.executable, "-c", code], cwd=project, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("name", "size", "file"),
    [("download", 1000, "data/train.safetensors"), ("train", 300_000, ".state/train/epoch-00001-")],
)
def test_a_file_that_finds_no_room_is_told_in_one_line_and_changes_nothing(ran, name, size, file):
    before = results(ran)
    done = run_with_limit(ran, name, size)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"{name}: {file}")
    assert line.endswith(": File too large; nothing was left half-written")
    assert results(ran) == before
    assert not list(ran.glob(".state/train/*"))
    assert run_stage_here(name) == 0


@needs_root
@pytest.mark.parametrize(
    ("options", "reason"), [("size=16k", "No space left on device"), ("ro", "Read-only file system")]
)
def test_a_full_or_read_only_folder_is_told_in_one_line_and_holds_nothing(ran, capsys, options, reason):
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", ran / "models"], check=True)
    try:
        code = run_stage_here("teach")
        left = list((ran / "models").iterdir())
    finally:
        subprocess.run(["umount", ran / "models"], check=True)
    assert code == 1
    message = f"teach: models/opinions.safetensors: {reason}; nothing was left half-written\n"
    assert capsys.readouterr().err == message
    assert left == []
    assert run_stage_here("teach") == 0, "and when there is room, the training goes on"


@needs_root
def test_a_full_temporary_folder_is_told_in_one_line(tmp_path, monkeypatch):
    """ExecuTorch packs a program with a tool of its own, in a temporary folder."""
    exported = programs.export(NeuralNetwork(use_dropout=False), 8)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "none", tmp_path], check=True)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    try:
        with pytest.raises(Failure, match=f"^{tmp_path}: ExecuTorch's flatc could not do its work there; make room"):
            programs.lower(exported)
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_the_temporary_file_of_a_killed_writer_is_removed_and_that_of_a_living_one_is_not(folder):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    names = [f".file.{dead.pid}.tmp", f".file.{os.getppid()}.tmp", ".file.text.tmp", f".other.{dead.pid}.tmp"]
    for name in names:
        Path(name).touch()
    files.write_bytes(Path("file"), b"content")
    assert {path.name for path in Path().iterdir()} == {"file", *names[1:]}


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("writer")


@given(old=st.none() | st.binary(max_size=3000), new=st.binary(max_size=3000), limit=st.integers(0, 3000))
def test_whatever_the_limit_a_file_holds_the_old_bytes_or_the_new(place, old, new, limit):
    path = place / "file"
    path.unlink(missing_ok=True)
    if old is not None:
        path.write_bytes(old)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        files.write_bytes(path, new)
        written = True
    except OSError:
        written = False
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert written == (len(new) <= limit)
    assert (path.read_bytes() if path.exists() else None) == (new if written else old)
    assert [each.name for each in place.iterdir() if each.name != "file"] == []
