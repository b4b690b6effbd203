"""The training batches of a reader, decoded by threads into memory that is used again."""

import os
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from functools import partial
from threading import Lock
from typing import ParamSpec, TypeVar

import torch

from pipeline.batches.collate import Batch, Buffers
from pipeline.batches.destination import Destination, Sent
from pipeline.batches.reader import SampleReader, Step
from pipeline.batches.units import Rows, read_unit

AHEAD = 4  # batches that threads prepare while a step runs
MOST_AT_ONCE = 8  # images that a thread decodes before it looks for what is next

P = ParamSpec("P")
T = TypeVar("T")
Place = tuple[Future[Rows], int]
"""A row of a unit that a thread reads, or has read."""


def training_batches(
    reader: SampleReader, threads: int = 0, device: torch.device | str = "cpu"
) -> Generator[Batch, None, None]:
    """The batches of a reader on a device, decoded by so many threads, the next ones while a step runs.

    They are the reader's to the last bit for any number of threads. No more are started than there are
    processors for this process, and none for 0: the calling thread decodes. **A batch may be read until the
    next one is asked for**: then its memory is decoded into again (on a GPU it has memory of its own).

    The threads end with the stream, that is when it is closed or dropped, or has raised what a thread raised:
    each as soon as it has done the few images or the row group that it is at.

    Raises what `read_unit` and `Buffers.decode` raise, with file and row.
    """
    threads = min(threads, _processors())
    at_once = max(1, min(MOST_AT_ONCE, reader.batch_size // max(1, threads)))
    destination = Destination(torch.device(device))
    free = deque(_Slot(reader, destination) for _ in range(1 + (AHEAD if threads else 0)))
    started: deque[_Slot] = deque()
    pool = ThreadPoolExecutor(threads, "decode") if threads else _Here()
    try:
        # A unit is handed to the threads before the images that are in it, and they take in turn what they
        # are handed: so whoever waits for a unit waits for a thread that is reading it.
        steps = reader.steps(partial(pool.submit, read_unit, shape=reader.shape))
        while True:
            while free:
                started.append(free.popleft())
                started[-1].begin(next(steps), at_once, pool)
            slot = started.popleft()
            yield destination.receive(slot.end())
            free.append(slot)
    finally:
        pool.shutdown(cancel_futures=True)


class _Slot:
    """Memory of a batch, and the threads' work on the batch that is decoded into it."""

    def __init__(self, reader: SampleReader, destination: Destination) -> None:
        self.destination = destination
        self.seed = reader.order.seed
        self.buffers = Buffers(reader.batch_size, reader.shape, pinned=destination.stream is not None)
        self.parts: list[Future[None]] = []
        self.undone = 0  # of the parts
        self.lock = Lock()  # of `undone`
        self.sent: Sent | None = None
        self.copied: torch.cuda.Event | None = None

    def begin(self, step: Step[Future[Rows]], at_once: int, pool: Executor) -> None:
        """Have a step's images decoded, so many at once."""
        starts = range(0, len(step.places), at_once)
        self.undone = len(starts)
        self.parts = [
            pool.submit(self._decode, step.places[first : first + at_once], first, step.epoch)
            for first in starts
        ]

    def end(self) -> Sent:
        """The batch, when all is decoded. Raises what one of the threads raised."""
        for part in self.parts:
            part.result()
        sent, self.sent = self.sent, None
        assert sent is not None, "the thread that decoded the last part has sent the batch"
        self.copied = sent.arrived
        return sent

    def _decode(self, places: Sequence[Place], first: int, epoch: int) -> None:
        if self.copied is not None:
            self.copied.synchronize()  # the GPU may still copy the last batch from here
        self.buffers.decode([(unit.result(), row) for unit, row in places], first, self.seed, epoch)
        with self.lock:
            self.undone -= 1
            last = self.undone == 0
        if last:
            self.sent = self.destination.send(self.buffers)


class _Here(Executor):
    """Does at once, in the thread that asks, what a pool's threads would do."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """What was done, or the exception that it ended with, as of a pool."""
        done: Future[T] = Future()
        try:
            done.set_result(fn(*args, **kwargs))
        except Exception as error:
            done.set_exception(error)
        return done


def _processors() -> int:
    """Processors that this process may use; not every system tells it from those of the machine."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
