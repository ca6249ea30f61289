"""What snapshots and the stage's lock cost: epochs with and without a snapshot, in turns, in one process.

    python -m benchmarks.resume

Three trainings on as many images as MNIST has take turns, an epoch each, in random order: one without snapshots, one
with, and one without again, which is the control: if the interval of its ratio does not contain 1.00, the machine
was too noisy for a result. Prints a summary and, last, a line of JSON. The snapshots are written to a temporary folder
on the disk where a stage would write them.
"""

import json
import random
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from armdigits.core import paths, stage
from armdigits.core.errors import exit_on_failure
from armdigits.core.parameters import load_parameters
from armdigits.measure import host
from armdigits.measure.timing import Nanoseconds, ratio
from armdigits.models.mlp import NeuralNetwork
from armdigits.training.loop import train
from armdigits.training.loss import Distillation
from armdigits.training.snapshots import Snapshots, fingerprint
from benchmarks.data import noise

IMAGES, VALIDATION_IMAGES = 55_000, 5_000
EPOCHS = 10
SEED = 1
LOCK = "benchmark-of-the-lock"


def time_epochs(folder: Path) -> dict[str, Nanoseconds]:
    """The durations of each training's epochs, int64 [EPOCHS, 1]; snapshots are written to `folder`."""
    parameters = load_parameters(paths.PARAMETERS)
    recipe = parameters.train.model_copy(update={"epochs": EPOCHS + 1})  # the first epoch is a warm-up
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    data = (noise(IMAGES), noise(VALIDATION_IMAGES))
    distillation = Distillation(torch.randn(IMAGES, 10), recipe.teacher_weight, recipe.temperature)
    kept = {"without": None, "with": Snapshots(folder, fingerprint(Path(__file__))), "without again": None}
    trainings = {
        name: train(NeuralNetwork(), *data, recipe, parameters.augmentation, distillation, snapshots)
        for name, snapshots in kept.items()
    }
    times = {name: np.zeros((EPOCHS + 1, 1), np.int64) for name in trainings}
    order = list(trainings)
    shuffle = random.Random(SEED).shuffle  # noqa: S311 - an order, not a secret
    for turn in range(EPOCHS + 1):
        shuffle(order)
        for name in order:
            start = time.perf_counter_ns()
            next(trainings[name])
            times[name][turn] = time.perf_counter_ns() - start
    return {name: durations[1:] for name, durations in times.items()}


def time_lock() -> float:
    """Microseconds to take the lock of a stage."""
    start = time.perf_counter_ns()
    with stage.only_one(LOCK):
        lock_us = (time.perf_counter_ns() - start) / 1000
    (paths.LOCKS / LOCK).unlink()
    return lock_us


def main() -> None:
    """Time the epochs, then the lock; print the ratios."""
    with tempfile.TemporaryDirectory(dir=".", prefix=".resume-") as folder:
        times = time_epochs(Path(folder, "train"))
    machine = {**host.identify(), **host.conditions()}
    ratios = {
        "with_over_without": ratio(times["with"], times["without"], SEED),
        "control": ratio(times["without again"], times["without"], SEED),
    }
    epoch_s, lock_us = round(float(np.median(times["without"])) / 1e9, 3), round(time_lock(), 1)
    print("{cpu}, {cores} cores, load {load}, torch {torch}".format(**machine))
    for name, values in ratios.items():
        print("{:<18} {ratio:.4f} [{low:.4f}, {high:.4f}]".format(name, **values))
    print(f"an epoch takes {epoch_s} s; the lock takes {lock_us} us, once per run")
    conditions = {
        "epochs": EPOCHS,
        "images": IMAGES,
        "threads": load_parameters(paths.PARAMETERS).train.threads,
        "host": machine,
    }
    print(json.dumps({**ratios, "epoch_s": epoch_s, "lock_us": lock_us, **conditions}))


if __name__ == "__main__":
    with exit_on_failure("resume"):
        main()
