"""What is seen of a training run: log lines, metrics.csv and curves.png."""

import csv
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from pipeline.base.files import atomic_path, write_text
from pipeline.training.loop import Row

COLUMNS = (
    "step",
    "loss",
    "heatmap",
    "push",
    "pull",
    "edge",
    "macro",
    "gradient_norm",
    "lr",
    "images_per_second",
    "waiting",
    "seconds_left",
    "ap",
    "ap_ae",
)
"""Columns of metrics.csv. Losses are means since the last row, before their weights except `loss`. `waiting`
is the share of the time that a step waits for its batch. `ap` is the stage's score, of AE's grouping in
pretrain and of HGG's in joint training; `ap_ae` is that of AE's grouping on the same detections."""

LOSSES = (("loss", "heatmap"), ("push", "pull"), ("edge", "macro"))
PANEL_INCHES = (4.2, 3.2)


def log_line(row: Row, steps: int) -> str:
    """One line of a run of `steps` steps, always in the same order."""
    terms = "  ".join(f"{name} {row[name]:.3g}" for name in ("heatmap", "push", "pull", "edge", "macro"))
    line = (
        f"step {row['step']:>{len(str(steps))}}/{steps}  loss {row['loss']:.4g}  {terms}  lr {row['lr']:.2g}"
        f"  {row['images_per_second']:.1f} images/s  waiting {row['waiting']:.0%}"
        f"  left {timedelta(seconds=round(row['seconds_left'] or 0))}"
    )
    return line if row["ap"] is None else f"{line}  AP {row['ap']:.3f} (AE {row['ap_ae']:.3f})"


def read_history(path: Path) -> list[Row]:
    """Rows of metrics.csv; none where there is no file. A last row that a kill cut off is left out."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        lines = [line for line in file if line.endswith("\n")]
    return [
        {name: float(text) if text else None for name, text in row.items()} for row in csv.DictReader(lines)
    ]


def begin_history(path: Path, step: int) -> None:
    """Write metrics.csv with its head and the rows up to `step`: a resumed run repeats what came after."""
    rows = [row for row in read_history(path) if (row["step"] or 0) <= step]
    write_text(path, "".join([",".join(COLUMNS) + "\n", *map(_csv_line, rows)]))


def add_to_history(path: Path, row: Row) -> None:
    """Append one row to metrics.csv."""
    with path.open("a", encoding="utf-8") as file:
        file.write(_csv_line(row))


def draw_curves(rows: Sequence[Row], path: Path, title: str) -> None:
    """Draw losses (push beside pull, edge beside macro), learning rate and AP over the steps into a PNG."""
    # Imported here because it takes a second and only one rank draws.
    from matplotlib.figure import Figure

    # Pretraining has no grouping losses: its panel would be empty.
    losses = [group for group in LOSSES if any(row[name] for row in rows for name in group)]
    names = [*losses, ("lr",), ("images_per_second",), ("ap", "ap_ae")]
    figure = Figure(figsize=(PANEL_INCHES[0] * 3, PANEL_INCHES[1] * 2), layout="constrained")
    panels = figure.subplots(2, 3).flat
    for panel in panels[len(names) :]:
        panel.set_axis_off()
    for panel, group in zip(panels, names, strict=False):
        for name in group:
            points = [(row["step"], row[name]) for row in rows if row[name] is not None]
            panel.plot(*zip(*points, strict=True) if points else ((), ()), label=name, marker=".")
        if "heatmap" in group:
            panel.set_yscale("log")
        if "ap" in group:
            panel.set_ylim(0, 1)
        panel.set_xlabel("step")
        panel.grid(alpha=0.3)
        panel.legend()
    figure.suptitle(title)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png")


def _csv_line(row: Row) -> str:
    """Numbers with all their digits, so that reading gives the same ones back."""
    values = (row[name] for name in COLUMNS)
    texts = ["" if value is None else repr(value) for value in values]
    texts[0] = str(round(row["step"] or 0))
    return ",".join(texts) + "\n"
