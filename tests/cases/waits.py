"""What a GPU would be waited for, counted on any device: what has a shape or value that the host needs."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

WAITING = {torch.Tag.dynamic_output_shape, torch.Tag.data_dependent_output}
INDEXING = ("aten.index.", "aten.index_put")
# Ways to the host that are no operation on a CPU, and how often each is gone.
READS = ("tolist", "numpy", "cpu", "__array__")


class Counts:
    """Operations and waits by name."""

    def __init__(self) -> None:
        self.operations: Counter[str] = Counter()
        self.waits: Counter[str] = Counter()


class _Mode(TorchDispatchMode):
    def __init__(self, counts: Counts) -> None:
        super().__init__()
        self.counts = counts

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = str(func)
        self.counts.operations[name] += 1
        if _by_mask(args) if name.startswith(INDEXING) else WAITING & set(func.tags):
            self.counts.waits[name] += 1
        return func(*args, **(kwargs or {}))


def _by_mask(args: Any) -> bool:
    """Whether an indexing operation is given a mask, whose number of true values nobody knows beforehand."""
    return any(isinstance(index, Tensor) and index.dtype == torch.bool for index in args[1])


@contextmanager
def counted() -> Iterator[Counts]:
    """Count what is done inside, the backward pass included."""
    counts = Counts()
    with _Mode(counts):
        patches = [patch.object(Tensor, name, _counting(counts, name)) for name in READS]
        for each in patches:
            each.start()
        try:
            yield counts
        finally:
            for each in patches:
                each.stop()


def _counting(counts: Counts, name: str) -> Any:
    original = getattr(Tensor, name)

    def read(self: Tensor, *args: Any, **kwargs: Any) -> Any:
        counts.waits[name] += 1
        return original(self, *args, **kwargs)

    return read
