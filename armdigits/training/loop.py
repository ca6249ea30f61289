"""The training loop, for the model and for the teacher.

All images are on the device, as uint8. Every random number is determined by the seed and the epoch, and each generator
is used by one thread only, so timing does not affect the result, and a resumed training ends with the same bytes.
"""

import ctypes
import math
from collections.abc import Callable, Iterator
from itertools import chain

import torch
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from armdigits.core.errors import Failure
from armdigits.core.parameters import Augmentation, Recipe, Train
from armdigits.core.records import Epoch
from armdigits.data.dataset import Split
from armdigits.models.scoring import accuracy, cross_entropy, model_logits
from armdigits.training.batches import DROPOUT, Chunk, chunks_of_epoch, epoch_seed, prefetch
from armdigits.training.centring import can_be_centred, centred_inputs, mean_image
from armdigits.training.loss import Distillation
from armdigits.training.processes import SINGLE, Group
from armdigits.training.snapshots import Snapshots
from armdigits.training.step import Step
from armdigits.training.step_choice import choose_step

FIRST_RATE = 0.04  # of the one-cycle schedule, as a share of the peak


def train(
    model: nn.Module,
    train_data: Split,
    validation_data: Split,
    recipe: Recipe,
    augmentation: Augmentation,
    distillation: Distillation | None = None,
    snapshots: Snapshots | None = None,
    group: Group = SINGLE,
    make_step: Callable[[nn.Module, Distillation | None, Group, Recipe], Step] = choose_step,
) -> Iterator[Epoch]:
    """Train `model` in place, on its device, and yield the history row by row.

    With `snapshots`, a training that was interrupted resumes after its last complete epoch, and yields the epochs
    before it again. With several ranks, only rank 0 has snapshots, validates, and yields. With `train.centre`, the
    steps of a model that begins with a linear layer get images minus the mean image (centring.py); the model that is
    validated, saved and left takes plain images. `make_step` makes the step.

    Raises:
        Failure: the loss is not finite, another rank is gone, or the optimizer's state does not fit into a snapshot.
    """
    _keep_freed_memory()
    device = next(model.parameters()).device
    train_data, validation_data = train_data.to(device), validation_data.to(device)
    pixels, targets = validation_data.pixels(), validation_data.targets()
    teacher_logits = distillation.teacher_logits.to(device) if distillation else None
    centre = isinstance(recipe, Train) and recipe.centre and can_be_centred(model)
    mean = mean_image(train_data.images) if centre else None
    step = make_step(model, distillation, group, recipe)
    state = {**model.state_dict(), **step.state()}
    history = snapshots.restore(state) if snapshots else []
    yield from history

    completed = _completed_epochs(state, history, group)
    if completed:
        step.resume(state)
    epochs = range(completed + 1, recipe.epochs + 1)
    each_epoch = (chunks_of_epoch(train_data, teacher_logits, recipe, augmentation, n, group, mean) for n in epochs)
    chunks = prefetch(chain.from_iterable(each_epoch))
    for epoch in epochs:
        torch.manual_seed(epoch_seed(recipe.seed, epoch, DROPOUT + group.rank))
        model.train()
        with centred_inputs(model, mean):
            train_loss = _train_one_epoch(step, chunks, len(train_data), recipe, epoch, group)
        if group.rank != 0:
            continue
        logits = model_logits(model, pixels)
        loss, share = cross_entropy(logits, targets), accuracy(logits, targets)
        row = Epoch(epoch=epoch, train_loss=train_loss, validation_loss=loss, validation_accuracy=share)
        history.append(row)
        if snapshots:
            snapshots.save({**model.state_dict(), **step.state()}, history)
        yield history[-1]


def learning_rate(recipe: Recipe, progress: float) -> float:
    """The rate after a share `progress` of all steps.

    `one_cycle` rises from 4 % to the peak and falls to 0, each along half a cosine wave (L. Smith, N. Topin, 2018).
    """
    if recipe.schedule == "constant":
        return recipe.learning_rate
    if progress < recipe.warm_up:
        rise = (1 - math.cos(math.pi * progress / recipe.warm_up)) / 2
        return recipe.learning_rate * (FIRST_RATE + (1 - FIRST_RATE) * rise)
    return recipe.learning_rate * (1 + math.cos(math.pi * (progress - recipe.warm_up) / (1 - recipe.warm_up))) / 2


def _train_one_epoch(
    step: Step, chunks: Iterator[Chunk], images: int, recipe: Recipe, epoch: int, group: Group
) -> float:
    """Take the steps of an epoch of `images` images; returns their mean cross-entropy with the labels."""
    images -= images % recipe.batch_size % group.world_size  # see `chunks_of_epoch`
    steps, done = math.ceil(images / recipe.batch_size), 0
    total = torch.zeros((), dtype=torch.float64)
    disable = None if group.rank == 0 else True  # None: a bar on a terminal only
    with tqdm(total=steps, desc=f"epoch {epoch}", unit="step", disable=disable, leave=False) as bar:
        while done < steps:
            chunk, outputs = next(chunks), []
            for batch in chunk.batches():
                rate = learning_rate(recipe, (epoch - 1 + (done + 0.5) / steps) / recipe.epochs)
                outputs.append(step(*batch, rate))
                done += 1
            losses = functional.cross_entropy(torch.cat(outputs), chunk.labels, reduction="none").cpu()
            if not losses.isfinite().all():
                first = int((~losses.isfinite()).nonzero()[0]) // chunk.batch_size
                raise _not_finite(recipe, epoch, done - len(outputs) + first + 1)
            total += losses.double().sum()
            bar.update(len(outputs))
    return group.all_reduce(total).item() / images


def _completed_epochs(state: dict[str, Tensor], history: list[Epoch], group: Group) -> int:
    """How many epochs rank 0 has restored; the other ranks receive its `state`."""
    completed = torch.tensor(len(history))
    for tensor in (*state.values(), completed):
        group.broadcast(tensor)
    return int(completed)


def _not_finite(recipe: Recipe, epoch: int, step: int) -> Failure:
    return Failure(
        f"the loss is not finite in epoch {epoch}, step {step}; lower learning_rate ({recipe.learning_rate}), "
        "or check warm_up and batch_size; no checkpoint was written"
    )


def _keep_freed_memory() -> None:
    """Have glibc keep freed memory for the next chunk, instead of returning it to the kernel and asking for it again.

    Page faults stall all threads and made an epoch 10 % slower. With other C libraries this does nothing.
    """
    if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):
        for option in (-1, -3):  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD (malloc.h)
            mallopt(option, 2**30)
