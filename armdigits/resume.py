"""Where a killed training goes on: after each epoch, all that the next one needs is on the disk.

A snapshot is one safetensors file in `.state/train/`: the weights, the optimizer's tensors, and as metadata the
learning curve so far and the fingerprint of what the result follows from. Its name ends with the SHA-256 of its
bytes, so that damage anywhere in it shows. The random numbers of an epoch and the place in a schedule follow from
the epoch's number, which is why they are not in it.
"""

import json
import platform
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from armdigits import files


def fingerprint(script: Path, **inputs: Any) -> dict[str, str]:
    """What the bits of a training's result follow from: a SHA-256 for each kind of cause.

    Args:
        script: the stage's script. It counts as source code, and so does every module of the package.
        inputs: what else decides the result, as JSON: the parameters, the record of the data, ...
    """
    modules = sorted(Path(__file__).parent.glob("*.py"))
    causes = {
        **inputs,
        "code": {module.name: files.sha256(module.read_bytes()) for module in (*modules, script)},
        "versions": [sys.version, np.__version__, torch.__version__, torch.__config__.show()],
        "instruction set": [platform.machine(), torch.backends.cpu.get_cpu_capability()],
        "threads": torch.get_num_threads(),
    }
    return {name: files.sha256(json.dumps(cause, sort_keys=True).encode()) for name, cause in causes.items()}


class Snapshots:
    """The snapshots of one training in a folder of their own: the newest, and the one before it."""

    def __init__(self, folder: Path, causes: dict[str, str]) -> None:
        """`causes` is the fingerprint of the training that starts now."""
        self._folder = folder
        self._causes = causes
        self._newest: Path | None = None

    def restore(self, network: nn.Module, optimizer: torch.optim.Optimizer) -> list[dict[str, Any]]:
        """Put `network` and `optimizer` where the newest snapshot that fits left them.

        A line is printed for the snapshot that is taken, and for each that is not, with the reason.

        Returns:
            The learning curve so far, as it was saved; nothing when the training starts at its beginning.
        """
        for path in sorted(self._folder.glob("epoch-*.safetensors"), reverse=True):
            try:
                tensors, curve = self._read(path)
            except (OSError, SafetensorError, ValueError, KeyError) as error:
                print(f"{path}: not used: {error}", flush=True)
                continue
            network.load_state_dict({name: tensors[f"network.{name}"] for name in network.state_dict()})
            optimizer.load_state_dict({**optimizer.state_dict(), "state": _unflattened(tensors)})
            _lay_out_like_parameters(optimizer)
            self._newest = path
            print(f"{path}: going on after epoch {len(curve)}", flush=True)
            return curve
        return []

    def save(self, network: nn.Module, optimizer: torch.optim.Optimizer, curve: list[dict[str, Any]]) -> None:
        """Write the snapshot of the epoch that has just ended, then drop all but it and the one before.

        Args:
            network: its parameters and buffers are saved.
            optimizer: the tensors of its state are saved; its settings are not, they follow from the parameters.
            curve: a record for each epoch so far, as JSON.
        """
        tensors = {f"network.{name}": tensor.contiguous() for name, tensor in network.state_dict().items()}
        tensors |= _flattened(optimizer.state_dict()["state"])
        content = save(tensors, {"record": json.dumps({"causes": self._causes, "curve": curve}, allow_nan=False)})
        path = self._folder / f"epoch-{len(curve):05}-{files.sha256(content)}.safetensors"
        files.write_bytes(path, content)
        for other in self._folder.iterdir():
            if other not in (path, self._newest):
                other.unlink()
        self._newest = path

    def remove(self) -> None:
        """Remove them all: the training has ended, and everything that it makes is written."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _read(self, path: Path) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
        """The tensors and the learning curve of a snapshot; ValueError says why it must not be used."""
        content = path.read_bytes()
        if files.sha256(content) != path.stem.rpartition("-")[2]:
            raise ValueError("damaged, its SHA-256 is not the one in its name")
        record = files.safetensors_record(content)
        other = [name for name, cause in self._causes.items() if record["causes"].get(name) != cause]
        if other:
            raise ValueError(f"made with other {', other '.join(other)}")
        return load(content), record["curve"]


def _flattened(state: dict[int, dict[str, Tensor]]) -> dict[str, Tensor]:
    """An optimizer's state with names as in `optimizer.0.exp_avg`."""
    return {f"optimizer.{at}.{name}": each.contiguous() for at, kinds in state.items() for name, each in kinds.items()}


def _unflattened(tensors: dict[str, Tensor]) -> dict[int, dict[str, Tensor]]:
    """The inverse of `_flattened`; other tensors are left out."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        kind, at, name = key.split(".", 2)
        if kind == "optimizer":
            state.setdefault(int(at), {})[name] = tensor
    return state


def _lay_out_like_parameters(optimizer: torch.optim.Optimizer) -> None:
    """Give the optimizer's tensors the strides of their parameters.

    A file holds tensors row by row, a network may hold them channels last, and Adam's fused kernel walks through
    memory as if both were alike.
    """
    for parameter, state in optimizer.state.items():
        for name, tensor in state.items():
            if tensor.shape == parameter.shape:
                state[name] = torch.empty_like(parameter, requires_grad=False).copy_(tensor)
