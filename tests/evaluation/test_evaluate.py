"""Evaluation from records to AP, result files and pictures, with a model that sees the truth."""

import json
import logging
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from hgg.config import InferenceConfig, ModelConfig
from hgg.groupings import GROUPINGS, GroupingName
from hgg.model import HGG
from hgg.pictures import decode_picture
from hgg.poses import Poses
from hgg.predictor import Predictor
from hgg.skeleton import NUM_JOINTS
from pipeline.base import progress
from pipeline.base.errors import UserError
from pipeline.data.shards import read_records
from pipeline.data.truth import truth_file
from pipeline.evaluation import found as found_module
from pipeline.evaluation.evaluate import Evaluation, evaluate_model
from pipeline.evaluation.gallery import Gallery
from pipeline.evaluation.truth import true_people
from pipeline.metrics.coco import coco_metrics
from pipeline.metrics.detections import Detection, coco_rows, write_detections
from pipeline.settings.config import RunConfig
from tests.cases.evaluation import PerfectModel, make_records, write_coco

NETWORK = {"input_size": 128, "stacks": 1, "channels": 8, "increase": 0, "depth": 2, "visual_dim": 4}
PEOPLE = [[(20.0, 20.0)], [], [(30.0, 40.0), (120.0, 30.0)], [(50.0, 30.0), (75.0, 40.0)], [(90.0, 50.0)]]


class Split(NamedTuple):
    """A data set and its records."""

    annotations: Path
    records: Path

    def model(self) -> PerfectModel:
        """A new model: it goes through the records once."""
        return PerfectModel(ModelConfig.model_validate({"network": NETWORK}), self.records, sigma=1.0)

    def evaluate(self, *groupings: GroupingName, batch_size: int = 2, limit: int = 0) -> Evaluation:
        """Evaluation of a new model."""
        return evaluate_model(
            self.model(),
            self.records,
            batch_size=batch_size,
            groupings=groupings or GROUPINGS,
            limit=limit,
        )


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Split:
    root = tmp_path_factory.mktemp("evaluate")
    annotations = write_coco(root / "data", "val2017", PEOPLE)
    config = RunConfig.model_validate({"run_root": root / "run", "data": {"root": root / "data"}})
    return Split(annotations, make_records(config, "val2017"))


def test_three_groupings_of_one_forward_pass(split: Split) -> None:
    model = split.model().train()
    found = evaluate_model(model, split.records, batch_size=2)
    assert list(found.ap) == list(found.detections) == ["ae", "hgg", "oracle"]
    assert found.ap["ae"]["AP"] > 0.99
    assert found.ap["oracle"]["AP"] > 0.99
    assert 0 <= found.ap["hgg"]["AP"] <= 1  # its grouping is not trained
    assert model.training
    assert {name: found.counts[name] for name in ("images", "images_missing", "people", "candidates")} == {
        "images": len(PEOPLE),
        "images_missing": 0,
        "people": 6,
        "candidates": 6 * NUM_JOINTS,
    }
    assert found.counts["images_per_second"] > 0


def test_a_batch_size_changes_nothing(split: Split) -> None:
    one, three = (split.evaluate("ae", "oracle", batch_size=size) for size in (1, 3))
    assert one.ap == three.ap
    assert list(one.ap) == ["ae", "oracle"]


def test_a_limit_scores_the_first_images_alone(split: Split) -> None:
    found = split.evaluate("ae", limit=3)
    assert found.counts["images"] == 3
    assert found.counts["images_missing"] == 0
    assert {row["image_id"] for row in found.detections["ae"]} == {10, 30}
    assert found.ap["ae"]["AP"] > 0.99


def test_people_found_in_an_image_without_people_cost_precision(
    split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = found_module.coco_rows
    invented = Poses(np.ones((1, NUM_JOINTS, 3), np.float32), np.ones(1, np.float32))

    def rows(image_id: int, poses: Poses) -> list[Detection]:
        return honest(image_id, invented if image_id == 20 else poses)

    monkeypatch.setattr(found_module, "coco_rows", rows)
    assert split.evaluate("ae").ap["ae"]["AP"] < 0.9


def test_images_without_a_record_are_counted(split: Split, tmp_path: Path) -> None:
    content = json.loads(split.annotations.read_text())
    content["images"].append({"id": 99, "width": 5, "height": 5, "file_name": "99.jpg"})
    annotations = write_coco(tmp_path / "data", "val2017", PEOPLE)
    annotations.write_text(json.dumps(content))
    config = RunConfig.model_validate({"run_root": tmp_path / "run", "data": {"root": tmp_path / "data"}})
    records = make_records(config, "val2017")
    found = evaluate_model(split.model(), records, batch_size=4, groupings=("ae",))
    assert found.counts["images_missing"] == 1


def test_records_must_be_there(split: Split, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"jobs/preprocess\.py"):
        evaluate_model(split.model(), tmp_path, batch_size=4)


def test_records_need_their_truth_whole(split: Split, tmp_path: Path) -> None:
    records = tmp_path / "records"
    shutil.copytree(split.records, records)
    path = truth_file(records, 0)
    path.write_text(path.read_text().replace('"width":240', '"width":241', 1))
    with pytest.raises(UserError, match=r"truth-00000\.json: damaged.*jobs/preprocess\.py"):
        evaluate_model(split.model(), records, batch_size=4)
    path.unlink()
    with pytest.raises(UserError, match=r"truth-00000\.json: no such file.*jobs/preprocess\.py"):
        evaluate_model(split.model(), records, batch_size=4)


def test_the_result_file_has_the_same_figures(split: Split, tmp_path: Path) -> None:
    found = split.evaluate()
    for grouping, rows in found.detections.items():
        write_detections(tmp_path / "rows.json", rows)
        read = json.loads((tmp_path / "rows.json").read_text())
        assert [set(row) for row in read] == [{"image_id", "category_id", "keypoints", "score"}] * len(rows)
        assert coco_metrics(split.annotations, read) == found.ap[grouping]
    write_detections(tmp_path / "none.json", [])
    assert json.loads((tmp_path / "none.json").read_text()) == []


def test_progress_is_logged_with_rate_and_time_left(
    split: Split, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(progress, "LOG_SECONDS", 0.0)
    with caplog.at_level(logging.INFO, logger="pipeline.base.progress"):
        split.evaluate("ae")
    assert [message.split(",")[0] for message in caplog.messages] == [
        f"evaluate: {done} of 5 images" for done in (2, 4, 5)
    ]


def test_true_people_are_padded_to_the_fullest_image(split: Split) -> None:
    records = list(read_records(split.records))[1:4]
    targets = true_people(records, np.stack([np.eye(2, 3)] * 3), [[32, 32]] * 3)
    assert targets.joints.shape == (3, 2, NUM_JOINTS, 3)
    assert (targets.areas > 0).sum(dim=1).tolist() == [0, 2, 2]
    assert targets.mask.shape == (3, 32, 32)
    # Maps of several sizes: a mask is as large as the largest, and 0 where its image has no cells.
    wide = true_people(records, np.stack([np.eye(2, 3)] * 3), [[40, 20], [60, 40], [32, 24]])
    assert wide.mask.shape == (3, 40, 60)
    assert wide.mask[0, :20, :40].all()
    assert wide.mask.sum().item() == 40 * 20 + 60 * 40 + 32 * 24
    # The person from x = 120 to 160 and y = 30 to 110, cells 29.6 to 39.6, needs 40 columns.
    assert targets.joints[1, 1, :, 2].sum() < NUM_JOINTS
    assert wide.joints[1, 1, :, 2].all()
    assert true_people(records[:1], np.eye(2, 3)[None], [[32, 32]]).joints.shape == (1, 0, NUM_JOINTS, 3)


def test_every_image_is_offered_for_pictures(split: Split) -> None:
    gallery = Gallery(len(PEOPLE))
    evaluate_model(split.model(), split.records, batch_size=2, gallery=gallery)
    assert sorted(shown.image_id for shown in gallery.shown) == [10, 20, 30, 40, 50]
    # Image 40 has the two people who overlap.
    assert gallery.shown[0].image_id == 40
    assert list(gallery.shown[0].people) == list(GROUPINGS)
    assert len(gallery.shown[0].people["ae"].score) == 2


def test_images_are_shown_as_the_settings_say(split: Split) -> None:
    torch.manual_seed(0)
    candidates = {"threshold": 0.0}
    model = HGG(ModelConfig.model_validate({"network": NETWORK, "candidates": candidates}))
    records = list(read_records(split.records))
    for inference in (InferenceConfig(flip=True, scales=(1.0, 0.5)), InferenceConfig(resize="short")):
        found = evaluate_model(model, split.records, batch_size=2, groupings=("hgg",), inference=inference)
        predictor = Predictor(model, inference=inference)
        images = [decode_picture(record["jpeg"]) for record in records]
        people = [
            *predictor.predict(images[:2]),
            *predictor.predict(images[2:4]),
            *predictor.predict(images[4:]),
        ]
        pairs = zip(records, people, strict=True)
        expected = [row for record, poses in pairs for row in coco_rows(record["image_id"], poses)]
        assert len(expected) > 5
        assert _plain(found.detections["hgg"]) == _plain(expected)
        plain = evaluate_model(model, split.records, batch_size=2, groupings=("hgg",))
        assert _plain(plain.detections["hgg"]) != _plain(expected)


def _plain(rows: list[Detection]) -> list[Any]:
    return [row | {"keypoints": row["keypoints"].tolist()} for row in rows]


def test_all_groupings_take_maps_of_several_shapes(split: Split) -> None:
    model = HGG(ModelConfig.model_validate({"network": NETWORK, "candidates": {"threshold": 0.0}}))
    inference = InferenceConfig(resize="short", flip=True)
    found = evaluate_model(model, split.records, batch_size=2, inference=inference)
    assert list(found.ap) == [*GROUPINGS]
