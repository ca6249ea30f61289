"""What every stage does around its work: one copy at a time, parameters first, one clear line on failure."""

import fcntl
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from armdigits import paths
from armdigits.errors import BadInput, reported
from armdigits.parameters import Parameters, load_parameters


def run(name: str, work: Callable[[Parameters], None]) -> None:
    """Run `work` as the stage `name` and end the process: exit code 0, 1 (failed), 2 (bad input), 128 + signal.

    A killed `dvc` leaves its stage running, and the next `dvc repro` would start a second copy beside it, which
    is why a stage holds a lock of its own.
    """
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGINT, _end)
    with reported(name):
        parameters = load_parameters(paths.PARAMETERS)
        with only_one(name):
            work(parameters)


def _end(number: int, _frame: FrameType | None) -> None:
    """Unwind the stack, so that temporary files and locks go, and exit as a process ended by the signal does."""
    print(f"ended by {signal.Signals(number).name}", file=sys.stderr)
    sys.exit(128 + number)


@contextmanager
def only_one(name: str) -> Iterator[None]:
    """Hold the lock of the stage `name`; the kernel gives it up with the process, however that ends.

    Raises:
        BadInput: another process of this project folder holds it.
    """
    paths.LOCKS.mkdir(parents=True, exist_ok=True)
    with (paths.LOCKS / name).open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise BadInput(f"another {name} is running (pid {file.read()}); wait for it or end it") from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
