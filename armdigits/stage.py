"""What every stage does around its work: one copy at a time, parameters first, one clear line on failure."""

import fcntl
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from armdigits import paths
from armdigits.errors import BadInput, reported
from armdigits.parameters import Parameters, load_parameters


def run(name: str, work: Callable[[Parameters], None]) -> None:
    """Run `work` as the stage `name` and end the process: exit code 0, 1 (failed), 2 (bad input), 128 + signal.

    A killed `dvc` leaves its stage running, and the next `dvc repro` would start a second copy beside it, which
    is why a stage holds a lock of its own.
    """
    try:
        signal.signal(signal.SIGTERM, _end)
        signal.signal(signal.SIGINT, _end)
        with reported(name):
            parameters = load_parameters(paths.PARAMETERS)
            with only_one(name):
                work(parameters)
    except _Ended as ended:
        with suppress(OSError):
            print(f"{name}: ended by {ended.signal.name}", file=sys.stderr, flush=True)
            sys.stdout.flush()
        os._exit(128 + ended.signal)  # taking torch apart would need seconds, and there is nothing left to save


class _Ended(BaseException):
    """Unwinds the stack after a signal, so that temporary files and locks go."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.signal = signal.Signals(number)


def _end(number: int, _frame: FrameType | None) -> None:
    """End in an orderly way. A second signal ends the process at once."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    raise _Ended(number)


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
