"""Work for many hands: actors of Ray that each hold something large, and take the next item in turn."""

from collections.abc import Iterator, Sequence
from typing import Any

from pipeline.cluster.resources import cpus_needed, room_for, worker_resources
from pipeline.cluster.start import start_ray
from pipeline.settings.config import TrainConfig


def by_actors(
    worker: type, arguments: Sequence[Any], items: Sequence[Any], options: TrainConfig, setting: str
) -> Iterator[Any]:
    """What `worker(*arguments).work(item)` returns for each item, as they are done.

    An actor whose process or machine dies is begun again, and its item with it, `train.max_failures` times.
    Actors and not Ray Data's, which writes an error line of Ray's own at each start of one.

    Args:
        worker: a class; each actor makes one of it.
        arguments: that it is made with.
        items: work; there are no more actors than items.
        options: how many actors, and what each takes.
        setting: that says how many, for the message.

    Raises:
        UserError: the cluster has no room for the actors, or what a worker raises.
    """
    options = options.model_copy(update={"num_workers": min(options.num_workers, len(items))})
    if not items:
        return
    import ray
    from ray.util import ActorPool

    with start_ray(cpus=cpus_needed(options)):
        room_for(options, setting)
        resources = worker_resources(options)
        actor = ray.remote(worker).options(
            num_cpus=resources["CPU"],
            num_gpus=resources.get("GPU", 0),
            max_restarts=options.max_failures,
            max_task_retries=options.max_failures,
        )
        pool = ActorPool([actor.remote(*arguments) for _ in range(options.num_workers)])
        yield from pool.map_unordered(lambda each, item: each.work.remote(item), list(items))
