"""Batches on their way to a GPU: a copy that comes late changes nothing; on a GPU, what arrives is right.

A machine without one has `LateGpu` in its place: it copies nothing before somebody waits for the copy.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from threading import Lock

import pytest
import torch

from hgg.targets import Targets
from pipeline.batches import loader
from pipeline.batches.collate import Batch, Buffers, SampleShape
from pipeline.batches.destination import Destination
from pipeline.batches.loader import AHEAD, training_batches
from pipeline.batches.reader import SampleReader
from tests.cases.samples import assert_equal, plain_batches, write_samples

BATCHES = 3 * (AHEAD + 1)
OF_A_BATCH = 7  # tensors


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_samples(tmp_path / "train", [22, 9, 30])
    return tmp_path / "train"


class LateGpu:
    """What `Destination` and the loader ask of CUDA, done on the CPU as late as it may be."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.asked: list[str] = []
        self.begun: list[Callable[[], object]] = []  # copies that no event stands for yet
        self.events: list[Event] = []
        self.copying, self.of_the_step = Stream("copying", self), Stream("step", self)

    @contextmanager
    def within(self, stream: "Stream") -> Iterator[None]:
        with self.lock:
            self.asked.append(f"{stream.name}: begin")
            yield
            self.asked.append(f"{stream.name}: end")

    def moved(self, batch: Batch, _: torch.device) -> Batch:
        self.asked.append("copy")
        return Batch(
            self.later(batch.images), Targets(*map(self.later, batch.targets)), *map(self.later, batch[2:])
        )

    def later(self, tensor: torch.Tensor) -> torch.Tensor:
        target = torch.empty_like(tensor)
        self.begun.append(lambda: target.copy_(tensor))
        return target

    def event(self, *, blocking: bool) -> "Event":
        assert blocking
        self.events.append(Event(self))
        return self.events[-1]

    def buffers(self, images: int, shape: SampleShape, pinned: bool) -> Buffers:
        assert pinned
        return Buffers(images, shape)

    def destination(self, _: torch.device) -> Destination:
        made = Destination(torch.device("cpu"))
        made.stream = self.copying  # pyrefly: ignore[bad-assignment]
        return made


class Stream:
    def __init__(self, name: str, gpu: LateGpu) -> None:
        self.name, self.gpu = name, gpu

    def wait_event(self, event: "Event") -> None:
        self.gpu.asked.append(f"{self.name}: wait for the event")


class Event:
    def __init__(self, gpu: LateGpu) -> None:
        self.gpu, self.copies = gpu, list[Callable[[], object]]()

    def record(self, stream: Stream) -> None:
        self.gpu.asked.append(f"{stream.name}: event")
        self.copies, self.gpu.begun = self.gpu.begun, []

    def synchronize(self) -> None:
        self.gpu.asked.append("host: wait for the event")
        with self.gpu.lock:
            for copy in self.copies:
                copy()
            self.copies = []


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> LateGpu:
    late = LateGpu()
    monkeypatch.setattr(loader, "Destination", late.destination)
    monkeypatch.setattr(loader, "Buffers", late.buffers)
    monkeypatch.setattr(Batch, "moved", lambda batch, device: late.moved(batch, device))
    monkeypatch.setattr(torch.cuda, "stream", late.within)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _: late.of_the_step)
    monkeypatch.setattr(torch.cuda, "Event", late.event)
    monkeypatch.setattr(
        torch.Tensor, "record_stream", lambda _, stream: late.asked.append(f"{stream.name}: memory")
    )
    return late


def test_copies_events_and_streams_come_in_order(folder: Path, gpu: LateGpu) -> None:
    stream = training_batches(SampleReader(folder, 8), 0, "cuda")
    next(stream)
    first = ["copying: begin", "copy", "copying: event", "copying: end", "step: wait for the event"]
    first += ["step: memory"] * OF_A_BATCH
    assert gpu.asked == first
    next(stream)
    stream.close()
    assert gpu.asked == [*first, "host: wait for the event", *first]


@pytest.mark.parametrize("threads", [0, 2])
def test_a_buffer_is_not_decoded_into_before_it_is_copied(folder: Path, gpu: LateGpu, threads: int) -> None:
    stream = training_batches(SampleReader(folder, 8, seed=1), threads, "cuda")
    kept = list(islice(stream, BATCHES))
    stream.close()
    for event in gpu.events:
        event.synchronize()
    for plain, batch in zip(plain_batches(folder, 8, seed=1), kept, strict=False):
        assert_equal(plain, batch)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("threads", [0, 2])
def test_what_arrives_on_a_gpu_is_what_was_read(folder: Path, threads: int) -> None:
    stream = training_batches(SampleReader(folder, 8, seed=1), threads, "cuda")
    kept = list(islice(stream, BATCHES))
    stream.close()
    for plain, batch in zip(plain_batches(folder, 8, seed=1), kept, strict=False):
        assert batch.images.is_cuda
        assert_equal(plain, batch.moved("cpu"))
