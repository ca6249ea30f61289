"""What each part of the training recipe is worth: one row a step, mean and standard deviation over seeds.

    python -m benchmarks.ablation [--seeds 5]        (make ablation; run `make repro` first)

Starts from the tutorial's recipe and adds one change a row until the recipe of params.yaml is reached. The opinions
are those in models/. The recipe was chosen by the validation column; the test column is there to be reported. The last
row is also quantized, as the stage does it. Prints a line a run and, at the end, the table in Markdown.
"""

import argparse
import statistics
import sys
import time

import torch

from armdigits import paths
from armdigits.dataset import Split, read_split
from armdigits.errors import reported
from armdigits.model import NeuralNetwork
from armdigits.parameters import Parameters, load_parameters
from armdigits.runtime import Program, use_threads
from armdigits.scoring import accuracy, logits_of
from armdigits.training import train
from stages.quantize import build
from stages.train import read_distillation

OFF = {"rotation": 0, "zoom": 0, "shear": 0, "shift": 0}
TUTORIAL = {
    "learning_rate": 0.001, "schedule": "constant", "warm_up": 0, "dropout": 0.2, "teacher_weight": 0, "temperature": 1,
}  # fmt: skip


def steps(goal: Parameters) -> list[tuple[str, Parameters]]:
    """The rows: a title and the parameters, each with one change more, up to those of `goal`."""
    recipe, whole = goal.train.model_dump(), goal.model_dump()
    changes: list[tuple[str, dict[str, dict]]] = [
        ("tutorial's recipe", {"train": TUTORIAL, "augmentation": OFF, "teach": {"views": 1}}),
        ("+ one-cycle schedule", {"train": {key: recipe[key] for key in ("learning_rate", "schedule", "warm_up")}}),
        (f"+ dropout of {recipe['dropout']:g}", {"train": {"dropout": recipe["dropout"]}}),
        ("+ distorted digits", {"augmentation": whole["augmentation"], "teach": whole["teach"]}),
        ("+ opinions of a teacher", {"train": {key: recipe[key] for key in ("teacher_weight", "temperature")}}),
    ]
    rows, content = [], whole
    for title, sections in changes:
        content = content | {name: content[name] | values for name, values in sections.items()}
        rows.append((title, Parameters.model_validate(content)))
    assert rows[-1][1] == goal, "a part of the recipe has no row"  # noqa: S101
    return rows


def run(parameters: Parameters, seed: int, splits: dict[str, Split]) -> tuple[NeuralNetwork, dict[str, float]]:
    """Train once with `seed`; returns the network and its accuracies in percent and the seconds that it took."""
    recipe = parameters.train.model_copy(update={"seed": seed})
    torch.manual_seed(seed)
    network = NeuralNetwork(dropout=recipe.dropout)
    start = time.perf_counter()
    distillation = read_distillation(parameters)
    data, validation = splits["train"], splits["validation"]
    *_, last = train(network, data, validation, recipe, parameters.augmentation, distillation)
    seconds = time.perf_counter() - start
    test = accuracy(logits_of(network, splits["test"].pixels()), splits["test"].targets())
    return network, {"validation": 100 * last.validation_accuracy, "test": 100 * test, "seconds": seconds}


def int8_accuracy(network: NeuralNetwork, parameters: Parameters, splits: dict[str, Split]) -> float:
    """The test accuracy of the int8 program of `network`, in percent."""
    bare = NeuralNetwork(use_dropout=False)
    bare.load_state_dict(network.state_dict())
    settings = parameters.quantize
    calibration = splits["train"].pixels()[: settings.calibration_samples]
    int8 = build(bare, calibration, settings)["int8"]
    logits = Program(int8, "int8 program").logits_of(splits["test"].pixels())
    return 100 * accuracy(logits, splits["test"].targets())


def summary(values: list[float], digits: int = 2) -> str:
    """Mean and standard deviation of a column's values."""
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.{digits}f} ± {spread:.{digits}f}"


def main(seeds: int) -> None:
    """Run every row with every seed; print the table."""
    goal = load_parameters(paths.PARAMETERS)
    torch.set_num_threads(goal.train.threads)
    use_threads(goal.train.threads)
    places = {"train": paths.TRAIN_DATA, "validation": paths.VALIDATION_DATA, "test": paths.TEST_DATA}
    splits = {name: read_split(path) for name, path in places.items()}
    table = ["| recipe | validation % | test % | seconds |", "|---|---:|---:|---:|"]
    for title, parameters in steps(goal):
        results = []
        for seed in range(1, seeds + 1):
            network, result = run(parameters, seed, splits)
            if parameters == goal:
                result["int8"] = int8_accuracy(network, parameters, splits)
            results.append(result)
            figures = "  ".join(f"{name} {value:.2f}" for name, value in result.items())
            print(f"{title}, seed {seed}: {figures}", file=sys.stderr, flush=True)
        columns = {name: [result[name] for result in results] for name in results[0]}
        cells = [summary(columns["validation"]), summary(columns["test"]), summary(columns["seconds"], 0)]
        table.append(f"| {title} | {' | '.join(cells)} |")
        if "int8" in columns:
            table.append(f"| the same as int8 program | | {summary(columns['int8'])} | |")
    print("\n".join(table))
    print(f"\nMean ± standard deviation over {seeds} seeds, {len(splits['train']):,} training images.")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="What each part of the training recipe is worth.")
    parser.add_argument("--seeds", type=int, default=5, help="runs a row (default: %(default)s)")
    with reported("ablation"):
        main(parser.parse_args().seeds)
