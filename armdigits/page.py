"""The building blocks of a web page that needs no other file: boxes, tables and pictures as HTML text."""

import base64
from collections.abc import Sequence
from html import escape


def table(rows: Sequence[tuple[str, ...]], header: tuple[str, ...] = (), numbers: int = 0) -> str:
    """A table in a box that scrolls sideways; the last `numbers` columns are aligned to the right."""

    def line(cells: tuple[str, ...], tag: str) -> str:
        first = len(cells) - numbers
        marks = ("" if at < first else ' class="number"' for at in range(len(cells)))
        return "".join(f"<{tag}{mark}>{escape(cell)}</{tag}>" for mark, cell in zip(marks, cells, strict=True))

    head = f"<thead><tr>{line(header, 'th')}</tr></thead>" if header else ""
    body = "".join(f"<tr>{line(row, 'td')}</tr>" for row in rows)
    return f'<div class="scroll"><table>{head}<tbody>{body}</tbody></table></div>'


def card(content: str, title: str = "", caption: str = "") -> str:
    """A box around HTML, with plain text over and under it."""
    head = f"<h3>{escape(title)}</h3>" if title else ""
    foot = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return f'<figure class="card">{head}{content}{foot}</figure>'


def grid(*cards: str, style: str = "grid") -> str:
    """Boxes side by side, as many as the screen is wide."""
    return f'<div class="{style}">{"".join(cards)}</div>'


def stack(*cards: str) -> str:
    """Boxes one under the other."""
    return f'<div class="stack">{"".join(cards)}</div>'


def key(*names: str) -> str:
    """Which colour is which series."""
    items = (f'<span><i class="series-{escape(name)}"></i>{escape(name)}</span>' for name in names)
    return f'<div class="key">{"".join(items)}</div>'


def image(png: bytes, alternative: str) -> str:
    """A PNG file inside the page, with the words for readers who cannot see it."""
    return f'<img alt="{escape(alternative)}" src="data:image/png;base64,{base64.b64encode(png).decode()}">'


def section(title: str, note: str, content: str) -> str:
    """A heading that links can point to, a line of explanation, and HTML."""
    line = f'<p class="note">{escape(note)}</p>' if note else ""
    return f'<section id="{escape(title.lower())}"><h2>{escape(title)}</h2>{line}{content}</section>'


def document(title: str, style: str, content: str) -> str:
    """The whole file, from a style sheet and HTML."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{style}</style></head><body><main>{content}</main></body></html>\n"
    )
