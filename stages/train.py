"""Train the model, and check it on the validation images after each epoch.

    dvc repro train
    python -m stages.train           (equivalent if train.processes is 1)

Reads the training and validation images and the teacher's logits; writes the
checkpoint, the training history, the table of layers and the metrics. It never
reads the test images. If it is interrupted and started again, it resumes after
the last complete epoch and ends with the same bytes. For several processes see
armdigits/training/launch.py.
"""

from pathlib import Path

import torch
import torchinfo
from torch import nn

from armdigits.core import paths, records, stage
from armdigits.core.errors import BadInput
from armdigits.core.files import write_bytes
from armdigits.core.parameters import Parameters, Train
from armdigits.data.dataset import read_provenance, read_split
from armdigits.models import networks
from armdigits.models.checkpoint import read_teacher_logits, weights_sha256, write_checkpoint
from armdigits.training.centring import can_be_centred
from armdigits.training.loop import train
from armdigits.training.loss import Distillation
from armdigits.training.processes import choose_device, join, world_size
from armdigits.training.snapshots import Snapshots, fingerprint


def read_distillation(parameters: Parameters) -> Distillation | None:
    """The teacher's logits and their settings; None if `train.teacher_weight` is 0.

    Raises:
        BadInput: the file cannot be used, or was written when no teacher was needed.
    """
    recipe = parameters.train
    if recipe.teacher_weight == 0:
        return None
    logits = read_teacher_logits(paths.TEACHER_LOGITS, parameters.teach)
    if not len(logits):
        line = "has no logits, as train.teacher_weight was 0 when teach ran; run: dvc repro train"
        raise BadInput(f"{paths.TEACHER_LOGITS}: {line}")
    return Distillation(logits, recipe.teacher_weight, recipe.temperature)


def write_outputs(
    model: nn.Module, summary: torchinfo.ModelStatistics, history: list[records.Epoch], recipe: Train
) -> None:
    """Write the checkpoint, the table of layers, the history and the metrics."""
    size = write_checkpoint(paths.MODEL, model, recipe)
    write_bytes(paths.LAYERS, f"{summary}\n".encode())
    records.write_table(paths.HISTORY, records.Epoch, history)
    metrics = records.TrainMetrics(
        dataset=read_provenance().name,
        parameters=summary.total_params,
        **history[-1].model_dump(exclude={"epoch"}),
    )
    records.write(paths.TRAIN_METRICS, metrics)
    records.write(paths.TRAIN_DETAILS, records.TrainDetails(bytes=size, epochs=len(history)))


def main(parameters: Parameters) -> None:
    """Train, alone or as one of several ranks. Rank 0 prints a line per epoch and writes everything at the end."""
    recipe, augmentation = parameters.train, parameters.augmentation
    if recipe.processes != world_size():
        line = f"expected {world_size()}, the number of processes that were started, got {recipe.processes}"
        raise BadInput(f"params.yaml: train.processes: {line}; run: dvc repro train")
    torch.set_num_threads(1)
    torch.manual_seed(recipe.seed)
    device = choose_device(parameters.compute.device)
    train_data, validation_data = read_split(paths.TRAIN_DATA), read_split(paths.VALIDATION_DATA)
    provenance = read_provenance()
    distillation = read_distillation(parameters)
    inputs = fingerprint(
        Path(__file__),
        parameters=[
            recipe.model_dump(),
            augmentation.model_dump(),
            parameters.model.model_dump(),
            parameters.compute.device,
        ],
        data=provenance.content(),
        teacher=distillation and weights_sha256({"teacher_logits": distillation.teacher_logits}),
    )

    history: list[records.Epoch] = []
    with join(device) as group:
        group.require_equal(inputs)
        snapshots = Snapshots(paths.TRAIN_SNAPSHOTS, inputs) if group.rank == 0 else None
        # Convolutions are faster with the channels of a pixel beside each other; linear layers are not affected.
        model = networks.build(parameters.model.name, provenance.shape, len(provenance.classes), dropout=recipe.dropout)
        networks.scale_first_layer(model, recipe.first_layer_scale)
        model = model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # as in teacher.py
        shape = (recipe.batch_size, *provenance.shape)
        summary = torchinfo.summary(model, input_size=shape, device=device, verbose=0, col_width=20)  # 80 in all
        if snapshots:
            print(summary, flush=True)
            if recipe.centre and not can_be_centred(model):
                print("train.centre has no effect: the network does not begin with a linear layer", flush=True)
        for epoch in train(model, train_data, validation_data, recipe, augmentation, distillation, snapshots, group):
            history.append(epoch)
            print(epoch.line(recipe.epochs), flush=True)
    if snapshots:
        write_outputs(model, summary, history, recipe)
        snapshots.remove()


if __name__ == "__main__":
    stage.run("train", main)
