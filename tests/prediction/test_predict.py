"""Photographs to people.json and pictures; the command with good and bad input."""

import json
import struct
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from pycocotools.coco import COCO

from hgg.config import ModelConfig
from hgg.model import HGG
from hgg.pictures import decode_picture, encode_jpeg
from hgg.poses import Poses
from hgg.predictor import Predictor, Watch, unwatched
from hgg.skeleton import NUM_JOINTS
from hgg.weights import save_model
from pipeline.base import progress
from pipeline.base.errors import Failed, UserError
from pipeline.prediction import predict
from pipeline.prediction.explain import explainable
from pipeline.prediction.shards import Found, predict_images
from pipeline.prediction.sources import Source, find_sources
from tests.cases.pictures import empty_png

NETWORK = {"input_size": 64, "stacks": 1, "channels": 8, "increase": 0, "depth": 1, "visual_dim": 4}
MODEL = ModelConfig.model_validate({"network": NETWORK})


class _Fixed(Predictor):
    """Finds in every image two people: all 17 joints on a diagonal, and two joints alone."""

    def __init__(self) -> None:
        super().__init__(HGG(MODEL))

    def predict(self, images: Sequence[np.ndarray], watch: Watch = unwatched) -> list[Poses]:
        keypoints = np.zeros((2, NUM_JOINTS, 3), np.float32)
        keypoints[0] = np.linspace((10, 10, 0.9), (40, 30, 0.5), NUM_JOINTS)
        keypoints[1, :2] = (5.004, 6, 0.5), (9, 8, 0.25)
        return [Poses(keypoints, np.array([0.7, 0.1], np.float32)) for _ in images]


def _jpeg(width: int = 60, height: int = 40) -> bytes:
    rng = np.random.default_rng(0)
    return encode_jpeg(rng.integers(0, 256, (height, width, 3), dtype=np.uint8), 90)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three images and something else."""
    source = tmp_path / "source"
    source.mkdir()
    for name in ("b.jpg", "a.JPG"):
        (source / name).write_bytes(_jpeg())
    assert cv2.imwrite(str(source / "b.png"), np.zeros((40, 60, 3), np.uint8))
    (source / "notes.txt").write_text("not an image")
    return source


def _found(source: Path) -> list[Source]:
    return find_sources([source])


def _predict(sources: list[Source], out: Path, **options: Any) -> Found:
    return predict_images(_Fixed(), sources, out, batch_size=2, **options)


def test_people_below_the_least_score_are_neither_written_nor_drawn(folder: Path, tmp_path: Path) -> None:
    source = _found(folder / "b.jpg")
    everybody, likely, nobody = tmp_path / "everybody", tmp_path / "likely", tmp_path / "nobody"
    _predict(source, everybody)
    assert _predict(source, likely, min_score=0.5).counts == {
        "images": 1,
        "people": 1,
        "people_below_min_score": 1,
    }
    assert [each["score"] for each in json.loads((likely / "people.json").read_text())["annotations"]] == [
        0.7
    ]
    assert _predict(source, nobody, min_score=0.9).counts["people"] == 0
    drawn = [(out / "pictures" / "b.png").read_bytes() for out in (everybody, likely, nobody)]
    assert drawn[0] == drawn[1]  # two joints alone are not drawn
    assert drawn[1] != drawn[2]


def test_people_json_is_a_coco_file_and_each_image_has_its_picture(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    counts = _predict(_found(folder), out).counts
    assert counts == {"images": 3, "people": 6, "people_below_min_score": 0}
    assert sorted(path.name for path in (out / "pictures").iterdir()) == ["a.png", "b.jpg.png", "b.png.png"]
    coco: Any = COCO(str(out / "people.json"))
    assert coco.imgs[2] == {"id": 2, "file_name": "b.jpg", "width": 60, "height": 40}
    whole, part = coco.loadAnns(coco.getAnnIds(imgIds=[2]))
    assert [person["id"] for person in (whole, part)] == [3, 4]
    assert whole["num_keypoints"] == NUM_JOINTS
    assert whole["bbox"] == [10.0, 10.0, 30.0, 20.0]
    assert whole["score"] == pytest.approx(0.7)
    assert part["keypoints"] == [5.0, 6.0, 2.0, 9.0, 8.0, 2.0] + [0.0] * 45
    assert part["keypoint_scores"] == [0.5, 0.25] + [0.0] * 15
    assert coco.cats[1]["skeleton"][0] == [16, 14]


def _spoil(folder: Path) -> list[str]:
    """Things that are called as images are, and are none."""
    (folder / "z.jpg").write_bytes(_jpeg()[:-400])
    (folder / "._b.jpg").write_bytes(b"\0\5\x16\7")  # what macOS leaves beside a file
    (folder / "album.jpg").mkdir()
    (folder / "gone.png").symlink_to("/nowhere/at/all.png")
    (folder / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic")
    return ["._b.jpg", "album.jpg", "gone.png", "phone.heic", "z.jpg"]


def test_what_cannot_be_read_is_left_out_named_and_listed(folder: Path, tmp_path: Path) -> None:
    spoiled, out = _spoil(folder), tmp_path / "out"
    found = _predict(_found(folder), out)
    assert found.counts["images"] == 3
    assert [Path(each.file).name for each in found.rejected] == spoiled
    why = {Path(each.file).name: (each.reason, each.detail) for each in found.rejected}
    assert why["z.jpg"][0] == "truncated"
    assert why["z.jpg"][1].startswith("not a whole picture: truncated: ")
    assert why["album.jpg"][1].startswith("Is a directory: ")
    assert why["gone.png"][1].startswith("No such file or directory: ")
    assert why["phone.heic"][1].startswith("not a whole picture: not_decodable: ")
    lines = (out / "rejected.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [each._asdict() for each in found.rejected]
    assert _predict(_found(folder / "b.jpg"), out).rejected == []
    assert (out / "rejected.jsonl").read_text() == ""


def test_where_nothing_can_be_read_the_first_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"")
    (tmp_path / "b.jpg").write_bytes(b"no")
    with pytest.raises(Failed, match=r"a\.jpg: not a whole picture: empty_file.* \(of 2 files none can"):
        _predict(_found(tmp_path), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_more_than_may_be_left_out_ends_it(folder: Path, tmp_path: Path) -> None:
    spoiled, out = _spoil(folder), tmp_path / "out"
    assert _predict(_found(folder), out, max_rejected=len(spoiled)).counts["images"] == 3
    with pytest.raises(Failed, match=r"5 files cannot be read, more than predict\.max_rejected=4; the first"):
        _predict(_found(folder), out, max_rejected=len(spoiled) - 1)


def test_each_file_is_decoded_once(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[int] = []

    def counted(data: bytes, **options: Any) -> np.ndarray:
        decoded.append(len(data))
        return decode_picture(data, **options)

    monkeypatch.setattr(predict, "decode_picture", counted)
    assert _predict(_found(folder), tmp_path / "out").counts["images"] == len(decoded) == 3


def test_photographs_are_read_upright(tmp_path: Path) -> None:
    tag = b"Exif\0\0" + struct.pack("<2sHIHHHII", b"II", 42, 8, 1, 0x0112, 3, 1, 6) + b"\0\0\0\0"
    segment = b"\xff\xe1" + struct.pack(">H", len(tag) + 2) + tag
    plain = _jpeg(60, 40)
    (tmp_path / "turned.jpg").write_bytes(plain[:2] + segment + plain[2:])
    _predict(_found(tmp_path / "turned.jpg"), tmp_path / "out")
    (image,) = json.loads((tmp_path / "out" / "people.json").read_text())["images"]
    assert (image["width"], image["height"]) == (40, 60)


def test_progress_is_logged(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(progress, "LOG_SECONDS", 0.0)
    with caplog.at_level("INFO", logger="pipeline.base.progress"):
        _predict(_found(folder), tmp_path / "out")
    assert caplog.messages[0].startswith("predict: 2 of 3 images, ")


Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def command(repository: Path, tmp_path: Path) -> Command:
    """jobs/predict.py with a model that is not trained, run where nothing of it lies."""
    torch.manual_seed(0)
    save_model(tmp_path / "model.pt", HGG(MODEL))

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(repository / "jobs" / "predict.py"), *map(str, arguments)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
        )

    return run


def test_the_command_predicts_a_folder(command: Command, folder: Path, tmp_path: Path) -> None:
    done = command("--checkpoint", "model.pt", "--source", folder, "--out", "out")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    results = json.loads(done.stdout.splitlines()[-1])
    assert results["images"] == 3
    assert len(json.loads((tmp_path / "out" / "people.json").read_text())["images"]) == 3
    assert len(list((tmp_path / "out" / "pictures").iterdir())) == 3


def test_the_command_leaves_out_what_it_cannot_read_and_names_it(command: Command, folder: Path) -> None:
    spoiled = _spoil(folder)
    done = command("--checkpoint", "model.pt", "--source", folder, "--out", "out")
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout.splitlines()[-1])
    assert (results["images"], [Path(file).name for file in results["left_out"]]) == (3, spoiled)
    assert done.stderr.count(" is left out: ") == done.stderr.count("\n") == len(spoiled)


@pytest.mark.parametrize(
    "case",
    ["truncated", "empty folder", "no model", "another architecture", "a file is there", "an empty model"],
)
def test_the_command_refuses_bad_input_in_one_line(
    command: Command, folder: Path, tmp_path: Path, case: str
) -> None:
    (folder / "cut.jpg").write_bytes(_jpeg()[:-400])
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty.pt").touch()
    (tmp_path / "other.yaml").write_text("network: {input_size: 64, stacks: 2, channels: 8, depth: 1}\n")
    arguments, said = {
        "truncated": (["--checkpoint", "model.pt", "--source", folder / "cut.jpg"], "cut.jpg"),
        "empty folder": (["--checkpoint", "model.pt", "--source", "empty"], "no image in this folder"),
        "no model": (["--config", "other.yaml", "--source", folder], "jobs/train_joint.py"),
        "another architecture": (
            ["--config", "other.yaml", "--checkpoint", "model.pt", "--source", folder / "b.jpg"],
            "another architecture",
        ),
        "a file is there": (
            ["--checkpoint", "model.pt", "--source", folder / "b.jpg", "--out", "other.yaml"],
            "--out=other.yaml: a file is there: name a folder",
        ),
        "an empty model": (
            ["--checkpoint", "empty.pt", "--source", folder / "b.jpg"],
            "empty.pt: not a checkpoint",
        ),
    }[case]
    done = command("--out", "out", *arguments)
    assert done.returncode == (1 if case == "truncated" else 2)
    assert said in done.stderr
    *before, last = done.stderr.splitlines()
    assert last.startswith("error: ")
    assert len(before) == (case == "truncated")  # that it is left out
    assert done.stdout == ""
    assert not (tmp_path / "out").exists()


def test_images_that_are_named_alike_have_a_picture_each(tmp_path: Path) -> None:
    images = [tmp_path / name for name in ("a.jpg", "a.png", "a.jpg.png", "b.jpg")]
    for path in images:
        path.write_bytes(encode_jpeg(np.full((48, 64, 3), 90, np.uint8), 90))
    assert _predict(find_sources(images), tmp_path / "out").counts["images"] == 4
    pictures = {path.name for path in (tmp_path / "out" / "pictures").iterdir()}
    assert pictures == {"a.jpg.png", "a.png.png", "a.jpg.png-2.png", "b.png"}


class _Seeing(_Fixed):
    """Also keeps how many images came together."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[int] = []

    def predict(self, images: Sequence[np.ndarray], watch: Watch = unwatched) -> list[Poses]:
        self.batches.append(len(images))
        return super().predict(images, watch)


def test_a_batch_is_bounded_by_its_pixels_and_by_its_number(tmp_path: Path) -> None:
    sides = [(40, 60), (40, 60), (80, 60), (10, 10), (10, 10), (10, 10), (10, 10)]
    images = [tmp_path / f"{number}.png" for number in range(len(sides))]
    for path, (height, width) in zip(images, sides, strict=True):
        path.write_bytes(empty_png(width, height))
    predictor = _Seeing()
    sources = find_sources(images)
    counts = predict_images(predictor, sources, tmp_path / "out", batch_size=3, max_pixels=4800)
    assert predictor.batches == [2, 1, 3, 1]
    found = (tmp_path / "out" / "people.json").read_bytes()
    predictor = _Seeing()
    assert predict_images(predictor, sources, tmp_path / "out", batch_size=3) == counts
    assert predictor.batches == [3, 3, 1]
    assert (tmp_path / "out" / "people.json").read_bytes() == found


def test_a_photograph_of_more_pixels_is_left_out_and_named(folder: Path, tmp_path: Path) -> None:
    (folder / "huge.png").write_bytes(empty_png(61, 40))
    (folder / "long.bmp").write_bytes(
        b"BM" + struct.pack("<IIIIiiHHIIiiII", 0, 0, 54, 40, 1_000_001, 1, 1, 24, 0, 0, 0, 0, 0, 0)
    )
    found = _predict(_found(folder), tmp_path / "out", max_pixels=2400)
    assert found.counts["images"] == 3
    assert {Path(each.file).name: each.detail for each in found.rejected}["huge.png"] == (
        "too_large: 61 x 40 pixels, more than 2400: make it smaller, or raise predict.max_pixels"
    )
    found = _predict(_found(folder), tmp_path / "out", max_pixels=10**9)
    assert found.rejected[0].detail.startswith("too_large: 1000001 x 1 pixels, more than 1000000 a side: ")


def test_a_page_that_cannot_hold_a_picture_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    (tmp_path / "long.png").write_bytes(empty_png(65_501, 1))
    with pytest.raises(UserError, match=r"--explain: .*long\.png is 65501 x 1, a page holds 65500 a side"):
        explainable(_Fixed(), _found(tmp_path / "long.png"), None)


PEAK = """
import resource, runpy, sys
sys.argv = sys.argv[1:]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
finally:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@pytest.mark.slow
def test_the_command_takes_little_memory_for_pictures_that_declare_much(
    command: Command, repository: Path, folder: Path, tmp_path: Path
) -> None:
    """Three files of a megabyte, of 350 million pixels each: 6 GiB, were they decoded."""

    def peak(*arguments: str | Path) -> tuple[int, dict[str, Any]]:
        job = repository / "jobs" / "predict.py"
        options = ["--checkpoint", "model.pt", "--source", folder, *arguments]
        done = subprocess.run(
            [sys.executable, "-c", PEAK, job, *options],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        results, mebibytes = done.stdout.splitlines()[-2:]
        return int(mebibytes), json.loads(results)

    before, _ = peak("--out", "before")
    for number in range(3):
        (folder / f"bomb{number}.png").write_bytes(empty_png(18_700, 18_700))
    after, results = peak("--out", "after")
    assert results["images"] == 3
    assert [Path(file).name for file in results["left_out"]] == ["bomb0.png", "bomb1.png", "bomb2.png"]
    assert after - before < 100
