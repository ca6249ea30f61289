"""An output appears complete or not at all: full disks and read-only folders, on real file systems."""

import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import MagicMock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from armdigits.core import files
from armdigits.core.errors import Failure
from armdigits.core.shape import MNIST
from armdigits.models.mlp import NeuralNetwork
from armdigits.program import build
from tests.helpers import results, run_stage_here


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[None]:
    """Mount an empty file system on `folder`; the test is skipped where that is not allowed."""
    command = ["mount", "-t", "tmpfs", "-o", options, "none", str(folder)]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"cannot mount a file system here: {getattr(error, 'stderr', None) or error}".strip())
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def run_with_limit(project: Path, name: str, size: int) -> subprocess.CompletedProcess[str]:
    """Run a stage whose files may not exceed `size` bytes."""
    code = (
        f"import resource, runpy; resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size}));"
        f"runpy.run_module('stages.{name}', run_name='__main__', alter_sys=True)"
    )
    return subprocess.run([sys.executable, "-c", code], cwd=project, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "size", "file"),
    [("download", 1000, "data/train.safetensors"), ("train", 300_000, ".state/train/epoch-00001-")],
)
def test_a_file_above_the_size_limit_is_named_in_one_line_and_nothing_changes(
    ran: Path, name: str, size: int, file: str
) -> None:
    before = results(ran)
    done = run_with_limit(ran, name, size)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"{name}: {file}")
    assert line.endswith(": File too large; nothing was left half-written")
    assert results(ran) == before
    assert not list(ran.glob(".state/train/*"))
    assert run_stage_here(name) == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "reason"), [("size=16k", "No space left on device"), ("ro", "Read-only file system")]
)
def test_a_full_or_read_only_folder_is_reported_in_one_line_and_stays_empty(
    ran: Path, capsys: pytest.CaptureFixture[str], options: str, reason: str
) -> None:
    with mounted(ran / "models", options):
        code = run_stage_here("teach")
        left = list((ran / "models").iterdir())
    assert code == 1
    message = f"teach: models/teacher_logits.safetensors: {reason}; nothing was left half-written\n"
    assert capsys.readouterr().err == message
    assert left == []
    assert run_stage_here("teach") == 0, "with enough room, the training resumes"


def test_a_failure_of_executorchs_flatc_names_the_temporary_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stands in for the slow test below: importing the exporters takes ten seconds."""

    def lower(*_: object, **__: object) -> None:
        raise subprocess.CalledProcessError(1, ["/bin/flatc", "--binary"])

    exporters = MagicMock(to_edge_transform_and_lower=lower)
    for name in ("exir", "exir.passes", "backends.xnnpack.partition.xnnpack_partitioner"):
        monkeypatch.setitem(sys.modules, f"executorch.{name}", exporters)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(Failure, match=f"^{tmp_path}: ExecuTorch's flatc could not write there; free some space$"):
        build.lower(MagicMock())


@pytest.mark.slow
def test_a_full_temporary_folder_is_reported_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ExecuTorch writes a program with its own tool, in a temporary folder."""
    exported = build.trace(NeuralNetwork(use_dropout=False), MNIST, 8)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with (
        mounted(tmp_path, "size=16k"),
        pytest.raises(Failure, match=f"^{tmp_path}: ExecuTorch's flatc could not write there"),
    ):
        build.lower(exported)


@pytest.mark.parametrize(
    ("options", "reason"), [("size=16k", "No space left on device"), ("ro", "Read-only file system")]
)
def test_a_write_to_a_full_or_read_only_folder_names_the_file_and_leaves_nothing(
    folder: Path, options: str, reason: str
) -> None:
    Path("models").mkdir()
    with mounted(Path("models"), options):
        with pytest.raises(Failure) as caught:
            files.write_bytes(Path("models/program"), bytes(100_000))
        assert list(Path("models").iterdir()) == []
    assert str(caught.value) == f"models/program: {reason}; nothing was left half-written"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the one file of all examples."""
    return tmp_path_factory.mktemp("writer")


@given(old=st.none() | st.binary(max_size=3000), new=st.binary(max_size=3000), limit=st.integers(0, 3000))
@settings(max_examples=30)
def test_under_any_size_limit_a_file_has_the_old_content_or_the_new(
    place: Path, old: bytes | None, new: bytes, limit: int
) -> None:
    path = place / "file"
    path.unlink(missing_ok=True)
    if old is not None:
        path.write_bytes(old)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        files.write_bytes(path, new)
        written = True
    except Failure as failure:
        assert str(failure) == f"{path}: File too large; nothing was left half-written"
        written = False
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert written == (len(new) <= limit)
    assert (path.read_bytes() if path.exists() else None) == (new if written else old)
    assert [each.name for each in place.iterdir() if each.name != "file"] == []
