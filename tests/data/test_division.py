"""One annotation file, divided by image."""

from pathlib import Path
from typing import Any

import pytest

from pipeline.base.errors import UserError
from pipeline.data.division import is_validated
from pipeline.data.preprocess import preprocess
from pipeline.data.records import plan_records
from pipeline.settings.config import RunConfig
from tests.cases.tiny_coco import TinyCoco


def _config(root: Path, images: int = 40, **data: Any) -> RunConfig:
    coco = TinyCoco()
    for _ in range(images):
        coco.add_image()
    coco.write(root, "all")
    values = {
        "root": root,
        "annotations": "annotations/person_keypoints_all.json",
        "pictures": "all",
        "val_share": 0.3,
    }
    return RunConfig.model_validate({"run_root": root / "run", "data": values | data})


def _ids(config: RunConfig, split: str) -> list[int]:
    return [
        image["image_id"] for shard in plan_records(config, split).shards for image in shard.inputs["images"]
    ]


def test_every_image_is_in_one_split_and_stays_there(tmp_path: Path) -> None:
    few = _config(tmp_path / "few", 20)
    many = _config(tmp_path / "many", 40)
    for config, count in ((few, 20), (many, 40)):
        trained, validated = _ids(config, "train2017"), _ids(config, "val2017")
        assert len({*trained, *validated}) == len(trained) + len(validated) == count
        assert 0 < len(validated) < count / 2
    assert set(_ids(few, "val2017")) <= set(_ids(many, "val2017"))
    assert sum(is_validated(n, 0.3) for n in range(10_000)) == pytest.approx(3000, abs=150)


def test_a_share_that_leaves_nothing_and_two_files_are_told(tmp_path: Path) -> None:
    config = _config(tmp_path, 2, val_share=0.001)
    with pytest.raises(UserError, match=r"data\.val_share=0\.001: of 2 images none comes into val2017"):
        plan_records(config, "val2017")
    TinyCoco().write(tmp_path, "train2017")
    two = _config(tmp_path, 4, annotations="annotations/person_keypoints_{split}.json", pictures="all")
    for split in ("train2017", "val2017"):
        text = (tmp_path / "annotations" / "person_keypoints_all.json").read_text()
        (tmp_path / "annotations" / f"person_keypoints_{split}.json").write_text(text)
    with pytest.raises(UserError, match=r"name one file, without \{split\}, as data\.annotations"):
        preprocess(two)
