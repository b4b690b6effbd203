"""Pieces of a page: tables that can be listened to, and texts that cannot leave their place."""

import base64
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any, NamedTuple

LONGEST_TEXT = 300  # letters of a setting's value


class Bar(NamedTuple):
    """A cell with a bar behind its text."""

    text: str
    share: float
    """Of the cell's width, in [0, 1]."""
    colour: str = "hgg"
    """A name of the page's colours."""


class Head(NamedTuple):
    """A row that says what those below it have in common."""

    text: str


class Section(NamedTuple):
    """A part of the page."""

    name: str
    """Its place in the page's address, as #name."""
    title: str
    content: str


Cell = str | Bar
Rows = Iterable[Sequence[Cell] | Head]


def table(
    caption: str,
    columns: Sequence[str],
    rows: Rows,
    *,
    words: int = 1,
    groups: Sequence[tuple[str, int]] = (),
    sortable: bool = False,
) -> str:
    """A table of numbers in a frame that scrolls where it is too wide.

    Args:
        caption: what it says.
        columns: their heads.
        rows: the first cell is the row's head.
        words: so many of the first columns are text, and set as such.
        groups: heads above those of the columns, with how many columns each has; they begin after `words`.
        sortable: columns can be sorted by (the script of page.html).
    """
    upper = ""
    if groups:
        spans = "".join(f'<th scope="colgroup" colspan="{n}">{escape(name)}</th>' for name, n in groups)
        upper = f'<tr><td colspan="{words}"></td>{spans}</tr>'
    heads = "".join(
        f'<th scope="col"{_kind(place, words)}>{_button(name) if sortable else escape(name)}</th>'
        for place, name in enumerate(columns)
    )
    body = "".join(_row(row, words, len(columns)) for row in rows)
    kind = ' class="sortable"' if sortable else ""
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{escape(caption)}"><table{kind}>'
        f"<caption>{escape(caption)}</caption><thead>{upper}<tr>{heads}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )


def _button(name: str) -> str:
    return f'<button type="button">{escape(name)}</button>'


def _kind(place: int, words: int) -> str:
    return "" if place < words else ' class="number"'


def _row(row: Sequence[Cell] | Head, words: int, columns: int) -> str:
    if isinstance(row, Head):
        return f'<tr><th class="part" scope="rowgroup" colspan="{columns}">{escape(row.text)}</th></tr>'
    first, *rest = row
    cells = "".join(_cell(cell, place, words) for place, cell in enumerate(rest, 1))
    return f'<tr><th scope="row">{escape(str(first))}</th>{cells}</tr>'


def _cell(cell: Cell, place: int, words: int) -> str:
    if isinstance(cell, Bar):
        share = min(1.0, max(0.0, cell.share))
        style = f"--bar:var(--{cell.colour}-bar);--share:{100 * share:.1f}%"
        return f'<td class="number bar" style="{style}">{escape(cell.text)}</td>'
    return f"<td{_kind(place, words)}>{escape(cell)}</td>"


def facts(rows: Iterable[tuple[str, str]]) -> str:
    """Names and what each is."""
    return (
        "<dl>" + "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in rows) + "</dl>"
    )


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph, of a class of the page's styles where one is named."""
    return f"<p{f' class={kind}' if kind else ''}>{escape(text)}</p>"


def figure_of(value: float | None) -> str:
    """AP and what is like it, to a thousandth as all tables of the project have it; a dash where none is."""
    return "-" if value is None or value < 0 else f"{value:.3f}"


def difference(here: float | None, there: float | None) -> str:
    """What is higher here, with its sign."""
    if here is None or there is None or min(here, there) < 0:
        return "-"
    return signed(here - there)


def signed(value: float) -> str:
    """To a thousandth, with its sign; what rounds to 0 has a plus."""
    return f"{round(value, 3) + 0.0:+.3f}"


def share_of(count: int, of: int) -> str:
    """A share in percent; a dash of nothing."""
    return f"{count / of:.1%}" if of else "-"


def value_of(value: Any) -> str:
    """A setting's value on a line."""
    text = "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}..."


def data_url(jpeg: bytes) -> str:
    """A picture inside the page."""
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
