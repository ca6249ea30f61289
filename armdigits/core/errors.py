"""How a program fails: an exception whose text the user reads, and an exit code that scripts can test."""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def printable(text: str) -> str:
    """The text in one line, safe for a terminal: every character that cannot be printed is escaped, as in `\\x1b`.

    Names of files and messages of libraries may hold escape sequences, line breaks and bytes that are not UTF-8.
    """
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


class Failure(Exception):
    """Ends the program with one line for each message, and without a traceback. See `printable`."""

    exit_code = 1

    def __init__(self, *messages: str) -> None:
        super().__init__("\n".join(map(printable, messages)))


class GateFailed(Failure):
    """A result is worse than `params.yaml` allows. The result itself has been written."""


class BadInput(Failure):
    """A parameter, file, image or argument is invalid."""

    exit_code = 2


@contextmanager
def exit_on_failure(name: str) -> Iterator[None]:
    """Turn a failure inside the block into lines `name: ...` on stderr and an exit code, instead of a traceback.

    What the terminal's encoding does not have, such as the µ in ASCII or in cp932, is printed as `?`.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        yield
        print(end="", flush=True)  # report a broken pipe or a full disk here, not at interpreter exit
    except Failure as failure:
        print("\n".join(f"{name}: {line}" for line in str(failure).splitlines()), file=sys.stderr)
        code = failure.exit_code
    except BrokenPipeError:  # the pipe was closed early, as in `armdigits results | head -1`
        code = 141  # 128 + SIGPIPE, as shells report it
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(printable(f"{name}: {where}{error.strerror or error}"), file=sys.stderr)
        code = 1
    else:
        return
    try:
        print(end="", flush=True)
    except OSError:  # discard unwritable output, or Python reports an error when it flushes at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


@contextmanager
def stderr_muted() -> Iterator[None]:
    """Mute file descriptor 2, for libraries in C and C++ that log there and have no option to turn that off."""
    try:
        saved = os.dup(2)
    except OSError:  # closed by whoever started this process
        yield
        return
    try:
        with Path(os.devnull).open("wb") as sink:
            os.dup2(sink.fileno(), 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
