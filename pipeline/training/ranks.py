"""This process among the others that train: its rank, how many there are, values over all of them."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from hgg.objective import Terms


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
