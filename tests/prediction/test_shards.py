"""Shards of a prediction: what comes out is that of one go, and what was done is not done again."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hgg.config import ModelConfig
from hgg.model import HGG
from hgg.pictures import encode_jpeg
from hgg.poses import Poses
from hgg.predictor import Predictor, Watch, unwatched
from hgg.skeleton import NUM_JOINTS
from pipeline.base.errors import Failed
from pipeline.prediction.predict import Plan, Portion
from pipeline.prediction.shards import Found, keep_part, part_file, portioned, predict_images, shard_folder
from pipeline.prediction.sources import find_sources

NETWORK = {"input_size": 64, "stacks": 1, "channels": 8, "increase": 0, "depth": 1, "visual_dim": 4}
FILES = 7


class _Counting(Predictor):
    """Finds as many people as a picture is bright: 0 to 6 in turn. Keeps how bright they were."""

    def __init__(self, ends_after: int = 1000) -> None:
        super().__init__(HGG(ModelConfig.model_validate({"network": NETWORK})))
        self.seen: list[int] = []
        self.ends_after = ends_after

    def predict(self, images: Sequence[np.ndarray], watch: Watch = unwatched) -> list[Poses]:
        found = []
        for image in images:
            if len(self.seen) == self.ends_after:
                raise KeyboardInterrupt
            number = round(float(image.mean()) / 30)
            self.seen.append(number)
            joints = np.linspace((10, 10, 0.9), (40, 30, 0.5), NUM_JOINTS).astype(np.float32)
            scores = np.linspace(0.9, 0.3, number, dtype=np.float32)
            found.append(Poses(np.repeat(joints[None], number, axis=0), scores))
        return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    source = tmp_path / "photos"
    source.mkdir()
    for number in range(FILES):
        picture = np.full((40, 60, 3), 30 * number, np.uint8)
        (source / f"{number}.jpg").write_bytes(encode_jpeg(picture, 95))
    (source / "4b.jpg").write_bytes(b"no picture")
    return source


def _predict(
    folder: Path, out: Path, predictor: Predictor | None = None, size: int = 3, **options: Any
) -> Found:
    found = find_sources([folder])
    return predict_images(predictor or _Counting(), found, out, batch_size=2, shard_images=size, **options)


def test_shards_give_what_one_go_gives(folder: Path, tmp_path: Path) -> None:
    whole = _predict(folder, tmp_path / "whole", size=100)
    assert whole.counts == {"images": 7, "people": 21, "people_below_min_score": 0}
    text = (tmp_path / "whole" / "people.json").read_text()
    assert text == json.dumps(json.loads(text), indent=2) + "\n"
    assert [person["id"] for person in json.loads(text)["annotations"]] == [*range(1, 22)]
    for size in (1, 2, 3):
        out = tmp_path / str(size)
        assert _predict(folder, out, size=size) == whole
        for path in sorted((tmp_path / "whole").rglob("*.*")):
            assert (out / path.relative_to(tmp_path / "whole")).read_bytes() == path.read_bytes(), path
        assert sorted(path.name for path in out.iterdir()) == ["people.json", "pictures", "rejected.jsonl"]


def test_nobody_at_all_is_an_empty_list(folder: Path, tmp_path: Path) -> None:
    _predict(folder, tmp_path / "out", min_score=1.0)
    text = (tmp_path / "out" / "people.json").read_text()
    assert text == json.dumps(json.loads(text), indent=2) + "\n"
    assert json.loads(text)["annotations"] == []


def test_a_killed_one_goes_on(folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole, out = _predict(folder, tmp_path / "whole"), tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        _predict(folder, out, _Counting(ends_after=4))
    assert not (out / "people.json").exists()
    rest = _Counting()
    with caplog.at_level("INFO"):
        assert _predict(folder, out, rest) == whole
    assert rest.seen == [3, 4, 5, 6]
    assert "predict: 1 of 3 shards are there already" in caplog.messages
    assert (out / "people.json").read_bytes() == (tmp_path / "whole" / "people.json").read_bytes()
    assert not (out / "shards").exists()


def test_other_settings_and_other_files_are_another_prediction(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        _predict(folder, out, _Counting(ends_after=5))
    changes: list[dict[str, Any]] = [{"min_score": 0.5}, {"identity": {"model": "another"}}]
    for change in changes:
        again = _Counting()
        _predict(folder, out, again, **change)
        assert len(again.seen) == FILES
    (folder / "0.jpg").write_bytes(encode_jpeg(np.full((40, 60, 3), 180, np.uint8), 95))
    again = _Counting()
    _predict(folder, out, again)
    assert again.seen[0] == 6
    assert len(again.seen) == FILES


def test_too_many_that_cannot_be_read_end_it_whatever_shard_they_are_in(folder: Path, tmp_path: Path) -> None:
    (folder / "0.jpg").write_bytes(b"no")
    with pytest.raises(Failed, match=r"2 files cannot be read, more than predict\.max_rejected=1; the first"):
        _predict(folder, tmp_path / "out", max_rejected=1)
    assert len((tmp_path / "out" / "rejected.jsonl").read_text().splitlines()) == 2
    assert not (tmp_path / "out" / "shards").exists()


def test_nothing_is_left_where_nothing_could_be_read_but_what_was_there(tmp_path: Path) -> None:
    for number in range(4):
        (tmp_path / f"{number}.jpg").write_bytes(b"no")
    with pytest.raises(Failed, match=r"0\.jpg: not a whole picture: .* \(of 4 files none can be read"):
        _predict(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (tmp_path / "mine").mkdir()
    with pytest.raises(Failed):
        _predict(tmp_path, tmp_path / "mine")
    assert [*(tmp_path / "mine").iterdir()] == []


def test_who_does_the_shards_does_not_show(folder: Path, tmp_path: Path) -> None:
    """Another way of doing them, the last first."""
    _predict(folder, tmp_path / "whole")

    def backwards(plan: Plan) -> Any:
        def work(portions: list[Portion], progress: Any) -> Any:
            for portion in reversed(portions):
                yield keep_part(_Counting(), plan, portion)

        return work

    _predict(folder, tmp_path / "out", work=backwards)
    for name in ("people.json", "rejected.jsonl"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_memory_does_not_grow_with_the_number_of_files(tmp_path: Path) -> None:
    """What is summed up is read a shard at a time."""
    import tracemalloc

    (tmp_path / "one.jpg").write_bytes(encode_jpeg(np.full((40, 60, 3), 180, np.uint8), 95))
    peaks = []
    for count in (100, 400):
        folder, out = tmp_path / f"photos{count}", tmp_path / f"out{count}"
        folder.mkdir()
        for number in range(count):
            (folder / f"{number:04d}.jpg").symlink_to(tmp_path / "one.jpg")
        sources = find_sources([folder])
        plan = Plan(out, shard_folder(out, sources, {"batch_size": 2, "pictures": False}), 2, pictures=False)
        shards = portioned(sources, None, 20)
        keep_part(_Counting(), plan, shards[0])
        part = part_file(plan, shards[0]).read_bytes()
        for shard in shards[1:]:
            part_file(plan, shard).write_bytes(part)
        tracemalloc.start()
        options = {"batch_size": 2, "pictures": False, "shard_images": 20}
        predictor = _Counting()
        assert predict_images(predictor, sources, out, **options).counts["people"] == 6 * count
        assert predictor.seen == []
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # A file's name and size are known of each, 1 kB; what was found in it is ten times that.
    assert peaks[1] - peaks[0] < 300 * 2000, peaks
