"""What all stages share: arguments, parameters, the lock, signals, one line per error, and what a failure leaves."""

import argparse
import errno
import fcntl
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from types import FrameType

from armdigits.core import paths, times, tracked
from armdigits.core.errors import BadInput, exit_on_failure
from armdigits.core.parameters import Parameters, load_parameters

NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)  # as flock says it on network and shared folders


def run(name: str, main: Callable[[Parameters], None], arguments: list[str] | None = None) -> None:
    """Run `main` as the stage `name`, then end the process: exit code 0, 1, 2 (bad input), or 128 + signal.

    A stage takes no arguments but `--help`, which prints the docstring of its script. With `arguments`, a success
    returns.

    When `dvc` is killed, its stage keeps running, and the next `dvc repro` would start a second copy. Each stage
    therefore holds a lock; of several ranks only rank 0 does, because it alone writes. After a failure, outputs that
    DVC removed and that Git tracks are put back; of several ranks, launch.py does that.
    """
    rank = rank_of_this_process()
    try:
        if rank is None:  # ranks need no cleanup, and Python runs no handler while it waits for another rank
            signal.signal(signal.SIGTERM, _end)
            signal.signal(signal.SIGINT, _end)
        restored = tracked.restored_on_failure(name) if rank is None else nullcontext()
        with restored, exit_on_failure(f"{name}, rank {rank}" if rank else name):
            _parser(name, main).parse_args(arguments)
            parameters = load_parameters(paths.PARAMETERS)
            with nullcontext() if rank else only_one(name):
                main(parameters)
            if not rank:
                times.record(name)
        if arguments is None:
            os._exit(0)  # unloading torch takes up to a second, and there is nothing left to save
    except Ended as ended:
        with suppress(OSError, AttributeError):  # the second where stdout was closed before the start
            print(f"{name}: ended by {ended.signal.name}", file=sys.stderr, flush=True)
            sys.stdout.flush()
        os._exit(128 + ended.signal)


def rank_of_this_process() -> int | None:
    """The rank that torchrun gave this process; None when torchrun did not start it.

    A cluster's scheduler may set RANK and WORLD_SIZE as well, for a job that is a single process.
    """
    return int(os.environ["RANK"]) if "TORCHELASTIC_RUN_ID" in os.environ else None


def _parser(name: str, main: Callable[[Parameters], None]) -> argparse.ArgumentParser:
    script = sys.modules[main.__module__].__doc__
    formatter = argparse.RawDescriptionHelpFormatter
    return argparse.ArgumentParser(prog=f"python -m stages.{name}", description=script, formatter_class=formatter)


class Ended(BaseException):
    """Unwinds the stack after a signal, so that temporary files are removed and locks released."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.signal = signal.Signals(number)


def _end(number: int, _frame: FrameType | None) -> None:
    """Unwind the stack. A second signal ends the process at once."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    raise Ended(number)


@contextmanager
def only_one(name: str) -> Iterator[None]:
    """Hold the lock of the stage `name`; the kernel releases it when the process ends, however it ends.

    Raises:
        BadInput: another process in this project folder holds it, or the file system has no locks.
    """
    paths.LOCKS.mkdir(parents=True, exist_ok=True)
    with (paths.LOCKS / name).open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise BadInput(f"another {name} is running (pid {file.read()}); wait for it or end it") from None
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            remedy = "clone the project to a local disk"
            raise BadInput(f"{paths.LOCKS}: this file system has no locks ({error.strerror}); {remedy}") from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
