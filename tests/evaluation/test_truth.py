"""The truth beside the records scores as the data sets' own files do, crowds and ignored people included."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.data.formats import annotation_file
from pipeline.data.shards import records_manifest
from pipeline.data.truth import read_truth
from pipeline.metrics.ap import score, to_truth
from pipeline.metrics.coco import coco_metrics, load_annotations
from pipeline.metrics.crowdpose import crowdpose_metrics
from pipeline.metrics.detections import Detection
from pipeline.settings.config import RunConfig
from tests.cases.evaluation import make_records

OWN: dict[str, dict[str, Any]] = {
    "coco_dev39": {"format": "coco", "val_split": "val2017"},
    "coco_small": {"format": "coco", "val_split": "val2017"},
    "ochuman_sample": {"format": "ochuman", "val_split": "val"},
    "crowdpose_sample": {
        "format": "crowdpose",
        "val_split": "test",
        "annotations": "{split}_crowdpose.json",
    },
}


def _detections(document: dict[str, Any], joints: int) -> list[Detection]:
    """Everybody twice, more and less precisely found, and people of chance in every box: order counts."""
    rng, rows = np.random.default_rng(0), []
    for person in document["annotations"]:
        x, y, w, h = person["bbox"]
        joints_J3 = np.reshape(person.get("keypoints") or [0] * 3 * joints, (-1, 3)).astype(float)
        chance_J3 = np.concatenate(
            [rng.uniform((x, y), (x + w, y + h), (joints, 2)), np.ones((joints, 1))], 1
        )
        for spread in (0.01, 0.05):
            noise = np.pad(rng.normal(0, spread * np.sqrt(w * h + 1), (joints, 2)), ((0, 0), (0, 1)))
            for found_J3 in (joints_J3 + noise, chance_J3):
                row = {
                    "image_id": person["image_id"],
                    "category_id": 1,
                    "keypoints": found_J3.round(2).ravel(),
                }
                rows.append(row | {"score": round(float(rng.uniform()), 1)})  # with many equal ones
    return rows


@pytest.mark.parametrize("name", OWN)
def test_figures_are_those_of_the_file_to_the_last_digit(
    shared_data: Path, tmp_path: Path, name: str
) -> None:
    skeleton = "crowdpose" if name.startswith("crowdpose") else "coco"
    values = {"root": shared_data / name, **OWN[name]}
    config = RunConfig.model_validate({"run_root": tmp_path, "skeleton": skeleton, "data": values})
    records = make_records(config, config.data.val_split)
    manifest = records_manifest(records)
    assert manifest.rejected == {}
    truth = to_truth(read_truth(records, range(len(manifest.shards))), config.joints)
    file = annotation_file(config.data, config.data.val_split)
    rows = _detections(json.loads(file.read_text()), config.joints.count)
    own = crowdpose_metrics if skeleton == "crowdpose" else coco_metrics
    figures = own(load_annotations(file), rows)
    assert score(truth, rows, config.joints) == figures
    assert 0 < figures["AP"] < 1
