"""pipeline.data.formats: where each format's files are looked for, and what is said where they are not."""

from pathlib import Path
from typing import Any, get_args

import pytest

from hgg.skeleton import SkeletonName, skeleton_named
from pipeline.base.errors import UserError
from pipeline.data.formats import annotation_file, check_layout, dialect_of, image_folder
from pipeline.metrics.ap import RULES
from pipeline.settings.data import DataConfig
from pipeline.settings.formats import FORMATS, DataFormat, labelling_of
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


def test_every_name_has_a_row_that_agrees_with_itself() -> None:
    assert set(FORMATS) == set(get_args(DataFormat))
    for row in FORMATS.values():
        dialect, skeleton = row.labelling.dialect, row.labelling.skeleton
        assert dialect.counted <= dialect.joints == skeleton.count
        assert skeleton is skeleton_named(skeleton.name)


def test_every_skeleton_has_a_labelling_and_rules_of_ap() -> None:
    assert set(RULES) == set(get_args(SkeletonName))
    for name in get_args(SkeletonName):
        assert labelling_of(name).skeleton is skeleton_named(name)
        assert dialect_of(name).joints == skeleton_named(name).count


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
