"""The same checkpoint in other runtimes, side by side in one process.

    python -m benchmarks.runtimes       (make peers, which installs them; run `make repro` first)

For each batch size every runtime computes the same test images on one thread, in interleaved blocks
(armdigits/measure/timing.py); its accuracy is shown as well, because a runtime can be fast by computing less. A
runtime that does not run is listed with the reason. Prints a table for each batch size and, last, one line of JSON.

`x limit`: the time as a multiple of what the model's multiply-adds alone take, at the best rate that one thread
reached in products of square float32 matrices (torch.mm). Calls and weights that must be read cost more: at batch 1
no runtime comes near it. For int8 there is a limit only where `torch._int_mm` is at least as fast as torch.mm. On
x86 without VNNI it is many times slower, and no other kernel in torch shows what int8 could reach.
"""

import json
import logging
import warnings
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import torch
from torch import Tensor

from armdigits.core import paths
from armdigits.core.errors import BadInput, exit_on_failure
from armdigits.core.parameters import load_parameters
from armdigits.data.dataset import read_provenance, read_split
from armdigits.measure import host
from armdigits.measure.timing import ratio, summarise, time_interleaved
from armdigits.models.checkpoint import read_checkpoint
from armdigits.models.mlp import NeuralNetwork
from armdigits.program.runtime import use_threads
from armdigits.report.tables import markdown
from benchmarks.adapters import OURS, RUNTIMES, Call, Query, Task
from benchmarks.limits import best_rates, describe, lacks_vnni, limits

BATCHES = (1, 32, 256)
ROUNDS = 96
CALLS = {1: 128, 32: 16, 256: 8}  # per block
CALIBRATION = 1024  # training images
SEED = 1
PACKAGES = ("onnxruntime", "openvino")
CONTROL = "control"
HEADER = ("runtime", "p50 us", "p90 us", "images/s", "ours / it [95 %]", "x limit", "accuracy")
SATURATES = "* without VNNI, int8 products are added in pairs of 16 bits, which saturate: accuracy may be lower here"


def queries(pixels: Tensor, batch: int) -> Iterator[Query]:
    """The images float32 [N, 1, 28, 28] in complete batches."""
    return (Query(part, part.numpy()) for part in pixels.split(batch) if len(part) == batch)


def ready(task: Task) -> tuple[dict[str, Call], dict[str, str]]:
    """The runtimes that have answered a first query of this batch size, and for the others the reason."""
    query = next(queries(task.calibration, task.batch))
    calls, missing = {}, {}
    for name, runtime in RUNTIMES.items():
        try:
            call = runtime.make(task)
            call(query)
            calls[name] = call
        except Exception as error:  # whatever stops a runtime is the reason that is shown
            missing[name] = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
    return calls, missing


def accuracy(call: Call, pixels: Tensor, targets: Tensor) -> float:
    """Share of the images that a runtime classifies correctly, one image per call."""
    predicted = [int(np.asarray(call(query)).argmax()) for query in queries(pixels, 1)]
    return float(np.mean(np.array(predicted) == targets.numpy()))


def measure(task: Task, calls: dict[str, Call], pixels: Tensor, limit: dict[str, float]) -> dict[str, dict[str, Any]]:
    """Time the runtimes at one batch size; the control is our int8 program once more."""
    work = task.batch * sum(weight.numel() for weight in task.model.parameters() if weight.dim() == 2)
    timed = {**calls, CONTROL: calls[OURS]}
    times = time_interleaved(timed, list(queries(pixels, task.batch)), ROUNDS, CALLS[task.batch], SEED)
    figures = {}
    for name in timed:
        rate = limit.get(RUNTIMES[OURS if name == CONTROL else name].kind)
        figures[name] = {
            **summarise(times[name], task.batch),
            "ours_over_it": ratio(times[OURS], times[name], SEED),
            "times_the_limit": rate and round(float(np.median(times[name])) / 1e9 / (work / rate), 1),
        }
    return figures


def table(figures: dict[str, dict[str, Any]], scores: dict[str, float], saturates: bool) -> str:
    """The figures of one batch size, the fastest first.

    Args:
        saturates: whether to mark the runtimes whose int8 saturates on a CPU without VNNI.
    """
    rows = []
    for name, values in sorted(figures.items(), key=lambda item: item[1]["p50_us"]):
        mark = "*" if saturates and name != CONTROL and RUNTIMES[name].saturates else ""
        rows.append(
            [
                name + mark,
                f"{values['p50_us']:.2f}",
                f"{values['p90_us']:.2f}",
                f"{values['images_per_s']:,.0f}",
                "{ratio:.3f} [{low:.3f}, {high:.3f}]".format(**values["ours_over_it"]),
                f"{values['times_the_limit']:.1f}" if values["times_the_limit"] else "-",
                f"{scores[name]:.2%}" if name in scores else "",
            ]
        )
    note = f"\n\n{SATURATES}" if any(row[0].endswith("*") for row in rows) else ""
    return markdown(HEADER, rows, padded=True) + note


def installed(package: str) -> str:
    """The version of a package, or that it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def main() -> None:
    """Measure at each batch size, print."""
    warnings.simplefilter("ignore")  # several of the runtimes are deprecated, and say so at each step
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    use_threads(1)
    largest = load_parameters(paths.PARAMETERS).quantize.max_batch
    if largest < max(BATCHES):
        raise BadInput(f"params.yaml: quantize.max_batch: expected at least {max(BATCHES)} here, got {largest}")
    model, _ = read_checkpoint(paths.MODEL)
    if not isinstance(model, NeuralNetwork):
        raise BadInput(
            f"{paths.MODEL}: the other runtimes have the network mlp only; run: dvc exp run -S model.name=mlp"
        )
    calibration = read_split(paths.TRAIN_DATA).pixels()[:CALIBRATION]
    test = read_split(paths.TEST_DATA)
    pixels = test.pixels()
    rates = best_rates()
    machine = {**host.identify(), **host.conditions(), **{name: installed(name) for name in PACKAGES}, "threads": 1}
    print(" ".join(f"{key}={value}" for key, value in machine.items()))
    print(describe(rates))
    results: dict[str, Any] = {"dataset": read_provenance()["name"], "host": machine, "limit": limits(rates)}
    scores: dict[str, float] = {}
    for batch in BATCHES:
        task = Task(model, calibration, batch)
        with torch.inference_mode():
            calls, missing = ready(task)
            figures = measure(task, calls, pixels, limits(rates))
            if batch == 1:
                scores = {name: accuracy(call, pixels, test.targets()) for name, call in calls.items()}
        print(f"\nbatch {batch}\n\n{table(figures, scores, lacks_vnni(machine))}", flush=True)
        print("".join(f"\n{name} did not run: {reason}" for name, reason in missing.items()), flush=True)
        results[f"batch_{batch}"] = {**figures, "missing": missing}
    print(json.dumps({**results, "accuracy": scores}))


if __name__ == "__main__":
    with exit_on_failure("runtimes"):
        main()
