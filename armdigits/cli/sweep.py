"""Print a table of experiments: a row for each setting, mean and standard deviation over its seeds.

Without a FILE: the experiments of this commit that DVC has on this machine. With files: those of other machines, as
`armdigits sweep --save` wrote them there. Experiments that differ in their seeds alone are one setting; the columns
before n are the parameters in which the settings differ. "-" stands for a stage that no experiment of the row ran.
Experiments without a result are counted below the table.
With files this command needs only Python, pydantic and pyyaml, without files DVC as well.

examples:
  armdigits sweep --save experiments.json
  python3 -m armdigits sweep one/experiments.json two/experiments.json
"""

import argparse
import json
import statistics
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from armdigits.cli.exp_show import shown
from armdigits.core import files, paths, records
from armdigits.core.errors import BadInput, printable
from armdigits.report.tables import markdown

MAX_BYTES = 2**26  # of a file; DVC writes some 50 kB for each experiment
# The columns in percent: the metrics file and the key in it.
ACCURACIES = {
    "accuracy %": (str(paths.EVALUATE_METRICS), "accuracy"),
    "int8 accuracy %": (str(paths.QUANTIZE_METRICS), "int8.accuracy"),
}
Values = dict[str, Any]  # by key, as train.seed
Run = tuple[Values, dict[str, Values]]  # of one experiment: the parameters, and the metrics by file


class Shown(BaseModel):
    """A part of what DVC shows; what is not used here is ignored."""

    model_config = ConfigDict(strict=True, frozen=True, allow_inf_nan=False)


class File(Shown):
    """A file of parameters or metrics; without content where the stage that writes it did not run."""

    data: records.Metrics = records.Metrics({})


class Content(Shown):
    """The files of an experiment, by path."""

    params: dict[str, File]
    metrics: dict[str, File]


class Revision(Shown):
    """The result of an experiment."""

    data: Content | None


class Executor(Shown):
    """Where an experiment is: queued, running, success, failed."""

    state: str


class Experiment(Shown):
    """An experiment."""

    executor: Executor | None
    revs: Annotated[list[Revision], Field(min_length=1)]


class Commit(Shown):
    """A commit with its experiments."""

    experiments: list[Experiment] | None


COMMITS = TypeAdapter(list[Commit])


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    either = parser.add_mutually_exclusive_group()
    either.add_argument("files", nargs="*", default=[], metavar="FILE", help="what --save wrote on a machine")
    either.add_argument("--save", type=Path, metavar="FILE", help="write this machine's experiments, print no table")


def run(options: argparse.Namespace) -> None:
    """Print the table, and how many experiments have no result; or save the experiments."""
    if options.save:
        files.write_bytes(options.save, shown().encode())
        return
    texts = {path: load(path) for path in options.files} or {"dvc exp show": shown()}
    runs: list[Run] = []
    without: Counter[str] = Counter()
    for source, text in texts.items():
        some, missing = read(text, source)
        runs += some
        without += missing
    if runs:
        print(f"{table(runs)}\n\nMean ± standard deviation over n seeds, test images.")
    if without:
        states = ", ".join(f"{count} {state}" for state, count in sorted(without.items()))
        print(printable(f"Without a result: {states} (dvc queue status names them)."))
    if not runs and not without:
        raise BadInput("this commit has no experiments; queue some: dvc exp run --queue -S train.seed=1,2,3")


def load(path: str) -> str:
    """The text of a file."""
    try:
        return files.read_limited(Path(path), MAX_BYTES).decode()
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise BadInput(f"{path}: not a text file") from None


def read(text: str, source: str) -> tuple[list[Run], Counter[str]]:
    """Parse what `dvc exp show --json` printed.

    Returns:
        The experiments with a result, and the number of those without, by state: queued, running, failed.

    Raises:
        BadInput: the text is something else; `source` appears in the message.
    """
    runs: list[Run] = []
    without: Counter[str] = Counter()
    try:
        commits = COMMITS.validate_json(text)
    except ValidationError as error:
        raise BadInput(f"{source}: not the output of dvc exp show --json ({records.problem(error)})") from None
    for experiment in (each for commit in commits for each in commit.experiments or []):
        state = experiment.executor.state if experiment.executor else "success"
        content = experiment.revs[0].data
        if state != "success" or not content:
            without[state] += 1
            continue
        parameters = content.params.get(str(paths.PARAMETERS), File()).data.flat()
        runs.append((parameters, {path: file.data.flat() for path, file in content.metrics.items()}))
    return runs, without


def table(runs: list[Run]) -> str:
    """The table in Markdown, the best accuracy first."""
    settings: dict[str, Values] = {}
    repeated: dict[
        str, dict[str, dict[str, Values]]
    ] = {}  # by setting and seeds: an experiment that ran twice counts once
    for parameters, metrics in runs:
        seeds = {key: value for key, value in parameters.items() if key.endswith(".seed")}
        setting = {key: value for key, value in parameters.items() if key not in seeds}
        name = json.dumps(setting)
        settings[name] = setting
        repeated.setdefault(name, {})[json.dumps(seeds)] = metrics
    keys = dict.fromkeys(key for setting in settings.values() for key in setting)
    varied = [key for key in keys if len({str(setting.get(key, "-")) for setting in settings.values()}) > 1]
    rows = []
    for name, setting in settings.items():
        accuracies = [shares(repeated[name].values(), path, key) for path, key in ACCURACIES.values()]
        cells = [*(str(setting.get(key, "-")) for key in varied), str(len(repeated[name])), *map(spread, accuracies)]
        rows.append((mean(accuracies[0]), cells))
    rows.sort(key=lambda row: row[0], reverse=True)
    return markdown([*varied, "n", *ACCURACIES], [cells for _, cells in rows], left=0)


def shares(runs: Iterable[dict[str, Values]], path: str, key: str) -> list[float]:
    """The values of a metric, of those experiments that have one."""
    values = [metrics.get(path, {}).get(key) for metrics in runs]
    return [float(value) for value in values if isinstance(value, float | int)]


def mean(values: list[float]) -> float:
    """The mean; 0 of an empty list."""
    return statistics.mean(values or [0.0])


def spread(values: list[float]) -> str:
    """Mean and standard deviation in percent."""
    if not values:
        return "-"
    deviation = f" ± {100 * statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{100 * mean(values):.2f}{deviation}"
