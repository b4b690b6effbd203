"""OCHuman and CrowdPose from their own files to AP, and what is said where data and model do not fit."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hgg.config import ModelConfig
from hgg.model import HGG
from hgg.pictures import encode_jpeg
from hgg.skeleton import CROWDPOSE
from hgg.weights import load_model, save_model
from pipeline.base.errors import UserError
from pipeline.commands.evaluate import run_evaluation
from pipeline.data.formats import annotation_file
from pipeline.data.shards import read_records
from pipeline.data.truth import read_truth
from pipeline.evaluation.diagnosis import diagnose
from pipeline.evaluation.evaluate import evaluate_model
from pipeline.metrics.ap import to_truth
from pipeline.metrics.crowdpose import crowd_index
from pipeline.settings.config import RunConfig
from pipeline.settings.load import load_config
from pipeline.training.stage import StageName, plan_stage
from tests.cases.evaluation import HEIGHT, WIDTH, PerfectModel, make_records, make_samples
from tests.cases.training import start

NETWORK = {"input_size": 128, "stacks": 1, "channels": 8, "increase": 0, "depth": 2, "visual_dim": 4}
STAGE = {"steps": 2, "batch_size": 2, "warmup_steps": 0, "checkpoint_every": 2, "validate_every": 2}
CROWDING = {1: 0.05, 2: 0.5, 3: 0.9}  # image id: crowdIndex, one of each degree


def person(number: int, image: int, x: float) -> dict[str, Any]:
    """A person of CrowdPose's 14 joints, 40 pixels wide and 80 high, without an area."""
    joints = [[x + 40 * (joint % 2), 20 + 80 * joint / 13, 2] for joint in range(14)]
    return {
        "id": number,
        "image_id": image,
        "category_id": 1,
        "iscrowd": 0,
        "num_keypoints": 12,
        "bbox": [x, 20.0, 40.0, 80.0],
        "keypoints": [value for joint in joints for value in joint],
    }


def write_crowdpose(root: Path) -> None:
    """A data set in CrowdPose's layout: one image of each degree of crowding."""
    images = [
        {"id": image, "file_name": f"{image}.jpg", "width": WIDTH, "height": HEIGHT, "crowdIndex": index}
        for image, index in CROWDING.items()
    ]
    people = [person(1, 1, 20.0), person(2, 2, 30.0), person(3, 2, 120.0), person(4, 3, 60.0)]
    for folder in ("json", "images"):
        (root / folder).mkdir(parents=True)
    category = {"id": 1, "name": "person", "keypoints": list(CROWDPOSE.names), "skeleton": []}
    document = {"images": images, "annotations": people, "categories": [category]}
    (root / "json" / "crowdpose_val.json").write_text(json.dumps(document))
    for image in CROWDING:
        grey = encode_jpeg(np.full((HEIGHT, WIDTH, 3), 90, np.uint8), 90)
        (root / "images" / f"{image}.jpg").write_bytes(grey)


def crowdpose_config(root: Path, **groups: Any) -> RunConfig:
    """Settings of a run on such a data set."""
    data = {"root": root / "data", "format": "crowdpose", "train_split": "val", "val_split": "val"}
    values = {"run_root": root / "run", "skeleton": "crowdpose", "data": data, "network": NETWORK}
    return RunConfig.model_validate(values | groups)


@pytest.fixture
def crowdpose(tmp_path: Path) -> RunConfig:
    write_crowdpose(tmp_path / "data")
    return crowdpose_config(tmp_path)


def test_perfect_maps_have_crowdpose_s_figures(crowdpose: RunConfig) -> None:
    records = make_records(crowdpose, "val")
    first = next(read_records(records))
    assert first["people"][0]["area"] == pytest.approx(0.53 * 40 * 80)
    assert len(first["people"][0]["keypoints"]) == 3 * 14
    model = PerfectModel(crowdpose.model, records, sigma=1.0)
    found = evaluate_model(model, records, batch_size=2)
    for grouping in ("ae", "oracle"):
        figures = found.ap[grouping]
        assert {name for name in figures if name.startswith("AP_")} == {"AP_easy", "AP_medium", "AP_hard"}
        assert min(figures.values()) > 0.95, figures
    parts = {part.name: part for part in diagnose(found)}
    assert [parts[f"crowding {degree}"].people for degree in ("easy", "medium", "hard")] == [1, 2, 1]
    assert parts["crowding hard"].ap["oracle"] == found.ap["oracle"]["AP_hard"]


def test_training_and_evaluation_with_14_joints(tmp_path: Path) -> None:
    write_crowdpose(tmp_path / "data")
    config = crowdpose_config(
        tmp_path,
        train={"num_workers": 0, "validation_images": 2},
        pretrain=STAGE,
        joint=STAGE,
        evaluate={"runtime_images": 0},
    )
    make_records(config, "val")
    make_samples(config, "val")
    stages: tuple[StageName, ...] = ("pretrain", "joint")
    for stage in stages:
        start(plan_stage(config, stage))
    results = run_evaluation(config)
    assert "AP_hard" in results["ap"]["hgg"]
    rows = json.loads((config.run_root / "evaluate" / "detections_hgg.json").read_text())
    assert all(len(row["keypoints"]) == 3 * 14 for row in rows)
    assert load_model(config.run_root / "joint" / "best.pt").config.skeleton == "crowdpose"


def test_a_model_of_17_joints_is_refused(crowdpose: RunConfig) -> None:
    make_records(crowdpose, "val")
    path = crowdpose.run_root / "joint" / "best.pt"
    path.parent.mkdir(parents=True)
    save_model(path, HGG(ModelConfig(network=crowdpose.network)))
    with pytest.raises(
        UserError, match=r"a model of other joints: 17 of coco .* in the file, 14 of crowdpose"
    ):
        run_evaluation(crowdpose)
    assert not (crowdpose.run_root / "evaluate").exists()


def test_settings_and_files_that_do_not_fit_are_named(crowdpose: RunConfig, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data\.format=crowdpose has people of 14 joints.*set skeleton="):
        load_config([], ["data.format=crowdpose", "skeleton=coco"])
    with pytest.raises(UserError, match=r"data\.format=ochuman has people of 17 joints"):
        load_config([], ["skeleton=crowdpose", "data.format=ochuman"])
    values = crowdpose.model_dump() | {"skeleton": "coco"}
    values["data"] |= {"format": "coco", "annotations": "json/crowdpose_{split}.json", "pictures": "images"}
    with pytest.raises(UserError, match=r"no category with the 17 keypoints.*nose.*has 14: left_shoulder"):
        make_records(RunConfig.model_validate(values), "val")


def test_num_keypoints_counts_neither_head_nor_neck(crowdpose: RunConfig) -> None:
    path = annotation_file(crowdpose.data, "val")
    document = json.loads(path.read_text())
    people = document["annotations"]
    people[0]["num_keypoints"] = 14
    for place in range(12):  # the second has head and neck alone
        people[1]["keypoints"][3 * place + 2] = 0
    path.write_text(json.dumps(document))
    truth = read_truth(make_records(crowdpose, "val"), [0])["annotations"]
    assert [person["num_keypoints"] for person in truth[:2]] == [12, 0]


def test_a_missing_crowd_index_is_counted_from_the_joints(crowdpose: RunConfig) -> None:
    path = annotation_file(crowdpose.data, "val")
    document = json.loads(path.read_text())
    for image in document["images"]:
        del image["crowdIndex"]
    path.write_text(json.dumps(document))
    truth = to_truth(read_truth(make_records(crowdpose, "val"), [0]), CROWDPOSE)
    images: list[Any] = truth.dataset["images"]
    assert all(0 <= image["crowdIndex"] <= 1 for image in images)
    box = {"bbox": [0, 0, 10, 10]}
    mine = [1, 1, 2, 3, 3, 2, 20, 20, 0]
    other = [5, 5, 1, 30, 30, 2, 31, 31, 2]
    # Of the first two own joints and one of the other's; of the other's box the one of its own alone.
    people = [box | {"keypoints": mine}, {"bbox": [4, 4, 2, 2], "keypoints": other}]
    assert crowd_index(people) == pytest.approx((1 / 2 + 0) / 2)


def sample_records(config: RunConfig) -> tuple[Path, dict[int, dict[str, Any]]]:
    """Records of a sample folder, and its annotations by id."""
    records = make_records(config, config.data.val_split)
    document = json.loads(annotation_file(config.data, config.data.val_split).read_text())
    return records, {entry["id"]: entry for entry in document["annotations"]}


def test_ochuman_s_own_files_there_and_back(shared_data: Path, tmp_path: Path) -> None:
    values = {"root": shared_data / "ochuman_sample", "format": "ochuman", "val_split": "val"}
    config = RunConfig.model_validate({"run_root": tmp_path, "data": values, "network": NETWORK})
    records, original = sample_records(config)
    people = [entry for record in read_records(records) for entry in record["people"]]
    assert len(people) == len(original) == 5
    for entry in people:
        source = original[entry["annotation_id"]]
        assert entry["keypoints"] == np.float32(source["keypoints"]).tolist()
        assert entry["box"] == source["bbox"]
        assert entry["area"] == source["area"]
    torch.manual_seed(0)
    model = PerfectModel(config.model, records, sigma=1.0)
    found = evaluate_model(model, records, batch_size=1)
    assert found.counts["images_missing"] == 0
    assert found.ap["oracle"]["AP"] > 0.9


def test_crowdpose_s_own_files(shared_data: Path, tmp_path: Path) -> None:
    data = {
        "root": shared_data / "crowdpose_sample",
        "format": "crowdpose",
        "annotations": "{split}_crowdpose.json",
        "val_split": "test",
    }
    values = {"run_root": tmp_path, "skeleton": "crowdpose", "data": data, "network": NETWORK}
    config = RunConfig.model_validate(values)
    records, original = sample_records(config)
    found = list(read_records(records))
    people = [entry for record in found for entry in record["people"]]
    assert [len(record["people"]) for record in found] == [2, 2]
    for entry in people:
        source = original[entry["annotation_id"]]
        assert entry["keypoints"] == source["keypoints"]
        assert entry["area"] == pytest.approx(0.53 * source["bbox"][2] * source["bbox"][3])
    # The person without keypoints is neither trained on nor held against the network.
    assert sum(bool(record["ignore"]["counts"]) for record in found) >= 1


def test_a_model_file_from_before_there_were_skeletons_is_coco_s(repository: Path) -> None:
    assert load_model(repository / "docs" / "models" / "small_pretrained.pt").config.skeleton == "coco"
