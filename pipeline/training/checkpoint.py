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

from hgg.config import ModelConfig
from hgg.weights import check_architecture, read_safely
from pipeline.base.errors import UserError
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
        UserError: no checkpoint, or one of another architecture or of other settings; what differs is named.
    """
    try:
        content = read_safely(path)
    except ValueError as error:
        raise UserError(str(error)) from error
    if not content.keys() >= PARTS:
        missing = ", ".join(sorted(PARTS - content.keys()))
        raise UserError(f"{path}: not a training checkpoint: {missing} missing")
    if content["format"] != FORMAT:
        raise UserError(f"{path}: format {content['format']}, this version reads {FORMAT}")
    if (content["average"] is None) != (training.average is None):
        raise UserError(
            f"{path}: made with train.ema {'on' if content['average'] else 'off'}: set it likewise"
        )
    model = training.objective.model
    try:
        saved = ModelConfig.model_validate(content["config"])
        check_architecture(path, model, model.config, content["model"], saved)
    except ValueError as error:
        raise UserError(str(error)) from error
    try:
        training.optimiser.load_state_dict(content["optimiser"])
    except ValueError as error:
        raise UserError(f"{path}: a checkpoint of another stage: {error}") from error
    model.load_state_dict(content["model"])
    if training.average is not None:
        training.average.model.load_state_dict(content["average"])
    training.progress = TrainingProgress(**content["progress"])
