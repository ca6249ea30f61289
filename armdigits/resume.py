"""Where a killed training goes on: after each epoch, all that the next one needs is on the disk.

A snapshot is one safetensors file in `.state/`: the weights, the optimizer's tensors, and as metadata the learning
curve so far and the fingerprint of what the result follows from. Its name ends with the SHA-256 of its
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
from torch import Tensor

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

    def restore(self, state: dict[str, Tensor]) -> list[dict[str, Any]]:
        """Fill the tensors of `state`, in place, from the newest snapshot that fits.

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
            for name, tensor in state.items():
                tensor.copy_(tensors[name])
            self._newest = path
            print(f"{path}: going on after epoch {len(curve)}", flush=True)
            return curve
        return []

    def save(self, state: dict[str, Tensor], curve: list[dict[str, Any]]) -> None:
        """Write the snapshot of the epoch that has just ended, then drop all but it and the one before.

        Args:
            state: all tensors that the next epoch starts from, by name.
            curve: a record for each epoch so far, as JSON.
        """
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
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
