"""The fuzzing command itself: it finds planted faults, and the same ones for the same seed."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from armdigits.core.errors import BadInput
from tests.fuzz import child
from tests.fuzz.__main__ import fuzz, main
from tests.fuzz.child import GB, Folder, Reader
from tests.fuzz.readers import READERS

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def without_atheris(monkeypatch):
    """Inputs follow from the seed alone."""
    monkeypatch.setattr(child, "atheris", None)


def found(tmp_path: Path, fault: Callable[[], object], seconds: float = 1) -> list[str]:
    """The findings in a reader that answers where the first letter is an a, and has the fault where it is another."""
    folder = Folder(tmp_path / "planted")
    (tmp_path / "run").mkdir()

    def read(content: bytes) -> None:
        if not content.startswith(b"a"):
            fault()
            raise BadInput("no a")

    fuzz(Reader(lambda: [b"aaaaaaaa"], read, memory=GB, seconds=1), tmp_path / "run", folder, seconds, seed=1)
    assert folder.counted()[0] > 1
    return [path.name for path in folder.findings.glob("*.txt")]


def allocate_and_hide() -> None:
    """Two GB, and a failure that does not say so."""
    try:
        bytearray(2 * GB)
    except MemoryError:
        raise BadInput("damaged") from None


@pytest.mark.parametrize(
    ("fault", "name"),
    [
        (lambda: 1 / 0, "planted-ZeroDivisionError-test_fuzz"),
        (lambda: bytearray(2 * GB), "planted-MemoryError-test_fuzz"),
        (allocate_and_hide, "planted-more-memory-than-allowed"),
        (lambda: os.kill(os.getpid(), 11), "planted-SIGSEGV-test_fuzz"),
        (lambda: sys.exit(3), "planted-exit-code-3"),
        (lambda: os.write(2, b"libtiff: warning\n"), "planted-prints-itself"),
        (lambda: print("\x1b[2J"), "planted-a-control-character"),
        (lambda: subprocess.run(["true"], check=True), "planted-starts-a-program"),
        (lambda: Path("/tmp/outside").write_bytes(b""), "planted-changes-a-file-elsewhere"),  # noqa: S108
    ],
)
def test_a_planted_fault_is_found(tmp_path, fault, name):
    (line,) = found(tmp_path, fault)
    assert line.startswith(name)


@pytest.mark.parametrize(("fault", "seconds"), [(lambda: sum(iter(int, 1)), 3), (lambda: time.sleep(999), 8)])
def test_a_planted_hang_is_found(tmp_path, fault, seconds):
    (line,) = found(tmp_path, fault, seconds)
    assert line.startswith("planted-hang-test_fuzz")


def test_the_same_seed_gives_the_same_inputs(tmp_path):
    def inputs(name: str, seed: int) -> list[str]:
        def read(content: bytes) -> None:
            with Path("inputs").open("a", encoding="utf-8") as file:
                file.write(f"{content!r}\n")

        folder = Folder(tmp_path / name)
        fuzz(Reader(lambda: [b"some bytes"], read), tmp_path / "run", folder, 1, seed)
        return (folder.here / "inputs").read_text("utf-8").splitlines()[:100]

    (tmp_path / "run").mkdir()
    first, again, other = inputs("first", 1), inputs("again", 1), inputs("other", 2)
    assert first[: len(again)] == again[: len(first)]
    assert first != other


def test_every_reader_answers_its_first_seed(capsys):
    assert main(list(READERS), seconds=1, seed=1, repeat=None) == 0, "else the command ends with the reason"
    assert len(capsys.readouterr().out.splitlines()) == len(READERS)
