"""Reading samples: every row once, the same images in a step for any number of readers, from any step."""

from itertools import chain, islice, pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.base.errors import UserError
from pipeline.base.seeds import sample_key
from pipeline.batches import collate
from pipeline.batches.collate import Batch
from pipeline.batches.order import WINDOW, Order
from pipeline.batches.reader import SampleReader, read_in_order
from pipeline.data.rows import unpack_mask
from tests.cases.samples import CELLS, INPUT, assert_equal, sample_row, write_samples


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("samples") / "train"
    assert write_samples(path, [22, 9, 30]) == 61
    return path


def take(folder: Path, steps: int, **arguments: int) -> list[Batch]:
    return list(islice(SampleReader(folder, **arguments), steps))


def ids(batches: list[Batch]) -> list[list[int]]:
    return [batch.image_ids.tolist() for batch in batches]


def flat(batches: list[Batch]) -> list[int]:
    return list(chain.from_iterable(ids(batches)))


def test_a_batch_holds_what_the_rows_hold(folder: Path) -> None:
    batch = next(read_in_order(folder, 4))
    assert batch.image_ids.tolist() == [1, 2, 3, 4]
    assert batch.images.shape == (4, 3, INPUT, INPUT)
    assert batch.images.dtype == torch.uint8
    assert batch.targets.joints.shape == (4, 3, 17, 3)  # rows hold 0, 1, 2, 3 people
    for b, people in enumerate((0, 1, 2, 3)):
        row = sample_row(b + 1, people=people)
        heatmaps = np.frombuffer(row["heatmaps"], np.uint8).reshape(17, CELLS, CELLS)
        assert np.array_equal(batch.targets.heatmaps[b].numpy(), heatmaps)
        assert np.array_equal(batch.targets.mask[b].numpy(), unpack_mask(row["mask"], CELLS))
        assert np.array_equal(batch.targets.joints[b, :people].numpy().ravel(), row["joints"])
        assert np.array_equal(batch.targets.areas[b, :people].numpy(), row["areas"])
        assert not batch.targets.joints[b, people:].any()
        assert not batch.targets.areas[b, people:].any()
    red, green = batch.images[0, 0].float(), batch.images[0, 1].float()
    assert red[:, : INPUT // 2 - 8].mean() == pytest.approx(230, abs=4)  # RGB, not OpenCV's BGR
    assert green[:, : INPUT // 2 - 8].mean() == pytest.approx(1, abs=4)


def test_to_makes_targets_floats(folder: Path) -> None:
    stored = next(read_in_order(folder, 4))
    batch = stored.to("cpu")
    assert torch.equal(batch.targets.heatmaps, stored.targets.heatmaps.float() / 255)
    assert batch.targets.mask.dtype == torch.float32
    assert set(batch.targets.mask.unique().tolist()) == {0.0, 1.0}


def test_in_order_reading_gives_every_row_once(folder: Path) -> None:
    found = list(read_in_order(folder, 8))
    assert flat(found) == list(range(1, 62))
    assert [len(b.image_ids) for b in found] == [8] * 7 + [5]


def test_an_epoch_gives_no_row_twice_and_leaves_out_less_than_a_batch(folder: Path) -> None:
    reader = SampleReader(folder, batch_size=8)
    assert reader.steps_per_epoch == 7
    first, second = (flat(take(folder, 7, batch_size=8, start_step=s)) for s in (0, 7))
    assert len(set(first)) == len(set(second)) == 56
    assert first != second
    assert first != sorted(first)


def test_two_ranks_read_one_ranks_images_step_by_step(folder: Path) -> None:
    whole = take(folder, 16, batch_size=8, seed=3)
    halves = [take(folder, 16, batch_size=4, rank=r, world=2, seed=3) for r in (0, 1)]
    for one, left, right in zip(whole, *halves, strict=True):
        assert one.image_ids.tolist() == left.image_ids.tolist() + right.image_ids.tolist()
        assert one.keys.tolist() == left.keys.tolist() + right.keys.tolist()
        assert torch.equal(one.images, torch.cat((left.images, right.images)))


@pytest.mark.parametrize("start", [1, 6, 7, 20])
def test_a_stream_starts_at_any_step(folder: Path, start: int) -> None:
    from_zero = take(folder, start + 3, batch_size=8, seed=1)[start:]
    for a, b in zip(from_zero, take(folder, 3, batch_size=8, seed=1, start_step=start), strict=True):
        assert_equal(a, b)


def test_what_is_skipped_is_not_decoded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = []
    real = collate.decode_jpeg
    monkeypatch.setattr(collate, "decode_jpeg", lambda *at: decoded.append(1) or real(*at))
    take(folder, 1, batch_size=8, start_step=1000)
    assert len(decoded) == 8


def test_the_order_follows_the_seed_and_the_keys_the_epoch(folder: Path) -> None:
    assert ids(take(folder, 7, batch_size=8, seed=0)) != ids(take(folder, 7, batch_size=8, seed=1))
    stream = take(folder, 14, batch_size=8)
    keys = [dict(zip(b.image_ids.tolist(), b.keys.tolist(), strict=True)) for b in stream]
    first = {k: v for b in keys[:7] for k, v in b.items()}
    second = {k: v for b in keys[7:] for k, v in b.items()}
    both = first.keys() & second.keys()
    assert both
    assert all(first[k] != second[k] for k in both)
    image = next(iter(first))
    assert first[image] == sample_key(0, 0, image, 0)


def test_a_missing_folder_and_too_few_samples_are_user_errors(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"run jobs/preprocess\.py"):
        SampleReader(tmp_path / "none", batch_size=4)
    with pytest.raises(UserError, match="61 samples do not fill one batch of 64"):
        SampleReader(folder, batch_size=64)


def test_files_that_the_manifest_does_not_name_are_not_read(tmp_path: Path) -> None:
    write_samples(tmp_path / "train", [8])
    for name in (".tmp.part-00001.parquet", "part-00009.parquet"):
        (tmp_path / "train" / name).write_bytes(b"half")
    assert len(next(read_in_order(tmp_path / "train", 16)).image_ids) == 8


def test_a_batch_without_people_has_room_for_none(tmp_path: Path) -> None:
    write_samples(tmp_path / "train", [4], most_people=0)
    batch = take(tmp_path / "train", 1, batch_size=4)[0]
    assert batch.targets.joints.shape == (4, 0, 17, 3)
    assert batch.targets.areas.shape == (4, 0)


def epoch_rows(order: Order, epoch: int) -> list[tuple[int, int]]:
    return [row for lane in range(order.lanes) for window in order.windows(epoch, lane, 0) for row in window]


@pytest.mark.parametrize(
    ("units", "batch", "world", "lanes"),
    [([32] * 40, 32, 1, 16), ([32] * 40, 24, 3, 24), ([7] * 9 + [3], 6, 2, 2), ([5], 5, 1, 1)],
)
def test_lanes_share_out_the_rows(units: list[int], batch: int, world: int, lanes: int) -> None:
    order = Order(units, batch, world)
    assert order.lanes == lanes
    assert order.lanes % world == 0
    assert order.lanes * order.lane_rows == batch
    rows = epoch_rows(order, 0)
    assert len(set(rows)) == len(rows) == sum(units) // batch * batch
    assert all(0 <= row < units[unit] for unit, row in rows)


def test_few_units_are_read_by_more_than_one_lane() -> None:
    order = Order([32] * 400, 32)
    touched = [
        {unit for window in order.windows(0, lane, 0) for unit, _ in window} for lane in range(order.lanes)
    ]
    assert sum(len(t) for t in touched) <= 400 + order.lanes


def test_a_window_mixes_its_units() -> None:
    window = next(Order([32] * 400, 32).windows(0, 0, 0))
    assert len(window) == WINDOW
    changes = sum(a[0] != b[0] for a, b in pairwise(window))
    assert changes > 10


def test_an_order_refuses_what_does_not_divide() -> None:
    with pytest.raises(ValueError, match="does not divide"):
        Order([32], 8, world=3)
