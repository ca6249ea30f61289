"""The training loop: whole tensors, one epoch after the other, every random number from a seeded generator."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import torch
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from armdigits.dataset import Split
from armdigits.model import NeuralNetwork
from armdigits.parameters import Train
from armdigits.resume import Snapshots
from armdigits.scoring import accuracy, cross_entropy, logits_of


@dataclass(frozen=True)
class Epoch:
    """One line of the learning curve. Losses are cross-entropies in nats, accuracies shares of images.

    `train_loss` is the mean over the steps of the epoch, with dropout on and weights that still change; both
    validation figures are taken after the epoch, with dropout off.
    """

    epoch: int
    train_loss: float
    validation_loss: float
    validation_accuracy: float


def train(
    network: NeuralNetwork, data: Split, validation: Split, settings: Train, snapshots: Snapshots | None = None
) -> Iterator[Epoch]:
    """Train `network` in place, and yield a line after each epoch.

    The images are shuffled anew every epoch, and the last batch is as small as it has to be. The random numbers
    of an epoch (order, dropout) follow from the seed and the epoch's number alone: a training that goes on from a
    snapshot ends with the bits of one that was never disturbed. It yields the epochs before the snapshot too.
    """
    pixels, targets = data.pixels(), data.targets()
    validation_pixels, validation_targets = validation.pixels(), validation.targets()
    optimizer = torch.optim.Adam(network.parameters(), settings.learning_rate, fused=True)
    curve = [Epoch(**record) for record in snapshots.restore(network, optimizer)] if snapshots else []
    yield from curve
    for epoch in range(len(curve) + 1, settings.epochs + 1):
        torch.manual_seed(settings.seed + epoch)
        order = torch.randperm(len(data))
        loss = _steps(network, optimizer, pixels[order], targets[order], settings.batch_size, f"epoch {epoch}")
        logits = logits_of(network, validation_pixels)
        curve.append(
            Epoch(epoch, loss, cross_entropy(logits, validation_targets), accuracy(logits, validation_targets))
        )
        if snapshots:
            snapshots.save(network, optimizer, [asdict(line) for line in curve])
        yield curve[-1]


def _steps(
    network: NeuralNetwork,
    optimizer: torch.optim.Optimizer,
    pixels: Tensor,
    targets: Tensor,
    batch_size: int,
    title: str,
) -> float:
    """Pass over the images once, in the order given; returns the mean loss."""
    network.train()
    total = torch.zeros((), dtype=torch.float64)
    batches = list(zip(pixels.split(batch_size), targets.split(batch_size), strict=True))
    for images, labels in tqdm(batches, desc=title, unit="batch", disable=None, leave=False):
        loss = functional.cross_entropy(network(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.detach() * len(labels)
    return total.item() / len(targets)
