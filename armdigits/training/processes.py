"""The processes that train one model together, and the device that each trains on.

torchrun starts a process for each rank (see launch.py); gloo on CPUs and NCCL on GPUs connect them. Every rank holds
all images and takes an equal share of each batch, and the ranks add up their gradients. Rank 0 alone writes and
prints. A single process never initialises torch.distributed.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
from torch import Tensor
from torch import distributed as dist

from armdigits.core.errors import BadInput, Failure
from armdigits.core.stage import rank_of_this_process

TIMEOUT = timedelta(seconds=15)  # to wait for another rank; a rank that exits is noticed at once
RESUME = "run again to resume after the last complete epoch"


class Group:
    """This process among those that train together.

    Attributes:
        rank: its number, from 0.
        world_size: how many processes there are.
    """

    def __init__(self, rank: int, world_size: int) -> None:
        self.rank, self.world_size = rank, world_size

    def all_reduce(self, tensor: Tensor) -> Tensor:
        """Replace `tensor` by its sum over the ranks, which has the same bits on each, and return it.

        Raises:
            Failure: another rank is gone.
        """
        if self.world_size > 1:
            with _lost_rank_is_a_failure():
                dist.all_reduce(tensor)
        return tensor

    def broadcast(self, tensor: Tensor) -> Tensor:
        """Replace `tensor` by that of rank 0, and return it. Raises as `all_reduce`."""
        if self.world_size > 1:
            with _lost_rank_is_a_failure():
                dist.broadcast(tensor, src=0)
        return tensor

    def require_equal(self, fingerprint: dict[str, str]) -> None:
        """Compare the ranks' fingerprints, each a SHA-256 by name.

        Raises:
            BadInput: on rank 0; names the rank and what differs. The other ranks exit silently.
        """
        digests = torch.tensor([list(bytes.fromhex(digest)) for digest in fingerprint.values()], dtype=torch.uint8)
        table = torch.zeros(self.world_size, *digests.shape, dtype=torch.uint8)
        table[self.rank] = digests
        self.all_reduce(table)
        for rank, other in enumerate(table):
            differs = (other != table[0]).any(1).tolist()
            if any(differs):
                what = ", ".join(name for name, differ in zip(fingerprint, differs, strict=True) if differ)
                line = f"rank {rank} differs from rank 0 in {what}; all ranks need the same"
                raise BadInput(line) if self.rank == 0 else SystemExit(BadInput.exit_code)


SINGLE = Group(rank=0, world_size=1)


def world_size() -> int:
    """The number of processes that torchrun started; 1 without torchrun."""
    return int(os.environ["WORLD_SIZE"]) if rank_of_this_process() is not None else 1


@contextmanager
def join(device: torch.device) -> Iterator[Group]:
    """Connect to the other ranks.

    Raises:
        BadInput: they cannot be reached, or the device cannot exchange tensors.
    """
    if world_size() == 1:
        yield SINGLE
        return
    if device.type == "mps":
        raise BadInput("params.yaml: train.processes: expected 1 on mps, which cannot exchange tensors")
    if device.type == "cuda":
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    try:
        dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo", timeout=TIMEOUT)
    except (RuntimeError, ValueError) as error:
        raise BadInput(unreachable(error)) from None
    try:
        yield Group(dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()  # its threads would crash when the interpreter ends


def choose_device(name: str) -> torch.device:
    """The device called `name` (cpu, cuda, mps), or for `auto` the fastest of this machine.

    Raises:
        BadInput: this machine does not have it.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    names = [kind for kind, is_available in available.items() if is_available]
    if name == "auto":
        return torch.device(names[0])
    if name not in names:
        raise BadInput(
            f"params.yaml: compute.device: no {name} device on this machine; use {' or '.join(names)} or auto"
        )
    return torch.device(name)


def unreachable(error: Exception) -> str:
    """The line for ranks that cannot be reached."""
    where = ":".join(os.environ.get(name, "?") for name in ("MASTER_ADDR", "MASTER_PORT"))
    at = f" at {where}" if rank_of_this_process() is not None else ""
    return f"the other ranks cannot be reached{at} ({_short(error)}); check the address, the port and the network"


@contextmanager
def _lost_rank_is_a_failure() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise Failure(f"another rank is gone or cannot be reached ({_short(error)}); {RESUME}") from None


def _short(error: Exception) -> str:
    """The first sentence of an error of torch's, without the place in its source."""
    return re.split(r"\.\s|\n", re.sub(r"\[/[^]]*\] ", "", str(error)))[0].rstrip(".")
