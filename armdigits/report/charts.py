"""Charts of the report, as SVG to be inlined into HTML, for light and dark mode.

matplotlib draws with the light colours of PALETTE; in its SVG each of them becomes a CSS variable, `var(--name)`. Text
stays text, so that it takes the page's font. Every chart is 360 units wide, about the width of a phone.
"""

import math
import re
from collections.abc import Mapping, Sequence
from html import escape

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from armdigits.report.figures import COLORS, save, use_log_axis

PALETTE = {  # for each CSS variable the colour in light and in dark mode; no two light ones are equal
    "eager": (COLORS["eager"], "#8b94a3"),
    "fp32": (COLORS["fp32"], "#74a5ff"),
    "int8": (COLORS["int8"], "#ff9a4a"),
    "right": ("#2563ca", "#3f74d6"),
    "wrong": ("#d9660c", "#e07a26"),
    "ink": ("#1b1d21", "#e9eaee"),
    "muted": ("#646b76", "#9ba3b0"),
    "grid": ("#e4e5e8", "#2d323b"),
    "empty": ("#f0f1f3", "#23272e"),
    "card": ("#ffffff", "#1b1e24"),
    "page": ("#f6f6f4", "#121418"),
    "bad": ("#b3261e", "#ff8a80"),
    "on-dark": ("#fffffe", "#fffffe"),
}
LIGHT = {name: light for name, (light, _) in PALETTE.items()}
# The other series are drawn in ink.
SERIES = {"train": LIGHT["fp32"], "validation": LIGHT["int8"], "this run": LIGHT["int8"], **COLORS}
NUMBERED = 20  # classes of a confusion matrix that shows its numbers
LONGEST = 12  # characters of a class's name beside a chart
STYLE = {
    "axes.axisbelow": True,
    "axes.edgecolor": LIGHT["grid"],
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.labelcolor": LIGHT["muted"],
    "axes.spines.left": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.facecolor": "none",
    "font.size": 11,
    "grid.color": LIGHT["grid"],
    "legend.frameon": False,
    "legend.labelcolor": LIGHT["muted"],
    "svg.fonttype": "none",
    "text.parse_math": False,
    "text.color": LIGHT["ink"],
    "xtick.color": LIGHT["muted"],
    "xtick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.color": LIGHT["muted"],
    "ytick.major.size": 0,
}


@mpl.rc_context(STYLE)
def curves(title: str, series: Mapping[str, Sequence[float]], epochs: Sequence[float], percent: bool) -> str:
    """A curve for each series over the epochs, with a disc at its end; `percent` shows shares as percentages.

    A series may be shorter than `epochs`.
    """
    figure, axes = _axes(height=220)
    for name, values in series.items():
        color = SERIES.get(name, LIGHT["ink"])
        axes.plot(epochs[: len(values)], values, color=color, linewidth=2, label=name)
        axes.plot(epochs[len(values) - 1], values[-1], "o", color=color, markersize=6, clip_on=False)
    axes.grid(visible=False, axis="x")
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(lambda tick, _: f"{tick * 100:.6g} %" if percent else f"{tick:.6g}")
    if not percent:
        axes.set_ylim(bottom=0)
    figure.legend(loc="outside upper left", ncols=len(series))
    return _svg(figure, title)


@mpl.rc_context(STYLE)
def confusion_matrix(title: str, counts: Sequence[Sequence[int]], names: Sequence[str]) -> str:
    """The matrix counts[actual][predicted]: correct predictions in one colour, mistakes in another, deeper for more.

    With more classes than `NUMBERED`, there is no room for the numbers.
    """
    size = range(len(counts))
    numbered = len(counts) <= NUMBERED
    correct = max(counts[label][label] for label in size)
    wrong = max((counts[row][column] for row in size for column in size if row != column), default=0)
    figure, axes = _axes(height=350)
    for row in size:
        for column in size:
            if numbered:
                _cell(axes, row, column, LIGHT["empty"])
            if count := counts[row][column]:
                most, color = (correct, LIGHT["right"]) if row == column else (wrong, LIGHT["wrong"])
                strength = 0.85 * math.sqrt(count / most)  # the root keeps a single mistake visible beside thirty
                _cell(axes, row, column, color, strength)
                shade = LIGHT["on-dark"] if row == column and strength > 0.7 else LIGHT["ink"]
                if numbered:
                    font = min(9.5, 110 / len(counts))
                    axes.text(column, row, str(count), ha="center", va="center_baseline", fontsize=font, color=shade)
    axes.set(aspect="equal", xlim=(-0.5, len(counts) - 0.5), ylim=(len(counts) - 0.5, -0.5))
    shown = [_shortened(name) for name in names]
    axes.set_xticks(size, shown, rotation=0 if max(map(len, shown)) <= 2 and numbered else 90)
    axes.set_yticks(size, shown)
    axes.set_xlabel("predicted", labelpad=8)
    axes.set_ylabel("shown")
    axes.xaxis.set_label_position("top")
    font = min(11, 260 / len(counts))
    axes.tick_params(top=False, labeltop=True, labelbottom=False, labelcolor=LIGHT["ink"], labelsize=font)
    axes.spines[:].set_visible(False)
    axes.grid(visible=False)
    return _svg(figure, title)


def _cell(axes: Axes, row: int, column: int, color: str, alpha: float = 1.0) -> None:
    axes.add_patch(Rectangle((column - 0.46, row - 0.46), 0.92, 0.92, color=color, alpha=alpha, linewidth=0))


@mpl.rc_context(STYLE)
def percentiles(title: str, rows: Mapping[str, tuple[float, float, float]], unit: str) -> str:
    """For each row a line over three ascending percentiles > 0 on a logarithmic axis: a disc, then two bars."""
    figure, axes = _rows(rows, {name: f"{first:.3g}" for name, (first, *_) in rows.items()})
    for at, (name, (first, second, third)) in enumerate(rows.items()):
        color = SERIES.get(name, LIGHT["ink"])
        axes.hlines(at, first, third, color=color, alpha=0.35, linewidth=4)
        axes.plot([second, third], [at, at], "|", color=color, markersize=9, markeredgewidth=2, clip_on=False)
        axes.plot(first, at, "o", color=color, markersize=8, clip_on=False)
    low, high = min(first for first, *_ in rows.values()) / 1.2, max(third for *_, third in rows.values()) * 1.2
    use_log_axis(axes, low, high)
    axes.set_xlabel(unit)
    return _svg(figure, title)


@mpl.rc_context(STYLE)
def intervals(title: str, rows: Mapping[str, tuple[float, float, float]]) -> str:
    """For each row (low, middle, high): a disc with its interval, beside a dashed line at 1."""
    figure, axes = _rows(rows, {name: f"{middle:.3f}" for name, (_, middle, _) in rows.items()})
    axes.axvline(1, color=LIGHT["muted"], linestyle=(0, (3, 3)), linewidth=1.5)
    for at, (low, middle, high) in enumerate(rows.values()):
        axes.hlines(at, low, high, color=LIGHT["fp32"], alpha=0.35, linewidth=5)
        axes.plot(middle, at, "o", color=LIGHT["fp32"], markersize=6)
    axes.set_xlim(0, max(1.1, *(high * 1.05 for *_, high in rows.values())))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    return _svg(figure, title)


@mpl.rc_context(STYLE)
def bars(title: str, rows: Mapping[str, float | None], unit: str, lowest: float = 0.0) -> str:
    """For each row a bar from `lowest` to its value, and the value; where that is None, "n/a" and no bar."""
    values = [lowest if value is None else value for value in rows.values()]
    figure, axes = _axes(height=28 * len(rows) + 8)
    highest = max(values) if max(values) > lowest else lowest + 1
    axes.barh(range(len(rows)), highest - lowest, left=lowest, height=0.36, color=LIGHT["empty"])
    axes.barh(range(len(rows)), [value - lowest for value in values], left=lowest, height=0.36, color=LIGHT["int8"])
    axes.set(xlim=(lowest, highest), xticks=[], ylim=(len(rows) - 0.5, -0.5))
    axes.set_yticks(range(len(rows)), labels=[_shortened(name) for name in rows], color=LIGHT["ink"])
    scale = axes.secondary_yaxis("right")
    labels = ["n/a" if value is None else f"{value:.1f} {unit}" for value in rows.values()]
    scale.set_yticks(range(len(rows)), labels=labels)
    scale.spines[:].set_visible(False)
    axes.spines[:].set_visible(False)
    axes.grid(visible=False)
    return _svg(figure, title)


def _shortened(name: str) -> str:
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"


def _axes(height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(360 / 72, height / 72), layout="constrained")
    return figure, figure.subplots()


def _rows(names: Mapping[str, object], values: Mapping[str, str]) -> tuple[Figure, Axes]:
    """Axes with a row for each name, at 0, 1, ... downwards; over each row its name and value."""
    figure, axes = _axes(height=40 * len(names) + 42)
    for at, name in enumerate(names):
        label = f"{name.replace('_', ' ')} {values[name]}"
        axes.text(0, at - 0.2, label, transform=axes.get_yaxis_transform(), va="bottom", fontweight="bold")
    axes.set(ylim=(len(names) - 0.6, -0.7), yticks=[])
    return figure, axes


def _svg(figure: Figure, title: str) -> str:
    """The figure as a deterministic SVG element for HTML: colours as CSS variables, size and font left to the page."""
    with mpl.rc_context({"svg.hashsalt": title}):  # the identifiers of two charts on a page differ
        metadata = {"Creator": None, "Date": None, "Format": None, "Type": None}
        text = save(figure, format="svg", metadata=metadata).decode()
    content = text[text.index("<g id=") :]  # skip the style sheet before it, which would apply to the entire page
    content = re.sub(r' id="[\w.]+_\d+"', "", content)  # figure_1, axes_1, ... occur in every chart
    content = re.sub(r" ?font-family: [^;\"]+;?", "", content)
    for name, (light, _) in PALETTE.items():
        content = content.replace(light, f"var(--{name})")
    width, height = figure.get_size_inches() * 72
    return f'<svg role="img" viewBox="0 0 {width:g} {height:g}"><title>{escape(title)}</title>{content}'
