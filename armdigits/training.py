"""The training loop, for the teacher and for the network: whole tensors, no item-by-item loading.

The images lie on the device as bytes. A second thread makes the next few thousand training images (shuffled,
distorted) while the first one steps. A step computes the gradient of the loss at the logits, between the two halves
of backpropagation; the loss itself is taken afterwards, of many steps at once. Every random number follows from the
seed and the epoch's number, and each generator belongs to one thread: the threads' pace does not change a bit.
"""

import ctypes
import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import chain
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from armdigits.adam import Adam
from armdigits.augmentation import distort, draw
from armdigits.backpropagation import backpropagation
from armdigits.dataset import CLASSES, Split, pixels_of
from armdigits.errors import Failure
from armdigits.parameters import Augmentation, Recipe
from armdigits.ranks import ALONE, Ranks
from armdigits.resume import Snapshots
from armdigits.scoring import accuracy, cross_entropy, logits_of

STEPS_AHEAD = 128  # steps whose images are made at a time: more take more memory, fewer hold up the steps more often
ORDER, DROPOUT = range(2)  # streams of random numbers; DROPOUT is that of rank 0, and those of the others follow
FIRST_RATE = 0.04  # of the one-cycle schedule, as a share of the peak


@dataclass(frozen=True)
class Distillation:
    """What a teacher adds to the loss: weight * T^2 * cross-entropy(teacher) + (1 - weight) * cross-entropy(labels).

    Both sides of the first term are softened by the temperature T (Hinton et al., 2015, section 2).

    Attributes:
        opinions: the teacher's logits for the training images, float32 [N, 10].
        weight: from 0 to 1.
        temperature: above 0.
    """

    opinions: Tensor
    weight: float
    temperature: float


class Piece(NamedTuple):
    """This rank's images of some steps.

    Attributes:
        pixels, goals, labels: float32 [N, 1, 28, 28], float32 [N, 10] (see `_gradient`), int64 [N].
        own: how many of the images each step has; their sum is N.
        whole: how many the steps have with those of the other ranks, float32 [steps].
    """

    pixels: Tensor
    goals: Tensor
    labels: Tensor
    own: list[int]
    whole: Tensor


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
    ranks: Ranks = ALONE,
) -> Iterator[Epoch]:
    """Train `network` in place, on the device where it is, and yield a line after each epoch.

    The images are shuffled anew every epoch, and the last batch is as small as it has to be. A training that goes on
    from a snapshot ends with the bits of one that was never disturbed; it yields the epochs before the snapshot too.

    Several ranks share the images of each batch and end with the same weights. Rank 0 alone has snapshots, validates
    and yields.

    Raises:
        Failure: the loss is not finite, or another rank is gone.
    """
    _keep_freed_memory()
    device = next(network.parameters()).device
    goals = _goals(data, distillation).to(device)
    data, pixels, targets = data.to(device), validation.to(device).pixels(), validation.targets().to(device)
    optimizer = Adam(network)
    state = {**network.state_dict(), **optimizer.state}
    curve = [Epoch(**record) for record in snapshots.restore(state)] if snapshots else []
    yield from curve
    epochs = range(ranks.follow(state, len(curve)) + 1, recipe.epochs + 1)
    each = (_pieces(data, goals, recipe, augmentation, epoch, ranks) for epoch in epochs)
    pieces = _made_ahead(chain.from_iterable(each))
    for epoch in epochs:
        torch.manual_seed(_seed(recipe.seed, epoch, DROPOUT + ranks.rank))
        loss = _one_epoch(network, optimizer, pieces, len(data), recipe, distillation, epoch, ranks)
        if not ranks.is_first:
            continue
        logits = logits_of(network, pixels)
        curve.append(Epoch(epoch, loss, cross_entropy(logits, targets), accuracy(logits, targets)))
        if snapshots:
            snapshots.save(state, [asdict(line) for line in curve])
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


def _keep_freed_memory() -> None:
    """Have glibc keep what is freed, instead of returning it to the kernel and asking for it again, piece after piece.

    Fresh pages hold up both threads: they made an epoch a tenth slower. Other C libraries are left as they are.
    """
    if change := getattr(ctypes.CDLL(None), "mallopt", None):
        for option in (-1, -3):  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD (malloc.h)
            change(option, 2**30)


def _seed(seed: int, epoch: int, stream: int) -> int:
    """A seed of its own for each epoch and purpose. torch's CPU generator takes 32 bits of a seed, no more."""
    return int(np.random.SeedSequence((seed, epoch, stream)).generate_state(1)[0])


def _goals(data: Split, distillation: Distillation | None) -> Tensor:
    """What the logits of each image are drawn to, float32 [N, 10]; see `_gradient`."""
    labels = functional.one_hot(data.targets(), CLASSES).float()
    if distillation is None:
        return labels
    weight, temperature = distillation.weight, distillation.temperature
    return weight * temperature * (distillation.opinions / temperature).softmax(1) + (1 - weight) * labels


def _gradient(logits: Tensor, goals: Tensor, distillation: Distillation | None, images: Tensor) -> Tensor:
    """The gradient of the mean loss of a batch of `images` images at the logits of N of them, [N, 10].

    That of a cross-entropy is softmax(logits) - probabilities, and a factor 1 / T where the logits are softened.
    """
    if distillation is None:
        drawn = logits.softmax(1)
    else:
        weight, temperature = distillation.weight, distillation.temperature
        drawn = (logits / temperature).softmax(1).mul_(weight * temperature)
        drawn.add_(logits.softmax(1), alpha=1 - weight)
    return drawn.sub_(goals).div_(images)


def _pieces(
    data: Split, goals: Tensor, recipe: Recipe, augmentation: Augmentation, epoch: int, ranks: Ranks
) -> Iterator[Piece]:
    """An epoch's images in pieces of some thousand.

    What this does in Python holds up the steps in the other thread: it loops over pieces, never over steps.
    """
    generator = torch.Generator().manual_seed(_seed(recipe.seed, epoch, ORDER))
    device = data.images.device
    order, place = torch.randperm(len(data), generator=generator), torch.arange(len(data))
    step, mine = place // recipe.batch_size, ranks.share(place % recipe.batch_size)
    whole, own = step.bincount(), step[mine].bincount(minlength=int(step[-1]) + 1)
    by_image, by_step = (order, mine), (own, whole.float().to(device))
    pieces = [each.split(STEPS_AHEAD * recipe.batch_size) for each in by_image]
    pieces += [each.split(STEPS_AHEAD) for each in by_step]
    for rows, mine, own, whole in zip(*pieces, strict=True):
        numbers = draw(len(rows), generator)[:, mine] if augmentation.is_on() else None
        rows = rows[mine].to(device)
        pixels = pixels_of(data.images.index_select(0, rows))
        if numbers is not None and len(rows):
            pixels = distort(pixels, augmentation, numbers)
        labels = data.labels.index_select(0, rows).long()
        yield Piece(pixels, goals.index_select(0, rows), labels, own.tolist(), whole)


def _made_ahead(pieces: Iterator[Piece]) -> Iterator[Piece]:
    """The same pieces; while one is used, a second thread makes the next."""
    with ThreadPoolExecutor(max_workers=1) as second:
        coming = second.submit(next, pieces, None)
        while (piece := coming.result()) is not None:
            coming = second.submit(next, pieces, None)
            yield piece


def _one_epoch(
    network: nn.Module,
    optimizer: Adam,
    pieces: Iterator[Piece],
    images: int,
    recipe: Recipe,
    distillation: Distillation | None,
    epoch: int,
    ranks: Ranks,
) -> float:
    """Step through the pieces of an epoch of `images` images; returns their mean loss."""
    layers = backpropagation(network.train())
    step, total = 0, 0.0
    steps = math.ceil(images / recipe.batch_size)
    with (
        torch.inference_mode(),  # no bookkeeping for autograd, which ByAutograd switches on for itself
        tqdm(
            total=steps, desc=f"epoch {epoch}", unit="step", disable=None if ranks.is_first else True, leave=False
        ) as bar,
    ):
        while step < steps:
            piece = next(pieces)
            outputs = []
            parts = piece.pixels.split(piece.own), piece.goals.split(piece.own), piece.whole.unbind()
            for pixels, goals, whole in zip(*parts, strict=True):
                logits = layers.forward(pixels)
                layers.backward(_gradient(logits, goals, distillation, whole))
                ranks.add(optimizer.gradient)
                optimizer.step(learning_rate(recipe, (epoch - 1 + (step + 0.5) / steps) / recipe.epochs))
                outputs.append(logits)
                step += 1
            losses = functional.cross_entropy(torch.cat(outputs), piece.labels, reduction="none").cpu()
            loss = ranks.add(losses.double().sum()).item()
            if not math.isfinite(loss):
                wrong = torch.stack([~each.isfinite().all() for each in losses.split(piece.own)])
                first = int(ranks.add(wrong.int()).nonzero()[0])
                raise ranks.told(_not_finite(recipe, epoch, step - len(outputs) + first + 1))
            total += loss
            bar.update(len(outputs))
    return total / images


def _not_finite(recipe: Recipe, epoch: int, step: int) -> Failure:
    return Failure(
        f"the loss is not finite in epoch {epoch}, step {step}; lower learning_rate ({recipe.learning_rate}), "
        "or look at warm_up and batch_size; no checkpoint was written"
    )
