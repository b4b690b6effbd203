"""A split evaluated shard by shard, in this process or by workers of Ray: a killed evaluation goes on.

What was found in a shard is a JSON file. The figures are computed once, from all of them, in the order of the
shards, so they are the same by whomever and in whatever order the shards were done.
"""

import json
import logging
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from hgg.predictor import Predictor
from pipeline.config import RunConfig
from pipeline.evaluate import GROUPINGS, Evaluation, check_known, find_people, people_of, portions, sum_up
from pipeline.files import write_json
from pipeline.found import Found, Portion
from pipeline.grouping_errors import Fates
from pipeline.jpeg import decode_picture
from pipeline.loop import step_seed
from pipeline.pictures import Gallery
from pipeline.progress import Progress
from pipeline.scoring import load_truth
from pipeline.settings import described, fingerprint
from pipeline.shards import data_fingerprint, read_records
from pipeline.trained import trained_model

FOLDER = "parts"

log = logging.getLogger(__name__)


class Plan(NamedTuple):
    """An evaluation as a piece of work, plain enough to be sent to workers."""

    config: RunConfig
    checkpoint: Path
    records: Path
    folder: Path
    """For what was found in the shards."""


def plan_evaluation(config: RunConfig, checkpoint: Path, sha256: str, records: Path) -> Plan:
    """The evaluation of a model; what another model or other settings found is in another folder."""
    evaluate = {"images", "batch_size", "seed"}
    identity = {
        "model": sha256,
        "data": data_fingerprint(records),
        "settings": described(config.model),
        "inference": described(config.inference),
        "evaluate": config.evaluate.model_dump(mode="json", include=evaluate),
        "use_gpu": config.train.use_gpu,
    }
    folder = config.outputs / "evaluate" / FOLDER / fingerprint(identity)
    return Plan(config, checkpoint, records, folder)


def evaluate_parts(plan: Plan, predictor: Predictor, annotations: Path) -> Evaluation:
    """Find the people of all shards that are not done, and sum up.

    Args:
        plan: of the evaluation.
        predictor: of `load_predictor`, for the shards that are done in this process.
        annotations: the split's annotation file.

    Raises:
        UserError: no finished records, no annotation file, records of other images, or a cluster that is too
            small.
    """
    config = plan.config
    truth = load_truth(annotations, config.skeleton)
    wanted = portions(plan.records, config.evaluate.images)
    todo = [portion for portion in wanted if not part_file(plan, portion).exists()]
    if len(todo) < len(wanted):
        done = len(wanted) - len(todo)
        log.info("evaluate: going on: %d of %d shards are done", done, len(wanted))
    progress = Progress("evaluate", sum(portion.images for portion in todo))
    if config.evaluate.num_workers and todo:
        # Imported here so that evaluating in this process needs no Ray.
        from pipeline.evaluate_on_ray import find_on_ray

        find_on_ray(plan, todo, progress)
    else:
        for portion in todo:
            find_part(plan, predictor, portion, progress)
    found = Found()
    for portion in wanted:
        found.add(read_part(part_file(plan, portion)))
    check_known(found.image_ids, truth, plan.records, annotations)
    missing = min(config.evaluate.images or len(truth.imgs), len(truth.imgs)) - len(found.image_ids)
    return sum_up(found, truth, config.skeleton, missing, progress)


def load_predictor(plan: Plan) -> Predictor:
    """The model that is evaluated; `UserError` where it does not fit the settings."""
    config = plan.config
    model = trained_model(plan.checkpoint, config.model, config.train.use_gpu)
    return Predictor(model, inference=config.inference)


def find_part(plan: Plan, predictor: Predictor, portion: Portion, progress: Progress | None = None) -> None:
    """Find the people of a shard and keep them; where grouping is random, by the shard's own seed."""
    torch.manual_seed(step_seed(plan.config.evaluate.seed, portion.shard, 0))
    size = plan.config.evaluate.batch_size
    write_part(
        part_file(plan, portion), find_people(predictor, plan.records, portion, size, progress=progress)
    )


def part_file(plan: Plan, portion: Portion) -> Path:
    """Where it is kept what was found in a shard."""
    return plan.folder / f"part-{portion.shard:05d}.json"


def write_part(path: Path, found: Found) -> None:
    """Keep what was found, every number with all its digits."""
    rows = {
        grouping: [row | {"keypoints": row["keypoints"].tolist()} for row in of_grouping]
        for grouping, of_grouping in found.rows.items()
    }
    fates = {grouping: [*counted.items()] for grouping, counted in found.fates.items()}
    kept = {"rows": rows, "fates": fates, "crowding": [*found.crowding.items()]}
    plain = {"image_ids": found.image_ids, "people": found.people, "candidates": found.candidates}
    write_json(path, plain | kept)


def read_part(path: Path) -> Found:
    """What `write_part` kept."""
    kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    rows = {
        grouping: [row | {"keypoints": np.array(row["keypoints"])} for row in of_grouping]
        for grouping, of_grouping in kept["rows"].items()
    }
    fates = {
        grouping: {image_id: Fates(*counts) for image_id, counts in counted}
        for grouping, counted in kept["fates"].items()
    }
    return Found(
        rows, kept["image_ids"], kept["people"], kept["candidates"], fates, dict(map(tuple, kept["crowding"]))
    )


def remove_parts(plan: Plan) -> None:
    """Remove what was kept of the shards, once it is summed up."""
    for path in sorted(plan.folder.glob("part-*.json")):
        path.unlink()
    plan.folder.rmdir()


def gallery_of(plan: Plan, predictor: Predictor, found: Evaluation) -> Gallery:
    """Pictures of the images whose people overlap most, detected once more."""
    gallery = Gallery(plan.config.evaluate.pictures, plan.config.joints)
    order = sorted(found.crowding, key=lambda image_id: (-found.crowding[image_id], image_id))
    chosen = set(order[: plan.config.evaluate.pictures])
    for record in _chosen(plan.records, chosen):
        image = decode_picture(record["jpeg"])
        _, people, _ = people_of(predictor, [record], [image], GROUPINGS[:2])
        gallery.offer(record, image, {grouping: poses[0] for grouping, poses in people.items()})
    return gallery


def _chosen(records: Path, image_ids: set[int]) -> Iterator[dict[str, Any]]:
    rows = (record for record in read_records(records) if record["image_id"] in image_ids)
    return islice(rows, len(image_ids))
