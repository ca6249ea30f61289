"""Train the network on the training images and watch it on the validation images.

    python -m stages.train           (dvc repro train)

Reads the training and validation images and the teacher's opinions; writes the checkpoint, the learning curve, the
layer table and the metrics. It never opens the test images. Killed at any moment and started again, it goes on after
its last whole epoch and ends with the same bytes. With train.processes above 1 it lets torchrun start so many of it.
"""

import dataclasses
from pathlib import Path
from typing import NamedTuple

import torch
import torchinfo

from armdigits import device, paths, ranks, stage
from armdigits.checkpoint import read_opinions, weights_sha256, write_checkpoint
from armdigits.dataset import Split, read_provenance, read_split
from armdigits.errors import BadInput
from armdigits.files import write_bytes, write_csv, write_json
from armdigits.model import NeuralNetwork
from armdigits.parameters import Parameters
from armdigits.resume import Snapshots, fingerprint
from armdigits.training import Distillation, Epoch, train


def read_distillation(parameters: Parameters) -> Distillation | None:
    """The opinions of the teacher that `teach` trained, when the recipe gives them a weight."""
    recipe = parameters.train
    if recipe.teacher_weight == 0:
        return None
    opinions = read_opinions(paths.OPINIONS, parameters.teach)
    return Distillation(opinions, recipe.teacher_weight, recipe.temperature)


class Inputs(NamedTuple):
    """What the training reads, and the fingerprint of its causes."""

    data: Split
    validation: Split
    distillation: Distillation | None
    causes: dict[str, str]


def read_inputs(parameters: Parameters, processes: int) -> Inputs:
    """Read everything; `processes` is how many there are."""
    recipe = parameters.train
    if recipe.processes != processes:
        raise BadInput(
            f"params.yaml: train.processes: expected {processes}, as torchrun has it, got {recipe.processes}"
        )
    data, validation = read_split(paths.TRAIN_DATA), read_split(paths.VALIDATION_DATA)
    distillation = read_distillation(parameters)
    causes = fingerprint(
        Path(__file__),
        parameters=[recipe.model_dump(), parameters.augmentation.model_dump()],
        data=read_provenance(),
        opinions=distillation and weights_sha256({"opinions": distillation.opinions}),
    )
    return Inputs(data, validation, distillation, causes)


def start(parameters: Parameters) -> bool:
    """Start as many of this stage as params.yaml says, when it is more than one; returns whether it did."""
    return ranks.start("stages.train", parameters.train.processes)


def main(parameters: Parameters) -> None:
    """Train, alone or as one of the ranks; rank 0 prints a line an epoch, and writes everything at the end."""
    recipe = parameters.train
    torch.set_num_threads(recipe.threads)
    torch.manual_seed(recipe.seed)
    target = device.choose(recipe.device)
    with ranks.joined(target) as group:
        data, validation, distillation, causes = group.same(lambda: read_inputs(parameters, group.count))
        network = NeuralNetwork(dropout=recipe.dropout).to(target)
        if group.is_first:
            layers = torchinfo.summary(network, input_size=(recipe.batch_size, 1, 28, 28), verbose=0)
            print(layers)

        snapshots = Snapshots(paths.TRAIN_SNAPSHOTS, causes) if group.is_first else None
        history: list[Epoch] = []
        fixed = (data, validation, recipe, parameters.augmentation, distillation, snapshots)
        for epoch in train(network, *fixed, group):
            history.append(epoch)
            print(epoch.line(recipe.epochs), flush=True)
    if not group.is_first:
        return

    size = write_checkpoint(paths.MODEL, network, recipe)
    write_bytes(paths.LAYERS, f"{layers}\n".encode())
    header = [field.name for field in dataclasses.fields(Epoch)]
    write_csv(paths.HISTORY, header, (dataclasses.astuple(epoch) for epoch in history))
    _, *last = header
    write_json(
        paths.TRAIN_METRICS,
        {
            "dataset": read_provenance()["name"],
            "parameters": layers.total_params,
            "bytes": size,
            "epochs": len(history),
            **{name: getattr(history[-1], name) for name in last},
        },
    )
    snapshots.remove()


if __name__ == "__main__":
    stage.run("train", main, start)
