"""The picture of Fig. 4a: its figure stands upright and symmetric, and AP is drawn where there is any."""

from pathlib import Path

import cv2
import pytest

from hgg.skeleton import FLIP_INDEX, JOINTS
from pipeline.studies.ablation.graphs import STANDING, draw_graphs


def test_the_standing_person_has_every_joint_where_it_belongs() -> None:
    height = dict(zip(JOINTS, (y for _, y in STANDING), strict=True))
    order = ("left_ankle", "left_knee", "left_hip", "left_elbow", "left_shoulder", "nose", "left_eye")
    assert [height[joint] for joint in order] == sorted(height[joint] for joint in order)
    for joint, mirrored in enumerate(FLIP_INDEX):
        assert STANDING[mirrored] == pytest.approx((-STANDING[joint][0], STANDING[joint][1]))
    # Who faces us has the left side on our right.
    assert STANDING[JOINTS.index("left_shoulder")][0] > 0


def test_ap_is_drawn_below_where_there_is_any(tmp_path: Path) -> None:
    draw_graphs(tmp_path / "alone.png", {})
    draw_graphs(tmp_path / "trained.png", {"tree": [40.0, 42.0], "full": [], "extended": [43.0]})
    alone, trained = (cv2.imread(str(tmp_path / name)) for name in ("alone.png", "trained.png"))
    assert alone is not None and trained is not None  # noqa: PT018
    assert trained.shape[1] == alone.shape[1]
    assert trained.shape[0] > 1.5 * alone.shape[0]
    for picture in (alone, trained):
        assert (picture < 128).any()
