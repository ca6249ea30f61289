"""What more processes bring: one and two on this machine, and on paper 8, 64 and 512 with a network between them.

    python -m benchmarks.scaling         (make bench-scaling; it needs no data)

The training loop of this project steps through noise, on networks of 0.1 to 100 million parameters: the hidden layers
are widened, the first one is the project's own. Two ranks are started once; in each turn rank 0 steps alone while the
other waits, then both step together on halves of the same batches. A ratio is taken within a turn. A wide network makes
a few steps, not an epoch. The last table is a model and no measurement: the step of one process, measured with batches
of two sizes, and a ring all-reduce (P. Patarasuk, X. Yuan, J. Parallel Distrib. Comput. 69, 2009), which sends
2 (n - 1) / n of the gradient over each link in 2 (n - 1) messages. Prints, and writes nothing.
"""

import statistics
import time
from dataclasses import dataclass, field
from datetime import timedelta

import torch
from torch import Tensor, nn

from armdigits import host, ranks
from armdigits.dataset import Split
from armdigits.errors import reported
from armdigits.model import NeuralNetwork
from armdigits.parameters import Train
from armdigits.ranks import ALONE, Ranks
from armdigits.training import train
from benchmarks.resume import noise
from benchmarks.training import OFF

BATCH, LARGE_BATCH = 32, 128  # images a step
STEPS = {1: 1500, 5: 300, 19: 30, 62: 3}  # that are timed, by how many times wider the hidden layers are
WARM_UP = 2  # steps
IMAGES = (60_000, 600_000)
TURNS = 3

RANKS = (8, 64, 512)
PAPER_BATCH = 512  # images a step, of all ranks together
LINKS = {"10 Gbit/s, 50 µs": (10e9 / 8, 50e-6), "100 Gbit/s, 5 µs": (100e9 / 8, 5e-6)}  # bytes a second, seconds


class Enough(Exception):
    """Ends a training."""


class Clock(Ranks):
    """Ranks that time the steps, and in each the exchange of the gradient, and end the training after enough."""

    def __init__(self, group: Ranks, steps: int) -> None:
        super().__init__(group.rank, group.count)
        self._steps = steps
        self.ends: list[float] = []  # of the exchanges, in seconds
        self.exchanges: list[float] = []  # seconds

    def add(self, tensor: Tensor) -> Tensor:
        """See `Ranks`; called once a step, with the gradient."""
        start = time.perf_counter()
        super().add(tensor)
        self.ends.append(time.perf_counter())
        self.exchanges.append(self.ends[-1] - start)
        if len(self.ends) > self._steps + WARM_UP:
            raise Enough
        return tensor

    def step_s(self) -> float:
        """Seconds a step, on average."""
        return (self.ends[-1] - self.ends[WARM_UP]) / self._steps

    def exchange_s(self) -> float:
        """Seconds of the median exchange."""
        return statistics.median(self.exchanges[WARM_UP:])


def widened(factor: int) -> nn.Module:
    """The network with hidden layers `factor` times as wide."""
    if factor == 1:
        return NeuralNetwork(dropout=0.0)
    first, second = 96 * factor, 256 * factor
    layers = nn.Linear(784, first), nn.ReLU(), nn.Linear(first, second), nn.ReLU(), nn.Linear(second, 10)
    return nn.Sequential(nn.Flatten(), *layers)


def timed(network: nn.Module, data: Split, batch: int, steps: int, group: Ranks) -> Clock:
    """The clock after `steps` steps of the training loop, or as many as an epoch has."""
    recipe = Train(
        epochs=1, batch_size=batch, learning_rate=0.001, schedule="constant", warm_up=0, seed=1, threads=1,
        dropout=0, teacher_weight=0, temperature=1, processes=group.count, device="cpu",
    )  # fmt: skip
    clock = Clock(group, min(steps, len(data) // batch - WARM_UP - 1))
    try:
        list(train(network, data, data[torch.arange(10)], recipe, OFF, ranks=clock))
    except Enough:
        return clock
    raise AssertionError("an epoch has fewer steps")


def milliseconds(seconds: float) -> str:
    """With three digits that count."""
    return f"{1000 * seconds:,.0f}" if seconds >= 0.1 else f"{1000 * seconds:.3g}"


@dataclass
class Row:
    """What was measured with one network and one number of images: a value a turn."""

    parameters: int
    images: int
    alone: list[float] = field(default_factory=list)  # seconds a step
    large: list[float] = field(default_factory=list)  # seconds a step of LARGE_BATCH images
    two: list[float] = field(default_factory=list)  # seconds a step of two processes
    exchange: list[float] = field(default_factory=list)  # seconds

    def line(self) -> list[str]:
        """Its cells in the table."""
        speed_up = statistics.median(one / two for one, two in zip(self.alone, self.two, strict=True))
        return [
            f"{self.parameters / 1e6:.1f} M",
            f"{self.images:,}",
            f"{BATCH / statistics.median(self.alone):,.0f}",
            f"{BATCH / statistics.median(self.two):,.0f}",
            f"{speed_up:.2f}",
            f"{speed_up / 2:.0%}".replace("%", " %"),
            milliseconds(statistics.median(self.alone)),
            milliseconds(statistics.median(self.exchange)),
        ]


PAPER_COLUMNS = ("all-reduce, ms", "speed-up")
HEADER = [
    "parameters", "images", "1 process, images/s", "2 processes, images/s", "speed-up", "efficiency",
    "step of 1, ms", "all-reduce, ms",
]  # fmt: skip


def measure(group: Ranks, factors: dict[int, int], sizes: tuple[int, ...], turns: int) -> list[Row]:
    """Let one and two processes take turns; rank 0 gets the rows."""
    rows = []
    for images in sizes:
        data = noise(images)
        for factor, steps in factors.items():
            network = widened(factor)
            row = Row(sum(parameter.numel() for parameter in network.parameters()), images)
            for _ in range(turns):
                if group.is_first:
                    row.alone.append(timed(network, data, BATCH, steps, ALONE).step_s())
                    row.large.append(timed(network, data, LARGE_BATCH, steps, ALONE).step_s())
                group.gather("your turn")
                both = timed(network, data, BATCH, steps, group)
                row.two.append(both.step_s())
                row.exchange.append(both.exchange_s())
            rows.append(row)
    return rows


def latency(group: Ranks, calls: int) -> float:
    """Seconds of an all-reduce of one number."""
    clock = Clock(group, calls + 1)
    number = torch.zeros(1)
    for _ in range(calls):
        clock.add(number)
    return clock.exchange_s()


def on_paper(row: Row, count: int, bandwidth: float, delay: float) -> tuple[float, float]:
    """Seconds that a rank computes and that it exchanges, in a step of PAPER_BATCH images of `count` ranks.

    A step takes a time of its own (the optimizer, the calls) and a time for each image.
    """
    small, large = statistics.median(row.alone), statistics.median(row.large)
    an_image = max(0.0, (large - small) / (LARGE_BATCH - BATCH))
    compute = max(0.0, small - BATCH * an_image) + an_image * PAPER_BATCH / count
    exchange = 2 * (count - 1) / count * 4 * row.parameters / bandwidth + 2 * (count - 1) * delay
    return compute, exchange if count > 1 else 0.0


def paper_table(rows: list[Row]) -> list[list[str]]:
    """For each network and number of ranks: the times of a rank, and how much faster than one process it is."""
    lines = [["parameters", "ranks", "compute, ms", *(f"{what} ({link})" for link in LINKS for what in PAPER_COLUMNS)]]
    for row in rows:
        alone, _ = on_paper(row, 1, 1, 0)
        for count in RANKS:
            cells = []
            for bandwidth, delay in LINKS.values():
                compute, exchange = on_paper(row, count, bandwidth, delay)
                cells += [milliseconds(exchange), f"{alone / (compute + exchange):.2g}"]
            lines.append([f"{row.parameters / 1e6:.1f} M", str(count), milliseconds(compute), *cells])
    return lines


def markdown(lines: list[list[str]]) -> str:
    """A table of numbers; the first line is its header."""
    header, *rest = lines
    return "\n".join(f"| {' | '.join(line)} |" for line in [header, ["---:"] * len(header), *rest])


def main(factors: dict[int, int] = STEPS, sizes: tuple[int, ...] = IMAGES, turns: int = TURNS) -> None:
    """Start two ranks, or be one of them; rank 0 prints the tables."""
    torch.set_num_threads(1)
    ranks.TIMEOUT = timedelta(minutes=10)  # the second rank waits while the first one measures
    with ranks.joined(torch.device("cpu")) as group:
        rows = measure(group, factors, sizes, turns)
        delay = latency(group, 300)
    if not group.is_first:
        return
    machine = {**host.identify(), **host.conditions()}
    print("{cpu} ({arch}), {cores} cores, load {load}, torch {torch}, Python {python}".format(**machine))
    print(
        f"batches of {BATCH}, 1 thread a process, gloo over loopback, median of {turns} turns; efficiency: speed-up / 2"
    )
    print(f"an all-reduce of one number takes {1e6 * delay:.0f} µs\n")
    print(markdown([HEADER, *(row.line() for row in rows)]))
    print(f"\nOn paper: batches of {PAPER_BATCH} images for all ranks together; speed-up over one process\n")
    print(markdown(paper_table([row for row in rows if row.images == sizes[0]])))


if __name__ == "__main__":
    with reported("scaling benchmark"):
        if not ranks.start("benchmarks.scaling", 2):
            main()
