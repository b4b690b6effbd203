"""A model as one file to hand on, and a card beside it: what it is, how well it does, what it is not for."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hgg.config import HOURGLASS, NetworkConfig
from hgg.groupings import TITLES
from hgg.model import HGG
from hgg.suppression import OFF, said
from hgg.weights import load_model, needed_packages
from pipeline.base.errors import UserError
from pipeline.base.files import sha256_file
from pipeline.base.secrets import masked
from pipeline.evaluation.diagnosis import COLUMNS
from pipeline.metrics.ap import FIGURES
from pipeline.settings.config import RunConfig
from pipeline.settings.formats import labelling_of

EXECUTED = (
    "What is run: `jobs/predict.py` and `hgg.weights.load_model` read settings and weights, and run nothing "
    "that comes with a model. `mlflow.pyfunc.load_model` runs the code that is stored beside a model in "
    "MLflow, as MLflow's models do: use it with a store that you trust."
)
"""What a card says of code; README says the same."""


def registered_card(name: str, source: Path, results: Mapping[str, Any], report: str = "") -> str:
    """The card of a registered model, whose weights are as they were trained.

    Args:
        name: of the registered model.
        source: its file.
        results: of its evaluation.
        report: where in MLflow's pages the evaluation's report is; empty where it is not kept there.

    Raises `UserError` where `source` is no model.
    """
    try:
        model = load_model(source)
    except ValueError as error:
        raise UserError(str(error)) from error
    return card_text(name, f"models:/{name}@champion", model, results, half=False, report=report)


def card_text(
    title: str,
    checkpoint: str,
    model: HGG,
    results: Mapping[str, Any],
    *,
    half: bool,
    report: str = "",
    use: str = "",
) -> str:
    """The text.

    Args:
        title: of the card.
        checkpoint: what predict is given.
        model: that the card is of.
        results: of its evaluation.
        half: whether the weights were rounded since.
        report: an address of the evaluation's report; empty where it is known by its name alone.
        use: how the file is used, where predict is not the way.
    """
    config = model.config
    network, counts = config.network, results["counts"]
    labelling = labelling_of(config.joints)
    weights = sum(parameter.numel() for parameter in model.parameters())
    precision = "half precision (float16)" if half else "float32"
    parts = [
        f"# {title}",
        f"A model of HGG on Ray: {weights:,} parameters in {precision}; {_built(network)}, pictures of "
        f"{network.input_size} x {network.input_size} pixels. It finds people and the {config.joints.count} "
        f"keypoints of each that {labelling.title} names.",
        use
        or f"Use: `python jobs/predict.py --checkpoint {checkpoint} --source photos/ --out people/`, or "
        "`hgg.weights.load_model` with `hgg.predictor.Predictor`.",
        EXECUTED,
        "## How well it does",
        f"On {counts['images']:.0f} images of `{results['split']}` (data {results['data']}), one scale, no "
        f"flip{', before the weights were rounded to half precision' if half else ''}:",
        _figures(results["ap"]),
        said(results.get("suppression", OFF)),
        "By kind of image; AE groups the same candidates greedily by tags, the oracle by the ground truth:",
        _diagnosis(results["diagnosis"]),
        *_report(results, report),
        "## What it is not for",
        "It shows what the method does with the data and the time that it was trained with. Data that were "
        "scaled or drawn anew give figures that do not compare with published tables. Nobody should be "
        "identified, judged or watched by it.",
        "## Where it comes from",
        f"Evaluated by `{masked(results['command'])}` at commit {results['commit']}, configuration "
        f"{results['configuration']}, torch {results['torch']}; weights of the file "
        f"{'before rounding ' if half else ''}{results['model_sha256']}.",
        f"Weights: Apache 2.0, as the code. {labelling.licence} No photograph is part of this file.",
    ]
    return "\n\n".join(parts) + "\n"


def _report(results: Mapping[str, Any], address: str) -> list[str]:
    """Where there is more of the evaluation; nothing of one that was made before it left a report."""
    if "report" not in results:
        return []
    name = f"[{results['report']}]({address})" if address else f"`{results['report']}`"
    return [
        f"By joint and by score, curves of the training, the best and the worst pictures: {name}, an "
        f"artifact of MLflow run {results['mlflow_run']}."
    ]


def _built(network: NetworkConfig) -> str:
    """What a network is, and what it needs beside hgg."""
    if network.backbone == HOURGLASS:
        return (
            f"{network.stacks} hourglass{'es' if network.stacks > 1 else ''} of {network.channels} channels"
        )
    needed = needed_packages(network)
    source = f" (of {' and '.join(needed)})" if needed else ""
    return f"encoder {network.backbone}{source} and a decoder of {network.channels} channels"


def _figures(ap: Mapping[str, Mapping[str, float]]) -> str:
    shown = [figure for figure in FIGURES if all(figure in values for values in ap.values())]
    rows = [
        f"| {TITLES[name]} | {' | '.join(f'{values[figure]:.3f}' for figure in shown)} |"
        for name, values in ap.items()
    ]
    return "\n".join([f"| | {' | '.join(shown)} |", f"|---|{'---:|' * len(shown)}", *rows])


def _diagnosis(rows: list[dict[str, Any]]) -> str:
    shown = COLUMNS[:5]
    lines = [f"| | {' | '.join(shown)} |", f"|---|{'---:|' * len(shown)}"]
    lines += [f"| {row['part']} | {' | '.join(_cell(row[name]) for name in shown)} |" for row in rows]
    return "\n".join(lines)


def _cell(value: float | int | None) -> str:
    """Counts whole, AP to a thousandth, nothing where there are no people."""
    return "" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)


def results_of(config: RunConfig, source: Path) -> dict[str, Any]:
    """Results of the evaluation of this very model; `UserError` where there are none."""
    path = config.outputs / "evaluate" / "results.json"
    todo = "run jobs/evaluate.py with these settings first"
    if not path.is_file():
        raise UserError(f"{path}: no evaluation there: {todo}")
    results: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if results.get("model_sha256") != sha256_file(source):
        raise UserError(f"{path}: the evaluation of another model than {source}: {todo}")
    return results
