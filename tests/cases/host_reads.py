"""Counts where the host needs what a tensor holds: on a GPU each is a wait for all that was queued before."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

# Operations whose result's value or shape the host needs.
OPERATIONS = {
    *("_local_scalar_dense", "equal", "nonzero", "masked_select", "bincount", "repeat_interleave"),
    *("_unique", "_unique2", "unique_dim", "unique_consecutive"),
}
# These read a tensor on a CPU without an operation.
METHODS = {"tolist", "numpy", "__array__", "cpu"}


class HostReads:
    """Counts, by name, inside its `counting` and outside of its `pausing`."""

    def __init__(self) -> None:
        self.found: Counter[str] = Counter()
        self.operations: Counter[str] = Counter()
        """All operations, those of no interest too."""
        self.paused = False

    @contextmanager
    def counting(self) -> Iterator["HostReads"]:
        """What is done inside is counted."""
        with _Operations(self), _Methods(self):
            yield self

    @contextmanager
    def pausing(self) -> Iterator[None]:
        """What is done inside is not counted."""
        self.paused = True
        try:
            yield
        finally:
            self.paused = False


class _Operations(TorchDispatchMode):
    def __init__(self, reads: HostReads) -> None:
        super().__init__()
        self.reads = reads

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if not self.reads.paused:
            self.reads.operations[name] += 1
            if name in OPERATIONS or (name in ("index", "index_put", "index_put_") and _by_mask(args[1])):
                self.reads.found[name] += 1
        return func(*args, **(kwargs or {}))


class _Methods(TorchFunctionMode):
    def __init__(self, reads: HostReads) -> None:
        super().__init__()
        self.reads = reads

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        if name in METHODS and not self.reads.paused:
            self.reads.found[name] += 1
        return func(*args, **(kwargs or {}))


def _by_mask(indices: Any) -> bool:
    return any(isinstance(index, Tensor) and index.dtype in (torch.bool, torch.uint8) for index in indices)
