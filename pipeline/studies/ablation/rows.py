"""Rows of an ablation, and the trials that they consist of: which settings, which seed, done or not.

A row is a file of `conf/ablation/`: what it changes in the base configuration. A trial is one evaluation of
one training of a row. Rows that evaluate the same trained model (`ablation.model_of`) share its training.
"""

import json
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from hgg.settings import Decides
from pipeline.base.errors import UserError
from pipeline.base.files import sha256_file
from pipeline.base.provenance import REPOSITORY
from pipeline.data.shards import data_fingerprint
from pipeline.data.skeletons import settled
from pipeline.settings.config import RunConfig
from pipeline.settings.fingerprint import described_groups, fingerprint
from pipeline.settings.load import load_config
from pipeline.studies.moved import made_elsewhere, placed_as
from pipeline.training.stage import plan_stage

FOLDER = "ablation"  # under the run root
ROWS = REPOSITORY / "conf" / "ablation"


class Row(NamedTuple):
    """A row under a base configuration."""

    name: str
    config: RunConfig
    """Settings that its model is evaluated by."""
    training: RunConfig
    """Settings that its model is trained by."""
    settings: str
    """Fingerprint of both, of the samples and of the pretrained network: what a trial's result depends on
    beside its seeds."""
    earlier: frozenset[str] = frozenset()
    """The same of when the run root had another place; what was finished then is finished."""

    def has(self, key: Mapping[str, Any]) -> bool:
        """Whether a trial is the row's, by what its results are recognised by."""
        return key["row"] == self.name and key["settings"] in {self.settings, *self.earlier}


class RowTrial(NamedTuple):
    """One evaluation of one training."""

    row: Row
    seed: int
    """Of the training."""
    draw: int
    """Of the evaluation, where grouping is random."""
    training: RunConfig
    """Settings of joint training; trials of equal ones share it."""
    evaluation: RunConfig
    """Settings of the evaluation, of the model after the last step."""

    @property
    def key(self) -> dict[str, Any]:
        """What the trial's results are recognised by."""
        return {
            "row": self.row.name,
            "seed": self.seed,
            "draw": self.draw,
            "settings": self.row.settings,
        }

    def finished(self, keys: Sequence[Mapping[str, Any]]) -> bool:
        """Whether it is among trials that are recognised by these."""
        return any((k["seed"], k["draw"]) == (self.seed, self.draw) and self.row.has(k) for k in keys)


def find_rows(folder: Path = ROWS) -> dict[str, Path]:
    """Files of all rows by their names: Table 2's by number, then the others by file name.

    Raises:
        UserError: a file that names no row, or one that another names too.
    """
    files: dict[str, Path] = {}
    for path in sorted(folder.glob("*.yaml")):
        name = load_config([path]).ablation.row
        if not name or name in files:
            fault = f"the same ablation.row as {files[name]}" if name else "no ablation.row"
            raise UserError(f"{path}: {fault}: give the row a name of its own")
        files[name] = path
    return dict(sorted(files.items(), key=lambda item: (not item[0].isdigit(), item[1].name)))


def choose_rows(text: str, known: Mapping[str, Path]) -> list[str]:
    """Names of `--rows`, separated by commas, in the order of `known`; an empty text is all.

    Raises:
        UserError: a name that is no row's.
    """
    asked = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in asked if name not in known]
    if unknown:
        raise UserError(f"--rows={text}: no row {', '.join(unknown)}: there are {', '.join(known)}")
    return [name for name in known if name in asked or not asked]


def can_run(row: Row) -> bool:
    """Whether this machine has what the row needs beside the project's own packages: torch-cluster."""
    return row.config.grouping.matching != "graclus" or find_spec("torch_cluster") is not None


def read_row(
    name: str,
    known: Mapping[str, Path],
    files: Sequence[Path],
    overrides: Sequence[str],
    elsewhere: Sequence[RunConfig] = (),
) -> Row:
    """A row over the base configuration's files; overrides have the last word in both of its settings.

    `elsewhere` has the places that the run root's files had before (`earlier_places`).

    Raises:
        UserError: settings that do not fit together, or samples or pretrained network missing.
    """
    config = settled(load_config([*files, known[name]], overrides), anew=False)
    model_of = config.ablation.model_of
    if model_of and model_of not in known:
        raise UserError(f"{known[name]}: ablation.model_of={model_of}: no such row")
    training = config
    if model_of:
        training = settled(load_config([*files, known[model_of]], overrides), anew=False)
    # Nothing is chosen by validation: that would be on the images that the table is about.
    training = _with(training, train={"validation_images": 0})
    run = plan_stage(training, "joint")
    made_of = {
        "data": data_fingerprint(run.samples),
        "pretrained": sha256_file(run.pretrained) if run.pretrained else None,
    }
    then = {_settings(placed_as(config, place), placed_as(training, place), made_of) for place in elsewhere}
    return Row(name, config, training, _settings(config, training, made_of), frozenset(then))


def plan_trials(row: Row, seeds: int) -> list[RowTrial]:
    """A row's trials with the training seeds `train.seed`, + 1 and so on.

    Where `ablation.draws` asks for several evaluations, all are of the first seed's model.
    """
    draws = row.config.ablation.draws
    first = row.training.train.seed
    return [
        _trial(row, seed, draw)
        for seed in range(first, first + (seeds if draws == 1 else 1))
        for draw in range(draws)
    ]


def earlier_places(run_root: Path) -> list[RunConfig]:
    """Settings of trainings that were made when the run root had another place, one a place."""
    found = (config for _, config in made_elsewhere(run_root, f"{FOLDER}/joint-*/joint/config.yaml"))
    return [*{(then.run_root, then.data.root, then.train.pretrained): then for then in found}.values()]


def finished_trials(run_root: Path) -> list[dict[str, Any]]:
    """Results of all evaluations that an ablation has left under a run root."""
    paths = sorted((run_root / FOLDER).glob("joint-*/*/evaluate/results.json"))
    results = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    return [result for result in results if "ablation" in result]


def _settings(config: RunConfig, training: RunConfig, made_of: Mapping[str, Any]) -> str:
    """`Row.settings`."""
    parts = {
        "config": described_groups(config),
        "training": described_groups(training, but=Decides.EVALUATION),
        **made_of,
    }
    return fingerprint(parts)


def _trial(row: Row, seed: int, draw: int) -> RowTrial:
    training = _with(row.training, train={"seed": seed})
    folder = f"{FOLDER}/{plan_stage(training, 'joint').name}"
    training = training.model_copy(update={"trial": folder})
    place = f"{folder}/row_{row.name}" + (f"_draw_{draw}" if row.config.ablation.draws > 1 else "")
    evaluation = _with(
        row.config,
        train={"seed": seed},
        # Times would be those of several trainings at once.
        evaluate={"checkpoint": training.outputs / "joint" / "last.pt", "seed": draw, "runtime_images": 0},
    ).model_copy(update={"trial": place})
    return RowTrial(row, seed, draw, training, evaluation)


def _with(config: RunConfig, **groups: Mapping[str, Any]) -> RunConfig:
    """A configuration with some settings of some groups changed."""
    return config.model_copy(
        update={name: getattr(config, name).model_copy(update=values) for name, values in groups.items()}
    )
