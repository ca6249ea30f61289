"""Run the tutorial's own recipe as the DVC experiment `tutorial`, and print its figures beside this project's.

The recipe: Adam with a constant learning rate of 0.001, dropout of 0.2, no augmentation, no teacher. Everything else
is as in params.yaml: the same network, data and number of epochs. The experiment runs in a folder of its own, so the
workspace stays as it is, and it replaces an older one of the same name. DVC takes the files that Git tracks.
"""

import argparse

from pydantic import TypeAdapter, ValidationError

from armdigits.cli import dvc
from armdigits.core import paths, records
from armdigits.core.errors import BadInput
from armdigits.report.tables import markdown

NAME = "tutorial"
RECIPE = {
    "train.optimizer": "adam",
    "train.weight_decay": "0.0",
    "train.momentum": "0.0",
    "train.learning_rate": "0.001",
    "train.schedule": "constant",
    "train.warm_up": "0.0",
    "train.centre": "false",
    "train.first_layer_scale": "1.0",
    "train.threads": "1",
    "train.dropout": "0.2",
    "train.teacher_weight": "0.0",
    "train.temperature": "1.0",
    "teach.views": "1",  # as nothing is augmented
    "augmentation.rotation": "0.0",
    "augmentation.zoom": "0.0",
    "augmentation.shear": "0.0",
    "augmentation.shift": "0.0",
    "augmentation.stroke": "0.0",
    "augmentation.flip": "0.0",
    "augmentation.fade": "0.0",
    "evaluate.min_accuracy": "0.0",  # a comparison, no gate
}
# The columns in percent: the metrics file and the key in it.
ACCURACIES = {
    "validation": (str(paths.TRAIN_METRICS), "validation_accuracy"),
    "fp32, test": (str(paths.EVALUATE_METRICS), "accuracy"),
    "int8, test": (str(paths.QUANTIZE_METRICS), "int8.accuracy"),
}
DIFF = TypeAdapter(dict[str, dict[str, dict[str, float | str | None]]])  # file, metric, side
NEXT_STEPS = f"""
Look further:
  dvc exp show                    every parameter and metric
  dvc metrics diff {NAME}       this project's metrics against the tutorial's
  dvc exp apply {NAME}          take the tutorial's recipe and its results into the workspace"""


def configure(_parser: argparse.ArgumentParser) -> None:
    """There are no arguments."""


def run(_options: argparse.Namespace) -> None:
    """Run the experiment, then print the table."""
    dvc.require_git(commits=True)
    if NAME in dvc.ask("exp", "list", "--name-only").split():
        dvc.ask("exp", "remove", NAME)
    changes = [part for key, value in RECIPE.items() for part in ("--set-param", f"{key}={value}")]
    dvc.run_or_fail("exp", "run", "--temp", "--name", NAME, *changes, "evaluate", "quantize")
    files = [path for path, _ in ACCURACIES.values()]
    metrics = dvc.ask("metrics", "diff", NAME, "--all", "--json", "--targets", *files)
    print(f"\n{table(metrics)}\n{NEXT_STEPS}")


def table(diff: str) -> str:
    """The table in Markdown, from the output of `dvc metrics diff tutorial --all --json`."""
    try:
        metrics = DIFF.validate_json(diff)
    except ValidationError as error:
        raise BadInput(f"dvc metrics diff: {records.problem(error)}") from None
    rows = []
    for name, side in (("tutorial's recipe", "old"), ("this project's", "new")):
        cells = [metrics.get(path, {}).get(key, {}).get(side) for path, key in ACCURACIES.values()]
        dataset = metrics.get(str(paths.TRAIN_METRICS), {}).get("dataset", {}).get(side)
        rows.append(
            [name, str(dataset or "-"), *(f"{cell * 100:.2f} %" if isinstance(cell, float) else "-" for cell in cells)]
        )
    return markdown(["recipe", "data set", *ACCURACIES], rows, left=2, padded=True)
