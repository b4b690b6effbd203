"""This process among the others that train: its rank, how many there are, values over all of them."""

from collections.abc import Callable
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from hgg.objective import Terms
from pipeline.base.errors import UserError, first_line

T = TypeVar("T")


def rank() -> int:
    """This process's rank, 0 where there is no process group."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """Number of ranks, 1 where there is no process group."""
    return dist.get_world_size() if dist.is_initialized() else 1


def mean_over_ranks(terms: Terms) -> Tensor:
    """The terms (6,), each averaged over the ranks; a term that is not finite on one is so on all.

    It stays on its device, so that nothing waits for it yet.
    """
    values = torch.stack([term.detach() for term in terms])
    if world_size() > 1:
        dist.all_reduce(values)
        values /= world_size()
    return values


def from_rank_0(values: list[float]) -> list[float]:
    """Rank 0's values on every rank."""
    if world_size() == 1:
        return values
    shared: list[Any] = [values]
    dist.broadcast_object_list(shared, src=0)
    return shared[0]


def from_all_ranks(value: T) -> list[T]:
    """Each rank's value, in their order, on every rank."""
    values = [value] * world_size()
    if world_size() > 1:
        dist.all_gather_object(values, value)
    return values


def to_rank_0(value: T) -> list[T]:
    """Each rank's value, in their order, on rank 0; none on the others."""
    if world_size() == 1:
        return [value]
    values: list[Any] | None = [None] * world_size() if rank() == 0 else None
    dist.gather_object(value, values, dst=0)
    return values or []


def together(work: Callable[[], T]) -> T:
    """What this rank's part of some work gives, once every rank has done its own.

    What one rank's part raises ends the work on all, so that none waits for another that is gone: the others
    raise `UserError` with the same words where it was one, else `RuntimeError`, which names the rank.
    """
    result, failure = None, None
    try:
        result = work()
    except Exception as error:
        failure = error
    words = None if failure is None else (type(failure).__name__, first_line(failure))
    problems = from_all_ranks((isinstance(failure, UserError), words))
    if failure is not None:
        raise failure
    for number, (of_user, problem) in enumerate(problems):
        if problem is not None:
            raise UserError(problem[1]) if of_user else RuntimeError(f"rank {number}: {': '.join(problem)}")
    return result  # pyrefly: ignore[bad-return]  # nothing failed


def share_statistics(model: nn.Module) -> None:
    """Give the statistics of rank 0's normalisation to all ranks: all else in their models is the same.

    Each rank gathers statistics of its own images, and rank 0's are kept. Training reads none of them.
    """
    if world_size() > 1:
        for buffer in model.buffers():
            dist.broadcast(buffer, src=0)
