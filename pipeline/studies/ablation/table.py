"""Tables of an ablation: ablation.md and ablation.csv, one line a row, and graphs.png as Fig. 4a."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any, NamedTuple

from hgg.groupings import GROUPINGS, TITLES, GroupingName
from hgg.suppression import OFF, said
from pipeline.base.files import write_text
from pipeline.studies.ablation.graphs import GRAPHS, draw_graphs
from pipeline.studies.ablation.orders import orders_table
from pipeline.studies.ablation.rows import Row

METRICS = ("AP", "AP50", "AP75", "AR", "AR50", "AR75")
"""Columns of the paper's Table 2."""
OTHERS: tuple[GroupingName, ...] = ("ae", "oracle")
"""Other groupings of the same trained models, whose AP stands beside."""
PARTS = (("gain: 1 person", "1 person"), ("gain: 4 or more", "4 or more people"))
"""Kinds of image (`pipeline.evaluation.diagnosis.KINDS`) for which a row's AP less AE's stands beside."""


class Line(NamedTuple):
    """A row with what its finished trials found."""

    row: Row
    results: list[dict[str, Any]]
    """`results.json` of its trials' evaluations, by seed and draw."""

    def values(self, metric: str, grouping: GroupingName = "hgg") -> list[float]:
        """A figure of each trial, in percent. `hgg` is the model's own grouping."""
        return [100 * result["ap"][grouping][metric] for result in self.results]

    @property
    def way(self) -> float | None:
        """Share of the way from AE's AP to the oracle's, of the means; None where that is no way."""
        if not self.results:
            return None
        ae, own, oracle = (mean(self.values("AP", grouping)) for grouping in GROUPINGS)
        return (own - ae) / (oracle - ae) if oracle > ae else None

    def gain(self, kind: str) -> float | None:
        """The row's AP less AE's on images of a kind in percent, mean over trials; None without people."""
        rows = [row for result in self.results for row in result["diagnosis"] if row["part"] == kind]
        own, ae = TITLES["hgg"], TITLES["ae"]
        gains = [100 * (row[own] - row[ae]) for row in rows if row[own] is not None]
        return mean(gains) if gains else None


def write_tables(folder: Path, rows: Sequence[Row], results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Write all three files; returns the means in percent by row and figure, for results.json.

    Args:
        folder: where to.
        rows: lines of the tables, trained here or not.
        results: of any trials; those made with a row's very settings count, wherever the run root was.
    """
    lines = [_line(row, results) for row in rows]
    write_text(folder / "ablation.md", _markdown(lines))
    write_text(folder / "ablation.csv", _csv(lines))
    ap = {line.row.name: line.values("AP") for line in lines}
    draw_graphs(folder / "graphs.png", {name: ap[name] for name in GRAPHS if name in ap})
    return {
        line.row.name: {metric: mean(line.values(metric)) for metric in METRICS}
        for line in lines
        if line.results
    }


def _line(row: Row, results: Sequence[dict[str, Any]]) -> Line:
    own = [result for result in results if row.has(result["ablation"])]
    return Line(row, sorted(own, key=lambda result: (result["ablation"]["seed"], result["ablation"]["draw"])))


def _markdown(lines: Sequence[Line]) -> str:
    beside = [*(TITLES[grouping] for grouping in OTHERS), "of the way", *(title for title, _ in PARTS)]
    titles = ["row", "what", *METRICS, *beside, "trials"]
    table = [f"| {' | '.join(titles)} |", f"|---|---|{'---:|' * (len(titles) - 2)}"]
    for line in lines:
        cells = [line.row.name, line.row.config.ablation.title, *_cells(line)]
        table.append(f"| {' | '.join(cells)} |")
    notes = [
        "Percent; mean ± standard deviation over trials; in brackets what the paper reports on COCO "
        "val2017. AE and oracle group the same models' candidates greedily by tags and by the ground truth; "
        "`of the way` is how far the row's AP is on the way from the one to the other, `gain` its AP less "
        "AE's on images with so many people.",
        *_origin([result for line in lines for result in line.results]),
    ]
    orders = orders_table(
        {line.row.name: _by_seed(line) for line in lines},
        {line.row.name: line.row.config.ablation.paper.AP for line in lines},
    )
    if orders:
        notes += [
            "## Orders of the paper",
            "\n".join(orders),
            "AP of the one less that of the other, mean over seeds and each seed's; seen: with every seed.",
        ]
    return "\n".join(table) + "\n\n" + "\n\n".join(notes) + "\n"


def _by_seed(line: Line) -> dict[int, float]:
    """AP in percent by seed; of several draws the mean."""
    values: dict[int, list[float]] = {}
    for result, value in zip(line.results, line.values("AP"), strict=True):
        values.setdefault(result["ablation"]["seed"], []).append(value)
    return {seed: mean(found) for seed, found in values.items()}


def _cells(line: Line) -> list[str]:
    paper = line.row.config.ablation.paper
    theirs = [getattr(paper, metric) for metric in METRICS]
    reported = ["" if value is None else f"({value:.1f})" for value in theirs]
    if not line.results:
        first = f"not trained here {reported[0]}".strip()
        return [first, *reported[1:], *[""] * (1 + len(OTHERS) + len(PARTS)), "0"]
    own = [
        f"{_spread(line.values(metric))} {value}".strip()
        for metric, value in zip(METRICS, reported, strict=True)
    ]
    others = [_spread(line.values("AP", grouping)) for grouping in OTHERS]
    way = "" if line.way is None else f"{line.way:.0%}"
    gains = [line.gain(kind) for _, kind in PARTS]
    shown = ["" if gain is None else f"{gain:+.2f}" for gain in gains]
    return [*own, *others, way, *shown, str(len(line.results))]


def _spread(values: Sequence[float]) -> str:
    return f"{mean(values):.2f}" + (f" ± {stdev(values):.2f}" if len(values) > 1 else "")


def _origin(results: Sequence[dict[str, Any]]) -> list[str]:
    """What the figures come from: data, commits, time."""
    if not results:
        return []
    trainings = {result["training"]["run"]: result["training"] for result in results}
    hours = sum(training["seconds"] for training in trainings.values()) / 3600
    suppressed = {said(result.get("suppression", OFF)) for result in results}
    images = {int(result["counts"]["images"]) for result in results}
    commits = {result["commit"][:12] + ("+changes" if "+" in result["commit"] else "") for result in results}
    data = {result["data"] for result in results}
    return [
        f"{_listed(images)} images of the data {_listed(data)}; {len(trainings)} trainings, "
        f"{hours:.2f} hours of training together; commit {_listed(commits)}. {_listed(suppressed)}"
    ]


def _listed(values: set[Any]) -> str:
    return ", ".join(str(value) for value in sorted(values))


def _csv(lines: Sequence[Line]) -> str:
    """All digits; spread is the standard deviation, empty for a single trial."""
    text = io.StringIO()
    names = [f"{metric}_{kind}" for metric in METRICS for kind in ("mean", "spread", "paper")]
    others = [*(f"{name}_AP_mean" for name in OTHERS), *(title for title, _ in PARTS)]
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["row", "title", "trials", *names, *others, "AP_by_trial"])
    for line in lines:
        figures: list[Any] = []
        for metric in METRICS:
            values = line.values(metric)
            spread = stdev(values) if len(values) > 1 else ""
            figures += [
                mean(values) if values else "",
                spread,
                getattr(line.row.config.ablation.paper, metric),
            ]
        ap = [mean(line.values("AP", grouping)) if line.results else "" for grouping in OTHERS]
        ap += ["" if (gain := line.gain(kind)) is None else gain for _, kind in PARTS]
        trials = " ".join(repr(value) for value in line.values("AP"))
        title = line.row.config.ablation.title
        writer.writerow([line.row.name, title, len(line.results), *figures, *ap, trials])
    return text.getvalue()
