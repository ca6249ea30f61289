"""Train the network on the training images and watch it on the validation images.

    python -m stages.train           (dvc repro train)

Reads data/train.safetensors and data/validation.safetensors; writes the checkpoint, the learning curve, the layer
table and the metrics. It never opens the test images. Killed at any moment and started again, it goes on after its
last whole epoch and ends with the same bytes.
"""

import dataclasses
from pathlib import Path

import torch
import torchinfo

from armdigits import paths, stage
from armdigits.checkpoint import write_checkpoint
from armdigits.dataset import read_provenance, read_split
from armdigits.files import write_bytes, write_csv, write_json
from armdigits.model import NeuralNetwork
from armdigits.parameters import Parameters
from armdigits.resume import Snapshots, fingerprint
from armdigits.training import Epoch, train


def main(parameters: Parameters) -> None:
    """Train, print a line an epoch, and write everything at the end."""
    settings = parameters.train
    torch.set_num_threads(settings.threads)
    torch.manual_seed(settings.seed)
    data, validation = read_split(paths.TRAIN_DATA), read_split(paths.VALIDATION_DATA)
    network = NeuralNetwork(dropout=settings.dropout)
    layers = torchinfo.summary(network, input_size=(settings.batch_size, 1, 28, 28), verbose=0)
    print(layers)

    causes = fingerprint(Path(__file__), parameters=settings.model_dump(), data=read_provenance())
    snapshots = Snapshots(paths.SNAPSHOTS, causes)
    history: list[Epoch] = []
    for epoch in train(network, data, validation, settings, snapshots):
        history.append(epoch)
        print(
            f"epoch {epoch.epoch:2}/{settings.epochs}  train loss {epoch.train_loss:.4f}  "
            f"validation loss {epoch.validation_loss:.4f}  accuracy {epoch.validation_accuracy:.2%}",
            flush=True,
        )

    size = write_checkpoint(paths.MODEL, network, settings)
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
    stage.run("train", main)
