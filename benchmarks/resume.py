"""What resume and locking cost: epochs with and without a snapshot, in turns, in one process.

    python -m benchmarks.resume

Three trainings on as many images as MNIST has for it take turns, an epoch each, in random order: one without
snapshots, one with, and one without again, which is the control: when the interval of its ratio does not hold 1.00,
the machine was too noisy to say. Prints a table for people and, last, a line of JSON; writes nothing but snapshots in
a temporary folder here, on the disk where a stage would write them.
"""

import itertools
import json
import random
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from armdigits import host, paths, stage
from armdigits.dataset import Split
from armdigits.errors import reported
from armdigits.model import NeuralNetwork
from armdigits.parameters import load_parameters
from armdigits.resume import Snapshots, fingerprint
from armdigits.timing import ratio
from armdigits.training import Distillation, train

IMAGES, VALIDATION_IMAGES = 55_000, 5_000
EPOCHS = 10
SEED = 1


def noise(count: int) -> Split:
    """Images of noise, which cost as much as digits: uint8 [count, 28, 28]."""
    images = torch.randint(0, 256, (count, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(SEED))
    return Split(images, (torch.arange(count) % 10).to(torch.uint8))


def main() -> None:
    """Time the epochs, then the lock; print the ratios."""
    parameters = load_parameters(paths.PARAMETERS)
    settings = parameters.train.model_copy(update={"epochs": EPOCHS + 1})
    torch.set_num_threads(settings.threads)
    torch.manual_seed(SEED)
    data, validation = noise(IMAGES), noise(VALIDATION_IMAGES)
    with tempfile.TemporaryDirectory(dir=".", prefix=".resume-") as folder:
        snapshots = Snapshots(Path(folder, "train"), fingerprint(Path(__file__)))
        kept = {"without": None, "with": snapshots, "without again": None}
        distillation = Distillation(torch.randn(IMAGES, 10), settings.teacher_weight, settings.temperature)
        fixed = (data, validation, settings, parameters.augmentation, distillation)
        runs = {name: train(NeuralNetwork(), *fixed, each) for name, each in kept.items()}
        times = {name: np.zeros((EPOCHS, 1), np.int64) for name in runs}
        order = list(runs)
        shuffle = random.Random(SEED).shuffle  # noqa: S311 - an order, not a secret
        for turn in itertools.chain([None], range(EPOCHS)):  # the first epoch of each is its warm-up
            shuffle(order)
            for name in order:
                start = time.perf_counter_ns()
                next(runs[name])
                if turn is not None:
                    times[name][turn] = time.perf_counter_ns() - start
        start = time.perf_counter_ns()
        with stage.only_one("benchmark-of-the-lock"):
            lock_us = (time.perf_counter_ns() - start) / 1000
        (paths.LOCKS / "benchmark-of-the-lock").unlink()
    results = {
        "with_over_without": ratio(times["with"], times["without"], SEED),
        "control": ratio(times["without again"], times["without"], SEED),
        "epoch_s": round(float(np.median(times["without"])) / 1e9, 3),
        "lock_us": round(lock_us, 1),
        "epochs": EPOCHS,
        "images": IMAGES,
        "threads": settings.threads,
        "host": {**host.identify(), **host.conditions()},
    }
    print("{cpu}, {cores} cores, load {load}, torch {torch}".format(**results["host"]))
    for name in ("with_over_without", "control"):
        print("{:<18} {ratio:.4f} [{low:.4f}, {high:.4f}]".format(name, **results[name]))
    print(f"an epoch takes {results['epoch_s']} s, the lock {results['lock_us']} us once a run")
    print(json.dumps(results))


if __name__ == "__main__":
    with reported("resume"):
        main()
