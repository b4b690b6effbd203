"""A training set of which one image in twenty is bad: each is used or left out, and training goes on."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from hgg.pictures import decode_picture
from pipeline.base.errors import UserError
from pipeline.data.records import plan_records
from pipeline.data.rejects import check_limit
from pipeline.data.shards import read_records, records_manifest, samples_manifest
from pipeline.settings.config import RunConfig
from pipeline.settings.data import DataConfig
from pipeline.training.checkpoint import FolderCheckpoints
from pipeline.training.stage import plan_stage
from pipeline.training.worker import run_worker
from tests.cases.evaluation import make_records, make_samples
from tests.cases.tiny_coco import TinyCoco, jpeg
from tests.cases.training import MODEL, STAGE

GOOD = 323  # beside 17 bad ones
ORIENTATION, TURNED = 0x0112, 6


def _picture(mode: str, kind: str = "JPEG", width: int = 64, height: int = 48, **options: Any) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(out, kind, **options)
    return out.getvalue()


def _turned() -> bytes:
    exif = Image.Exif()
    exif[ORIENTATION] = TURNED
    return _picture("RGB", exif=exif)


PICTURES: dict[str, tuple[Callable[[], bytes], str]] = {  # reason to leave it out, none where it is used
    "empty": (lambda: b"", "empty_file"),
    "truncated": (lambda: _picture("RGB")[:-500], "truncated"),
    "no picture": (lambda: b"hello", "not_decodable"),
    "PNG": (lambda: _picture("RGB", "PNG"), ""),
    "CMYK": (lambda: _picture("CMYK"), ""),
    "grey": (lambda: _picture("L"), ""),
    "one pixel": (lambda: _picture("RGB", width=1, height=1), ""),
    "20,000 pixels wide": (lambda: _picture("RGB", width=20_000, height=30), ""),
    "turned by its tag": (_turned, ""),
    "another size": (lambda: jpeg(48, 64), "wrong_size"),
}
SIZES = {"one pixel": (1, 1), "20,000 pixels wide": (20_000, 30)}
ANNOTATIONS: dict[str, tuple[dict[str, Any], str]] = {
    "keypoints too short": ({"keypoints": [5, 5, 2]}, "keypoints_length"),
    "NaN": ({"keypoints": [float("nan"), 9, 2, 6, 21, 1] + [0, 0, 0] * 15}, "not_a_number"),
    "box outside": ({"bbox": [200, 5, 10, 20]}, "box_outside"),
    "no number": ({"area": -1}, "area"),
}


def _data(root: Path) -> tuple[TinyCoco, dict[str, int]]:
    """The data set and the ids of the bad pictures by their kinds."""
    coco, ids = TinyCoco(), {}
    for _ in range(GOOD):
        coco.add_image()
    for kind, (make, _) in PICTURES.items():
        ids[kind] = coco.add_image(*SIZES.get(kind, (64, 48)))
        coco.pictures[coco.images[-1]["file_name"]] = make()
    pixel = coco.annotations[ids["one pixel"] - 10]
    pixel |= {"bbox": [0, 0, 1, 1], "area": 1.0, "keypoints": [0.5, 0.5, 2] * 2 + [0, 0, 0] * 15}
    for changes, _ in ANNOTATIONS.values():
        coco.add_person(coco.add_image(), **changes)
    twice = coco.add_image()
    coco.add_person(twice, id=coco.annotations[-1]["id"])
    coco.add_unlabelled(coco.add_image(), segmentation=[[1, 2, 3, 4]])
    coco.add_person(999_999)
    coco.write(root / "data", "train2017")
    return coco, ids


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunConfig, dict[str, int]]:
    root = tmp_path_factory.mktemp("bad")
    _, ids = _data(root)
    config = RunConfig.model_validate(
        {
            "run_root": root / "run",
            "data": {"root": root / "data", "views": 1, "shard_images": 50, "max_rejected": 11},
            "network": MODEL.network.model_dump(),
            "grouping": MODEL.grouping.model_dump(),
            "train": {"num_workers": 0, "validation_images": 0},
            "pretrain": STAGE.model_dump() | {"steps": 90, "batch_size": 8, "log_every": 30},
        }
    )
    make_records(config, "train2017")
    make_samples(config, "train2017")
    return config, ids


def test_every_bad_image_is_used_or_counted_by_its_reason(made: tuple[RunConfig, dict[str, int]]) -> None:
    config, ids = made
    folder = config.run_root / "records" / "train2017"
    kept = {record["image_id"]: record for record in read_records(folder)}
    for kind, (_, reason) in PICTURES.items():
        assert (ids[kind] in kept) == (not reason), kind
    wanted = [reason for _, reason in PICTURES.values() if reason]
    wanted += [reason for _, reason in ANNOTATIONS.values()]
    wanted += ["duplicate_annotation", "segmentation", "unknown_image"]
    assert records_manifest(folder).rejected == dict.fromkeys(sorted(wanted), 1)
    assert len(kept) == GOOD + 6
    assert decode_picture(kept[ids["turned by its tag"]]["jpeg"]).shape == (48, 64, 3)  # as annotated
    assert decode_picture(kept[ids["grey"]]["jpeg"]).shape == (48, 64, 3)
    assert samples_manifest(config.run_root / "samples" / "train2017").counts["rows"] == 2 * len(kept)


def test_one_bad_image_more_than_allowed_stops_it(made: tuple[RunConfig, dict[str, int]]) -> None:
    config, _ = made
    stage = plan_records(config, "train2017")
    rejected = [*stage.before.rejected] * 6
    with pytest.raises(UserError, match=r"bad images, more than data\.max_rejected=11"):
        check_limit(rejected, config.data.max_rejected, config.run_root / "rejected.jsonl", stage.source)


def test_training_goes_through_all_that_is_used(made: tuple[RunConfig, dict[str, int]]) -> None:
    config, _ = made
    run = plan_stage(config, "pretrain")
    run.folder.mkdir()
    checkpoints = FolderCheckpoints(run.folder / "checkpoints", keep=1)
    results = run_worker(run, checkpoints, torch.device("cpu"))
    assert results["steps"] * config.pretrain.batch_size >= 2 * (GOOD + 6)  # an epoch
    assert results["last"]["loss"] > 0


def test_names_in_the_data_are_only_read_by(tmp_path: Path) -> None:
    coco = TinyCoco()
    for name in ("../escape.jpg", "deep/../../../escape.jpg", "ordinary.jpg"):
        coco.add_image()
        old, coco.images[-1]["file_name"] = coco.images[-1]["file_name"], name
        del coco.pictures[old]
    coco.pictures["ordinary.jpg"] = jpeg(64, 48)
    coco.write(tmp_path / "data", "train2017")
    (tmp_path / "data" / "escape.jpg").write_bytes(jpeg(64, 48))
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    config = RunConfig(run_root=tmp_path / "run", data=DataConfig(root=tmp_path / "data", views=1))
    make_records(config, "train2017")
    make_samples(config, "train2017")
    written = {path for path in tmp_path.rglob("*") if path.is_file()} - before
    assert written
    assert all(path.is_relative_to(config.run_root) for path in written)
    assert "escape" not in " ".join(map(str, written))
