"""Markdown tables."""

import re
from collections.abc import Iterable, Sequence

from armdigits.core.errors import printable


def escaped(text: str) -> str:
    """A name from a record for Markdown: on one line, shown as it is, neither markup nor HTML."""
    return re.sub(r"([\\`*<>\[\]|])", r"\\\1", printable(" ".join(text.split())))


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1, padded: bool = False) -> str:
    """Return a Markdown table, without a newline at its end.

    Args:
        header: a title for each column.
        rows: as many cells in each row as there are columns; in a cell a `|` is escaped, and what cannot be printed.
        left: how many columns are aligned left; the others are aligned right.
        padded: give all cells of a column the same width, so that the table can be read as plain text too.

    Raises:
        ValueError: a row is longer or shorter than the header.
    """
    lines = [[printable(cell).replace("|", r"\|") for cell in row] for row in (header, *rows)]
    if any(len(line) != len(header) for line in lines):
        raise ValueError(f"expected {len(header)} cells in each row, as in the header")
    widths = [max(3, *(len(cell) for cell in column)) if padded else 3 for column in zip(*lines, strict=True)]
    if padded:
        lines = [
            [cell.ljust(width) if at < left else cell.rjust(width) for at, (cell, width) in enumerate(columns)]
            for columns in (list(zip(line, widths, strict=True)) for line in lines)
        ]
    lines.insert(1, ["-" * width if at < left else "-" * (width - 1) + ":" for at, width in enumerate(widths)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
