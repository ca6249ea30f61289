"""Print a table of experiments: a row for each setting, mean and standard deviation over its seeds.

Without a FILE: the experiments of this commit that DVC has on this machine. With files: those of other machines, as
`armdigits experiments` wrote them there. Experiments that differ in their seeds alone are one setting; the columns
before n are the parameters in which the settings differ. "-" stands for a stage that no experiment of the row ran.
Experiments without a result are counted below the table.
With files this command needs only Python, without files DVC as well.

example:
  python3 -m armdigits sweep one/experiments.json two/experiments.json
"""

import argparse
import json
import statistics
from collections import Counter
from pathlib import Path
from typing import Any

from armdigits.cli.experiments import Parameters, flat, shown
from armdigits.core import paths
from armdigits.core.errors import BadInput
from armdigits.report.tables import markdown

# The columns in percent: the metrics file and the keys in it.
ACCURACIES = {
    "accuracy %": (str(paths.EVALUATE_METRICS), "accuracy"),
    "int8 accuracy %": (str(paths.QUANTIZE_METRICS), "int8", "accuracy"),
}
Metrics = dict[str, Any]  # the content of the metrics files, by path
Run = tuple[Parameters, Metrics]  # of one experiment


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("files", nargs="*", metavar="FILE", help="what `armdigits experiments` wrote on a machine")


def run(options: argparse.Namespace) -> None:
    """Print the table, and how many experiments have no result."""
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
        print(f"Without a result: {states} (dvc queue status names them).")
    if not runs and not without:
        raise BadInput("this commit has no experiments; queue some: dvc exp run --queue -S train.seed=1,2,3")


def load(path: str) -> str:
    """The text of a file."""
    try:
        return Path(path).read_text("utf-8")
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
        for commit in json.loads(text):
            for experiment in commit["experiments"] or []:
                state = (experiment["executor"] or {}).get("state", "success")
                content = experiment["revs"][0]["data"]
                if state != "success" or not content:
                    without[state] += 1
                    continue
                parameters = flat(content["params"][str(paths.PARAMETERS)]["data"])
                metrics = {path: each.get("data", {}) for path, each in content["metrics"].items()}
                runs.append((parameters, metrics))
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise BadInput(f"{source}: not the output of dvc exp show --json ({error!r})") from None
    return runs, without


def table(runs: list[Run]) -> str:
    """The table in Markdown, the best accuracy first."""
    settings: dict[str, Parameters] = {}
    repeated: dict[str, dict[str, Metrics]] = {}  # by setting and seeds: an experiment that ran twice counts once
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
        accuracies = [shares(list(repeated[name].values()), *keys) for keys in ACCURACIES.values()]
        cells = [*(str(setting.get(key, "-")) for key in varied), str(len(repeated[name])), *map(spread, accuracies)]
        rows.append((mean(accuracies[0]), cells))
    rows.sort(key=lambda row: row[0], reverse=True)
    return markdown([*varied, "n", *ACCURACIES], [cells for _, cells in rows], left=0)


def shares(runs: list[Metrics], *keys: str) -> list[float]:
    """The values under nested keys, of those experiments that have one."""
    found = []
    for metrics in runs:
        value: Any = metrics
        for key in keys:
            value = value.get(key, {})
        if isinstance(value, float | int):
            found.append(float(value))
    return found


def mean(values: list[float]) -> float:
    """The mean; 0 of an empty list."""
    return statistics.mean(values or [0.0])


def spread(values: list[float]) -> str:
    """Mean and standard deviation in percent."""
    if not values:
        return "-"
    deviation = f" ± {100 * statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{100 * mean(values):.2f}{deviation}"
