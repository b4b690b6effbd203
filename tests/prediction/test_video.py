"""Videos to lines, rows and pictures: odd ones, broken ones, long ones, and people who cross."""

import json
import resource
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from hgg.config import ModelConfig
from hgg.model import HGG
from hgg.poses import Poses
from hgg.predictor import Predictor, Watch, unwatched
from pipeline.prediction.video import Following, predict_video, video_names
from pipeline.prediction.video_file import BadVideo, Drawn, Video, opened

NETWORK = {"input_size": 64, "stacks": 1, "channels": 8, "increase": 0, "depth": 1, "visual_dim": 4}
RATE = 25.0
FOLLOWING = Following(0.2, 30, 1.0, 0.05)


class _Told(Predictor):
    """Finds what it is told, frame by frame; nobody where nothing is told."""

    def __init__(self, people: Sequence[list[np.ndarray]] = ()) -> None:
        super().__init__(HGG(ModelConfig.model_validate({"network": NETWORK})))
        self.told, self.shapes = people, list[tuple[int, ...]]()

    def predict(self, images: Sequence[np.ndarray], watch: Watch = unwatched) -> list[Poses]:
        found = []
        for image in images:
            number = len(self.shapes)
            self.shapes.append(image.shape)
            people = self.told[number] if number < len(self.told) else []
            keypoints = np.stack(people) if people else np.zeros((0, 17, 3), np.float32)
            found.append(Poses(keypoints, np.full(len(people), 0.8, np.float32)))
        return found


def _person(x: float, y: float = 20.0, height: float = 60.0) -> np.ndarray:
    rows = np.array([0, 0, 0, 1, 1, 3, 3, 5, 5, 7, 7, 7, 7, 10, 10, 14, 14]) / 14
    sides = np.array([0, 1, -1, 2, -2, 4, -4, 5, -5, 5, -5, 3, -3, 3, -3, 3, -3]) / 30
    places = np.stack([x + sides * height, y + rows * height, np.full(17, 0.9)], axis=1)
    return places.astype(np.float32)


def _video(path: Path, frames: int, size: tuple[int, int] = (96, 64), codec: str = "mp4v") -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), RATE, size)
    for number in range(frames):
        picture = np.full((size[1], size[0], 3), 30, np.uint8)
        picture[:, number % size[0]] = 255
        writer.write(picture)
    writer.release()
    return path


def _predict(
    place: Path, out: Path, people: Sequence[list[np.ndarray]] = (), **options: Any
) -> dict[str, Any]:
    return predict_video(_Told(people), str(place), out, place.stem, batch_size=4, min_score=0.1, **options)


def _lines(out: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / f"{name}.jsonl").read_text().splitlines()]


def test_every_frame_has_a_line_and_every_person_a_row(tmp_path: Path) -> None:
    path, out = _video(tmp_path / "walk.mp4", 10), tmp_path / "out"
    people = [[_person(30 + n)] if n % 2 else [_person(30 + n), _person(70)] for n in range(10)]
    done = _predict(path, out, people)
    assert (done["frames"], done["people"], done["frames_missing"]) == (10, 15, 0)
    lines = _lines(out, "walk")
    assert [line["frame"] for line in lines] == [*range(10)]
    np.testing.assert_allclose([line["seconds"] for line in lines], np.arange(10) / RATE, atol=1e-3)
    assert [len(line["people"]) for line in lines] == [2, 1] * 5
    assert lines[3]["people"][0]["keypoints"][:3] == [33.0, 20.0, 2.0]
    table = pq.read_table(out / "walk.parquet")
    assert table.num_rows == 15
    assert table.column("frame").to_pylist() == [n for n in range(10) for _ in people[n]]
    assert table.column("id").null_count == 15
    assert json.loads(table.schema.metadata[b"joints"])[0] == "nose"
    with opened(str(out / "walk.mp4")) as drawn:
        assert drawn.rate == RATE
        assert len([*drawn]) == 10
    assert sorted(each.name for each in out.iterdir()) == ["walk.jsonl", "walk.mp4", "walk.parquet"]


def test_a_video_is_left_undrawn_and_ends_early_where_asked_for(tmp_path: Path) -> None:
    path, out = _video(tmp_path / "walk.mp4", 10), tmp_path / "out"
    done = _predict(path, out, draw=False, most_frames=7)
    assert (done["frames"], done["frames_missing"]) == (7, 0)
    assert not (out / "walk.mp4").exists()


def test_a_phones_portrait_video_is_read_upright(tmp_path: Path) -> None:
    path = _video(tmp_path / "phone.mp4", 3)
    data = bytearray(path.read_bytes())
    matrix = data.index(b"tkhd") + 4 + 40
    data[matrix : matrix + 36] = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 64 << 16, 0, 1 << 30)
    path.write_bytes(data)
    predictor = _Told()
    predict_video(predictor, str(path), tmp_path / "out", "phone", batch_size=2, min_score=0.1)
    assert {*predictor.shapes} == {(96, 64, 3)}


def test_frames_of_uneven_rate_have_their_own_times(tmp_path: Path) -> None:
    pictures = [Image.fromarray(np.full((40, 60, 3), shade, np.uint8)) for shade in (0, 80, 160, 240)]
    pictures[0].save(
        tmp_path / "uneven.gif", save_all=True, append_images=pictures[1:], duration=[40, 100, 300, 40]
    )
    done = _predict(tmp_path / "uneven.gif", tmp_path / "out")
    assert [line["seconds"] for line in _lines(tmp_path / "out", "uneven")] == [0.0, 0.04, 0.14, 0.44]
    assert done["seconds"] == 0.44
    with opened(str(tmp_path / "uneven.gif")) as video, opened(str(tmp_path / "out" / "uneven.mp4")) as drawn:
        assert drawn.rate == pytest.approx(video.rate, rel=0.01)
        shown = [int(frame.picture.mean()) for frame in drawn]
    assert len(shown) == round(0.44 * video.rate) + 1  # as long as it took
    assert shown == sorted(shown)


def test_a_frame_is_drawn_until_the_next_is_due_but_not_for_days(tmp_path: Path) -> None:
    with Drawn(tmp_path / "still", 10.0) as drawn:
        for shade, seconds in ((0, 0.0), (100, 0.1), (200, 0.5), (100, 86_400.0), (0, 86_400.1)):
            drawn.add(np.full((64, 96, 3), shade, np.uint8), seconds)
    with opened(str(tmp_path / "still.mp4")) as video:
        shown = [round(frame.picture.mean() / 100) for frame in video]
    assert shown == [0, 1, 1, 1, 1, *[2] * 101, 1, 0]


def test_a_length_at_an_uneven_rate_is_no_frame_that_does_not_decode() -> None:
    """As WebM has it: 115 frames by 3.83 seconds of 30 a second, where 52 are there, the last one at 3.8."""
    video = Video.__new__(Video)
    video.rate = 30.0
    assert video.missing(115, 52, 3.8) == 0
    assert video.missing(115, 20, 1.2) == 78
    assert video.missing(20, 20, 1.2) == 0
    assert video.missing(115, 60, 59 / 30) == 55


def test_a_video_that_is_cut_off_gives_what_it_has(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = _video(tmp_path / "cut.avi", 40, codec="MJPG")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with caplog.at_level("WARNING"):
        done = _predict(path, tmp_path / "out")
    assert 0 < done["frames"] < 40
    assert done["frames"] == len(_lines(tmp_path / "out", "cut"))
    assert done["frames"] + done["frames_missing"] == 40
    assert "of 40 frames do not decode: it was cut off" in caplog.text


@pytest.mark.parametrize("case", ["no index", "nothing", "text", "no frames"])
def test_what_is_no_video_leaves_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], case: str
) -> None:
    path = _video(tmp_path / "bad.mp4", 0 if case == "no frames" else 20)
    if case == "no index":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif case == "nothing":
        path.write_bytes(b"")
    elif case == "text":
        path.write_text("no video at all")
    capfd.readouterr()
    with pytest.raises(BadVideo, match=r"^(not_decodable|no_frames): "):
        _predict(path, tmp_path / "out")
    assert capfd.readouterr().err == ""
    assert not (tmp_path / "out").exists() or not [*(tmp_path / "out").iterdir()]


def test_people_who_cross_keep_their_ids(tmp_path: Path) -> None:
    """Two cross twice in 120 frames; joints are noisy, and each is missed for ten frames once."""
    random, people, true_ids = np.random.default_rng(1), [], []
    for n in range(120):
        places = (20 + 60 * abs((n / 60) % 2 - 1) * 3, 200 - 60 * abs((n / 60) % 2 - 1) * 3)
        there = [who for who in (0, 1) if not (who == 0 and 20 <= n < 30) and not (who == 1 and 75 <= n < 85)]
        noisy = [_person(places[who], y=20 + 3 * who) for who in there]
        for each in noisy:
            each[:, :2] += random.normal(0, 0.7, (17, 2))
        people.append(noisy)
        true_ids.append(there)
    path = _video(tmp_path / "cross.mp4", 120, size=(240, 96))
    done = _predict(path, tmp_path / "out", people, following=FOLLOWING)
    found = [[person["id"] for person in line["people"]] for line in _lines(tmp_path / "out", "cross")]
    # As MOTA counts: misses and false ids are none here, so what is left are switches.
    given: dict[int, set[int | None]] = {0: set(), 1: set()}
    for ids, there in zip(found, true_ids, strict=True):
        for one, who in zip(ids, there, strict=True):
            given[who].add(one)
    assert given in ({0: {0}, 1: {1}}, {0: {1}, 1: {0}})
    assert done["ids"] == 2


def test_joints_are_steadier_where_people_are_followed(tmp_path: Path) -> None:
    random, people = np.random.default_rng(2), []
    for _ in range(60):
        each = _person(50)
        each[:, :2] += random.normal(0, 0.7, (17, 2))
        people.append([each])
    path = _video(tmp_path / "still.mp4", 60)

    def spread(following: Following) -> float:
        _predict(path, tmp_path / "out", people, following=following, draw=False)
        lines = _lines(tmp_path / "out", "still")[20:]
        return float(np.std([line["people"][0]["keypoints"] for line in lines], axis=0)[:2].mean())

    assert spread(FOLLOWING) < 0.7 * spread(FOLLOWING._replace(cutoff=0.0))


def test_names_of_videos_tell_them_apart() -> None:
    places = ["a/walk.mp4", "b/walk.mov", "0", "rtsp://host/live", "http://host/other"]
    assert video_names(places) == ["walk", "walk-2", "camera0", "stream", "stream-2"]


def test_a_drawn_video_that_an_error_ends_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), Drawn(tmp_path / "half", RATE) as drawn:
        drawn.add(np.zeros((64, 96, 3), np.uint8))
        raise RuntimeError
    assert not [*tmp_path.iterdir()]


@pytest.mark.slow
def test_memory_is_flat_over_ten_thousand_frames(tmp_path: Path) -> None:
    path = _video(tmp_path / "long.mp4", 10_000)
    people = [[_person(30 + n % 30)] for n in range(10_000)]

    def peak() -> float:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    _predict(path, tmp_path / "short", people, most_frames=1000, following=FOLLOWING)
    before = peak()
    assert _predict(path, tmp_path / "out", people, following=FOLLOWING)["frames"] == 10_000
    assert peak() - before < 60
