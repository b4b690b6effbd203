"""MLflow: one run a job, written by the job's own process alone.

`pipeline.tracking.store` says where runs are kept. MLflow is imported when one is opened.
"""

import importlib.metadata
import json
import logging
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import hgg
from hgg.config import ModelConfig
from hgg.weights import needed_packages
from pipeline.base.errors import first_line
from pipeline.base.files import write_json
from pipeline.base.provenance import Origin, provenance
from pipeline.base.s3 import local_copy
from pipeline.base.secrets import masked, masked_values
from pipeline.settings.config import RunConfig
from pipeline.settings.keys import flat
from pipeline.settings.load import without_secrets
from pipeline.tracking.store import STORE_VARIABLE, asking, check_artifacts, connect, store_uri

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.models import ModelSignature

RUN_FILE = "mlflow.json"  # beside a stage's outputs: which run a job that is started again continues
MOST_PARAMETERS = 100  # that MLflow takes at a time
EXAMPLE_SIDE = 64  # pixels of the input example
SERVED = Path(__file__).with_name("served.py")
SERVED_NEEDS = ("torch", "numpy", "opencv-python-headless", "pydantic", "scipy")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Tracked:
    """An open MLflow run."""

    client: "MlflowClient"
    uri: str
    run_id: str
    origin: Origin
    """Command, commit and versions, which results name too."""

    def metrics(self, values: Mapping[str, float | None], step: int = 0) -> None:
        """Log figures of a step; None is left out."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        figures = [Metric(name, value, now, step) for name, value in values.items() if value is not None]
        self.client.log_batch(self.run_id, metrics=figures)

    def last_step(self, metric: str) -> int:
        """Last step that a metric was logged at, 0 if never."""
        return max((point.step for point in self.client.get_metric_history(self.run_id, metric)), default=0)

    def parameters(self, values: Mapping[str, object]) -> None:
        """Log parameters; those that the run has already stay as they are."""
        from mlflow.entities import Param

        known = self.client.get_run(self.run_id).data.params
        new = [Param(name, str(value)) for name, value in values.items() if name not in known]
        for first in range(0, len(new), MOST_PARAMETERS):
            self.client.log_batch(self.run_id, params=new[first : first + MOST_PARAMETERS])

    def artifact(self, path: Path, into: str | None = None) -> None:
        """Store a file, or what a folder holds; nothing where there is no such path."""
        if path.exists():
            with local_copy(path) as local:
                if local.is_dir():
                    self.client.log_artifacts(self.run_id, str(local), into or path.name)
                else:
                    self.client.log_artifact(self.run_id, str(local), into)

    def model(self, weights: Path, config: ModelConfig, step: int, name: str = "hgg") -> str:
        """Store a model with its code, for `mlflow.pyfunc.load_model`; returns its URI.

        Args:
            weights: file of `hgg.weights.save_model`.
            config: the model's, which decides what it needs beside torch.
            step: of the training that the weights come from.
            name: of the model within the run.
        """
        import mlflow

        with _as_current_store(self.uri), mlflow.start_run(run_id=self.run_id), local_copy(weights) as local:
            logged = mlflow.pyfunc.log_model(
                name=name,
                python_model=str(SERVED),
                artifacts={"weights": str(local)},
                code_paths=[str(Path(hgg.__file__).parent)],
                signature=_signature(),
                input_example=np.zeros((EXAMPLE_SIDE, EXAMPLE_SIDE, 3), np.uint8),
                pip_requirements=served_needs(config),
                step=step,
            )
        return logged.model_uri


@contextmanager
def track(
    config: RunConfig,
    job: str,
    folder: Path,
    tags: Mapping[str, str],
    *,
    resume: bool = False,
    origin: Origin | None = None,
) -> Iterator[Tracked]:
    """A run for the length of a `with` block, ended as finished or, where the block raises, as failed.

    Args:
        config: its settings become parameters; `tracking` says where the run is kept.
        job: name of the job and of the run.
        folder: the job's outputs; the run's id is kept there.
        tags: beside those of its origin, which every run has.
        resume: continue the run whose id is in the folder, if there is one.
        origin: command, commit and versions; by default this process's.

    Raises:
        UserError: no store answers at `tracking.uri`, or it takes no runs or no artifacts.
    """
    with asking(config):
        tracked = _open(config, job, folder, tags, resume, provenance() if origin is None else origin)
    status = "FAILED"
    try:
        with asking(config):
            tracked.parameters(flat(without_secrets(config).model_dump(mode="json")))
        yield tracked
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        with sending(f"that run {tracked.run_id} ended as {status}"):
            tracked.client.set_terminated(tracked.run_id, status)


@contextmanager
def sending(what: str) -> Iterator[None]:
    """A `with` block that talks to the store; where that fails, it is logged what was not sent."""
    try:
        yield
    except Exception as error:  # whatever a store, its network or the library of its storage comes up with
        log.warning("not sent to MLflow: %s: %s", what, masked(first_line(error)))


def served_needs(config: ModelConfig) -> list[str]:
    """Packages that a stored model needs to be loaded and run, in the versions that are installed."""
    needs, grouping = [*SERVED_NEEDS, *needed_packages(config.network)], config.grouping
    if grouping.interaction == "gat":
        needs.append("torch-geometric")
    if grouping.matching == "graclus":
        needs.append("torch-cluster")
    return [f"{need}=={importlib.metadata.version(need)}" for need in needs]


def _open(
    config: RunConfig, job: str, folder: Path, tags: Mapping[str, str], resume: bool, origin: Origin
) -> Tracked:
    """A new run, or with `resume` the one that the folder knows."""
    client, experiment = connect(config)
    check_artifacts(config, client.get_experiment(experiment).artifact_location)
    uri = store_uri(config)
    run_id = _known_run(client, uri, folder) if resume else None
    if run_id is None:
        all_tags = masked_values({**origin, "job": job, **tags})
        run_id = client.create_run(experiment, run_name=job, tags=all_tags).info.run_id
    else:
        client.update_run(run_id, status="RUNNING")
    write_json(folder / RUN_FILE, {"uri": masked(uri), "run_id": run_id})
    log.info("MLflow run %s in %s", run_id, masked(uri))
    return Tracked(client, uri, run_id, origin)


@contextmanager
def _as_current_store(uri: str) -> Iterator[None]:
    """The store that MLflow's functions without a client write to, for the length of a `with` block.

    MLflow keeps it in the environment too, where it would pass for the user's own choice afterwards.
    """
    import mlflow

    chosen = os.environ.get(STORE_VARIABLE)
    mlflow.set_tracking_uri(uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(chosen or "")
        if chosen is None:
            os.environ.pop(STORE_VARIABLE, None)


def _known_run(client: "MlflowClient", uri: str, folder: Path) -> str | None:
    """The run that the folder's job had, if this store has it.

    Ids of runs are unlike all others, so it is the same run also where the store has another address now, as
    that of a run root that was moved.
    """
    from mlflow.exceptions import MlflowException

    path = folder / RUN_FILE
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if "run_id" not in known:
        return None
    try:
        run = client.get_run(known["run_id"])
    except MlflowException:
        if masked(known["uri"]) == masked(uri):
            log.warning("%s: its MLflow run %s is gone; beginning another one", path, known["run_id"])
        return None
    if run.info.lifecycle_stage == "deleted":
        log.warning("%s: its MLflow run %s was deleted; beginning another one", path, known["run_id"])
        return None
    return known["run_id"]


def _signature() -> "ModelSignature":
    """An image of any size in; people out, each with 51 numbers and a score."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema, TensorSpec
    from mlflow.types.schema import Array

    people: list[ColSpec | TensorSpec] = [
        ColSpec(DataType.long, "category_id"),
        ColSpec(Array(DataType.double), "keypoints"),
        ColSpec(DataType.double, "score"),
    ]
    return ModelSignature(Schema([TensorSpec(np.dtype(np.uint8), (-1, -1, 3))]), Schema(people))
