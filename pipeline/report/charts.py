"""Lines over two axes as SVG inside a page: told apart by dash and mark too, in light and dark."""

import math
from collections.abc import Iterator, Sequence
from html import escape
from typing import NamedTuple

WIDTH, HEIGHT = 420, 260
# Around the axes; to the right half of a number below the last point, as 300,000.
LEFT, RIGHT, TOP, BOTTOM = 52, 26, 12, 38
MOST_POINTS = 400  # of a line; a longer one is thinned out
MOST_MARKS = 24  # of a line: with more points it has none
STEPS = (1, 2, 5, 10)  # that are easy to read
TICKS = 5  # about
STYLES = ("", "6 3", "2 3")
"""Dashes of the first, second and third line; each also has a mark of its own."""

Range = tuple[float, float]


class Line(NamedTuple):
    """A line of a chart."""

    name: str
    points: Sequence[tuple[float, float]]
    colour: str
    """A name of the page's colours, as `ae` for `var(--ae)`."""


def line_chart(
    title: str,
    lines: Sequence[Line],
    *,
    x: str,
    y: str = "",
    x_range: Range | None = None,
    y_range: Range | None = None,
    diagonal: bool = False,
) -> str:
    """A chart with its legend, as a figure of HTML.

    Args:
        title: what is seen, for whoever reads and whoever listens.
        lines: at the most three are told apart without colours.
        x: what the lower axis has.
        y: what the left axis has; by default what the title says.
        x_range: ends of the axis; by default those of the points.
        y_range: as `x_range`.
        diagonal: draw where both axes have the same value.
    """
    across = x_range or _ends([point[0] for line in lines for point in line.points])
    up = y_range or _ends([point[1] for line in lines for point in line.points])
    parts = [*_axes(across, up, x, y)]
    if diagonal:
        ends = [_place(value, value, across, up) for value in across]
        parts.append(f'<path class="even" d="M{ends[0]}L{ends[1]}"/>')
    for number, line in enumerate(lines):
        parts += _drawn(line, number, across, up)
    legend = "".join(_legend(line.name, line.colour, number) for number, line in enumerate(lines))
    named = escape(f"{title}: {y or title} over {x}; {', '.join(line.name for line in lines)}")
    return (
        f'<figure class="chart"><figcaption>{escape(title)}<span class="legend">{legend}</span></figcaption>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{named}">{"".join(parts)}</svg></figure>'
    )


def _ends(values: Sequence[float]) -> Range:
    """A range that holds the values, from 0 on where none is below."""
    if not values:
        return 0.0, 1.0
    low, high = min(0.0, *values), max(values)
    return (low, high) if high > low else (low, low + 1)


def _ticks(ends: Range) -> list[float]:
    """Round numbers inside of a range."""
    about = (ends[1] - ends[0]) / TICKS
    size = 10.0 ** math.floor(math.log10(about))
    step = size * next(each for each in STEPS if each * size >= about * 0.999)
    first, last = math.ceil(ends[0] / step - 1e-9), math.floor(ends[1] / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


def _axes(across: Range, up: Range, x: str, y: str) -> Iterator[str]:
    """Grid, numbers and names."""
    for value in _ticks(up):
        height = float(_place(across[0], value, across, up).split()[1])
        yield f'<path class="grid" d="M{LEFT} {height}H{WIDTH - RIGHT}"/>'
        yield f'<text x="{LEFT - 6}" y="{height + 4}" text-anchor="end">{_number(value)}</text>'
    for value in _ticks(across):
        width = _place(value, up[0], across, up).split()[0]
        yield f'<text x="{width}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{_number(value)}</text>'
    yield f'<path class="axis" d="M{LEFT} {TOP}V{HEIGHT - BOTTOM}H{WIDTH - RIGHT}"/>'
    middle = (LEFT + WIDTH - RIGHT) / 2
    yield f'<text x="{middle}" y="{HEIGHT - 5}" text-anchor="middle">{escape(x)}</text>'
    if not y:
        return
    middle = (TOP + HEIGHT - BOTTOM) / 2
    turned = f'transform="rotate(-90 11 {middle})"'
    yield f'<text x="11" y="{middle}" text-anchor="middle" {turned}>{escape(y)}</text>'


def _drawn(line: Line, number: int, across: Range, up: Range) -> Iterator[str]:
    """The line, and marks on it where there are few points."""
    points = [*line.points]
    every = math.ceil(len(points) / MOST_POINTS) or 1
    kept = points[::every] + (points[-1:] if points and (len(points) - 1) % every else [])
    places = [_place(*point, across, up) for point in kept]
    style = f'style="--line:var(--{line.colour})"'
    if len(places) > 1:
        yield f'<path class="line" {style} stroke-dasharray="{STYLES[number % 3]}" d="M{"L".join(places)}"/>'
    if len(places) <= MOST_MARKS:
        yield from (_mark(place, number, style) for place in places)


def _mark(place: str, number: int, style: str) -> str:
    """A circle, a square or a triangle."""
    x, y = map(float, place.split())
    if number % 3 == 0:
        return f'<circle class="mark" {style} cx="{x}" cy="{y}" r="3.5"/>'
    if number % 3 == 1:
        return f'<rect class="mark" {style} x="{x - 3.2:.1f}" y="{y - 3.2:.1f}" width="6.4" height="6.4"/>'
    return f'<path class="mark" {style} d="M{x} {y - 4.4:.1f}l4.2 7.4h-8.4z"/>'


def _legend(name: str, colour: str, number: int) -> str:
    style = f'style="--line:var(--{colour})"'
    line = f'<path class="line" {style} stroke-dasharray="{STYLES[number % 3]}" d="M0 6H26"/>'
    drawn = f'<svg viewBox="0 0 26 12" aria-hidden="true">{line}{_mark("13 6", number, style)}</svg>'
    return f"<span>{drawn}{escape(name)}</span>"


def _place(x: float, y: float, across: Range, up: Range) -> str:
    """A point in the chart's units, with a space between."""
    right = (x - across[0]) / (across[1] - across[0])
    above = (y - up[0]) / (up[1] - up[0])
    across_units, up_units = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    return f"{LEFT + right * across_units:.1f} {TOP + (1 - above) * up_units:.1f}"


def _number(value: float) -> str:
    """With thousands by comma, and no more digits than it has."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
