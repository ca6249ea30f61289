"""Print results, changes against another commit, and the host, in Markdown: the summary of a CI job.

Deterministic metrics and measured times are in separate tables: a change in the first is a change of the results, a
change in the second may be due to another machine. If a part is not available, the reason is printed in its place.

example:
  armdigits summary origin/main >> "$GITHUB_STEP_SUMMARY"
"""

import argparse
from collections.abc import Callable
from pathlib import Path

from armdigits.cli import dvc
from armdigits.core import paths, records
from armdigits.core.errors import Failure
from armdigits.report import results
from armdigits.report.tables import markdown

DETERMINISTIC = (paths.TRAIN_METRICS, paths.EVALUATE_METRICS, paths.QUANTIZE_METRICS, paths.EXPORT_METRICS)
TABLE_HEAD = 2  # lines: DVC prints the header and its rule even when nothing has changed


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("base", nargs="?", default="main", metavar="COMMIT", help="default: %(default)s")


def run(options: argparse.Namespace) -> None:
    """Print the parts."""
    base = options.base
    parts: dict[str, Callable[[], str]] = {
        "Results": results.table,
        f"Metrics against `{base}`": lambda: metrics_diff(base, *DETERMINISTIC),
        f"Timings against `{base}`": lambda: metrics_diff(base, paths.BENCHMARK_METRICS),
        f"Parameters against `{base}`": lambda: diff("params", "diff", "--md", "--", base),
        "Host": host,
    }
    print("\n".join(part(title, make) for title, make in parts.items()))


def part(title: str, make: Callable[[], str]) -> str:
    """A heading and its content, or the reason why there is none."""
    try:
        content = make()
    except Failure as failure:
        content = f"Not available: {failure}"
    return f"## {title}\n\n{content.strip()}\n"


def metrics_diff(base: str, *targets: Path) -> str:
    """The table of `dvc metrics diff` for some metrics files."""
    return diff("metrics", "diff", "--md", "--targets", *map(str, targets), "--", base)


def diff(*arguments: str) -> str:
    """The Markdown table of a DVC command."""
    table = dvc.ask(*arguments).strip()
    return table if len(table.splitlines()) > TABLE_HEAD else "No changes."


def host() -> str:
    """The machine on which the latencies were measured, as a Markdown table."""
    record = records.read(paths.BENCHMARK_DETAILS, records.BenchmarkDetails, "benchmark").host
    return markdown(["", ""], [(name, str(value)) for name, value in record], left=2)
