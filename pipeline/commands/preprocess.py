"""Preprocessing from the job's side: records and samples written, summed up and tracked."""

import logging
from pathlib import Path
from typing import Any

from pipeline.base.errors import UserError
from pipeline.base.files import write_text
from pipeline.base.lock import held
from pipeline.base.provenance import Origin, provenance, write_results
from pipeline.commands.start import check_start
from pipeline.data.preprocess import preprocess
from pipeline.data.rejects import REJECTED
from pipeline.data.shards import stage_folder
from pipeline.settings.config import RunConfig
from pipeline.settings.fingerprint import fingerprint
from pipeline.settings.load import print_config
from pipeline.tracking.run import sending, track
from pipeline.tracking.store import store_problem

log = logging.getLogger(__name__)


def run_preprocess(config: RunConfig) -> dict[str, Any]:
    """Write what is missing of both splits and return what `results.json` holds.

    The MLflow run is opened when the data stand, so that bad input leaves no run behind.

    Raises:
        UserError: bad input, more bad images than `data.max_rejected`, an MLflow that takes no run, or
            another preprocessing is at work in the run root.
    """
    check_start(config, training=False)
    problem = store_problem(config)
    if problem:
        raise UserError(problem)
    folder, written = config.run_root / "preprocess", ("records", "samples")
    with held(folder, "jobs/preprocess.py", *(config.run_root / name for name in written)):
        return _run(config, folder)


def _run(config: RunConfig, folder: Path) -> dict[str, Any]:
    """Write, sum up and track, in folders that no other job writes to."""
    origin = provenance()
    results = {**origin, **preprocess(config), "mlflow_run": None}
    write_text(folder / "config.yaml", print_config(config))
    write_results(folder, results)
    if not _send(config, folder, results, origin):
        log.warning(
            "preprocess: done, but MLflow lacks some of it: the same command sends that once it answers, and "
            "writes no shard again"
        )
    return results


def _send(config: RunConfig, folder: Path, results: dict[str, Any], origin: Origin) -> bool:
    """The MLflow run: figures and files; its id becomes part of the results. Whether it took them all."""
    splits = results["splits"]
    samples = {f"data/{split}": stages["samples"]["fingerprint"] for split, stages in splits.items()}
    tags = {"configuration": fingerprint(config), **samples}
    with (
        sending("the run of preprocess"),
        track(config, "preprocess", folder, tags, origin=origin) as tracked,
    ):
        results["mlflow_run"] = tracked.run_id
        write_results(folder, results)
        tracked.metrics(_figures(splits))
        for name in ("config.yaml", "results.json"):
            tracked.artifact(folder / name)
        for split in splits:
            tracked.artifact(stage_folder(config.run_root, "records", split) / REJECTED, split)
        return True
    return False


def _figures(splits: dict[str, dict[str, Any]]) -> dict[str, float | None]:
    """Counts and rates by split and stage: `train2017/records/rows` and so on."""
    figures: dict[str, float | None] = {}
    for split, stages in splits.items():
        for stage, found in stages.items():
            counts = found["counts"] | {"rejected": sum(found["rejected"].values())}
            rates = {name: value for name, value in found.items() if name.endswith("_per_second")}
            figures |= {f"{split}/{stage}/{name}": value for name, value in (counts | rates).items()}
    return figures
