"""What each part of the training recipe is worth: a row per change, mean and standard deviation over seeds.

    python -m benchmarks.ablation [--seeds 5] [--trials]        (6 minutes; run `make repro` first)

Starts from the tutorial's recipe and makes one change per row until the recipe of params.yaml is reached. With
`--trials`, each row makes one change of that recipe, none of which was taken. The teacher's logits are those in
models/. The recipe was chosen on held-out training images; the test column is only reported. The recipe of params.yaml
is also quantized, as the stage does it. Prints a line per run and, at the end, a Markdown table.
"""

import argparse
import statistics
import sys
import time
from typing import Any

import torch

from armdigits.core import paths
from armdigits.core.errors import exit_on_failure
from armdigits.core.parameters import Parameters, load_parameters
from armdigits.core.shape import MNIST
from armdigits.data.dataset import Split, read_split
from armdigits.models.mlp import NeuralNetwork
from armdigits.models.networks import scale_first_layer
from armdigits.models.scoring import accuracy, model_logits
from armdigits.program import build
from armdigits.program.runtime import Program, use_threads
from armdigits.report.tables import markdown
from armdigits.training.loop import train
from benchmarks.data import NO_AUGMENTATION
from stages.train import read_distillation

TUTORIAL = {
    "optimizer": "adam", "weight_decay": 0, "momentum": 0, "learning_rate": 0.001, "schedule": "constant", "warm_up": 0,
    "centre": False, "first_layer_scale": 1.0, "threads": 1, "dropout": 0.2, "teacher_weight": 0, "temperature": 1,
}  # fmt: skip
OPTIMIZER = ("optimizer", "weight_decay", "momentum")
TRIALS = [  # what was tried and not taken
    ("stroke width up to 0.5 pixels", "augmentation", "stroke", 0.5),
    ("augmentation that does not fade", "augmentation", "fade", 0.0),
    ("augmentation that fades by half", "augmentation", "fade", 0.5),
    ("peak learning rate of 0.004", "train", "learning_rate", 0.004),
    ("first layer's initial weights times 3", "train", "first_layer_scale", 3.0),
    ("teacher's weight of 0.9", "train", "teacher_weight", 0.9),
    ("teacher's weight of 0.5", "train", "teacher_weight", 0.5),
    ("temperature of 2", "train", "temperature", 2.0),
]
SPLITS = {"train": paths.TRAIN_DATA, "validation": paths.VALIDATION_DATA, "test": paths.TEST_DATA}


def recipes(final: Parameters) -> list[tuple[str, Parameters]]:
    """The rows: a title and the parameters, each with one more change, up to those of `final`."""
    content = final.model_dump()
    recipe, augmentation, teach = content["train"], content["augmentation"], content["teach"]

    def only(*keys: str) -> dict[str, Any]:
        return {"train": {key: recipe[key] for key in keys}}

    changes: list[tuple[str, dict[str, dict[str, Any]]]] = [
        (
            "tutorial's recipe",
            {"train": TUTORIAL, "augmentation": NO_AUGMENTATION.model_dump(), "teach": {"views": 1}},
        ),
        ("+ one-cycle schedule", only(*OPTIMIZER, "learning_rate", "schedule", "warm_up")),
        (f"+ dropout of {recipe['dropout']:g}", only("dropout", "threads")),
        ("+ augmentation that fades", {"augmentation": augmentation, "teach": teach}),
        ("+ teacher's soft targets", only("teacher_weight", "temperature")),
        ("+ centred images", only("centre")),
        (f"+ first layer's initial weights times {recipe['first_layer_scale']:g}", only("first_layer_scale")),
    ]
    rows = []
    for title, sections in changes:
        content |= {name: content[name] | values for name, values in sections.items()}
        rows.append((title, Parameters.model_validate(content)))
    assert rows[-1][1] == final, "a part of the recipe has no row"  # noqa: S101
    return rows


def trials(final: Parameters) -> list[tuple[str, Parameters]]:
    """The rows with `--trials`: a title and the parameters, each with one change of `final`."""
    content = final.model_dump()
    return [
        (title, Parameters.model_validate({**content, section: content[section] | {key: value}}))
        for title, section, key, value in TRIALS
    ]


def run(parameters: Parameters, seed: int, splits: dict[str, Split]) -> tuple[NeuralNetwork, dict[str, float]]:
    """Train once with `seed`; returns the model, its accuracies in percent, and the seconds that it took."""
    recipe = parameters.train.model_copy(update={"seed": seed})
    torch.manual_seed(seed)
    model = NeuralNetwork(dropout=recipe.dropout)
    scale_first_layer(model, recipe.first_layer_scale)
    start = time.perf_counter()
    data = (splits["train"], splits["validation"])
    *_, last = train(model, *data, recipe, parameters.augmentation, read_distillation(parameters))
    seconds = time.perf_counter() - start
    test = accuracy(model_logits(model, splits["test"].images), splits["test"].targets())
    return model, {"validation": 100 * last.validation_accuracy, "test": 100 * test, "seconds": seconds}


def int8_accuracy(model: NeuralNetwork, parameters: Parameters, splits: dict[str, Split]) -> float:
    """The test accuracy of the model's int8 program, in percent."""
    bare = NeuralNetwork(use_dropout=False)
    bare.load_state_dict(model.state_dict())
    settings = parameters.quantize
    calibration = splits["train"].pixels()[: settings.calibration_samples]
    exported = build.trace(bare, MNIST, settings.max_batch)
    int8 = build.lower(build.quantize(exported, calibration, settings.max_batch))
    logits = Program(int8, "int8 program").logits(splits["test"].images)
    return 100 * accuracy(logits, splits["test"].targets())


def summary(values: list[float], digits: int = 2) -> str:
    """Mean and standard deviation of a column's values."""
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.{digits}f} ± {spread:.{digits}f}"


def main(seeds: int, with_trials: bool = False) -> None:
    """Run every row, or every trial, with every seed; print the table."""
    final = load_parameters(paths.PARAMETERS)
    torch.set_num_threads(1)
    use_threads(final.train.threads)
    splits = {name: read_split(path) for name, path in SPLITS.items()}
    rows = []
    for title, parameters in trials(final) if with_trials else recipes(final):
        results = []
        for seed in range(1, seeds + 1):
            model, result = run(parameters, seed, splits)
            if parameters == final:
                result["int8"] = int8_accuracy(model, parameters, splits)
            results.append(result)
            figures = "  ".join(f"{name} {value:.2f}" for name, value in result.items())
            print(f"{title}, seed {seed}: {figures}", file=sys.stderr, flush=True)
        columns = {name: [result[name] for result in results] for name in results[0]}
        cells = [summary(columns["validation"]), summary(columns["test"]), summary(columns["seconds"], 0)]
        rows.append([title, *cells])
        if "int8" in columns:
            rows.append(["the last row as int8 program", "", summary(columns["int8"]), ""])
    print(markdown(("recipe", "validation %", "test %", "seconds"), rows))
    print(f"\nMean ± standard deviation over {seeds} seeds, {len(splits['train']):,} training images.")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="What each part of the training recipe is worth.")
    parser.add_argument("--seeds", type=int, default=5, help="runs per row (default: %(default)s)")
    parser.add_argument("--trials", action="store_true", help="single changes of the recipe that were not taken")
    options = parser.parse_args()
    with exit_on_failure("ablation"):
        main(options.seeds, options.trials)
