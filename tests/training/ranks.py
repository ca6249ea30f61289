"""What the tests of several ranks share: starting them, a small project, and its results."""

import contextlib
import os
import socket
import subprocess
import sys
from pathlib import Path

from armdigits.core import paths
from armdigits.data.dataset import write_dataset
from tests.helpers import DIGITS, copy_project, set_parameters, some_images

OUTS = ("models/model.safetensors", "models/layers.txt", "metrics/train.json", "metrics/history.csv")
EPOCHS = 60
LAUNCH = ("-m", "armdigits.training.launch")
TRAIN = ("--nproc-per-node", "2", "-m", "stages.train")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def start_ranks(folders: list[Path], *command: str) -> list[subprocess.Popen[str]]:
    """Start a rank in each folder, as torchrun on several machines would: with the variables that it sets."""
    port = str(free_port())
    torchrun = {"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": str(len(folders))}
    common = {**os.environ, **torchrun, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return [
        subprocess.Popen(
            [sys.executable, *command],
            cwd=folder,
            env={**common, "RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank, folder in enumerate(folders)
    ]


def ended(processes: list[subprocess.Popen[str]]) -> list[tuple[int, str, str]]:
    """Wait for each; returns its exit code, output and errors."""
    outputs = [process.communicate(timeout=100) for process in processes]
    return [(process.returncode, *output) for process, output in zip(processes, outputs, strict=True)]


def make_project(folder: Path) -> Path:
    """A project with a little data and no teacher, whose training takes two processes and a second or two."""
    project = copy_project(folder)
    set_parameters(project, {"train.processes": "2", "train.teacher_weight": "0", "train.temperature": "1"})
    set_epochs(project, EPOCHS)
    write_data(project, seed=1)
    return project


def set_epochs(project: Path, epochs: int) -> None:
    set_parameters(project, {"train.epochs": str(epochs)})


def write_data(project: Path, seed: int) -> None:
    with contextlib.chdir(project):
        splits = {paths.TRAIN_DATA: some_images(130, seed), paths.VALIDATION_DATA: some_images(20, 9)}
        write_dataset("digits", {"noise": str(seed)}, splits, DIGITS)


def contents(project: Path) -> dict[str, bytes]:
    return {name: (project / name).read_bytes() for name in OUTS}
