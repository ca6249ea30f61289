"""The same checkpoint in other runtimes, each beside our int8 program and its C source.

    python -m benchmarks.runtimes       (make peers, which installs them; run `make repro` first)

The runtimes of each package run in a process of their own, one process after the other, because some packages disturb
each other: they bring the same libraries, or end the process when they fail. In each process our int8 program and the
C source take turns with them in interleaved blocks (armdigits/measure/timing.py): for each batch size all compute the
same test images on one thread. The ratios are taken within a process, so that they can be compared across processes;
microseconds cannot, where other work slows the machine down for a while.

The accuracy is that of the whole test set at that batch size, because a runtime can be fast by computing less. A
runtime that does not run is listed with the reason. Prints a table for each batch size, the table of docs/benchmarks.md
and, last, one line of JSON.

`x limit`: the time as a multiple of what the model's multiply-adds alone take, at the best rate of one thread with all
operands in registers (benchmarks/limits.c). Calls and weights that must be read cost more: at batch 1 no runtime comes
near it. The C source skips products with 0, so it could be below 1.
"""

import json
import logging
import os
import warnings
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from importlib.metadata import PackageNotFoundError, version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from armdigits.core import paths
from armdigits.core.errors import BadInput, exit_on_failure
from armdigits.core.parameters import load_parameters
from armdigits.csource.binding import read_c_program
from armdigits.data.dataset import read_provenance, read_split
from armdigits.measure import host
from armdigits.measure.timing import ratio, summarise, time_interleaved
from armdigits.models.checkpoint import read_checkpoint
from armdigits.models.mlp import NeuralNetwork
from armdigits.program.runtime import use_threads
from armdigits.report.tables import markdown
from benchmarks import limits
from benchmarks.adapters import OURS, OURS_C, REFERENCES, RUNTIMES, Call, Query, Task
from benchmarks.limits import Limits, lacks_vnni

BATCHES = (1, 32, 256)
ROUNDS = 96
CALLS = {1: 128, 32: 16, 256: 8}  # per block
CALIBRATION = 1024  # training images
SEED = 1
CONTROL = "control"  # our int8 program once more
HEADER = ("runtime", "p50 us", "images/s", "int8 / it [95 %]", "C / it [95 %]", "x limit", "accuracy")
SATURATES = "* without VNNI, int8 products are added in pairs of 16 bits, which saturate: accuracy may be lower here"

Figures = dict[str, Any]  # of one runtime at one batch size


def queries(pixels: Tensor, batch: int) -> Iterator[Query]:
    """The images float32 [N, 1, 28, 28] in complete batches."""
    return (Query(part, part.numpy()) for part in pixels.split(batch) if len(part) == batch)


def ready(task: Task, names: list[str]) -> tuple[dict[str, Call], dict[str, str]]:
    """The runtimes that have answered a first query of this batch size, and for the others the reason."""
    query = next(queries(task.calibration, task.batch))
    calls, missing = {}, {}
    for name in names:
        try:
            call = RUNTIMES[name].make(task)
            call(query)
            calls[name] = call
        except Exception as error:  # whatever stops a runtime is the reason that is shown
            missing[name] = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
    return calls, missing


def accuracy(call: Call, pixels: Tensor, targets: Tensor, batch: int) -> float:
    """Share of the images that a runtime classifies correctly, `batch` images per call; the last call is filled up."""
    missing = -len(pixels) % batch
    filled = torch.cat([pixels, pixels.new_zeros(missing, *pixels.shape[1:])])
    predicted = [np.array(call(query)).argmax(1) for query in queries(filled, batch)]
    return float(np.mean(np.concatenate(predicted)[: len(pixels)] == targets.numpy()))


def measure(task: Task, calls: dict[str, Call], pixels: Tensor, limit: Limits) -> dict[str, Figures]:
    """Time the runtimes at one batch size, and the control."""
    work = task.batch * sum(weight.numel() for weight in task.model.parameters() if weight.dim() == 2)
    timed = {**calls, CONTROL: calls[OURS]}
    times = time_interleaved(timed, list(queries(pixels, task.batch)), ROUNDS, CALLS[task.batch], SEED)
    figures = {}
    for name in timed:
        seconds = float(np.median(times[name])) / 1e9
        rate = limit.rate(RUNTIMES[OURS if name == CONTROL else name].kind)
        figures[name] = {
            **summarise(times[name], task.batch),
            "int8_over_it": ratio(times[OURS], times[name], SEED),
            "c_over_it": ratio(times[OURS_C], times[name], SEED),
            "times_the_limit": round(seconds / (work / rate), 1),
        }
    return figures


def measure_package(package: str, batches: tuple[int, ...], limit: Limits) -> dict[int, dict[str, Any]]:
    """The runtimes of a package and the references, at each batch size.

    Returns:
        For each batch size `figures` by name, with the control's, and `missing`: the reasons by name.
    """
    warnings.simplefilter("ignore")  # several of the runtimes are deprecated, and say so at each step
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    use_threads(1)
    names = [name for name, runtime in RUNTIMES.items() if runtime.package == package or name in REFERENCES]
    model = perceptron()
    calibration = read_split(paths.TRAIN_DATA).pixels()[:CALIBRATION]
    test = read_split(paths.TEST_DATA)
    pixels, targets = test.pixels(), test.targets()
    outcome = {}
    with torch.inference_mode():
        for batch in batches:
            task = Task(model, calibration, batch)
            calls, missing = ready(task, names)
            figures = measure(task, calls, pixels, limit)
            for name, call in calls.items():
                figures[name]["accuracy"] = accuracy(call, pixels, targets, batch)
            outcome[batch] = {"figures": figures, "missing": missing}
    return outcome


def in_own_process(package: str, limit: Limits) -> dict[int, dict[str, Any]]:
    """`measure_package` in a new process. One that dies is the reason why none of the package's runtimes ran."""
    with ProcessPoolExecutor(1, get_context("spawn"), _mute) as process:
        try:
            return process.submit(measure_package, package, BATCHES, limit).result()
        except BrokenProcessPool:
            names = [name for name, runtime in RUNTIMES.items() if runtime.package == package]
            return {batch: {"figures": {}, "missing": dict.fromkeys(names, "its process died")} for batch in BATCHES}


def _mute() -> None:
    """Send what the runtimes' C++ code writes to the standard outputs to nowhere."""
    with Path(os.devnull).open("wb") as sink:
        os.dup2(sink.fileno(), 1)
        os.dup2(sink.fileno(), 2)


def merged(outcomes: dict[str, dict[int, dict[str, Any]]], batch: int) -> dict[str, Any]:
    """The outcome of all packages at one batch size. The references' figures are those of the first process.

    Returns:
        `figures` and `missing` by name, and `control` by package.
    """
    figures: dict[str, Figures] = {}
    missing: dict[str, str] = {}
    control = {}
    for package, outcome in outcomes.items():
        part = outcome[batch]
        for name, values in part["figures"].items():
            if name == CONTROL:
                control[package] = values["int8_over_it"]
            else:
                figures.setdefault(name, values)
        missing |= part["missing"]
    return {"figures": figures, "missing": missing, CONTROL: control}


def table(figures: dict[str, Figures], saturates: bool) -> str:
    """The figures of one batch size, the fastest first, by the ratio to our int8 program.

    Args:
        figures: by the name of the runtime.
        saturates: whether to mark the runtimes whose int8 saturates on a CPU without VNNI.
    """
    rows = []
    for name, values in sorted(figures.items(), key=lambda item: -item[1]["int8_over_it"]["ratio"]):
        rows.append(
            [
                name + ("*" if saturates and RUNTIMES[name].saturates else ""),
                f"{values['p50_us']:.2f}",
                f"{values['images_per_s']:,.0f}",
                *("{ratio:.3f} [{low:.3f}, {high:.3f}]".format(**values[key]) for key in ("int8_over_it", "c_over_it")),
                f"{values['times_the_limit']:.1f}",
                f"{values['accuracy']:.2%}",
            ]
        )
    note = f"\n\n{SATURATES}" if any(row[0].endswith("*") for row in rows) else ""
    return markdown(HEADER, rows, padded=True) + note


def overview(results: dict[str, dict[str, Any]], saturates: bool) -> str:
    """The table of docs/benchmarks.md: for each batch size microseconds, and in brackets the ratios to it.

    Args:
        results: the outcomes by the name of the batch size; the first one gives the order and the accuracy.
        saturates: as for `table`.
    """
    first = next(iter(results.values()))["figures"]
    rows = []
    for name, values in sorted(first.items(), key=lambda item: -item[1]["int8_over_it"]["ratio"]):
        row = [name + (r"\*" if saturates and RUNTIMES[name].saturates else ""), f"{values['accuracy'] * 100:.2f} %"]
        for outcome in results.values():
            cell = "-"
            if found := outcome["figures"].get(name):
                ratios = ", ".join(f"{found[key]['ratio']:.2f}" for key in ("int8_over_it", "c_over_it"))
                cell = f"{found['p50_us']:.{1 if found['p50_us'] < 100 else 0}f} ({ratios})"
            row.append(cell)
        rows.append(row)
    return markdown(("runtime", "accuracy", *(key.replace("_", " ") for key in results)), rows)


def remarks(outcome: dict[str, Any]) -> list[str]:
    """What else is to be said of a batch size: noisy processes, and what did not run."""
    lines = []
    for package, values in outcome[CONTROL].items():
        if not values["low"] <= 1 <= values["high"]:
            interval = "{ratio:.3f} [{low:.3f}, {high:.3f}]".format(**values)
            lines.append(f"NOISY beside {package}: our int8 program over itself is {interval}")
    return lines + [f"{name} did not run: {reason}" for name, reason in outcome["missing"].items()]


def installed(package: str) -> str:
    """The version of a package, or that it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def perceptron() -> NeuralNetwork:
    """The model of the last run.

    Raises:
        BadInput: it is another network, of which the other runtimes have no version.
    """
    model, _ = read_checkpoint(paths.MODEL)
    if not isinstance(model, NeuralNetwork):
        raise BadInput(
            f"{paths.MODEL}: the other runtimes have the network mlp only; run: dvc exp run -S model.name=mlp"
        )
    return model


def main() -> None:
    """Measure package by package, then print each batch size."""
    largest = load_parameters(paths.PARAMETERS).quantize.max_batch
    if largest < max(BATCHES):
        raise BadInput(f"params.yaml: quantize.max_batch: expected at least {max(BATCHES)} here, got {largest}")
    perceptron()  # refuses another network before anything is measured
    read_c_program()  # compiles it, so that no process has to
    packages = list(dict.fromkeys(runtime.package for runtime in RUNTIMES.values()))
    versions = {package: installed(package) for package in packages}
    machine = {**host.identify(), **host.conditions(), **versions, "threads": 1}
    limit = limits.measure()
    print(" ".join(f"{key}={value}" for key, value in machine.items()))
    print(limit, flush=True)
    progress = tqdm(packages, desc="packages", disable=None, leave=False)
    outcomes = {package: in_own_process(package, limit) for package in progress}
    results = {f"batch_{batch}": merged(outcomes, batch) for batch in BATCHES}
    for batch in BATCHES:
        outcome = results[f"batch_{batch}"]
        print(f"\nbatch {batch}\n\n{table(outcome['figures'], lacks_vnni(machine))}")
        print("".join(f"\n{line}" for line in remarks(outcome)))
    print("\noverview: us per call (time of our int8 program / it, of our C program / it)\n")
    print(overview(results, lacks_vnni(machine)))
    summary = {"dataset": read_provenance().name, "host": machine, "limit": vars(limit)}
    print(json.dumps({**summary, **results}))


if __name__ == "__main__":
    with exit_on_failure("runtimes"):
        main()
