"""PNG figures that stages write, drawn off screen, without the dates and versions that would change their bytes."""

import io
import math
import warnings
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter
from numpy.typing import NDArray

from armdigits.pictures.shown import shown

mpl.use("agg")
COLUMNS = 8
COLORS = {"eager": "#8b93a0", "fp32": "#2563c9", "int8": "#d9660b"}  # charts.py uses the same


def png(figure: Figure) -> bytes:
    """The figure as a PNG file."""
    return save(figure, format="png", dpi=100, metadata={"Software": None})


def save(figure: Figure, **options: Any) -> bytes:
    """The file that matplotlib writes, without a warning for each letter that its font lacks, as in か."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        figure.savefig(buffer, **options)
    return buffer.getvalue()


def use_log_axis(axes: Axes, low: float, high: float) -> None:
    """Give `axes` a logarithmic x axis from `low` to `high`, with ticks at 1, 2, 5, 10, ... as plain numbers."""
    axes.set(xscale="log", xlim=(low, high))
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < 150 else (1,)))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_locator(NullLocator())


def image_grid(title: str, images: NDArray[np.uint8], captions: list[str], reading: str) -> bytes:
    """A PNG that shows images uint8 [N, C, H, W] in rows of eight, ink dark on light, each over its caption."""
    rows = max(1, math.ceil(len(captions) / COLUMNS))
    figure = Figure(figsize=(COLUMNS * 1.25, rows * 1.6 + 0.6), layout="constrained")
    figure.suptitle(title, parse_math=False)
    longest = max((len(line) for caption in captions for line in caption.splitlines()), default=1)
    for position, axes in enumerate(figure.subplots(rows, COLUMNS, squeeze=False).flat):
        axes.axis("off")
        if position < len(captions):
            axes.imshow(shown(images[position], reading))
            axes.set_title(captions[position], y=-0.3, fontsize=min(9, 160 / longest), parse_math=False)
    return png(figure)


def latency_curves(title: str, latencies: dict[str, dict[str, NDArray[np.float64]]]) -> bytes:
    """A PNG with the distribution of the latencies: for each time, the share of calls that were faster.

    Args:
        title: of the picture.
        latencies: for each panel's title and variant, the durations of the calls in microseconds, in any shape.
    """
    figure = Figure(figsize=(4 * len(latencies), 4), layout="constrained")
    figure.suptitle(title, parse_math=False)
    for axes, (panel, variants) in zip(
        figure.subplots(1, len(latencies), squeeze=False).flat, latencies.items(), strict=True
    ):
        for name, durations in variants.items():
            axes.ecdf(durations.ravel(), color=COLORS.get(name), label=f"{name}, median {np.median(durations):.3g} µs")
        slowest = max(np.percentile(durations, 99.5) for durations in variants.values())
        fastest = min(durations.min() for durations in variants.values())
        use_log_axis(axes, fastest * 0.9, slowest)
        axes.set(title=panel, xlabel="µs per call", ylabel="share of calls")
        axes.grid(alpha=0.3)
        axes.legend(loc="lower right", fontsize=8)
    return png(figure)
