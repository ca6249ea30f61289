"""How a program ends: lines on stderr and exit codes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from armdigits.core.errors import BadInput, Failure, GateFailed, exit_on_failure

PRINT = """
import sys
from armdigits.core.errors import exit_on_failure
sys.stdin.read()
with exit_on_failure("results"):
    print("\\n".join(["a line"] * {lines}))
"""


@pytest.mark.parametrize(
    ("failure", "code"),
    [(Failure("first", "second"), 1), (GateFailed("first", "second"), 1), (BadInput("first", "second"), 2)],
)
def test_each_line_of_a_failure_carries_the_name_of_the_program(
    capsys: pytest.CaptureFixture[str], failure: Failure, code: int
) -> None:
    with pytest.raises(SystemExit) as ended, exit_on_failure("train"):
        raise failure
    assert ended.value.code == code
    assert capsys.readouterr().err == "train: first\ntrain: second\n"


def test_an_os_error_gets_one_line_that_names_the_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended, exit_on_failure("train"):
        Path("missing").read_bytes()
    assert ended.value.code == 1
    assert capsys.readouterr().err == "train: missing: No such file or directory\n"


def test_an_os_error_without_a_file_gets_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended, exit_on_failure("train"):
        raise OSError("out of order")
    assert ended.value.code == 1
    assert capsys.readouterr().err == "train: out of order\n"


ODD = "red\x1b[31m\r\nfake: \u202egnp\u2028\udcff\x9b µ"
ESCAPED = r"red\x1b[31m\r\nfake: \u202egnp\u2028\udcff\x9b µ"


@pytest.mark.parametrize("error", [BadInput(f"{ODD}: missing"), FileNotFoundError(2, "missing", ODD)])
def test_what_could_control_a_terminal_is_escaped(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit), exit_on_failure("train"):
        raise error
    assert capsys.readouterr().err == f"train: {ESCAPED}: missing\n"


def test_other_exceptions_pass_through() -> None:
    with pytest.raises(ZeroDivisionError), exit_on_failure("train"):
        raise ZeroDivisionError


@pytest.mark.parametrize("lines", [1, 100_000], ids=["few lines", "many lines"])
def test_a_broken_pipe_ends_silently_with_141(lines: int) -> None:
    command = [sys.executable, "-c", PRINT.format(lines=lines)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        assert process.stdin and process.stdout and process.stderr
        process.stdout.close()
        process.stdin.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has /dev/full")
@pytest.mark.parametrize("lines", [1, 100_000], ids=["few lines", "many lines"])
def test_a_full_disk_behind_stdout_gets_one_line(lines: int) -> None:
    command = [sys.executable, "-c", PRINT.format(lines=lines)]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=full, stderr=subprocess.PIPE, check=False)
    assert done.stderr == b"results: No space left on device\n"
    assert done.returncode == 1


@pytest.mark.parametrize(
    ("encoding", "printed"), [("ascii", b"5 ?s\n"), ("cp932", b"5 ?s\n"), ("utf-8", "5 µs\n".encode())]
)
def test_a_letter_that_the_terminal_does_not_have_becomes_a_question_mark(encoding: str, printed: bytes) -> None:
    code = (
        "from armdigits.core.errors import *\nwith exit_on_failure('x'): print('5 \u00b5s'); raise Failure('5 \u00b5s')"
    )
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (1, printed, b"x: " + printed)
