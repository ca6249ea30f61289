"""The one way to fail: an exception whose text is what the user reads, and whose exit code scripts can test."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


class Failure(Exception):
    """Ends a stage with one line for each of its messages, and without a traceback."""

    exit_code = 1

    def __init__(self, *messages: str) -> None:
        super().__init__("\n".join(messages))


class GateFailed(Failure):
    """A result is worse than `params.yaml` allows. The result itself has been written."""


class BadInput(Failure):
    """A parameter, file, image or argument is not what it must be."""

    exit_code = 2


@contextmanager
def reported(name: str) -> Iterator[None]:
    """End the process with a line `name: ...` for each message of a failure, instead of a traceback."""
    try:
        yield
    except Failure as failure:
        print("\n".join(f"{name}: {line}" for line in str(failure).splitlines()), file=sys.stderr)
        sys.exit(failure.exit_code)
    except OSError as error:
        what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        print(f"{name}: {what}; nothing was left half-written", file=sys.stderr)
        sys.exit(1)
