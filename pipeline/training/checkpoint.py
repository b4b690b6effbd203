"""Checkpoints: everything that a run needs to go on as if it had never been killed.

Random states need no place in them: dropout's seed follows from (seed, step, rank), order and augmentation
from the samples' keys, and the seed is part of the settings that the run's name stands for.
"""

import json
import platform
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from hgg.reading import check_state, check_weights, finite, read_safely, saved_settings, shown
from hgg.weights import check_architecture
from pipeline.base.errors import UserError, first_line
from pipeline.base.files import atomic_path, write_json
from pipeline.training.loop import Training, TrainingProgress

FORMAT = 1  # of the file; to be raised when older readers cannot read what is written
PARTS = {"format", "config", "model", "optimiser", "average", "progress", "versions"}
INDEX = "index.json"


class Checkpoints(Protocol):
    """Where a run keeps its checkpoints."""

    def latest(self) -> Path | None:
        """The newest complete checkpoint file, or None."""

    def save(self, training: Training, ap: float | None) -> None:
        """Keep a checkpoint. Called on every rank.

        Args:
            training: as it is now.
            ap: measured at this step, else None.
        """


class FolderCheckpoints:
    """Checkpoints of a run without Ray: files in a folder, the latest and those of the best AP.

    The index names the files that count. It is written after a file and before others are removed, so
    that a kill at any moment leaves a whole checkpoint.
    """

    def __init__(self, folder: Path, keep: int) -> None:
        self.folder = folder
        self.keep = keep

    def latest(self) -> Path | None:
        """The newest complete checkpoint file, or None."""
        index = self._index()
        return self.folder / index[-1]["file"] if index else None

    def save(self, training: Training, ap: float | None) -> None:
        """Keep a checkpoint, and remove those that are neither the latest nor among the best."""
        step = training.progress.step
        file = f"step_{step:08d}.pt"
        write_checkpoint(self.folder / file, training)
        earlier = [entry for entry in self._index() if entry["step"] < step]
        earlier.sort(key=lambda entry: (-1 if entry["ap"] is None else entry["ap"], entry["step"]))
        best = earlier[len(earlier) - (self.keep - 1) :] if self.keep > 1 else []
        index = [*sorted(best, key=lambda entry: entry["step"]), {"file": file, "step": step, "ap": ap}]
        write_json(self.folder / INDEX, index)
        for path in self.folder.glob("step_*.pt"):
            if path.name not in {entry["file"] for entry in index}:
                path.unlink()

    def _index(self) -> list[dict[str, Any]]:
        path = self.folder / INDEX
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else []


class ScoredCheckpoints:
    """Checkpoints that tell of each score, once the checkpoint that it belongs to is kept.

    Args:
        kept: where they are kept.
        scored: gets step and AP; what it raises ends the training, which a later start goes on from there.
    """

    def __init__(self, kept: Checkpoints, scored: Callable[[int, float], None]) -> None:
        self.kept = kept
        self.scored = scored

    def latest(self) -> Path | None:
        """The newest complete checkpoint file, or None."""
        return self.kept.latest()

    def save(self, training: Training, ap: float | None) -> None:
        """Keep a checkpoint, then tell of its AP, if it has one."""
        self.kept.save(training, ap)
        if ap is not None:
            self.scored(training.progress.step, ap)


def write_checkpoint(path: Path, training: Training) -> None:
    """Write a checkpoint, whole or not at all."""
    model = training.objective.model
    content = {
        "format": FORMAT,
        "config": model.config.model_dump(mode="json"),
        "model": model.state_dict(),
        "optimiser": training.optimiser.state_dict(),
        "average": None if training.average is None else training.average.model.state_dict(),
        "progress": asdict(training.progress),
        "versions": {"python": platform.python_version(), "torch": str(torch.__version__)},
    }
    with atomic_path(path) as temporary:
        torch.save(content, temporary)


def restore_checkpoint(path: Path, training: Training) -> None:
    """Put a checkpoint's state into `training`.

    Raises:
        UserError: no checkpoint, one that was altered, whose numbers are not finite, of another architecture
            or of other settings; what differs is named.
    """
    try:
        content = read_safely(path)
        _check_parts(path, content, training)
    except ValueError as error:
        raise UserError(str(error)) from error
    try:
        training.optimiser.load_state_dict(content["optimiser"])
        progress = TrainingProgress(**content["progress"])
    except ValueError as error:
        raise UserError(f"{path}: a checkpoint of another stage: {error}") from error
    except (TypeError, LookupError, AttributeError) as error:
        raise UserError(f"{path}: its optimiser or progress was altered: {first_line(error)}") from error
    _check_moments(path, training)
    training.objective.model.load_state_dict(content["model"])
    if training.average is not None:
        training.average.model.load_state_dict(content["average"])
    training.progress = progress


def _check_parts(path: Path, content: dict[str, Any], training: Training) -> None:
    """Raise `ValueError` where a file is no checkpoint of such a model."""
    if not content.keys() >= PARTS:
        missing = ", ".join(sorted(PARTS - content.keys()))
        raise ValueError(f"{path}: not a training checkpoint: {missing} missing")
    if content["format"] != FORMAT:
        found = shown(content["format"]) if isinstance(content["format"], int) else "unknown"
        raise ValueError(f"{path}: format {found}, this version reads {FORMAT}")
    if (content["average"] is None) != (training.average is None):
        made = "off" if content["average"] is None else "on"
        raise ValueError(f"{path}: made with train.ema {made}: set it likewise")
    model, saved = training.objective.model, saved_settings(path, content["config"])
    for state in (content["model"], content["average"]):
        if state is not None:
            check_state(path, state)
            check_architecture(path, model, model.config, state, saved)
            check_weights(path, state)


def _check_moments(path: Path, training: Training) -> None:
    """Raise `UserError` where what Adam remembers of a weight is not of its shape, or not finite."""
    for weight, kept in training.optimiser.state.items():
        for name, value in kept.items():
            fits = isinstance(value, Tensor) and value.shape == (() if name == "step" else weight.shape)
            if not fits or not finite(value):
                raise UserError(
                    f"{path}: {name} of a weight {tuple(weight.shape)} is of another shape or not finite: "
                    "the file was altered"
                )
