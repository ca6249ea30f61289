"""The device to train on."""

import torch

from armdigits.errors import BadInput


def choose(name: str) -> torch.device:
    """The device called `name` (cpu, cuda, mps), or for `auto` the fastest that this machine has.

    Raises:
        BadInput: this machine does not have it.
    """
    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(kind for kind, there in present.items() if there))
    if not present[name]:
        there = ", ".join(kind for kind, there in present.items() if there)
        raise BadInput(f"params.yaml: train.device: this machine has no {name} device; it has {there} (or take auto)")
    return torch.device(name)
