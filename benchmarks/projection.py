"""A model of training on many machines, from steps that were measured on one.

A step takes a fixed time (the optimizer, the calls) and a time per image, both estimated from two batch sizes. A
ring all-reduce of n ranks sends 2 (n - 1) / n of the gradient over each link in 2 (n - 1) messages (P. Patarasuk,
X. Yuan, J. Parallel Distrib. Comput. 69, 2009). Computing and sending do not overlap.
"""

import statistics
from dataclasses import dataclass, field

RANKS = (8, 64, 512)
PROJECTED_BATCH = 512  # images per step, over all ranks
LINKS = {"10 Gbit/s, 50 µs": (10e9 / 8, 50e-6), "100 Gbit/s, 5 µs": (100e9 / 8, 5e-6)}  # bytes per second, seconds
FLOAT32_BYTES = 4


@dataclass
class Row:
    """What was measured with one model and one number of images: seconds, a value per turn.

    Attributes:
        parameters: of the model.
        images: of the data set.
        one: a step of one process.
        one_large: a step of one process with a larger batch.
        two: a step of two processes.
        all_reduce: the all-reduce in it.
    """

    parameters: int
    images: int
    one: list[float] = field(default_factory=list)
    one_large: list[float] = field(default_factory=list)
    two: list[float] = field(default_factory=list)
    all_reduce: list[float] = field(default_factory=list)


def compute_s(row: Row, ranks: int, batch: int, large_batch: int) -> float:
    """Seconds that a rank computes in a step of PROJECTED_BATCH images; `row` has batches of the two sizes."""
    small, large = statistics.median(row.one), statistics.median(row.one_large)
    per_image = max(0.0, (large - small) / (large_batch - batch))
    return max(0.0, small - batch * per_image) + per_image * PROJECTED_BATCH / ranks


def all_reduce_s(row: Row, ranks: int, bandwidth: float, latency: float) -> float:
    """Seconds of an all-reduce of the gradient over links of `bandwidth` bytes per second and `latency` seconds."""
    sent = 2 * (ranks - 1) / ranks * FLOAT32_BYTES * row.parameters
    return sent / bandwidth + 2 * (ranks - 1) * latency


def projection(rows: list[Row], batch: int, large_batch: int) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a table: for each model and number of ranks, times and speed-up over one process."""
    header = ["parameters", "ranks", "compute, ms"]
    header += [f"{what} ({link})" for link in LINKS for what in ("all-reduce, ms", "speed-up")]
    table = []
    for row in rows:
        single = compute_s(row, 1, batch, large_batch)
        for ranks in RANKS:
            compute = compute_s(row, ranks, batch, large_batch)
            cells = []
            for bandwidth, latency in LINKS.values():
                exchange = all_reduce_s(row, ranks, bandwidth, latency)
                cells += [milliseconds(exchange), f"{single / (compute + exchange):.2g}"]
            table.append([f"{row.parameters / 1e6:.1f} M", str(ranks), milliseconds(compute), *cells])
    return header, table


def milliseconds(seconds: float) -> str:
    """Milliseconds with three significant digits."""
    return f"{1000 * seconds:,.0f}" if seconds >= 0.1 else f"{1000 * seconds:.3g}"
