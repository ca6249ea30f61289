"""The table of a sweep: a row for each setting, mean and standard deviation over its seeds.

    python -m tools.sweep                    (make sweep)  the experiments of this commit that DVC knows here
    python -m tools.sweep one.json two.json  those of other machines, as `dvc exp show --json` wrote them there

Experiments that differ in nothing but seeds are one setting; the columns before n are the parameters that differ
between settings. Experiments without a result are counted below, with what has become of them. Needs nothing but
Python, and DVC where no files are given.
"""

import json
import statistics
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from armdigits import paths
from armdigits.errors import BadInput, reported

# What is shown of an experiment, in percent: a title, the metrics file and the keys in it.
ACCURACIES = {
    "accuracy %": (str(paths.EVALUATE_METRICS), "accuracy"),
    "int8 accuracy %": (str(paths.QUANTIZE_METRICS), "int8", "accuracy"),
}
PLACES = ACCURACIES.values()
Parameters = dict[str, Any]  # values by key, as train.seed
Run = tuple[Parameters, dict]  # the parameters and the metrics of an experiment, these by file


def show() -> str:
    """What `dvc exp show --json` says here."""
    done = subprocess.run(["dvc", "exp", "show", "--json"], capture_output=True, text=True, check=False)
    if done.returncode:
        raise BadInput(f"dvc exp show: {done.stderr.strip().splitlines()[-1]}")
    return done.stdout


def load(path: str) -> str:
    """What another machine's DVC said."""
    try:
        return Path(path).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path}: cannot be read ({getattr(error, 'strerror', error)})") from None


def read(text: str, source: str) -> tuple[list[Run], Counter[str]]:
    """The experiments that have a result, and how many have none, by state: queued, running, failed."""
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
        raise BadInput(f"{source}: not what dvc exp show --json writes ({error!r})") from None
    return runs, without


def flat(sections: dict[str, dict[str, Any]]) -> Parameters:
    """{"train": {"seed": 1}} as {"train.seed": 1}."""
    return {f"{name}.{key}": value for name, section in sections.items() for key, value in section.items()}


def table(runs: list[Run]) -> str:
    """The table in Markdown, the best accuracy first."""
    settings: dict[str, Parameters] = {}
    repeated: dict[str, dict[str, dict]] = {}  # the metrics by setting and seeds: the same run twice counts once
    for parameters, metrics in runs:
        seeds = {key: value for key, value in parameters.items() if key.endswith(".seed")}
        setting = {key: value for key, value in parameters.items() if key not in seeds}
        name = json.dumps(setting)
        settings[name] = setting
        repeated.setdefault(name, {})[json.dumps(seeds)] = metrics
    keys = dict.fromkeys(key for setting in settings.values() for key in setting)
    varied = [key for key in keys if len({str(setting.get(key, "-")) for setting in settings.values()}) > 1]

    def columns(name: str) -> list[list[float]]:
        every = repeated[name].values()
        return [[share for metrics in every if (share := found(metrics, *place)) is not None] for place in PLACES]

    lines = [[*varied, "n", *ACCURACIES], ["---:"] * (len(varied) + 1 + len(ACCURACIES))]
    for name in sorted(settings, key=lambda name: mean(columns(name)[0]), reverse=True):
        cells = [str(settings[name].get(key, "-")) for key in varied]
        lines.append([*cells, str(len(repeated[name])), *map(summary, columns(name))])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def found(metrics: dict, *keys: str) -> float | None:
    """The value under nested keys, if there is one."""
    value: Any = metrics
    for key in keys:
        value = value.get(key, {})
    return value if isinstance(value, float | int) else None


def mean(shares: list[float]) -> float:
    """The mean; 0 of nothing."""
    return statistics.mean(shares or [0])


def summary(shares: list[float]) -> str:
    """Mean and standard deviation in percent."""
    if not shares:
        return "-"
    spread = f" ± {100 * statistics.stdev(shares):.2f}" if len(shares) > 1 else ""
    return f"{100 * mean(shares):.2f}{spread}"


def main(arguments: list[str]) -> None:
    """Print the table, and what is missing from it."""
    if unknown := [argument for argument in arguments if argument.startswith("-")]:
        raise BadInput(f"expected files that dvc exp show --json wrote, or nothing, got {unknown[0]}")
    texts = {path: load(path) for path in arguments} or {"dvc exp show": show()}
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


if __name__ == "__main__":
    with reported("sweep"):
        main(sys.argv[1:])
