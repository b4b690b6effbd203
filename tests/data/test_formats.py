"""pipeline.data.formats: where each format's files are looked for, and what is said where they are not."""

from pathlib import Path
from typing import Any, get_args

import pytest

from hgg.skeleton import SkeletonName, skeleton_of
from hgg.skeleton_file import SkeletonFile
from pipeline.base.errors import UserError
from pipeline.data.formats import annotation_file, check_layout, dialect_of, image_folder
from pipeline.metrics.ap import rules_of
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
        assert skeleton is skeleton_of(skeleton.name)


def test_every_skeleton_has_a_labelling_and_rules_of_ap() -> None:
    for name in get_args(SkeletonName):
        skeleton = skeleton_of(name)
        assert labelling_of(skeleton).skeleton is skeleton
        assert dialect_of(skeleton).joints == skeleton.count
        assert rules_of(skeleton).by_crowding is (name == "crowdpose")
    other = skeleton_of(SkeletonFile(names=("a", "b", "c"), sigmas=(0.1, 0.2, 0.3)))
    assert labelling_of(other).skeleton is other
    assert dialect_of(other) == (3, 3, 0.0)
    assert rules_of(other).figures.keywords == {"sigmas": (0.1, 0.2, 0.3)}  # pyrefly: ignore[missing-attribute]


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
