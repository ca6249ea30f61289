"""Snapshots: where an interrupted training resumes.

After each epoch a safetensors file in `.state/` has all that the next epoch needs: the weights, the optimizer's
tensors and, as metadata, the history so far and a fingerprint of everything that the result depends on. The file's
name ends in the SHA-256 of its bytes, so damage is detected. Random numbers and the position in the schedule are
determined by the epoch and are not stored.
"""

import json
import platform
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from armdigits.core import files
from armdigits.core.records import Epoch, Snapshot
from armdigits.data.dataset import MAX_HEADER
from armdigits.models.checkpoint import pack, unpack

PACKAGE = Path(__file__).parents[1]


def fingerprint(script: Path, **inputs: Any) -> dict[str, str]:
    """A SHA-256 for each input on which the result of a training depends, bit for bit.

    Args:
        script: the stage's script; it counts as code, and so does every module of the package.
        inputs: what else the result depends on, as JSON: the parameters, the record of the data, ...
    """
    modules = {str(path.relative_to(PACKAGE)): files.sha256(path.read_bytes()) for path in PACKAGE.rglob("*.py")}
    parts = {
        **inputs,
        "code": {**modules, script.name: files.sha256(script.read_bytes())},
        "versions": [sys.version, np.__version__, torch.__version__, torch.__config__.show()],
        "instruction set": [platform.machine(), torch.backends.cpu.get_cpu_capability()],
    }
    return {name: files.sha256(json.dumps(part, sort_keys=True).encode()) for name, part in parts.items()}


class Snapshots:
    """The two newest snapshots of one training, in their own folder."""

    def __init__(self, folder: Path, fingerprint: dict[str, str]) -> None:
        """`fingerprint` is that of the training that starts now."""
        self._folder = folder
        self._fingerprint = fingerprint
        self._newest: Path | None = None

    def restore(self, state: dict[str, Tensor]) -> list[Epoch]:
        """Fill the tensors of `state`, in place, from the newest snapshot that fits.

        Prints a line for the snapshot that is used, and for each that is not, with the reason.

        Returns:
            The history up to the snapshot; empty when the training starts from the beginning.
        """
        for path in sorted(self._folder.glob("epoch-*.safetensors"), reverse=True):
            name = f"{self._folder.name}: snapshot {path.name[:15]}"
            try:
                tensors, history = self._read(path, state)
            except (OSError, ValueError) as error:
                reason = getattr(error, "strerror", None) or error
                print(f"{name}... not used: {reason}", flush=True)
                continue
            for key, tensor in state.items():
                tensor.copy_(tensors[key])
            self._newest = path
            print(f"{self._folder.name}: resuming after epoch {len(history)}", flush=True)
            return history
        return []

    def save(self, state: dict[str, Tensor], history: list[Epoch]) -> None:
        """Write the snapshot of the epoch that has just ended; keep it and the one before.

        Args:
            state: the tensors that the next epoch starts from, by name.
            history: the epochs so far.
        """
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
        content = pack(tensors, Snapshot(fingerprint=self._fingerprint, history=history))
        path = self._folder / f"epoch-{len(history):05}-{files.sha256(content)}.safetensors"
        files.write_bytes(path, content)
        for other in self._folder.iterdir():
            if other not in (path, self._newest):
                other.unlink()
        self._newest = path

    def remove(self) -> None:
        """Remove all: the training has ended and its results are written."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _read(self, path: Path, state: dict[str, Tensor]) -> tuple[dict[str, Tensor], list[Epoch]]:
        """The tensors and the history of a snapshot; OSError or ValueError with the reason if it must not be used."""
        content = files.read_limited(path, sum(tensor.nbytes for tensor in state.values()) + MAX_HEADER)
        if files.sha256(content) != path.stem.rpartition("-")[2]:
            raise ValueError("damaged, its SHA-256 is not the one in its name")
        tensors, record = unpack(content, Snapshot)
        other = [name for name, digest in self._fingerprint.items() if record.fingerprint.get(name) != digest]
        if other:
            raise ValueError(f"made with different {', '.join(other)}")
        if shapes(tensors) != shapes(state):
            raise ValueError("it has other tensors")
        if not record.history or [row.epoch for row in record.history] != list(range(1, len(record.history) + 1)):
            raise ValueError("its history has other epochs")
        return tensors, record.history


def shapes(tensors: dict[str, Tensor]) -> dict[str, tuple[torch.dtype, torch.Size]]:
    """The type and the shape of each tensor."""
    return {name: (tensor.dtype, tensor.shape) for name, tensor in tensors.items()}
