"""The processes that train one network together: one, or many on one machine or several.

torch's own engine starts and connects them: torchrun (https://docs.pytorch.org/docs/stable/elastic/run.html) starts
a process for each rank and ends all when one fails; gloo on CPUs and NCCL on GPUs carry what they exchange. Every
rank holds all images and draws the same random numbers, takes its share of each batch, and adds its gradient to the
others'. The sum is taken of the one tensor that holds the whole gradient (see adam.py), by all_reduce:
DistributedDataParallel would hook into autograd, which the perceptron does without, and takes the mean over the ranks,
which is wrong where their shares of a batch differ. Rank 0 alone writes and prints.

A single process never initialises torch.distributed.
"""

import json
import logging
import os
import re
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Protocol, TypeVar

import torch
from torch import Tensor
from torch import distributed as dist

from armdigits import stage
from armdigits.errors import BadInput, Failure

TIMEOUT = timedelta(seconds=15)  # a rank that is silent for so long is gone; one whose process ends is missed at once
RENDEZVOUS_S = 60  # how long torchrun waits for the other machines


class HasCauses(Protocol):
    """What a training reads."""

    causes: dict[str, str]  # see resume.fingerprint


Inputs = TypeVar("Inputs", bound=HasCauses)


class Ranks:
    """This process among those that train together.

    Attributes:
        rank: its number, from 0.
        count: how many there are.
    """

    def __init__(self, rank: int = 0, count: int = 1) -> None:
        self.rank, self.count = rank, count

    @property
    def is_first(self) -> bool:
        """Whether this is rank 0, which writes and prints."""
        return self.rank == 0

    def share(self, places: Tensor) -> Tensor:
        """Whether the images at these places of a batch, int64 [N] from 0, are this rank's: bool [N].

        Each place is one rank's, and the ranks take turns: the first ones have one image more where it is uneven.
        """
        return places % self.count == self.rank

    def add(self, tensor: Tensor) -> Tensor:
        """Replace `tensor` by its sum over the ranks, which has the same bits on each.

        Raises:
            Failure: another rank is gone.
        """
        if self.count > 1:
            with self._told_when_alone():
                dist.all_reduce(tensor)
        return tensor

    def follow(self, state: dict[str, Tensor], epochs: int) -> int:
        """Take over from rank 0 the tensors of `state`, in place, and how many `epochs` they have seen."""
        if self.count == 1:
            return epochs
        with self._told_when_alone():
            for tensor in state.values():
                dist.broadcast(tensor, src=0)
        return int(self.gather(str(epochs))[0])

    def gather(self, text: str) -> list[str]:
        """What each rank says, in their order. (torch's own exchange of objects would unpickle what comes in.)"""
        if self.count == 1:
            return [text]
        content = torch.tensor(list(text.encode()), dtype=torch.uint8)
        lengths = torch.zeros(self.count, dtype=torch.int64)
        lengths[self.rank] = len(content)
        table = torch.zeros(self.count, int(self.add(lengths).max()), dtype=torch.uint8)
        table[self.rank, : len(content)] = content
        self.add(table)
        return [bytes(row[:length].tolist()).decode() for row, length in zip(table, lengths.tolist(), strict=True)]

    def same(self, read: Callable[[], Inputs]) -> Inputs:
        """Read the inputs on every rank, and make sure that all have the same `causes`.

        Raises:
            BadInput: a rank could not read them, or has others than rank 0. Rank 0 says it, once for all.
        """
        if self.count == 1:
            return read()
        try:
            inputs = read()
            answer = {"causes": inputs.causes}
        except BadInput as error:
            answer = {"problem": str(error)}
        answers = [json.loads(each) for each in self.gather(json.dumps(answer))]
        for rank, each in enumerate(answers):
            if "problem" in each:
                raise self.told(BadInput(f"rank {rank}: {each['problem']}" if rank else each["problem"]))
            first, its = answers[0]["causes"], each["causes"]
            if other := [name for name in first | its if first.get(name) != its.get(name)]:
                what = ", other ".join(other)
                raise self.told(BadInput(f"rank {rank} has other {what} than rank 0; give every machine the same"))
        return inputs

    def told(self, failure: Failure) -> BaseException:
        """What to raise for a failure that every rank knows of: rank 0 reports it, the others end in silence."""
        return failure if self.is_first else SystemExit(failure.exit_code)

    @contextmanager
    def _told_when_alone(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            raise Failure(
                f"another rank is gone or cannot be reached ({_short(error)}); "
                "run again to go on after the last whole epoch"
            ) from None


ALONE = Ranks()


@contextmanager
def joined(device: torch.device) -> Iterator[Ranks]:
    """The ranks that torchrun started, connected to each other; a process that it did not start is alone.

    Raises:
        BadInput: they cannot be reached, or the device has no way to exchange tensors.
    """
    count = int(os.environ["WORLD_SIZE"]) if stage.rank() is not None else 1
    if count == 1:
        yield ALONE
        return
    if device.type == "mps":
        raise BadInput("params.yaml: train.processes: expected 1 on an mps device, which cannot add up over processes")
    if device.type == "cuda":
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    try:
        dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo", timeout=TIMEOUT)
    except (RuntimeError, ValueError) as error:
        raise BadInput(_unreachable(error)) from None
    try:
        yield Ranks(dist.get_rank(), count)
    finally:
        dist.destroy_process_group()  # its threads do not survive the end of the interpreter


def start(module: str, count: int) -> bool:
    """Run `python -m module` as `count` ranks, when that is more than one and this process is not a rank itself.

    torchrun does it. Arguments of this program are torchrun's, as --nnodes; without any it uses this machine alone.

    Returns:
        Whether it did.

    Raises:
        Failure, SystemExit: a rank failed. It has said why, unless it was killed.
    """
    arguments = sys.argv[1:]
    if count == 1 or stage.rank() is not None:
        if arguments:
            raise BadInput(f"arguments ({' '.join(arguments)}) are torchrun's, for train.processes above 1")
        return False
    from torch.distributed import run  # a second of imports, which a single process need not wait for
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    logging.disable(logging.ERROR)  # torchrun's long account of what a rank has told in a line
    with tempfile.TemporaryDirectory() as folder:
        options = ["--rdzv-conf", f"timeout={RENDEZVOUS_S}", "--log-dir", folder]
        options += arguments or ["--standalone", "--local-addr", "localhost", "--nproc-per-node", str(count)]
        try:
            run.run(run.parse_args([*options, "--module", module]))
        except ChildFailedError as error:
            _report(error)
        except dist.DistError as error:
            raise BadInput(_unreachable(error)) from None
        except SignalException as error:
            raise stage.Ended(error.sigval) from None
    return True


def _report(error: Exception) -> None:
    """End as the first rank ended. It has said why, unless a signal ended it."""
    # torchrun ends the others by SIGTERM, and those that lose their connection sooner end with 1.
    first = {-signal.SIGTERM: 2, 1: 1}
    rank, failure = min(error.failures.items(), key=lambda each: first.get(each[1].exitcode, 0))
    if failure.exitcode > 0:
        sys.exit(failure.exitcode)
    name = signal.Signals(-failure.exitcode).name
    raise Failure(
        f"rank {rank} (pid {failure.pid}) was ended by {name}; run again to go on after the last whole epoch"
    ) from None


def _unreachable(error: Exception) -> str:
    where = ":".join(os.environ.get(name, "?") for name in ("MASTER_ADDR", "MASTER_PORT"))
    at = f" at {where}" if stage.rank() is not None else ""
    return f"the other ranks cannot be reached{at} ({_short(error)}); look at the address, the port and the network"


def _short(error: Exception) -> str:
    """The first sentence of an error of torch's, without the place in its source."""
    return re.split(r"\.\s|\n", re.sub(r"\[/[^]]*\] ", "", str(error)))[0].rstrip(".")
