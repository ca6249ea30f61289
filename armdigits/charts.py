"""Charts for web pages, as SVG text. The page's style sheet gives the colours, so that they follow light and dark.

Classes that the style sheet must colour: `grid` (lines), `axis` (text), `strong` (text), and `series-<name>` for each
series. Every chart is 360 units wide, about the width of a phone, and grows with the page.
"""

import math
from collections.abc import Sequence
from html import escape

WIDTH = 360
LEFT, RIGHT = 46, 12


def _svg(height: float, title: str, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:g}" role="img" aria-label="{escape(title)}"><title>{escape(title)}</title>'
        + "".join(parts)
        + "</svg>"
    )


def _text(x: float, y: float, text: str, anchor: str = "middle", style: str = "axis") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{style}">{escape(text)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, style: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{style}"/>'


def round_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """About `count` numbers from `low` to `high`, low < high, that are 1, 2, 2.5 or 5 times a power of ten apart."""
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(number * step, 12) for number in range(first, math.floor(high / step + 1e-9) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    """The numbers 1, 2, 5, 10, ... from `low` to `high`; without the 2 and the 5 where they would crowd."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if math.log10(high / low) < 2.2 else (1,)
    return [tick for power in powers for step in steps if low <= (tick := step * 10.0**power) <= high]


def lines(title: str, series: dict[str, Sequence[float]], x: Sequence[float], x_label: str, percent: bool) -> str:
    """Curves over a common x axis, with the last value of each at its end.

    Args:
        title: for readers who cannot see it.
        series: values by name; the name is the class and the label of the curve.
        x: where the values stand, growing.
        x_label: under the axis.
        percent: show shares as percentages.
    """
    height, top, bottom = 230, 12, 190
    values = [value for curve in series.values() for value in curve]
    low, high = min(values), max(values)
    room = (high - low) * 0.06 or abs(high) * 0.1 or 1.0
    low, high = (low - room, high + room) if percent else (0.0, high + room)
    span = (x[-1] - x[0]) or 1.0

    def across(value: float) -> float:
        return LEFT + (value - x[0]) / span * (WIDTH - LEFT - RIGHT)

    def up(value: float) -> float:
        return bottom - (value - low) / (high - low) * (bottom - top)

    parts = []
    for tick in round_ticks(low, high):
        parts.append(_line(LEFT, up(tick), WIDTH - RIGHT, up(tick), "grid"))
        parts.append(_text(LEFT - 6, up(tick) + 4, f"{tick * 100:g} %" if percent else f"{tick:g}", "end"))
    whole = [tick for tick in round_ticks(x[0], x[0] + span, 6) if tick == int(tick) and tick <= x[-1]]
    parts += [_text(across(tick), bottom + 17, f"{tick:g}") for tick in whole]
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, height - 6, x_label))
    for name, curve in series.items():
        points = " ".join(f"{across(at):.1f},{up(value):.1f}" for at, value in zip(x, curve, strict=True))
        parts.append(f'<polyline points="{points}" class="curve series-{escape(name)}"/>')
        parts.append(
            f'<circle cx="{across(x[-1]):.1f}" cy="{up(curve[-1]):.1f}" r="3.5" class="dot series-{escape(name)}"/>'
        )
    return _svg(height, title, parts)


def heat_map(title: str, counts: Sequence[Sequence[int]], rows: str, columns: str) -> str:
    """A confusion matrix: the count in every cell; the diagonal in one colour, mistakes in another, darker for more.

    Args:
        title: for readers who cannot see it.
        counts: counts[actual][predicted].
        rows: what a row is.
        columns: what a column is.
    """
    size = len(counts)
    side = (WIDTH - 40 - 4) / size
    left, top = 40.0, 40.0
    worst = max([counts[row][column] for row in range(size) for column in range(size) if row != column] or [0])
    most = max(max(row) for row in counts)
    parts = [
        _text(left + size * side / 2, 14, columns),
        f'<text transform="translate(13 {top + size * side / 2:.1f}) rotate(-90)" text-anchor="middle" class="axis">'
        f"{escape(rows)}</text>",
    ]
    for at in range(size):
        parts.append(_text(left + (at + 0.5) * side, 33, str(at), style="strong"))
        parts.append(_text(left - 9, top + (at + 0.5) * side + 4, str(at), style="strong"))
    for row in range(size):
        for column, count in enumerate(counts[row]):
            kind, scale = ("right", most) if row == column else ("wrong", worst)
            # The square root lets a single mistake be seen beside thirty.
            opacity = math.sqrt(count / scale) * 0.85 if count else 0.0
            x, y = left + column * side, top + row * side
            place = f'x="{x + 0.75:.2f}" y="{y + 0.75:.2f}" width="{side - 1.5:.2f}" height="{side - 1.5:.2f}" rx="3"'
            parts.append(f'<rect {place} class="empty"/>')
            if count:
                words = f"<title>{row} read as {column}: {count}</title>"
                parts.append(f'<rect {place} class="{kind}" style="opacity:{opacity:.2f}">{words}</rect>')
                shade = "on-dark" if opacity > 0.5 else "cell"
                parts.append(_text(x + side / 2, y + side / 2 + 3.6, str(count), style=shade))
    return _svg(top + size * side + 4, title, parts)


def ranges(title: str, rows: dict[str, tuple[float, float, float]], unit: str) -> str:
    """For each row a line over three growing percentiles, on a common logarithmic axis: a disc at the first.

    Args:
        title: for readers who cannot see it.
        rows: the percentiles by name, above 0; the name is the class and the label of the row.
        unit: of the axis.
    """
    pitch, top = 46, 8
    low = min(row[0] for row in rows.values()) / 1.25
    high = max(row[2] for row in rows.values()) * 1.25
    bottom = top + pitch * len(rows)

    def across(value: float) -> float:
        return 14 + math.log(value / low) / math.log(high / low) * (WIDTH - 28)

    parts = [_line(across(tick), top, across(tick), bottom, "grid") for tick in _log_ticks(low, high)]
    parts += [_text(across(tick), bottom + 16, f"{tick:g}") for tick in _log_ticks(low, high)]
    parts.append(_text(WIDTH / 2, bottom + 34, unit))
    for position, (name, (first, second, third)) in enumerate(rows.items()):
        y = top + pitch * position + 31
        label = f"{name}  {first:.3g}"
        parts.append(_text(max(14, min(across(first), WIDTH - 120)), y - 13, label, "start", "strong"))
        parts.append(_line(across(first), y, across(third), y, f"span series-{escape(name)}"))
        parts.append(_line(across(second), y - 6, across(second), y + 6, f"curve series-{escape(name)}"))
        parts.append(_line(across(third), y - 3, across(third), y + 3, f"curve series-{escape(name)}"))
        parts.append(f'<circle cx="{across(first):.1f}" cy="{y}" r="5" class="dot series-{escape(name)}"/>')
    return _svg(bottom + 40, title, parts)


def intervals(title: str, rows: dict[str, tuple[float, float, float]], reference: float) -> str:
    """For each row a point with its interval, beside a line at `reference`.

    Args:
        title: for readers who cannot see it.
        rows: (low, middle, high) by label.
        reference: what the points are compared with.
    """
    pitch, top = 42, 4
    lowest = min(0.0, *(row[0] for row in rows.values()))
    highest = max(reference * 1.1, *(row[2] for row in rows.values()))
    bottom = top + pitch * len(rows)

    def across(value: float) -> float:
        return 14 + (value - lowest) / (highest - lowest) * (WIDTH - 28)

    ticks = round_ticks(lowest, highest)
    parts = [_line(across(tick), top, across(tick), bottom, "grid") for tick in ticks]
    parts += [_text(across(tick), bottom + 16, f"{tick:g}") for tick in ticks]
    parts.append(_line(across(reference), top, across(reference), bottom, "reference"))
    for position, (name, (low, middle, high)) in enumerate(rows.items()):
        y = top + pitch * position + 30
        parts.append(_text(14, y - 12, f"{name}  {middle:.3f}", "start", "strong"))
        parts.append(_line(across(low), y, across(high), y, "span series-ratio"))
        parts.append(f'<circle cx="{across(middle):.1f}" cy="{y}" r="4" class="dot series-ratio"/>')
    return _svg(bottom + 22, title, parts)


def bars(title: str, rows: dict[str, float], unit: str, lowest: float = 0.0) -> str:
    """A horizontal bar for each row, which starts at `lowest`, with its label and value over it.

    Args:
        title: for readers who cannot see it.
        rows: values by label, at least `lowest`.
        unit: after the value.
        lowest: the value of an empty bar.
    """
    pitch = 32
    highest = max(rows.values())
    parts = []
    for position, (name, value) in enumerate(rows.items()):
        y = pitch * position
        width = (value - lowest) / ((highest - lowest) or 1.0) * (WIDTH - 2)
        parts.append(_text(0, y + 13, name, "start", "strong"))
        parts.append(_text(WIDTH - 2, y + 13, f"{value:.3g} {unit}".strip(), "end"))
        parts.append(f'<rect x="0" y="{y + 18}" width="{WIDTH - 2}" height="8" rx="4" class="empty"/>')
        parts.append(f'<rect x="0" y="{y + 18}" width="{max(width, 1):.1f}" height="8" rx="4" class="bar"/>')
    return _svg(pitch * len(rows), title, parts)
