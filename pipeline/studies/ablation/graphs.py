"""Fig. 4a as a picture: what joint types each of the four graphs joins, and its AP where it was trained."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from hgg.skeleton import GraphName, graph_links
from pipeline.base.files import atomic_path

GRAPHS: tuple[GraphName, ...] = ("tree", "bypass", "extended", "full")
"""From the fewest links to all."""

BLUE, GREY, DARK = "#0072b2", "#9aa5ad", "#222222"
PANEL_INCHES, AP_INCHES = 2.3, 2.9
# A person who stands and faces us, in COCO's order: x to the right, y upwards.
STANDING = (
    *((0.0, 9.2), (0.35, 9.6), (-0.35, 9.6), (0.8, 9.35), (-0.8, 9.35)),
    *((1.35, 7.7), (-1.35, 7.7), (2.2, 6.0), (-2.2, 6.0), (2.5, 4.2), (-2.5, 4.2)),
    *((0.85, 4.3), (-0.85, 4.3), (1.05, 2.2), (-1.05, 2.2), (1.15, 0.0), (-1.15, 0.0)),
)


def draw_graphs(path: Path, found: Mapping[str, Sequence[float]]) -> None:
    """Write the picture as PNG.

    Args:
        path: where to, whole or not at all.
        found: AP in percent of each graph's trials; graphs without any are drawn alone.
    """
    from matplotlib.figure import Figure  # here because it takes a second

    trained = [name for name in GRAPHS if found.get(name)]
    size = (PANEL_INCHES * len(GRAPHS), PANEL_INCHES * 1.35 + (AP_INCHES if trained else 0))
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.add_gridspec(2 if trained else 1, len(GRAPHS))
    before: frozenset[tuple[int, int]] = frozenset()
    for place, name in enumerate(GRAPHS):
        links = graph_links(name)
        _draw_links(figure.add_subplot(grid[0, place]), name, links, before)
        before = links
    if trained:
        _draw_ap(figure.add_subplot(grid[1, :]), {name: found[name] for name in trained})
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=150)


def _draw_links(
    panel: Any, name: str, links: frozenset[tuple[int, int]], before: frozenset[tuple[int, int]]
) -> None:
    """One graph; links that the graph before it lacks stand out."""
    for link in sorted(links, key=lambda link: link in before):
        new = link not in before
        x, y = zip(*(STANDING[joint] for joint in link), strict=True)
        style = {"color": BLUE if new else GREY, "linewidth": 1.4 if len(links) < 100 else 0.6}
        panel.plot(x, y, **style, zorder=1 + (link in before))
    panel.scatter(*zip(*STANDING, strict=True), s=16, color=DARK, zorder=3)
    panel.set_title(f"{name}: {len(links)} links", fontsize=9)
    panel.set_aspect("equal")
    panel.axis("off")


def _draw_ap(panel: Any, found: Mapping[str, Sequence[float]]) -> None:
    """A point a trial, a line through the means."""
    for place, values in enumerate(found.values()):
        panel.plot([place] * len(values), values, "o", color=BLUE, alpha=0.6)
    panel.plot(range(len(found)), [mean(values) for values in found.values()], color=BLUE)
    panel.set_xticks(range(len(found)), list(found))
    panel.set_ylabel("AP in percent")
    panel.set_title("one point a trial, a line through the means", fontsize=9)
    panel.grid(alpha=0.3)
    panel.margins(x=0.15)
