"""A split evaluated shard by shard, in this process or by workers of Ray: a killed evaluation goes on.

What was found in a shard is a JSON file. The figures are computed once, from all of them, in the order of the
shards, so they are the same by whomever and in whatever order the shards were done.
"""

import logging
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from hgg.groupings import BLIND
from hgg.pictures import decode_picture
from hgg.predictor import Predictor
from pipeline.base.progress import Progress
from pipeline.data.shards import read_records
from pipeline.evaluation.evaluate import Evaluation, scope_of, sum_up
from pipeline.evaluation.found import Found, read_found
from pipeline.evaluation.gallery import Gallery
from pipeline.evaluation.parts import Plan, find_part, part_file
from pipeline.evaluation.people import people_of

log = logging.getLogger(__name__)


def evaluate_by_parts(plan: Plan, predictor: Predictor) -> Evaluation:
    """Find the people of all shards that are not done, and sum up.

    Args:
        plan: of the evaluation.
        predictor: of `load_predictor`, for the shards that are done in this process.

    Raises:
        UserError: no finished records, no truth beside them, or a cluster that is too small.
    """
    config = plan.config
    scope = scope_of(plan.records, config.joints, config.evaluate.images)
    todo = [portion for portion in scope.portions if not part_file(plan, portion).exists()]
    if len(todo) < len(scope.portions):
        done = len(scope.portions) - len(todo)
        log.info("evaluate: going on: %d of %d shards are done", done, len(scope.portions))
    progress = Progress("evaluate", sum(portion.images for portion in todo))
    if config.evaluate.num_workers and todo:
        # Imported here so that evaluating in this process needs no Ray.
        from pipeline.evaluation.on_ray import find_on_ray

        find_on_ray(plan, todo, progress)
    else:
        for portion in todo:
            find_part(plan, predictor, portion, progress)
    found = Found()
    for portion in scope.portions:
        found.add(read_found(part_file(plan, portion)))
    return sum_up(found, scope, progress)


def gallery_of(plan: Plan, predictor: Predictor, found: Evaluation) -> Gallery:
    """Pictures of the images whose people overlap most, detected once more."""
    gallery = Gallery(plan.config.evaluate.pictures, plan.config.joints)
    order = sorted(found.crowding, key=lambda image_id: (-found.crowding[image_id], image_id))
    chosen = set(order[: plan.config.evaluate.pictures])
    for record in chosen_records(plan.records, chosen):
        image = decode_picture(record["jpeg"])
        _, people, _ = people_of(predictor, [record], [image], BLIND)
        gallery.offer(record, image, {grouping: poses[0] for grouping, poses in people.items()})
    return gallery


def chosen_records(records: Path, image_ids: set[int]) -> Iterator[dict[str, Any]]:
    """The records of some images, in their order; nothing is read after the last of them."""
    rows = (record for record in read_records(records) if record["image_id"] in image_ids)
    return islice(rows, len(image_ids))
