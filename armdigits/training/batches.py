"""Training images in batches: shuffled, augmented, and prefetched in a second thread."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from armdigits.core.parameters import Augmentation, Recipe
from armdigits.data.dataset import Split, pixels_of
from armdigits.training.augmentation import draw, transform
from armdigits.training.processes import SINGLE, Group

CHUNK_STEPS = 128  # steps per chunk: larger chunks need more memory, smaller ones interrupt training more often
ORDER, DROPOUT = range(2)  # streams of random numbers; rank r uses stream DROPOUT + r


class Batch(NamedTuple):
    """Images float32 [N, C, H, W], labels int64 [N], the teacher's logits float32 [N, classes] or None."""

    images: Tensor
    labels: Tensor
    teacher_logits: Tensor | None


class Chunk(NamedTuple):
    """The images of some steps, as in `Batch`, and how many each step takes."""

    images: Tensor
    labels: Tensor
    teacher_logits: Tensor | None
    batch_size: int

    def batches(self) -> Iterator[Batch]:
        """The batches, in order; the last one of an epoch may be smaller."""
        images, labels = self.images.split(self.batch_size), self.labels.split(self.batch_size)
        teacher = repeat(None) if self.teacher_logits is None else self.teacher_logits.split(self.batch_size)
        return map(Batch, images, labels, teacher)


def epoch_seed(seed: int, epoch: int, stream: int) -> int:
    """A seed for each epoch and purpose. torch's CPU generator uses 32 bits of a seed."""
    return int(np.random.SeedSequence((seed, epoch, stream)).generate_state(1)[0])


def chunks_of_epoch(
    data: Split,
    teacher_logits: Tensor | None,
    recipe: Recipe,
    augmentation: Augmentation,
    epoch: int,
    group: Group = SINGLE,
    mean: Tensor | None = None,
) -> Iterator[Chunk]:
    """The training images of an epoch, shuffled, augmented, and minus the image `mean`, on the device of `data`.

    Each rank gets an equal share of every batch, and all ranks draw the same random numbers. If the last batch cannot
    be shared equally, its last images, up to `world_size` - 1, are left out; they differ from epoch to epoch.

    This code runs in the second thread and competes with the training step for Python's interpreter lock, so it loops
    over chunks, never over steps.
    """
    generator = torch.Generator().manual_seed(epoch_seed(recipe.seed, epoch, ORDER))
    order = torch.randperm(len(data), generator=generator)
    ranges = augmentation.in_epoch(epoch, recipe.epochs)
    for chunk in order.split(CHUNK_STEPS * recipe.batch_size):
        left_out = len(chunk) % recipe.batch_size % group.world_size
        share = slice(group.rank, len(chunk) - left_out, group.world_size)
        numbers = draw(len(chunk), ranges, generator)[:, share] if augmentation.is_on() else None
        rows = chunk[share].to(data.images.device)
        if not len(rows):
            continue
        images = pixels_of(data.images.index_select(0, rows))
        if numbers is not None:
            images = transform(images, ranges, numbers)
        if mean is not None:
            images -= mean
        teacher = None if teacher_logits is None else teacher_logits.index_select(0, rows)
        labels = data.labels.index_select(0, rows).long()
        yield Chunk(images, labels, teacher, recipe.batch_size // group.world_size)


def prefetch(chunks: Iterator[Chunk]) -> Iterator[Chunk]:
    """The same chunks; while one is used, a second thread computes the next."""
    with ThreadPoolExecutor(max_workers=1) as thread:
        upcoming = thread.submit(next, chunks, None)
        while (chunk := upcoming.result()) is not None:
            upcoming = thread.submit(next, chunks, None)
            yield chunk
