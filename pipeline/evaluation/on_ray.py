"""Evaluation by workers of Ray: each has the model and takes the next shard that nobody has."""

import ray
from ray.util import ActorPool

from pipeline.base.memory import keep_freed_memory
from pipeline.base.progress import Progress
from pipeline.cluster.resources import cpus_needed, limit_threads, room_for, worker_resources
from pipeline.cluster.start import start_ray
from pipeline.evaluation.found import Portion
from pipeline.evaluation.parts import Plan, find_part, load_predictor


def find_on_ray(plan: Plan, portions: list[Portion], progress: Progress) -> None:
    """Find and keep the people of shards, by `evaluate.num_workers` workers.

    Raises `UserError` where the cluster has no room for them, or the model does not fit.
    """
    workers = min(plan.config.evaluate.num_workers, len(portions))
    options = plan.config.train.model_copy(update={"num_workers": workers})
    with start_ray(cpus=cpus_needed(options)):
        room_for(options, "evaluate.num_workers")
        resources = worker_resources(options)
        actor = ray.remote(_Worker).options(
            num_cpus=resources["CPU"], num_gpus=resources.get("GPU", 0), max_restarts=options.max_failures,
            max_task_retries=options.max_failures,
        )  # fmt: skip
        pool = ActorPool([actor.remote(plan) for _ in range(workers)])
        for images in pool.map_unordered(lambda worker, portion: worker.find.remote(portion), portions):
            progress.add(images)


class _Worker:
    """An actor that holds the model."""

    def __init__(self, plan: Plan) -> None:
        keep_freed_memory()
        limit_threads(plan.config.train)
        self.plan = plan
        self.predictor = load_predictor(plan)

    def find(self, portion: Portion) -> int:
        """Find and keep the people of a shard; returns the number of its images."""
        find_part(self.plan, self.predictor, portion)
        return portion.images
