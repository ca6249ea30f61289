"""The training loop, for the teacher and for the network: whole tensors, no item-by-item loading.

The images lie on the device as bytes. A second thread makes the next few thousand training images (shuffled,
distorted, judged by the teacher) while the first one steps. Every random number follows from the seed and the
epoch's number, and each generator belongs to one thread: the threads' pace does not change a bit.
"""

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from armdigits.augmentation import augment
from armdigits.dataset import Split
from armdigits.errors import Failure
from armdigits.parameters import Augmentation, Recipe
from armdigits.resume import Snapshots
from armdigits.scoring import accuracy, cross_entropy, logits_of

STEPS_AHEAD = 128  # steps whose images are made at a time: what the second thread's work costs in memory
ORDER, DROPOUT = range(2)  # streams of random numbers
FIRST_RATE = 0.04  # of the one-cycle schedule, as a share of the peak


@dataclass(frozen=True)
class Distillation:
    """What a teacher adds to the loss: weight * T^2 * cross-entropy(teacher) + (1 - weight) * cross-entropy(labels).

    Both sides of the first term are softened by the temperature T (Hinton et al., 2015, section 2).
    """

    teacher: nn.Module
    weight: float
    temperature: float


@dataclass(frozen=True)
class Epoch:
    """One line of the learning curve. Losses are cross-entropies with the labels in nats, accuracies shares of images.

    `train_loss` is the mean over the epoch's steps, on distorted images, with dropout on and weights that still
    change; both validation figures are taken after the epoch, on clean images, with dropout off.
    """

    epoch: int
    train_loss: float
    validation_loss: float
    validation_accuracy: float

    def line(self, epochs: int) -> str:
        """The epoch as a line for people."""
        return (
            f"epoch {self.epoch:2}/{epochs}  train loss {self.train_loss:.4f}  "
            f"validation loss {self.validation_loss:.4f}  accuracy {self.validation_accuracy:.2%}"
        )


def train(
    network: nn.Module,
    data: Split,
    validation: Split,
    recipe: Recipe,
    augmentation: Augmentation,
    distillation: Distillation | None = None,
    snapshots: Snapshots | None = None,
) -> Iterator[Epoch]:
    """Train `network` in place, on the device where it is, and yield a line after each epoch.

    The images are shuffled anew every epoch, and the last batch is as small as it has to be. A training that goes on
    from a snapshot ends with the bits of one that was never disturbed; it yields the epochs before the snapshot too.

    Raises:
        Failure: the loss is not finite.
    """
    device = next(network.parameters()).device
    data, validation = data.to(device), validation.to(device)
    if distillation:
        distillation.teacher.to(device).eval()
    optimizer = torch.optim.Adam(network.parameters(), recipe.learning_rate, fused=True)
    curve = [Epoch(**record) for record in snapshots.restore(network, optimizer)] if snapshots else []
    yield from curve
    for epoch in range(len(curve) + 1, recipe.epochs + 1):
        torch.manual_seed(_seed(recipe.seed, epoch, DROPOUT))
        pieces = _pieces(data, recipe, augmentation, distillation, epoch)
        loss = _one_epoch(network, optimizer, pieces, len(data), recipe, distillation, epoch)
        logits, targets = logits_of(network, validation.pixels()), validation.targets()
        curve.append(Epoch(epoch, loss, cross_entropy(logits, targets), accuracy(logits, targets)))
        if snapshots:
            snapshots.save(network, optimizer, [asdict(line) for line in curve])
        yield curve[-1]


def learning_rate(recipe: Recipe, progress: float) -> float:
    """The rate after a share `progress` of all steps.

    `one_cycle` rises from 4 % to the peak and falls to 0, along half waves of a cosine (L. Smith, N. Topin, 2018).
    """
    if recipe.schedule == "constant":
        return recipe.learning_rate
    if progress < recipe.warm_up:
        rise = (1 - math.cos(math.pi * progress / recipe.warm_up)) / 2
        return recipe.learning_rate * (FIRST_RATE + (1 - FIRST_RATE) * rise)
    return recipe.learning_rate * (1 + math.cos(math.pi * (progress - recipe.warm_up) / (1 - recipe.warm_up))) / 2


def _seed(seed: int, epoch: int, stream: int) -> int:
    """A seed of its own for each epoch and purpose. torch's CPU generator takes 32 bits of a seed, no more."""
    return int(np.random.SeedSequence((seed, epoch, stream)).generate_state(1)[0])


def _pieces(
    data: Split, recipe: Recipe, augmentation: Augmentation, distillation: Distillation | None, epoch: int
) -> Iterator[tuple[Tensor, ...]]:
    """An epoch's images in pieces of some thousand: pixels [P, 1, 28, 28], targets [P], teacher's opinion [P, 10]."""
    generator = torch.Generator().manual_seed(_seed(recipe.seed, epoch, ORDER))
    order = torch.randperm(len(data), generator=generator).to(data.images.device)
    for rows in order.split(STEPS_AHEAD * recipe.batch_size):
        pixels, targets = data[rows].pixels(), data[rows].targets()
        if augmentation.is_on():
            pixels = augment(pixels, augmentation, generator)
        if distillation:
            opinion = (logits_of(distillation.teacher, pixels) / distillation.temperature).softmax(1)
            yield pixels, targets, opinion.clone()  # a tensor of inference mode may not take part in training
        else:
            yield pixels, targets


def _one_epoch(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    pieces: Iterator[tuple[Tensor, ...]],
    images: int,
    recipe: Recipe,
    distillation: Distillation | None,
    epoch: int,
) -> float:
    """Step through the pieces, the next one being made in the meantime; returns the mean loss."""
    network.train()
    step, total = 0, 0.0
    steps = math.ceil(images / recipe.batch_size)
    with (
        ThreadPoolExecutor(max_workers=1) as ahead,
        tqdm(total=steps, desc=f"epoch {epoch}", unit="step", disable=None, leave=False) as bar,
    ):
        coming = ahead.submit(next, pieces, None)
        while (piece := coming.result()) is not None:
            coming = ahead.submit(next, pieces, None)
            losses = []
            for batch in zip(*(tensor.split(recipe.batch_size) for tensor in piece), strict=True):
                progress = (epoch - 1 + (step + 0.5) / steps) / recipe.epochs
                optimizer.param_groups[0]["lr"] = learning_rate(recipe, progress)
                losses.append(_step(network, optimizer, distillation, *batch) * len(batch[0]))
                step += 1
            sums = torch.stack(losses).cpu()
            if not sums.isfinite().all():
                _fail(recipe, epoch, step - len(losses) + int((~sums.isfinite()).nonzero()[0]) + 1)
            total += sums.double().sum().item()
            bar.update(len(losses))
    return total / images


def _step(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    distillation: Distillation | None,
    pixels: Tensor,
    targets: Tensor,
    opinion: Tensor | None = None,
) -> Tensor:
    """One step of Adam on a batch; returns the cross-entropy with the labels, without waiting for its value."""
    logits = network(pixels)
    hard = loss = functional.cross_entropy(logits, targets)
    if distillation and opinion is not None:
        soft = functional.cross_entropy(logits / distillation.temperature, opinion)
        loss = distillation.weight * distillation.temperature**2 * soft + (1 - distillation.weight) * hard
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return hard.detach()


def _fail(recipe: Recipe, epoch: int, step: int) -> None:
    raise Failure(
        f"the loss is not finite in epoch {epoch}, step {step}; lower learning_rate ({recipe.learning_rate}), "
        "or look at warm_up and batch_size; no checkpoint was written"
    )
