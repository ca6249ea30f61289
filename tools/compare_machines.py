"""Compare the results of two machines: the same accuracy, up to what another instruction set may do.

    python -m tools.compare_machines results-X64 results-ARM64

Each argument is a folder that holds the `metrics/` of a run. The instruction set decides the last bits of a sum, and
training makes more of them: the weights differ, the accuracies hardly. Fails when one differs by more than
`TOLERANCE`. Times are shown, never judged. It needs nothing but Python.
"""

import sys
from collections.abc import Callable
from pathlib import Path

from armdigits import files, paths
from armdigits.errors import BadInput, GateFailed, reported

TOLERANCE = 0.005  # of a share: 50 of MNIST's 10,000 test images
Machine = dict[str, dict]  # the metrics by stage

JUDGED: dict[str, Callable[[Machine], float]] = {
    "accuracy, eager fp32": lambda machine: machine["evaluate"]["accuracy"],
    "accuracy, fp32 program": lambda machine: machine["quantize"]["fp32"]["accuracy"],
    "accuracy, int8 program": lambda machine: machine["quantize"]["int8"]["accuracy"],
}
SHOWN: dict[str, Callable[[Machine], object]] = {
    "CPU": lambda machine: machine["benchmark"]["host"]["cpu"],
    "features": lambda machine: machine["benchmark"]["host"]["features"],
    "p50 of int8, batch 1, µs": lambda machine: machine["benchmark"]["batch_1"]["int8"]["p50_us"],
    "int8 over fp32, batch 1": lambda machine: machine["benchmark"]["batch_1"]["int8_over_fp32"]["ratio"],
}


def read(folder: Path) -> Machine:
    """The metrics of the run in `folder`."""
    return {
        stage: files.read_json(folder / path, stage)
        for stage, path in (
            ("evaluate", paths.EVALUATE_METRICS),
            ("quantize", paths.QUANTIZE_METRICS),
            ("benchmark", paths.BENCHMARK_METRICS),
        )
    }


def table(machines: dict[str, Machine]) -> str:
    """What is compared, as a Markdown table with a column a machine."""
    lines = [["", *machines]]
    for name, value in (JUDGED | SHOWN).items():
        cells = [value(machine) for machine in machines.values()]
        lines.append([name, *(f"{cell:.4f}" if isinstance(cell, float) else str(cell) for cell in cells)])
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def judge(machines: dict[str, Machine]) -> None:
    """Raises GateFailed with a line for each accuracy that differs by more than the tolerance."""
    names = {machine["evaluate"]["dataset"] for machine in machines.values()}
    if len(names) > 1:
        raise BadInput(f"the machines ran on different data sets: {', '.join(sorted(names))}")
    failures = []
    for name, value in JUDGED.items():
        values = [value(machine) for machine in machines.values()]
        if max(values) - min(values) > TOLERANCE:
            failures.append(f"{name}: {min(values):.4f} and {max(values):.4f} differ by more than {TOLERANCE}")
    if failures:
        raise GateFailed(*failures)


def main(arguments: list[str]) -> None:
    """Show the table, then judge."""
    if len(arguments) != 2:
        raise BadInput(f"expected two folders with the metrics of a run, got {len(arguments)}")
    machines = {Path(argument).name: read(Path(argument)) for argument in arguments}
    print(f"{table(machines)}\n\nTolerance of the accuracies: {TOLERANCE}.", flush=True)
    judge(machines)


if __name__ == "__main__":
    with reported("compare_machines"):
        main(sys.argv[1:])
