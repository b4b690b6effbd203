"""Which orders of the paper's rows are seen here, pair by pair, over the same seeds."""

from collections.abc import Mapping, Sequence
from statistics import mean
from typing import NamedTuple


class Order(NamedTuple):
    """Two rows of which the paper says that the first has the higher AP (section 4.2)."""

    better: str
    worse: str
    claim: str


ORDERS = (
    Order("3", "1", "end-to-end learning with the final macro-node loss alone"),
    Order("4", "1", "the edge discriminator"),
    Order("5", "4", "the final macro-node loss"),
    Order("9", "5", "judging macro-nodes as they form"),
    Order("9", "4", "both macro-node losses"),
    Order("6", "1", "what the losses do to the features alone"),
    Order("9", "6", "clustering in place of greedy grouping"),
    Order("8", "7", "graph attention in place of linear layers"),
    Order("9", "8", "EdgeConv in place of graph attention"),
    Order("9", "1", "HGG in place of associative embedding"),
    Order("2", "1", "several scales, associative embedding"),
    Order("10", "9", "several scales, HGG"),
    Order("10", "2", "HGG in place of associative embedding, several scales"),
    Order("full", "tree", "all links in place of a spanning tree"),
)
"""Of Table 2 and Fig. 4a, in the order in which section 4.2 goes through them."""


def orders_table(ap: Mapping[str, Mapping[int, float]], paper: Mapping[str, float | None]) -> list[str]:
    """Lines of a Markdown table of the pairs that were trained here; none where no pair was.

    Args:
        ap: AP in percent by row and seed.
        paper: AP that the paper reports by row.
    """
    table = [
        "| the paper's order | what it says is better | paper | here, by seed | seen |",
        "|---|---|---:|---|---|",
    ]
    empty = len(table)
    for order in ORDERS:
        better, worse = ap.get(order.better, {}), ap.get(order.worse, {})
        gains = [better[seed] - worse[seed] for seed in sorted(better.keys() & worse.keys())]
        if not gains:
            continue
        theirs = paper.get(order.better), paper.get(order.worse)
        gain = "" if None in theirs else f"{float(theirs[0] or 0) - float(theirs[1] or 0):+.1f}"
        shown = ", ".join(f"{each:+.2f}" for each in gains)
        told = f"{mean(gains):+.2f} ({shown})" if len(gains) > 1 else shown
        table.append(
            f"| {order.better} above {order.worse} | {order.claim} | {gain} | {told} | {_seen(gains)} |"
        )
    return table if len(table) > empty else []


def _seen(gains: Sequence[float]) -> str:
    """Whether the order is the paper's with each seed, with none, or with some."""
    above = sum(gain > 0 for gain in gains)
    if len(gains) == 1:
        return "one seed alone"
    if above == len(gains):
        return "yes"
    return "reversed" if not above else f"with {above} of {len(gains)} seeds"
