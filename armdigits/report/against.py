"""A run against that of another commit: metrics, learning curves, confusion matrix. Git has the files of both."""

from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from armdigits.core import git, paths, records
from armdigits.core.errors import BadInput

STAGES = {
    paths.TRAIN_METRICS: "train",
    paths.EVALUATE_METRICS: "evaluate",
    paths.QUANTIZE_METRICS: "quantize",
    paths.EXPORT_METRICS: "export",
    paths.BENCHMARK_METRICS: "benchmark",
}
Content = TypeVar("Content", bound=records.Record)
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
    for path, stage in STAGES.items():
        old, new = _base_metrics(base, path), records.read(path, records.Metrics, stage).flat()
        different = [key for key in dict.fromkeys([*old, *new]) if old.get(key) != new.get(key)]
        rows += [(f"{path.stem}: {key}", *_cells(old.get(key), new.get(key))) for key in different]
    return rows


def _base_metrics(base: str, path: Path) -> dict[str, object]:
    try:
        return records.Metrics.model_validate_json(read_base(base, path)).flat()
    except ValidationError as error:
        raise BadInput(f"{path} in {base}: {records.problem(error)}") from None


def read_base_table(base: str, path: Path, model: type[Content]) -> list[Content]:
    """A table as it is in the commit `base`.

    Raises:
        BadInput: as `read_base`, or the table is another one.
    """
    try:
        return records.parse_table(read_base(base, path), model)
    except ValueError as error:
        raise BadInput(f"{path} in {base}: {error}") from None


def _cells(old: object, new: object) -> tuple[str, str, str]:
    """Both values, and the difference of two numbers with its sign."""
    change = f"{new - old:+.6g}" if isinstance(old, int | float) and isinstance(new, int | float) else ""
    return _text(old), _text(new), change


def _text(value: object) -> str:
    return "-" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
