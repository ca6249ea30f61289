"""What every stage does around its work: one copy at a time, parameters first, one clear line on failure."""

import fcntl
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from types import FrameType

from armdigits import paths
from armdigits.errors import BadInput, reported
from armdigits.parameters import Parameters, load_parameters


def run(name: str, work: Callable[[Parameters], None], start_ranks: Callable[[Parameters], bool] | None = None) -> None:
    """Run `work` as the stage `name` and end the process: exit code 0, 1 (failed), 2 (bad input), 128 + signal.

    A killed `dvc` leaves its stage running, and the next `dvc repro` would start a second copy beside it, which
    is why a stage holds a lock of its own.

    Args:
        name: the stage's.
        work: what it does.
        start_ranks: of a stage whose work several processes can share: starts them, when the parameters ask for it,
            and says whether it did. The lock is held by rank 0, which survives as well.
    """
    number = rank() if start_ranks else None
    try:
        if number is None:  # a rank has nothing to tidy up, and may be waiting where Python does not look at signals
            signal.signal(signal.SIGTERM, _end)
            signal.signal(signal.SIGINT, _end)
        with reported(f"{name}, rank {number}" if number else name):
            parameters = load_parameters(paths.PARAMETERS)
            if start_ranks and start_ranks(parameters):
                return
            with nullcontext() if number else only_one(name):
                work(parameters)
    except Ended as ended:
        with suppress(OSError):
            print(f"{name}: ended by {ended.signal.name}", file=sys.stderr, flush=True)
            sys.stdout.flush()
        os._exit(128 + ended.signal)  # taking torch apart would need seconds, and there is nothing left to save


def rank() -> int | None:
    """The number of this process among those that torchrun started; None when it did not start this one."""
    started = os.environ.keys() >= {"RANK", "WORLD_SIZE", "MASTER_ADDR"}
    return int(os.environ["RANK"]) if started else None


class Ended(BaseException):
    """Unwinds the stack after a signal, so that temporary files and locks go."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.signal = signal.Signals(number)


def _end(number: int, _frame: FrameType | None) -> None:
    """End in an orderly way. A second signal ends the process at once."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    raise Ended(number)


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
