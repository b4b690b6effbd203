"""The training batches of a reader, decoded by this process or by loader processes."""

import os
from collections import deque
from collections.abc import Iterator
from itertools import islice, takewhile
from typing import Protocol

from torch import multiprocessing
from torch.utils.data import DataLoader, IterableDataset

from pipeline.batches.collate import Batch, joined
from pipeline.batches.reader import SampleReader

PREFETCHED = 4  # batches that each loader process prepares ahead


def training_batches(reader: SampleReader, loader_workers: int = 0) -> Iterator[Batch]:
    """The batches of a reader, decoded by this process or by `loader_workers` others; the same either way.

    Every loader process decodes its own lanes of each batch, so nothing is read twice; no more are
    started than the reader has lanes and the machine processors. They end when the stream is closed or
    dropped.
    """
    parts = min(loader_workers, len(reader.lanes), _processors())
    if parts == 0:
        yield from reader
        return
    # Spawned, because the caller may hold threads (Ray, Arrow) that a fork would cut off.
    processes = multiprocessing.get_context("spawn")
    closing = processes.Event()
    loader = DataLoader(
        _Until(closing, reader),
        batch_size=None,
        num_workers=parts,
        multiprocessing_context=processes,
        prefetch_factor=PREFETCHED,
    )
    stream = iter(loader)
    try:
        while True:
            # The loader asks its processes in turn, so `parts` items in a row are one batch.
            yield joined(list(islice(stream, parts)))
    except GeneratorExit:
        # A process that ends while it still sends tensors may abort, so all is sent before.
        closing.set()
        deque(stream, maxlen=0)
        raise


class _Event(Protocol):
    def is_set(self) -> bool: ...


class _Until(IterableDataset[Batch]):
    """A reader's batches until an event that all processes share is set."""

    def __init__(self, event: _Event, reader: SampleReader) -> None:
        super().__init__()
        self.event = event
        self.reader = reader

    def __iter__(self) -> Iterator[Batch]:
        return takewhile(lambda _: not self.event.is_set(), self.reader)


def _processors() -> int:
    """Processors that this process may use; not every system tells it from those of the machine."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
