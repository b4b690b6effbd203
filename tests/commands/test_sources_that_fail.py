"""Pictures and videos in one call: what cannot be read of the one ends nothing of the other."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from hgg.pictures import encode_jpeg
from hgg.weights import save_model
from pipeline.base.errors import Failed
from pipeline.commands.predict import run_prediction
from pipeline.settings.config import RunConfig
from tests.cases.core import tiny_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture and a video that can be read, and two of each that cannot."""
    made = tmp_path_factory.mktemp("sources")
    picture = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    (made / "good.jpg").write_bytes(encode_jpeg(picture, 90))
    writer = cv2.VideoWriter(str(made / "good.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    for _ in range(3):
        writer.write(picture)
    writer.release()
    for name in ("bad.jpg", "worse.jpg", "bad.mp4", "worse.mp4"):
        (made / name).write_bytes(b"nothing that decodes")
    save_model(made / "model.pt", tiny_model())
    return made


def _predict(folder: Path, out: Path, *names: str, max_rejected: int | None = None) -> dict[str, Any]:
    config = RunConfig.model_validate({"predict": {"max_rejected": max_rejected}})
    sources: list[str | Path] = [folder / name for name in names]
    return run_prediction(
        config,
        sources=sources,
        out=out,
        checkpoint=folder / "model.pt",
        overrides=[],
        explain=False,
        labels=None,
    )


def _listed(out: Path) -> list[str]:
    lines = (out / "rejected.jsonl").read_text().splitlines()
    return [Path(json.loads(line)["file"]).name for line in lines]


def test_a_video_is_predicted_where_no_picture_can_be_read(folder: Path, tmp_path: Path) -> None:
    found = _predict(folder, tmp_path / "out", "bad.jpg", "good.avi", "worse.jpg", "bad.mp4")
    assert found["videos"]["good"]["frames"] == 3
    assert "images" not in found
    assert _listed(tmp_path / "out") == ["bad.jpg", "worse.jpg", "bad.mp4"]
    assert [Path(file).name for file in found["left_out"]] == ["bad.jpg", "worse.jpg", "bad.mp4"]


def test_pictures_are_predicted_where_no_video_can_be_read(folder: Path, tmp_path: Path) -> None:
    found = _predict(folder, tmp_path / "out", "good.jpg", "bad.mp4")
    assert found["images"] == 1
    assert "videos" not in found
    assert _listed(tmp_path / "out") == ["bad.mp4"]


def test_it_fails_where_nothing_can_be_read(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(Failed, match=r"bad\.jpg: .* \(of 2 files none can be read\)"):
        _predict(folder, tmp_path / "out", "bad.jpg", "worse.jpg", "bad.mp4")
    with pytest.raises(Failed, match=r"bad\.mp4: .* \(of 2 videos none can be read\)"):
        _predict(folder, tmp_path / "out", "bad.mp4", "worse.mp4")
    assert not (tmp_path / "out").exists()


def test_pictures_and_videos_that_fail_are_counted_together(folder: Path, tmp_path: Path) -> None:
    names = ("good.jpg", "bad.jpg", "good.avi", "bad.mp4")
    assert _predict(folder, tmp_path / "two", *names, max_rejected=2)["images"] == 1
    with pytest.raises(Failed, match=r"2 files cannot be read, more than predict\.max_rejected=1"):
        _predict(folder, tmp_path / "one", *names, max_rejected=1)
    assert _listed(tmp_path / "one") == ["bad.jpg", "bad.mp4"]
