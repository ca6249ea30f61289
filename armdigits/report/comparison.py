"""A run beside that of another commit: metrics, learning curves, confusion matrix. Git has the files of both."""

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from armdigits.core import git, paths
from armdigits.core.errors import BadInput

METRICS = (paths.TRAIN_METRICS, paths.EVALUATE_METRICS, paths.QUANTIZE_METRICS, paths.BENCHMARK_METRICS)
Row = tuple[str, str, str, str]  # metric, value of the other commit, value of this run, change


def read_base(base: str, path: Path) -> bytes:
    """A file as it is in the commit `base`.

    Raises:
        BadInput: there is no such commit, or it does not have the file.
    """
    try:
        done = git.run("show", f"{base}:./{path}")
    except FileNotFoundError:
        raise BadInput("git: no such program; a comparison needs it") from None
    if done.returncode:
        reason = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise BadInput(f"{path}: not in {base} ({''.join(reason).removeprefix('fatal: ')})")
    return done.stdout


def metric_rows(base: str) -> list[Row]:
    """A row for each metric whose value differs, in the order of the files."""
    rows: list[Row] = []
    for path in METRICS:
        old, new = (flat(json.loads(content)) for content in (read_base(base, path), path.read_bytes()))
        different = [key for key in dict.fromkeys([*old, *new]) if old.get(key) != new.get(key)]
        rows += [(f"{path.stem}: {key}", *_cells(old.get(key), new.get(key))) for key in different]
    return rows


def flat(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"int8": {"bytes": 1}} as {"int8.bytes": 1}."""
    values: dict[str, Any] = {}
    for key, value in content.items():
        values |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return values


def _cells(old: object, new: object) -> tuple[str, str, str]:
    """Both values, and the difference of two numbers with its sign."""
    change = f"{new - old:+.6g}" if isinstance(old, int | float) and isinstance(new, int | float) else ""
    return _text(old), _text(new), change


def _text(value: object) -> str:
    return "-" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)


def table_of(content: bytes) -> list[dict[str, float]]:
    """The rows of a table of numbers, as `train` writes it."""
    return [{name: float(value) for name, value in row.items()} for row in rows_of(content)]


def rows_of(content: bytes) -> list[dict[str, str]]:
    """The rows of a table with a header."""
    return list(csv.DictReader(io.StringIO(content.decode(errors="replace"))))
