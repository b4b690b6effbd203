"""A training stage on Ray Train: DDP workers, checkpoints that Ray commits, restarts after failures."""

import errno
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ray
from ray.train import Checkpoint, TrainingFailedError, WorkerGroupError
from ray.train.torch import TorchConfig, get_device

# Version 2 by its own name: an environment variable decides which version `ray.train` gives.
from ray.train.v2.api.callback import UserCallback
from ray.train.v2.api.config import CheckpointConfig, FailureConfig, LoggingConfig, RunConfig, ScalingConfig
from ray.train.v2.torch.torch_trainer import TorchTrainer

from pipeline.base.errors import UserError
from pipeline.base.s3 import in_store, stored
from pipeline.cluster.resources import cpus_needed, limit_threads, ray_storage, room_for, worker_resources
from pipeline.cluster.start import start_ray
from pipeline.settings.load import without_secrets
from pipeline.training.checkpoint import write_checkpoint
from pipeline.training.loop import NotFiniteError, Training
from pipeline.training.stage import StageRun
from pipeline.training.worker import run_worker

STATE = "state.pt"
NOT_VALIDATED = -1.0  # Ray scores by a finite number, and keeps higher ones first
# A rank waits this long for another one; rank 0 computes AP and keeps what is kept while the others wait.
PATIENCE_SECONDS = 4 * 60 * 60
FULL = os.strerror(errno.ENOSPC)


class RayCheckpoints:
    """Checkpoints that Ray Train commits: the latest and those of the best AP, in the run's storage.

    Args:
        storage: where they are kept.
    """

    def __init__(self, storage: Path) -> None:
        self.storage = storage

    def latest(self) -> Path | None:
        """The newest committed checkpoint file, or None."""
        checkpoint = ray.train.get_checkpoint()
        if checkpoint is None:
            return None
        folder = stored(checkpoint.path) if in_store(self.storage) else Path(checkpoint.path)
        return folder / STATE

    def save(self, training: Training, ap: float | None) -> None:
        """Report a checkpoint; every rank takes part, rank 0 brings it."""
        step = training.progress.step
        metrics = {"step": step, "ap": NOT_VALIDATED if ap is None else float(ap)}
        if ray.train.get_context().get_world_rank():
            ray.train.report(metrics)
            return
        with tempfile.TemporaryDirectory() as folder:
            write_checkpoint(Path(folder) / STATE, training)
            checkpoint = Checkpoint.from_directory(folder)
            ray.train.report(metrics, checkpoint, checkpoint_dir_name=f"step_{step:08d}")


def train_on_ray(run: StageRun, callbacks: Sequence[UserCallback] = ()) -> dict[str, Any]:
    """Train a stage with `train.num_workers` workers, from the run's latest checkpoint where it has one.

    Ray knows it by the run's own name, so that the same settings go on and others begin anew. The run root
    must be the same folder on every machine of the cluster. `callbacks` are told of each checkpoint. Returns
    rank 0's figures.

    Raises:
        UserError: a cluster too small, or what `pipeline.training.worker.run_worker` says.
        NotFiniteError: a loss that is not finite; Ray does not try that again.
        RuntimeError: workers failed more than `train.max_failures` times.
    """
    options = run.config.train
    with start_ray(cpus=cpus_needed(options)):
        room_for(options)
        trainer = TorchTrainer(
            _run_rank,
            # Workers open no store, and Ray shows what they are given.
            train_loop_config={"run": run._replace(config=without_secrets(run.config))},
            torch_config=TorchConfig("nccl" if options.use_gpu else "gloo", timeout_s=PATIENCE_SECONDS),
            scaling_config=ScalingConfig(
                num_workers=options.num_workers,
                use_gpu=options.use_gpu,
                resources_per_worker=worker_resources(options),
            ),
            run_config=RunConfig(
                name=run.name,
                **ray_storage(run.folder / "checkpoints"),
                failure_config=FailureConfig(max_failures=options.max_failures),
                checkpoint_config=CheckpointConfig(
                    num_to_keep=options.keep_checkpoints,
                    checkpoint_score_attribute="ap",
                    checkpoint_score_order="max",
                ),
                logging_config=LoggingConfig(log_level="ERROR"),
                callbacks=[*callbacks],
            ),
        )
        try:
            result: Any = trainer.fit()  # typed as version 1's, which has no return_value
        except SystemExit as stopped:  # what Ray makes of Ctrl-C
            raise KeyboardInterrupt from stopped
        except TrainingFailedError as error:
            if FULL in str(error):
                raise OSError(errno.ENOSPC, FULL, str(run.folder / "checkpoints")) from error
            raise RuntimeError(f"{run.name}: {_cause(error)}") from error
    outcome = result.return_value
    if "bad_input" in outcome:
        raise UserError(outcome["bad_input"])
    if "not_finite" in outcome:
        raise NotFiniteError(outcome["not_finite"])
    return outcome["figures"]


def _run_rank(settings: dict[str, Any]) -> dict[str, Any]:
    """One worker. What no restart would mend is returned, since Ray restarts after anything raised."""
    run: StageRun = settings["run"]
    limit_threads(run.config.train)
    try:
        return {"figures": run_worker(run, RayCheckpoints(run.folder), get_device())}
    except UserError as error:
        return {"bad_input": str(error)}
    except NotFiniteError as error:
        return {"not_finite": str(error)}


def _cause(error: TrainingFailedError) -> str:
    """One line: which rank failed, and of what."""
    if isinstance(error, WorkerGroupError) and error.worker_failures:
        rank, failure = min(error.worker_failures.items())
        lines = str(failure).strip().splitlines() or [type(failure).__name__]
        return f"rank {rank} failed too often: {lines[-1]}; the same command goes on from the last checkpoint"
    return str(error).strip().splitlines()[-1]
