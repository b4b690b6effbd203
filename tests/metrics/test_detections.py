"""People as rows of a COCO result file."""

import json
from pathlib import Path

import numpy as np
import pytest

from hgg.poses import Poses
from hgg.skeleton import NUM_JOINTS
from pipeline.metrics.ap import ap_table
from pipeline.metrics.coco import METRICS
from pipeline.metrics.detections import coco_rows, write_detections


def test_a_missing_joint_is_written_at_the_mean_of_the_others() -> None:
    keypoints = np.zeros((1, NUM_JOINTS, 3), np.float32)
    keypoints[0, 0], keypoints[0, 5] = (10, 20, 0.5), (20.006, 40, 0.5)
    (row,) = coco_rows(7, Poses(keypoints, np.array([0.123456789], np.float32)))
    places = row["keypoints"].reshape(NUM_JOINTS, 3)
    assert places[0].tolist() == [10.0, 20.0, 1.0]
    assert places[5].tolist() == [20.01, 40.0, 1.0]
    assert places[1:5].tolist() == [[15.0, 30.0, 1.0]] * 4
    assert (row["image_id"], row["category_id"], row["score"]) == (7, 1, 0.123457)


def test_only_the_twenty_people_that_coco_counts_are_kept() -> None:
    poses = Poses(np.ones((30, NUM_JOINTS, 3), np.float32), np.linspace(1, 0.1, 30).astype(np.float32))
    rows = coco_rows(7, poses)
    assert len(rows) == 20
    assert min(row["score"] for row in rows) == pytest.approx(float(poses.score[19]), abs=1e-6)


def test_the_table_has_a_line_a_grouping() -> None:
    figures = dict.fromkeys(METRICS["keypoints"], 0.5) | {"AP": 0.12345, "AP_L": -1.0}
    lines = ap_table({"ae": figures, "oracle": figures}).splitlines()
    assert lines[0].split() == ["AP", "AP50", "AP75", "AP_M", "AP_L", "AR"]
    assert [line.split()[:2] for line in lines[1:]] == [["AE", "0.123"], ["oracle", "0.123"]]
    assert lines[1].split()[5] == "-"


def test_a_result_file_is_a_json_list(tmp_path: Path) -> None:
    poses = Poses(np.ones((3, NUM_JOINTS, 3), np.float32), np.ones(3, np.float32))
    rows = coco_rows(7, poses)
    write_detections(tmp_path / "rows.json", rows)
    assert json.loads((tmp_path / "rows.json").read_text()) == [
        row | {"keypoints": [1.0] * 51} for row in rows
    ]
    write_detections(tmp_path / "none.json", [])
    assert json.loads((tmp_path / "none.json").read_text()) == []


def test_the_table_shows_the_figures_that_all_groupings_have() -> None:
    coco = dict.fromkeys(("AP", "AP50", "AP75", "AP_M", "AP_L", "AR", "AR50"), 0.5)
    lines = ap_table({"ae": coco, "hgg": coco | {"AP_L": -1.0}}).splitlines()
    assert lines[0].split() == ["AP", "AP50", "AP75", "AP_M", "AP_L", "AR"]
    assert lines[2].split() == ["HGG", "0.500", "0.500", "0.500", "0.500", "-", "0.500"]
    crowdpose = dict.fromkeys(("AP", "AP50", "AP75", "AP_easy", "AP_medium", "AP_hard", "AR"), 0.5)
    lines = ap_table({"hgg": crowdpose}).splitlines()
    assert lines[0].split() == ["AP", "AP50", "AP75", "AP_easy", "AP_medium", "AP_hard", "AR"]
    assert len(lines[0]) == len(lines[1])
