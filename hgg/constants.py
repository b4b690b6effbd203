"""Numbers known beforehand, as tensors where they are wanted."""

from collections.abc import Sequence

import torch
from torch import Tensor


def constant(values: Sequence[float] | Sequence[int], device: torch.device) -> Tensor:
    """(len(values),) int64 or float32 on a device.

    torch.tensor(values, device=...) would wait for all that a GPU has still to do.
    """
    return torch.tensor(values).to(device, non_blocking=True)
