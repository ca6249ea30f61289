"""What more processes gain: one and two on this machine, and projected to 8, 64 and 512 with a network between them.

    python -m armdigits.training.launch --nproc-per-node 2 -m benchmarks.scaling         (5 minutes; it needs no data)

The training loop takes steps on random images, with models of 0.1 to 100 million parameters: the hidden layers are
widened. In each turn rank 0 takes its steps alone while the other rank waits, then both share the same batches. A
ratio is taken within a turn. A wide model takes a few steps, not an epoch. The second table is calculated and not
measured, see benchmarks/projection.py. Rank 0 prints; nothing is written.
"""

import statistics
import time
from datetime import timedelta
from functools import partial

import torch
from torch import Tensor, nn

from armdigits.core.errors import BadInput, exit_on_failure
from armdigits.core.parameters import Recipe, Train
from armdigits.data.dataset import Split
from armdigits.measure import host
from armdigits.models.mlp import NeuralNetwork
from armdigits.report.tables import markdown
from armdigits.training import processes
from armdigits.training.loop import train
from armdigits.training.loss import Distillation
from armdigits.training.processes import SINGLE, Group
from armdigits.training.step_choice import choose_step
from benchmarks.data import NO_AUGMENTATION, noise
from benchmarks.projection import PROJECTED_BATCH, Row, milliseconds, projection

BATCH, LARGE_BATCH = 32, 128  # images per step
STEPS = {1: 1500, 5: 300, 19: 30, 62: 3}  # timed steps, by the factor by which the hidden layers are widened
WARM_UP = 2  # steps
IMAGES = (60_000, 600_000)
TURNS = 3
COMMAND = "python -m armdigits.training.launch --nproc-per-node 2 -m benchmarks.scaling"
HEADER = (
    "parameters", "images", "1 process, images/s", "2 processes, images/s", "speed-up", "efficiency",
    "step of 1, ms", "all-reduce, ms",
)  # fmt: skip


class EnoughSteps(Exception):
    """Ends a training."""


class TimedGroup(Group):
    """A group that times its all-reduces."""

    def __init__(self, group: Group) -> None:
        super().__init__(group.rank, group.world_size)
        self.seconds: list[float] = []

    def all_reduce(self, tensor: Tensor) -> Tensor:
        """See `Group`."""
        start = time.perf_counter()
        super().all_reduce(tensor)
        self.seconds.append(time.perf_counter() - start)
        return tensor


class TimedStep:
    """A step that appends the time of its end to `ends`; it has one all-reduce, of the entire gradient."""

    def __init__(
        self,
        model: nn.Module,
        distillation: Distillation | None,
        group: Group,
        recipe: Recipe,
        ends: list[float],
        steps: int,
    ) -> None:
        """The training ends after `steps` steps."""
        self._step, self._ends, self._steps = choose_step(model, distillation, group, recipe), ends, steps
        self.state, self.resume = self._step.state, self._step.resume

    def __call__(self, images: Tensor, labels: Tensor, teacher_logits: Tensor | None, learning_rate: float) -> Tensor:
        """See `Step`."""
        logits = self._step(images, labels, teacher_logits, learning_rate)
        self._ends.append(time.perf_counter())
        if len(self._ends) == self._steps:
            raise EnoughSteps
        return logits


def widened(factor: int) -> nn.Module:
    """The model with hidden layers `factor` times as wide."""
    if factor == 1:
        return NeuralNetwork(dropout=0.0)
    first, second = 96 * factor, 256 * factor
    hidden = nn.Linear(784, first), nn.ReLU(), nn.Identity(), nn.Linear(first, second), nn.ReLU(), nn.Identity()
    return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(second, 10))


def timed(model: nn.Module, data: Split, batch: int, steps: int, group: Group) -> tuple[float, float]:
    """Seconds of the average step and of the median all-reduce, over `steps` steps, or as many as an epoch has."""
    recipe = Train(
        epochs=1, batch_size=batch, optimizer="adam", weight_decay=0, momentum=0, learning_rate=0.001,
        schedule="constant", warm_up=0, seed=1, threads=1, centre=False, first_layer_scale=1, dropout=0,
        teacher_weight=0, temperature=1, processes=group.world_size,
    )  # fmt: skip
    steps = min(steps, len(data) // batch - WARM_UP - 1)
    timed_group, ends = TimedGroup(group), list[float]()
    make_step = partial(TimedStep, ends=ends, steps=WARM_UP + 1 + steps)
    glance = data[torch.arange(10)]
    try:
        list(train(model, data, glance, recipe, NO_AUGMENTATION, group=timed_group, make_step=make_step))
    except EnoughSteps:
        return (ends[-1] - ends[WARM_UP]) / steps, statistics.median(timed_group.seconds[WARM_UP:])
    raise AssertionError("an epoch has fewer steps")


def cells(row: Row) -> list[str]:
    """What was measured, as a line of the table."""
    speed_up = statistics.median(one / two for one, two in zip(row.one, row.two, strict=True))
    return [
        f"{row.parameters / 1e6:.1f} M",
        f"{row.images:,}",
        f"{BATCH / statistics.median(row.one):,.0f}",
        f"{BATCH / statistics.median(row.two):,.0f}",
        f"{speed_up:.2f}",
        f"{50 * speed_up:.0f} %",
        milliseconds(statistics.median(row.one)),
        milliseconds(statistics.median(row.all_reduce)),
    ]


def measure(group: Group, factors: dict[int, int], sizes: tuple[int, ...], turns: int) -> list[Row]:
    """Let one process and two take turns; returns the rows, of which rank 0's are complete."""
    rows = []
    for images in sizes:
        data = noise(images)
        for factor, steps in factors.items():
            model = widened(factor)
            row = Row(sum(parameter.numel() for parameter in model.parameters()), images)
            for _ in range(turns):
                if group.rank == 0:
                    row.one.append(timed(model, data, BATCH, steps, SINGLE)[0])
                    row.one_large.append(timed(model, data, LARGE_BATCH, steps, SINGLE)[0])
                group.all_reduce(torch.zeros(1))  # the other rank waits here
                step_s, all_reduce_s = timed(model, data, BATCH, steps, group)
                row.two.append(step_s)
                row.all_reduce.append(all_reduce_s)
            rows.append(row)
    return rows


def latency(group: Group, calls: int = 300) -> float:
    """Seconds of the median all-reduce of one number."""
    timed_group = TimedGroup(group)
    for _ in range(calls):
        timed_group.all_reduce(torch.zeros(1))
    return statistics.median(timed_group.seconds)


def main(factors: dict[int, int] = STEPS, sizes: tuple[int, ...] = IMAGES, turns: int = TURNS) -> None:
    """Measure with two ranks; rank 0 prints the tables."""
    if processes.world_size() != 2:
        raise BadInput(f"expected 2 processes; run: {COMMAND}")
    torch.set_num_threads(1)
    processes.TIMEOUT = timedelta(minutes=10)  # the second rank waits while the first one measures
    with processes.join(torch.device("cpu")) as group:
        rows = measure(group, factors, sizes, turns)
        all_reduce_s = latency(group)
    if group.rank != 0:
        return
    machine = {**host.identify(), **host.conditions()}
    print("{cpu} ({arch}), {cores} cores, load {load}, torch {torch}, Python {python}".format(**machine))
    print(f"batches of {BATCH}, 1 thread per process, gloo over loopback, median of {turns} turns")
    print(f"an all-reduce of one number takes {1e6 * all_reduce_s:.0f} µs; efficiency is speed-up / 2\n")
    print(markdown(HEADER, map(cells, rows), left=0))
    print(f"\nProjected: batches of {PROJECTED_BATCH} images for all ranks together; speed-up over one process\n")
    smallest = [row for row in rows if row.images == sizes[0]]
    print(markdown(*projection(smallest, BATCH, LARGE_BATCH), left=0))


if __name__ == "__main__":
    with exit_on_failure("scaling"):
        main()
