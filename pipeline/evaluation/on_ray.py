"""Evaluation by workers of Ray: each has the model and takes the next shard that nobody has."""

from pipeline.base.memory import keep_freed_memory
from pipeline.base.progress import Progress
from pipeline.cluster.pool import by_actors
from pipeline.cluster.resources import limit_threads
from pipeline.evaluation.found import Portion
from pipeline.evaluation.parts import Plan, find_part, load_predictor


def find_on_ray(plan: Plan, portions: list[Portion], progress: Progress) -> None:
    """Find and keep the people of shards, by `evaluate.num_workers` workers.

    Raises `UserError` where the cluster has no room for them, or the model does not fit.
    """
    workers = plan.config.evaluate.num_workers
    options = plan.config.train.model_copy(update={"num_workers": workers})
    for images in by_actors(_Worker, [plan], portions, options, "evaluate.num_workers"):
        progress.add(images)


class _Worker:
    """An actor that holds the model."""

    def __init__(self, plan: Plan) -> None:
        keep_freed_memory()
        limit_threads(plan.config.train)
        self.plan = plan
        self.predictor = load_predictor(plan)

    def work(self, portion: Portion) -> int:
        """Find and keep the people of a shard; returns the number of its images."""
        find_part(self.plan, self.predictor, portion)
        return portion.images
