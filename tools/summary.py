"""What a run of CI should tell its readers, in Markdown: results, what changed against a base commit, the host.

    python -m tools.summary origin/main            (make summary BASE=origin/main)

What is deterministic and what a clock said stand in two tables: a change in the first is a change, a change in the
second may be another machine. A part that cannot be made says why; the stages' gates judge the run, not this.
"""

import subprocess
import sys
from collections.abc import Callable

from armdigits import files, paths
from armdigits.errors import Failure, reported
from tools import results

DETERMINISTIC = (paths.TRAIN_METRICS, paths.EVALUATE_METRICS, paths.QUANTIZE_METRICS)


def dvc(*arguments: str) -> str:
    """The Markdown that a DVC command prints, or in its place a line that says why there is none."""
    done = subprocess.run(["dvc", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        return f"Not available: {(done.stderr.strip().splitlines() or ['unknown error'])[-1]}"
    lines = done.stdout.strip().splitlines()
    return "\n".join(lines) if len(lines) > 2 else "No changes."  # a table without rows has two lines


def metrics_diff(base: str, *targets: object) -> str:
    """The table of `dvc metrics diff` for some files."""
    return dvc("metrics", "diff", "--md", "--targets", *map(str, targets), "--", base)


def host() -> str:
    """Where the latencies of this run were measured, as a Markdown table."""
    record = files.read_json(paths.BENCHMARK_METRICS, "benchmark")["host"]
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in record.items())])


def part(title: str, make: Callable[[], str]) -> str:
    """A heading and its content; a missing result is told in its place."""
    try:
        content = make()
    except Failure as failure:
        content = f"Not available: {failure}"
    return f"## {title}\n\n{content.strip()}\n"


def summary(base: str) -> str:
    """The whole text."""
    parts = {
        "Results": results.table,
        f"Metrics against `{base}`": lambda: metrics_diff(base, *DETERMINISTIC),
        f"Timings against `{base}`": lambda: metrics_diff(base, paths.BENCHMARK_METRICS),
        f"Parameters against `{base}`": lambda: dvc("params", "diff", "--md", "--", base),
        "Host": host,
    }
    return "\n".join(part(title, make) for title, make in parts.items())


if __name__ == "__main__":
    with reported("summary"):
        print(summary(sys.argv[1] if sys.argv[1:] else "main"))
