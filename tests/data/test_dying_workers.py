"""A shard that ends the process that writes it: the others are written, and it is named."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.base.errors import UserError
from pipeline.cluster.start import start_ray
from pipeline.data.on_ray import TRIES, fan_out
from pipeline.data.shard_writer import PlannedShard
from pipeline.data.shards import ShardRow

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def running() -> Iterator[None]:
    with start_ray(2):
        yield


class _Write:
    """Makes a row, or ends its process at some shards, and says that it was there."""

    def __init__(self, folder: Path, deadly: set[int], tries: int = 1 << 30) -> None:
        self.folder, self.deadly, self.tries = folder, deadly, tries

    def __call__(self, planned: PlannedShard) -> ShardRow:
        seen = len(list(self.folder.glob(f"{planned.shard}-*")))
        (self.folder / f"{planned.shard}-{seen}").touch()
        if planned.shard in self.deadly and seen < self.tries:
            os.kill(os.getpid(), signal.SIGKILL)
        return ShardRow(planned.shard, "", 1, 1, "", planned.made_from, {}, [])


def _shards() -> list[PlannedShard]:
    return [
        PlannedShard(n, "", 2, {"images": [{"file_name": f"{n}a.jpg"}, {"file_name": f"{n}b.jpg"}]})
        for n in range(4)
    ]


def test_a_shard_that_kills_its_process_is_named_and_the_others_are_written(
    running: None, tmp_path: Path
) -> None:
    rows = []
    with pytest.raises(UserError, match=r"shard 2 \(2 images, 2a\.jpg to 2b\.jpg\): 4 processes died"):
        for row, _ in fan_out(_Write(tmp_path, {2}), _shards(), 2):
            rows.append(row.shard)
    assert sorted(rows) == [0, 1, 3]
    assert len(list(tmp_path.glob("2-*"))) == TRIES


def test_a_process_that_dies_now_and_then_costs_nothing(running: None, tmp_path: Path) -> None:
    rows = [row.shard for row, _ in fan_out(_Write(tmp_path, {1}, tries=2), _shards(), 2)]
    assert sorted(rows) == [0, 1, 2, 3]
