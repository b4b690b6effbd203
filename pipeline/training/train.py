"""A stage trained, on Ray or in this process."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from pipeline.base.errors import UserError
from pipeline.training.checkpoint import FolderCheckpoints, ScoredCheckpoints
from pipeline.training.stage import StageRun
from pipeline.training.worker import run_worker


def train_stage(
    run: StageRun, scored: Callable[[int, float], None] | None = None, callbacks: Sequence[Any] = ()
) -> dict[str, Any]:
    """Train on Ray or, with `train.num_workers=0`, in this process; returns rank 0's figures.

    Args:
        run: its folder must be claimed.
        scored: in this process, told step and AP of each validation.
        callbacks: on Ray, of Ray Train.
    """
    if run.config.train.num_workers:
        # Imported here so that training in this process needs no Ray.
        from pipeline.training.on_ray import train_on_ray

        return train_on_ray(run, callbacks)
    if run.config.train.use_gpu and not torch.cuda.is_available():
        raise UserError("train.use_gpu=true: torch finds no GPU here: set train.use_gpu=false")
    device = torch.device("cuda" if run.config.train.use_gpu else "cpu")
    folder = run.folder / "checkpoints" / f"{run.name}-local"
    checkpoints = FolderCheckpoints(folder, run.config.train.keep_checkpoints)
    return run_worker(run, ScoredCheckpoints(checkpoints, scored) if scored else checkpoints, device)
