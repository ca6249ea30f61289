"""Compare the results of two machines: the accuracies must agree up to what another instruction set may change.

The instruction set decides how sums are rounded, and training amplifies the difference: the weights differ, the
accuracies hardly. The command fails when one differs by more than the tolerance, 0.005. Latencies are shown, but not
compared. Each FOLDER contains the folder `metrics/` of a run. This command needs only Python, pydantic and pyyaml.

example:
  python3 -m armdigits compare results-X64 results-ARM64
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from armdigits.core import paths, records
from armdigits.core.errors import BadInput, GateFailed
from armdigits.report.tables import markdown

TOLERANCE = 0.005  # a share: 50 of MNIST's 10,000 test images


class Metrics(NamedTuple):
    """The metrics of a machine."""

    evaluate: records.EvaluateMetrics
    quantize: records.QuantizeMetrics
    benchmark: records.BenchmarkDetails


JUDGED: dict[str, Callable[[Metrics], float]] = {
    "accuracy, eager fp32": lambda metrics: metrics.evaluate.accuracy,
    "accuracy, fp32 program": lambda metrics: metrics.quantize.fp32.accuracy,
    "accuracy, int8 program": lambda metrics: metrics.quantize.int8.accuracy,
}
NOT_JUDGED: dict[str, Callable[[Metrics], object]] = {
    "CPU": lambda metrics: metrics.benchmark.host.cpu,
    "features": lambda metrics: metrics.benchmark.host.features,
    "p50 of int8, batch 1, µs": lambda metrics: metrics.benchmark.batch_1.int8.p50_us,
    "int8 over fp32, batch 1": lambda metrics: metrics.benchmark.batch_1.int8_over_fp32.ratio,
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("folders", nargs=2, type=Path, metavar="FOLDER", help="a folder that holds metrics/ of a run")


def run(options: argparse.Namespace) -> None:
    """Print the table, then judge."""
    machines = {str(folder): read(folder) for folder in options.folders}
    print(f"{table(machines)}\n\nTolerance of the accuracies: {TOLERANCE}.", flush=True)
    judge(machines)


def read(folder: Path) -> Metrics:
    """The metrics of the run in `folder`."""
    return Metrics(
        records.read(folder / paths.EVALUATE_METRICS, records.EvaluateMetrics, "evaluate"),
        records.read(folder / paths.QUANTIZE_METRICS, records.QuantizeMetrics, "quantize"),
        records.read(folder / paths.BENCHMARK_DETAILS, records.BenchmarkDetails, "benchmark"),
    )


def table(machines: dict[str, Metrics]) -> str:
    """The figures in Markdown, a column for each machine."""
    rows = []
    for name, value in (JUDGED | NOT_JUDGED).items():
        cells = [value(metrics) for metrics in machines.values()]
        rows.append([name, *(f"{cell:.4f}" if isinstance(cell, float) else str(cell) for cell in cells)])
    return markdown(["", *machines], rows)


def judge(machines: dict[str, Metrics]) -> None:
    """Check the accuracies.

    Raises:
        GateFailed: some differ by more than the tolerance; a line for each.
        BadInput: the machines ran on different data sets.
    """
    datasets = {metrics.benchmark.dataset for metrics in machines.values()}
    if len(datasets) > 1:
        raise BadInput(f"the machines ran on different data sets: {', '.join(sorted(datasets))[:200]}")
    failures = []
    for name, value in JUDGED.items():
        values = [value(metrics) for metrics in machines.values()]
        if max(values) - min(values) > TOLERANCE:
            failures.append(f"{name}: {min(values):.4f} and {max(values):.4f} differ by more than {TOLERANCE}")
    if failures:
        raise GateFailed(*failures)
