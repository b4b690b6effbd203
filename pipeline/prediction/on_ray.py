"""Prediction by workers of Ray: each has the model and takes the next shard of files that nobody has."""

from collections.abc import Iterator

from pipeline.base.memory import keep_freed_memory
from pipeline.base.progress import Progress
from pipeline.cluster.pool import by_actors
from pipeline.cluster.resources import limit_threads
from pipeline.prediction.model_plan import ModelPlan
from pipeline.prediction.predict import Plan, Portion, Rejected
from pipeline.prediction.shards import Work, keep_part


def work_on_ray(model: ModelPlan, workers: int, plan: Plan) -> Work:
    """Does the shards of a plan by so many workers.

    Raises `UserError` where the cluster has no room for them.
    """

    def work(portions: list[Portion], progress: Progress) -> Iterator[list[Rejected]]:
        options = model.train.model_copy(update={"num_workers": workers})
        for files, rejected in by_actors(_Worker, [model, plan], portions, options, "predict.num_workers"):
            progress.add(files)
            yield rejected

    return work


class _Worker:
    """An actor that holds the model."""

    def __init__(self, model: ModelPlan, plan: Plan) -> None:
        keep_freed_memory()
        limit_threads(model.train)
        self.plan, self.predictor = plan, model.predictor()

    def work(self, portion: Portion) -> tuple[int, list[Rejected]]:
        """Find and keep the people of a shard; returns how many files, and what was left out of them."""
        return len(portion.sources), keep_part(self.predictor, self.plan, portion)
