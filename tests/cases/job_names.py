"""What jobs leave, as names: files, keys of results.json, and what MLflow has of them. A run of each job."""

import re
from pathlib import Path
from typing import Any

from mlflow import MlflowClient

from pipeline.base.provenance import REPOSITORY
from pipeline.tracking.store import open_store
from tests.cases.names import keys_of
from tests.cases.small_demo import Job

# So few steps that no trial is pruned, and pictures of one person each, so that every run has the same parts.
SETTINGS = {
    "data.shard_images": 6,
    "synthetic.val_images": 4,
    "synthetic.max_people": 1,
    "synthetic.empty_share": 0.0,
    "pretrain.log_every": 2,
    "joint.steps": 4,
    "joint.log_every": 2,
    "joint.validate_every": 4,
    "train.validation_images": 2,
    "evaluate.pictures": 1,
    "evaluate.runtime_images": 2,
    "tune.trials": 2,
    "tune.held_out": 0.25,
    "tune.seeds": 0,
}
# By job: what it is called with beside the settings.
ARGUMENTS: dict[str, tuple[str, ...]] = {
    "synthesize": (),
    "preprocess": (),
    "pretrain": (),
    "train_joint": (),
    "evaluate": (),
    "report": (),
    "register": (),
    "predict": ("--explain",),
    "export": ("--out", "{out}/hgg.pt"),
    "benchmark": ("--seconds", "0.1"),
    "ablate": ("--rows", "9"),
    "tune": (),
    "doctor": ("--json",),
}
# Digits of fingerprints and of MLflow, and numbers of what is drawn or kept.
VARIABLE = [
    (re.compile(r"\b[0-9a-f]{32}\b|m-[0-9a-f]{32}"), "ID"),
    (re.compile(r"\b[0-9a-f]{12}\b"), "DIGITS"),
    (re.compile(r"\d{7}\b"), "IMAGE"),
    (re.compile(r"\bstep_\d{8}"), "step_N"),
    (re.compile(r"trial_[0-9a-f]{8}_\d+_[^/]*"), "TRIAL"),
]


def job_names(root: Path) -> dict[str, Any]:
    """What each job leaves in a run root of its own under `root`."""
    job = Job(REPOSITORY, root, SETTINGS)
    names, seen = {}, set()
    for name, arguments in ARGUMENTS.items():
        results, _ = job.run(name, *(each.format(out=root / "out") for each in arguments))
        files = {_named(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
        names[name] = {"results": keys_of(_without_values(results)), "files": sorted(files - seen)}
        seen |= files
    return names | {"mlflow": _mlflow(open_store(job.config))}


def _without_values(results: dict[str, Any]) -> dict[str, Any]:
    """Results without counts by a name that is no key: how trials ended, how doubtful a check is."""
    return {name: value for name, value in results.items() if name not in ("states", "ok", "warn", "fail")}


def _named(path: Path) -> str:
    """A path with a word for each of its numbers; what Ray and MLflow keep for themselves is one."""
    parts = path.parts
    for own in ("mlartifacts", "ray", "checkpoints"):
        if own in parts:
            path = Path(*parts[: parts.index(own) + 1])
    text = str(path)
    for pattern, word in VARIABLE:
        text = pattern.sub(word, text)
    return text


def _mlflow(client: MlflowClient) -> dict[str, Any]:
    """Runs by name: metrics, tags and artifacts; parameters, which all of them have; the registered model."""
    (experiment,) = client.search_experiments(filter_string="name = 'hgg'")
    runs = client.search_runs([experiment.experiment_id], order_by=["attributes.start_time"])
    parameters = {name for run in runs for name in run.data.params}
    assert all({*run.data.params} == parameters for run in runs)
    (version,) = client.search_model_versions("name = 'hgg'")
    return {
        "experiment": experiment.name,
        "parameters": sorted(parameters),
        "runs": {run.info.run_name: _run(client, run) for run in runs},
        "model": {
            "tags": sorted(version.tags),
            "aliases": sorted(client.get_registered_model("hgg").aliases),
        },
    }


def _run(client: MlflowClient, run: Any) -> dict[str, Any]:
    return {
        "metrics": sorted(run.data.metrics),
        "tags": sorted(tag for tag in run.data.tags if not tag.startswith("mlflow.")),
        "artifacts": sorted({_named(Path(path)) for path in _artifacts(client, run.info.run_id)}),
    }


def _artifacts(client: MlflowClient, run_id: str, folder: str | None = None) -> list[str]:
    found = []
    for entry in client.list_artifacts(run_id, folder):
        found += _artifacts(client, run_id, entry.path) if entry.is_dir else [entry.path]
    return found
