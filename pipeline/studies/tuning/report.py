"""What a sweep leaves to look at: trials.md, trials.csv, trials.png and best.yaml."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any, NamedTuple

import yaml

from pipeline.base.files import atomic_path, write_text
from pipeline.settings.config import RunConfig
from pipeline.settings.keys import nested
from pipeline.settings.load import changed
from pipeline.studies.tuning.points import SEARCHED, Point, own_point, paper_point, with_point
from pipeline.studies.tuning.trial import Trial

PANEL_INCHES = (3.6, 3.0)
COLOURS = {"finished": "tab:blue", "pruned": "tab:gray", "diverged": "tab:red", "failed": "tab:red"}


class Compared(NamedTuple):
    """APs by seed, of trainings that were not chosen among."""

    best: list[float]
    paper: list[float]


def verdict(base: RunConfig, best: Trial, compared: Compared) -> str:
    """One sentence: how much the best values are above the paper's weights, with the spread over seeds."""
    paper = paper_point(base)
    if best.point == paper:
        return f"No trial was above the paper's weights (AP {best.ap:.4f} on the images held out)."
    if not compared.best:
        return f"The best trial has AP {best.ap:.4f} on the images held out; no seed was trained beside it."
    difference = mean(compared.best) - mean(compared.paper)
    word = "above" if difference >= 0 else "below"
    count = len(compared.best)
    return (
        f"The best values are {abs(difference):.4f} AP {word} the paper's weights on the images held out: "
        f"{_spread(compared.best)} against {_spread(compared.paper)} over {count} seed{'s' * (count > 1)} "
        "that the search did not see."
    )


def write_report(
    folder: Path, base: RunConfig, trials: Sequence[Trial], best: Trial, compared: Compared
) -> None:
    """Write all four files.

    Args:
        folder: of the sweep.
        base: its configuration.
        trials: all, in the order in which they were drawn.
        best: the one that best.yaml is of.
        compared: trainings of other seeds.
    """
    said = verdict(base, best, compared)
    write_text(folder / "trials.md", f"{said}\n\n{_markdown(base, trials)}")
    write_text(folder / "trials.csv", _csv(trials))
    write_text(folder / "best.yaml", _best_yaml(base, best, said))
    _draw(folder / "trials.png", base, trials)


def _spread(values: Sequence[float]) -> str:
    return f"{mean(values):.4f}" + (f" ± {stdev(values):.4f}" if len(values) > 1 else "")


def _named(base: RunConfig, trial: Trial) -> str:
    if trial.point == paper_point(base):
        return "the paper's weights"
    return "the configuration's own" if trial.point == own_point(base) else ""


def _markdown(base: RunConfig, trials: Sequence[Trial]) -> str:
    """Best first: those that came to their end, then the others by how far they came."""
    names = [f"{group}.{name}" for name, group in SEARCHED.items()]
    lines = [
        f"| trial | AP | step | state | {' | '.join(names)} | |",
        f"|---:|---:|---:|---|{'---:|' * 7}---|",
    ]
    for trial in sorted(trials, key=lambda each: (each.state != "finished", -each.step, -each.ap)):
        values = " | ".join(f"{trial.point[name]:.3g}" for name in SEARCHED)
        note = trial.error or _named(base, trial)
        lines.append(
            f"| {trial.number} | {trial.ap:.4f} | {trial.step} | {trial.state} | {values} | {note} |"
        )
    hours = sum(trial.seconds for trial in trials) / 3600
    return "\n".join(lines) + (
        f"\n\nAP on the images held out of training (tune.held_out={base.tune.held_out:g}), after the steps "
        f"beside it, of {base.joint.steps}. pruned: stopped, as its AP after so many steps was not among the "
        f"best 1 in {base.tune.reduction:g}. {hours:.2f} hours of training steps together.\n"
    )


def _csv(trials: Sequence[Trial]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = [f"{group}.{name}" for name, group in SEARCHED.items()]
    writer.writerow(["trial", "ap", "step", "state", *names, "seconds", "run", "error"])
    for trial in trials:
        values = [trial.point[name] for name in SEARCHED]
        about = [round(trial.seconds, 1), trial.run, trial.error]
        writer.writerow([trial.number, trial.ap, trial.step, trial.state, *values, *about])
    return text.getvalue()


def _best_yaml(base: RunConfig, best: Trial, said: str) -> str:
    """Every setting that differs from the defaults, and every value that was searched.

    So the file is a configuration by itself, and after another one its values hold.
    """
    head = [
        "# Best values of a sweep: a configuration by itself, for --config.",
        f"# Trial {best.number}: AP {best.ap:.4f} on the images held out of training.",
        f"# {said}",
    ]
    found = {f"{group}.{name}": best.point[name] for name, group in SEARCHED.items()}
    values = nested(changed(with_point(base, best.point)) | found)
    return "\n".join(head) + "\n" + yaml.safe_dump(values, sort_keys=False)


def _draw(path: Path, base: RunConfig, trials: Sequence[Trial]) -> None:
    """AP against each value, the paper's marked, and the trials' APs over their steps."""
    from matplotlib.figure import Figure  # takes a second

    figure = Figure(figsize=(PANEL_INCHES[0] * 4, PANEL_INCHES[1] * 2), layout="constrained")
    panels = figure.subplots(2, 4).flat
    marks = {
        "the paper's": (paper_point(base), "tab:orange"),
        "the configuration's": (own_point(base), "tab:green"),
    }
    for panel, (name, group) in zip(panels, SEARCHED.items(), strict=False):
        _draw_values(panel, name, trials, marks)
        panel.set_xlabel(f"{group}.{name}")
        panel.set_xlim(*getattr(base.tune, name))
    for trial in trials:
        panels[7].plot(*zip(*trial.scores, strict=True) if trial.scores else ((), ()), marker=".",
                       color=COLOURS[trial.state])  # fmt: skip
    panels[7].set_xlabel("step")
    panels[0].set_ylabel("AP on images held out")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=6)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png")


def _draw_values(
    panel: Any, name: str, trials: Sequence[Trial], marks: Mapping[str, tuple[Point, str]]
) -> None:
    for state, colour in COLOURS.items():
        those = [trial for trial in trials if trial.state == state]
        filled = colour if state == "finished" else "none"
        if those:
            points = [(trial.point[name], trial.ap) for trial in those]
            panel.scatter(*zip(*points, strict=True), edgecolors=colour, facecolors=filled, label=state)
    for label, (point, colour) in marks.items():
        panel.axvline(point[name], color=colour, linestyle="--", linewidth=1, label=label)
    if name != "cut":
        panel.set_xscale("log")
    panel.grid(alpha=0.3)
