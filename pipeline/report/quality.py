"""The sections of a report that say how well what is found: joints, groups, scores, and how training went."""

from collections.abc import Mapping, Sequence

from hgg.groupings import BLIND, TITLES
from pipeline.report.calibration import BINS, Calibration
from pipeline.report.charts import Line, line_chart
from pipeline.report.gather import Report
from pipeline.report.pieces import Bar, Cell, Head, Section, paragraph, share_of, table
from pipeline.training.loop import Row

FATES = ("right", "split", "mixed", "missing")
FATE_TEXT = (
    "Of the labelled keypoints. Right: with its person's others. Split: in a part that broke off. Mixed: in "
    "another person's cluster. Missing: no candidate, which no grouping can mend. Background: candidates "
    "that are nobody's joint in the cluster of a person, per labelled keypoint."
)
JOINT_TEXT = (
    "Error: mean of 1 - exp(-d² / (2 s² k²)), the joint's own part of OKS, over the labelled joints of "
    "people that were found at an OKS of 0.5 (by COCO's matching, 20 people an image at the most); 0 is the "
    "very place, 1 anywhere else. Found: share of all labelled joints whose person was found and which lie "
    "so near that the joint's exp(...) is 0.5 or more. Errors are of those whom a grouping found: one that "
    "finds more of the hard ones may have the larger error."
)
CALIBRATION_TEXT = (
    "A score can be believed where people with a score of 0.7 are right in 70 % of the cases. Right is who "
    "is somebody at an OKS of 0.5; who was taken for a crowd or for a person without labelled joints counts "
    "neither way. Mean OKS is with whom they are, 0 for those who are nobody. Bins are a tenth wide, scores "
    "above 1 are in the last. The error is the mean over people of how far a bin's mean score is from its "
    "share that is right."
)
LOSSES = (("loss", "heatmap"), ("push", "pull"), ("edge", "macro"))
COLOURS = ("hgg", "ae", "oracle")


def joints(report: Report) -> Section:
    """How well each joint is found."""
    names = [*report.joints]
    rows: list[Sequence[Cell] | Head] = []
    for place, joint in enumerate(report.joint_names):
        each = [report.joints[name][place] for name in names]
        errors = ["-" if one.error is None else f"{one.error:.3f}" for one in each]
        found: list[Cell] = [
            Bar("-" if one.found is None else f"{one.found:.1%}", one.found or 0.0, name)
            for name, one in zip(names, each, strict=True)
        ]
        rows.append([joint, f"{each[0].labelled:,}", *errors, *found])
    titles = [TITLES[name] for name in names]
    content = table(
        "Each joint: mean OKS error, and share found",
        ["", "labelled", *titles, *titles],
        rows,
        groups=[("", 1), ("mean OKS error", len(names)), ("found", len(names))],
    )
    return Section("joints", "By joint", content + paragraph(JOINT_TEXT, "soft"))


def errors(report: Report) -> Section:
    """What became of the labelled keypoints."""
    fates = report.results["fates"]
    bars = "".join(_fate_bar(name, fates[name]["all"]) for name in fates)
    chosen = [name for name in BLIND if name in fates]  # the oracle makes no errors
    kinds = ("right", "split", "mixed", "background")
    rows = []
    for part, first in fates[chosen[0]].items():
        cells = [part, f"{first['keypoints']:,}", share_of(first["missing"], first["keypoints"])]
        for name in chosen:
            one = fates[name][part]
            cells += [share_of(one[kind], one["keypoints"]) for kind in kinds]
        rows.append(cells)
    content = table(
        "What became of the labelled keypoints, by kind of image",
        ["", "keypoints", "missing", *kinds * len(chosen)],
        rows,
        groups=[("", 2), *((TITLES[name], len(kinds)) for name in chosen)],
    )
    return Section("errors", "Kinds of grouping error", bars + content + paragraph(FATE_TEXT, "soft"))


def _fate_bar(name: str, fates: Mapping[str, int]) -> str:
    """A grouping's labelled keypoints as one bar, with the shares in words below it."""
    of = fates["keypoints"]
    said_of = ", ".join(f"{kind} {share_of(fates[kind], of)}" for kind in FATES)
    parts = "".join(
        f'<i class="{kind}" style="flex:{fates[kind]}">{kind if fates[kind] >= 0.09 * of else ""}</i>'
        for kind in FATES
        if fates[kind]
    )
    return (
        f'<figure class="fates"><div class="stack" aria-hidden="true">{parts}</div>'
        f"<figcaption><b>{TITLES[name]}</b> {said_of}</figcaption></figure>"
    )


def calibration(report: Report) -> Section:
    """Whether scores can be believed."""
    lines = [
        Line(TITLES[name], [(each.score, each.right) for each in found.bins], name)
        for name, found in report.calibration.items()
    ]
    whole = (0.0, 1.0)
    chart = line_chart(
        "Scores and what they come to",
        lines,
        x="mean score",
        y="share that is right",
        x_range=whole,
        y_range=whole,
        diagonal=True,
    )
    rows: list[Sequence[Cell] | Head] = []
    for name, found in report.calibration.items():
        rows.append(Head(_calibration_head(name, found)))
        rows += [
            [
                f"{each.low:.1f} to {each.low + 1 / BINS:.1f}",
                f"{each.count:,}",
                f"{each.score:.3f}",
                Bar(f"{each.right:.1%}", each.right, name),
                f"{each.oks:.3f}",
            ]
            for each in found.bins
        ]
    columns = ["score", "people", "mean score", "right", "mean OKS"]
    content = f'<div class="beside">{chart}{table("Scores in ten bins", columns, rows)}</div>'
    return Section("calibration", "Calibration of scores", content + paragraph(CALIBRATION_TEXT, "soft"))


def _calibration_head(name: str, found: Calibration) -> str:
    error = "nobody was found" if found.error is None else f"calibration error {found.error:.3f}"
    return f"{TITLES[name]}: {found.count:,} people, {error}"


def curves(report: Report) -> Section:
    """How the model was trained, as far as that is known."""
    content = "".join(
        f'<h3>{stage}</h3><div class="charts">{_charts(rows)}</div>' for stage, rows in report.curves.items()
    )
    where = "No metrics.csv lies beside the model, so nothing is known of its training here."
    return Section("curves", "Curves of the training", content or paragraph(where))


def _charts(rows: Sequence[Row]) -> str:
    groups = [*LOSSES, ("lr",), ("ap", "ap_ae")]
    titles = {"lr": "learning rate", "ap": "AP on validation images"}
    names = {"ap": "the stage's own", "ap_ae": "AE"}
    charts = []
    for group in groups:
        lines = []
        for place, name in enumerate(group):
            points = [(row["step"] or 0.0, value) for row in rows if (value := row[name]) is not None]
            # Pretraining has no grouping losses: they are all 0.
            if any(value for _, value in points):
                lines.append(Line(names.get(name, name), points, COLOURS[place]))
        if lines:
            title = titles.get(group[0], " and ".join(group))
            charts.append(line_chart(title, lines, x="step"))
    return "".join(charts)
