"""One shard of an evaluation as a piece of work, and the file that it leaves."""

from pathlib import Path
from typing import NamedTuple

import torch

from hgg.predictor import Predictor
from hgg.settings import Decides
from pipeline.base.progress import Progress
from pipeline.base.seeds import step_seed
from pipeline.data.shards import data_fingerprint
from pipeline.evaluation.found import Portion, write_found
from pipeline.evaluation.people import find_people
from pipeline.evaluation.trained import trained_model
from pipeline.settings.config import RunConfig
from pipeline.settings.fingerprint import described, fingerprint

FOLDER = "parts"


class Plan(NamedTuple):
    """An evaluation as a piece of work, plain enough to be sent to workers."""

    config: RunConfig
    checkpoint: Path
    records: Path
    folder: Path
    """For what was found in the shards."""


def plan_evaluation(config: RunConfig, checkpoint: Path, sha256: str, records: Path) -> Plan:
    """The evaluation of a model; what another model or other settings found is in another folder."""
    decides = Decides.EVALUATION
    identity = {
        "model": sha256,
        "data": data_fingerprint(records),
        "settings": described(config.model, decides),
        "inference": described(config.inference, decides),
        "evaluate": described(config.evaluate, decides),
        **described(config.train, decides),
    }
    folder = config.outputs / "evaluate" / FOLDER / fingerprint(identity)
    return Plan(config, checkpoint, records, folder)


def load_predictor(plan: Plan) -> Predictor:
    """The model that is evaluated; `UserError` where it does not fit the settings."""
    config = plan.config
    model = trained_model(plan.checkpoint, config.model, config.train.use_gpu)
    return Predictor(model, inference=config.inference)


def find_part(plan: Plan, predictor: Predictor, portion: Portion, progress: Progress | None = None) -> None:
    """Find the people of a shard and keep them; where grouping is random, by the shard's own seed."""
    torch.manual_seed(step_seed(plan.config.evaluate.seed, portion.shard, 0))
    size = plan.config.evaluate.batch_size
    write_found(
        part_file(plan, portion), find_people(predictor, plan.records, portion, size, progress=progress)
    )


def part_file(plan: Plan, portion: Portion) -> Path:
    """Where it is kept what was found in a shard."""
    return plan.folder / f"part-{portion.shard:05d}.json"


def remove_parts(plan: Plan) -> None:
    """Remove what was kept of the shards, once it is summed up."""
    for path in sorted(plan.folder.glob("part-*.json")):
        path.unlink()
    plan.folder.rmdir()
