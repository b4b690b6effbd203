"""Loader processes: the same batches as without them, and an end in order whenever the stream is closed."""

import multiprocessing
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, cast

import pytest
import torch

from hgg.targets import Targets
from pipeline.batches.collate import Batch
from pipeline.batches.loader import training_batches
from pipeline.batches.reader import SampleReader
from tests.cases.samples import assert_equal, write_samples


def test_loader_processes_change_nothing(tmp_path: Path) -> None:
    write_samples(tmp_path / "train", [22, 9, 30])
    alone = islice(SampleReader(tmp_path / "train", batch_size=8, seed=2), 9)
    stream = training_batches(SampleReader(tmp_path / "train", batch_size=8, seed=2), loader_workers=2)
    for a, b in zip(alone, stream, strict=False):
        assert_equal(a, b)


class LargeBatches(torch.utils.data.IterableDataset[Batch]):
    """Stands for a reader; its batches are so large that its processes are sending most of the time."""

    lanes = range(2)

    def __iter__(self) -> Iterator[Batch]:
        nothing = torch.zeros(0)
        targets = Targets(nothing, nothing, joints=torch.zeros(1, 0, 17, 3), areas=torch.zeros(1, 0))
        while True:
            images = torch.zeros(32, 3, 512, 512, dtype=torch.uint8)
            yield Batch(images, targets, nothing, nothing)


@pytest.mark.parametrize("batches", [1, 2])
def test_closing_the_stream_ends_its_processes_in_order(batches: int) -> None:
    before = set(multiprocessing.active_children())
    stream = cast(Any, training_batches(cast(Any, LargeBatches()), loader_workers=2))
    list(islice(stream, batches))
    started = [child for child in multiprocessing.active_children() if child not in before]
    assert len(started) == 2
    stream.close()
    assert [process.exitcode for process in started] == [0, 0]
