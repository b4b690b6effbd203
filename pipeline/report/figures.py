"""The sections of a report that hold the figures of results.json, and its settings."""

from collections.abc import Mapping, Sequence
from typing import Any

from hgg.groupings import TITLES
from hgg.suppression import OFF, said
from pipeline.evaluation.diagnosis import COLUMNS, KINDS
from pipeline.evaluation.runtime import STEPS
from pipeline.metrics.ap import FIGURES
from pipeline.report.gather import Report
from pipeline.report.pieces import Bar, Cell, Head, Section, facts, figure_of, paragraph, table, value_of

KINDS_OF_PEOPLE = 3  # the first of `KINDS`; the others are of overlap
GROUPS = ("by number of people", "by overlap of their boxes", "by size of the people")


def summary(report: Report) -> Section:
    """What was evaluated, of what."""
    results, counts = report.results, report.results["counts"]
    missing = int(counts["images_missing"])
    rows = [
        (
            "images",
            f"{counts['images']:,.0f} of {results['split']}" + (f", {missing} left out" if missing else ""),
        ),
        ("people", f"{counts['people']:,.0f}, and {counts['candidates']:,.0f} candidates"),
        ("data", results["data"]),
        ("model", f"{results['model']} (SHA-256 {results['model_sha256'][:12]})"),
        ("configuration", results["configuration"]),
        ("command", results["command"]),
        ("commit", results["commit"]),
        ("versions", f"Python {results['python']}, torch {results['torch']}"),
        ("MLflow run", results["mlflow_run"]),
    ]
    return Section("summary", "What was evaluated", facts(rows))


def precision(report: Report) -> Section:
    """AP of each grouping."""
    ap = report.results["ap"]
    shown = [name for name in FIGURES if all(name in figures for figures in ap.values())]
    rows = [
        [TITLES[name], *(Bar(figure_of(figures[each]), figures[each], name) for each in shown)]
        for name, figures in ap.items()
    ]
    text = (
        "The three group the same candidates: AE greedily by tags, HGG by what it learned, the oracle by "
        "the ground truth. What lies between the oracle and 1 is the detector's loss; what lies between a "
        f"grouping and the oracle is grouping's. {said(report.results.get('suppression', OFF))}"
    )
    return Section(
        "ap", "AP", table("Average precision and recall", ["", *shown], rows) + paragraph(text, "soft")
    )


def parts(report: Report) -> Section:
    """Where the points are lost."""
    first, *rest = report.results["diagnosis"]
    rows: list[Sequence[Cell] | Head] = [_part(first)]
    for number, row in enumerate(rest):
        if number in (0, KINDS_OF_PEOPLE, len(KINDS)):
            crowding = row["part"].startswith("crowding")
            rows.append(Head("by crowding" if crowding else GROUPS[min(2, number // KINDS_OF_PEOPLE)]))
        rows.append(_part(row))
    text = "Overlap is the largest IoU of the boxes of two people of an image."
    content = table("AP by kind of image, and what is lost", ["", *COLUMNS], rows) + paragraph(text, "soft")
    return Section("kinds", "Where the points are lost", content)


def _part(row: Mapping[str, Any]) -> list[Cell]:
    cells: list[Cell] = [row["part"], f"{row['images']:,}", f"{row['people']:,}"]
    for name in COLUMNS[2:]:
        colour = next((key for key, title in TITLES.items() if title == name), "")
        value, text = row[name], "-" if row[name] is None else f"{row[name]:.3f}"
        cells.append(Bar(text, value or 0.0, colour) if colour else text)
    return cells


def runtime(report: Report) -> Section:
    """Where the time goes."""
    timed = report.results["runtime"]
    if not timed:
        return Section("runtime", "Runtime", paragraph("Nothing was timed (evaluate.runtime_images=0)."))
    whole = timed["median_ms"]["all"] or 1.0
    rows: list[Sequence[Cell]] = [
        [
            name,
            Bar(f"{timed['median_ms'][name]:.2f}", timed["median_ms"][name] / whole),
            f"{timed['p90_ms'][name]:.2f}",
            f"{timed['median_ms'][name] / whole:.1%}" if name in STEPS else "",
        ]
        for name in (*STEPS, "all")
    ]
    text = (
        f"{timed['images']} images one by one, one thread of the {timed['device']}, "
        f"{timed['candidates']:.0f} candidates an image at the median. Medians of the steps need not add up "
        "to the median of all."
    )
    columns = ["step", "median", "90th percentile", "share of all"]
    content = table("Milliseconds per image", columns, rows) + paragraph(text, "soft")
    return Section("runtime", "Runtime", content)


def settings(report: Report) -> Section:
    """What differs from the defaults."""
    rows = [[key, value_of(value), value_of(default)] for key, value, default in report.settings]
    text = (
        "Values of the files and of the command line that the command above names; all others are the "
        "defaults. config.yaml beside this file has every setting with its meaning."
    )
    content = table("Settings that differ from the defaults", ["", "here", "default"], rows, words=3)
    return Section("settings", "Settings", paragraph(text, "soft") + content)
