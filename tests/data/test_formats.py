"""pipeline.data.formats: where each format's files are looked for, and what is said where they are not."""

from pathlib import Path
from typing import Any

import pytest

from pipeline.base.errors import UserError
from pipeline.data.formats import annotation_file, check_layout, image_folder
from pipeline.settings.config import DataConfig
from tests.cases.tiny_coco import TinyCoco

PLACES = [
    ({}, "val2017", "annotations/person_keypoints_val2017.json", "val2017"),
    ({"format": "ochuman"}, "test", "ochuman_coco_format_test_range_0.00_1.00.json", "images"),
    ({"format": "crowdpose"}, "trainval", "json/crowdpose_trainval.json", "images"),
    ({"annotations": "{split}/of {split}.json", "pictures": "p/{split}"}, "x", "x/of x.json", "p/x"),
]


@pytest.mark.parametrize(("settings", "split", "annotations", "pictures"), PLACES)
def test_places(
    settings: dict[str, Any], split: str, annotations: str, pictures: str, tmp_path: Path
) -> None:
    data = DataConfig.model_validate({"root": tmp_path} | settings)
    assert annotation_file(data, split) == tmp_path / annotations
    assert image_folder(data, split) == tmp_path / pictures


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    data = DataConfig(root=tmp_path)
    with pytest.raises(UserError, match=r"no such annotation file; data\.format=coco: data\.root="):
        check_layout(data, "val")
    coco = TinyCoco()
    coco.write(tmp_path, "val")
    with pytest.raises(UserError, match="the folder of pictures is empty"):
        check_layout(data, "val")
    (tmp_path / "val").rmdir()
    with pytest.raises(UserError, match="the folder of pictures is missing"):
        check_layout(data, "val")
    coco.add_image()
    coco.write(tmp_path, "val")
    check_layout(data, "val")
