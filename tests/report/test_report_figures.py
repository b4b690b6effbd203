"""Figures of a report, computed on paper: who is whom, joints, scores, images; and beside COCO's own AR."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO

from hgg.skeleton import COCO as SKELETON
from hgg.skeleton import NUM_JOINTS
from pipeline.evaluation.evaluate import evaluate_model
from pipeline.metrics.ap import to_truth
from pipeline.metrics.detections import read_detections, write_detections
from pipeline.report.calibration import calibrate
from pipeline.report.images import ImageFigures, agreement, best_and_worst, image_figures
from pipeline.report.joints import joint_figures
from pipeline.report.matching import NOBODY, Matched, match
from tests.cases.seeing import SeeingModel, seen_config

AREA = 10_000.0
NOSE, SHOULDER = 0, 5


def _person(number: int, joints: dict[int, tuple[float, float]], **other: Any) -> dict[str, Any]:
    keypoints = np.zeros((NUM_JOINTS, 3))
    for joint, place in joints.items():
        keypoints[joint] = (*place, 2)
    box = [300.0 * number, 100.0, 100.0, 100.0]
    known = {"id": number, "image_id": 1, "category_id": 1, "iscrowd": 0, "area": AREA, "bbox": box}
    return known | {"keypoints": keypoints.ravel().tolist(), "num_keypoints": len(joints)} | other


def _off(joint: int, likeness: float) -> float:
    """Pixels that a joint is off where its part of OKS is this."""
    spread = (2 * SKELETON.sigmas[joint]) ** 2
    return math.sqrt(-2 * AREA * spread * math.log(likeness))


def _found(score: float, joints: dict[int, tuple[float, float]], image_id: int = 1) -> dict[str, Any]:
    keypoints = np.ones((NUM_JOINTS, 3))
    keypoints[:, :2] = -900
    for joint, place in joints.items():
        keypoints[joint, :2] = place
    return {"image_id": image_id, "category_id": 1, "score": score, "keypoints": keypoints.ravel()}


@pytest.fixture
def truth() -> COCO:
    """Image 1: somebody with nose and shoulder, somebody with a nose, a crowd. Image 2: nobody."""
    people = [
        _person(1, {NOSE: (100.0, 100.0), SHOULDER: (120.0, 150.0)}),
        _person(2, {NOSE: (500.0, 100.0)}),
        _person(3, {}, iscrowd=1),
    ]
    images = [{"id": number, "width": 2000, "height": 400} for number in (1, 2)]
    categories = [{"id": 1, "name": "person"}]
    return to_truth({"images": images, "annotations": people, "categories": categories}, SKELETON)


@pytest.fixture
def rows() -> list[dict[str, Any]]:
    """The first one but for a shoulder; the second one's nose too far off; the crowd; nobody, twice."""
    return [
        _found(0.75, {NOSE: (100.0, 100.0), SHOULDER: (120.0 + _off(SHOULDER, 0.6), 150.0)}),
        _found(0.35, {NOSE: (500.0, 100.0 + _off(NOSE, 0.25))}),
        _found(0.9, dict.fromkeys(range(NUM_JOINTS), (950.0, 150.0))),
        _found(0.32, {NOSE: (1500.0, 300.0)}),
        _found(0.01, {NOSE: (1500.0, 300.0)}),
    ]


def test_who_is_whom(truth: COCO, rows: list[dict[str, Any]]) -> None:
    matched = match(truth, [*rows, _found(0.5, {}, image_id=2)], SKELETON, [2, 1])
    assert [*matched] == [2, 1]
    assert [person["id"] for person in matched[1].people] == [1, 2]
    found = matched[1].found
    assert [(each.score, each.person) for each in found] == [
        (0.75, 0), (0.35, NOBODY), (0.32, NOBODY), (0.01, NOBODY),
    ]  # fmt: skip
    assert found[0].oks == pytest.approx((1 + 0.6) / 2)
    assert [each.oks for each in found[1:]] == [0, 0, 0]
    assert (matched[2].people, [each.person for each in matched[2].found]) == ([], [NOBODY])
    assert match(truth, [], SKELETON, [1])[1].found == []


def test_the_better_of_two_takes_the_person(truth: COCO) -> None:
    exact = {NOSE: (100.0, 100.0), SHOULDER: (120.0, 150.0)}
    matched = match(truth, [_found(0.4, exact), _found(0.8, exact)], SKELETON, [1])
    assert [(each.score, each.person) for each in matched[1].found] == [(0.8, 0), (0.4, NOBODY)]


def test_errors_and_shares_of_joints(truth: COCO, rows: list[dict[str, Any]]) -> None:
    figures = joint_figures(match(truth, rows, SKELETON, [1, 2]).values(), SKELETON)
    nose, shoulder = figures[NOSE], figures[SHOULDER]
    assert (nose.labelled, nose.matched, nose.error, nose.found) == (2, 1, 0.0, 0.5)
    assert (shoulder.labelled, shoulder.matched, shoulder.found) == (1, 1, 1.0)
    assert shoulder.error == pytest.approx(0.4)
    assert figures[SHOULDER + 1] == (0, 0, None, None)


def test_a_joint_further_off_is_not_found(truth: COCO) -> None:
    row = _found(0.7, {NOSE: (100.0, 100.0), SHOULDER: (120.0, 150.0 + _off(SHOULDER, 0.49))})
    shoulder = joint_figures(match(truth, [row], SKELETON, [1]).values(), SKELETON)[SHOULDER]
    assert (shoulder.matched, shoulder.found) == (1, 0.0)
    assert shoulder.error == pytest.approx(0.51)


def test_scores_in_bins(truth: COCO, rows: list[dict[str, Any]]) -> None:
    found = calibrate(match(truth, rows, SKELETON, [1, 2]).values())
    assert found.count == 4  # the crowd counts neither way
    assert [each.low for each in found.bins] == [0.0, 0.3, 0.7]
    assert found.bins[1] == pytest.approx((0.3, 2, 0.335, 0.0, 0.0))
    assert found.bins[2] == pytest.approx((0.7, 1, 0.75, 1.0, 0.8))
    assert found.error == pytest.approx((0.01 + 2 * 0.335 + 0.25) / 4)
    above = calibrate([match(truth, [_found(1.3, {})], SKELETON, [1])[1]])
    assert [(each.low, each.count) for each in above.bins] == [(0.9, 1)]
    assert calibrate([]) == ([], 0, None)


def test_how_well_an_image_is_found(truth: COCO, rows: list[dict[str, Any]]) -> None:
    matched = match(truth, rows, SKELETON, [1, 2])
    # Two people, three found that are likely, one of them right.
    assert agreement(matched[1]) == pytest.approx(0.8 / ((2 + 3) / 2))
    figures = image_figures({"ae": matched, "hgg": match(truth, [], SKELETON, [1, 2])})
    assert [each.image_id for each in figures] == [1]  # nobody is on the other
    assert figures[0].found == {"ae": 3, "hgg": 0}
    assert figures[0].agreement["hgg"] == 0
    assert agreement(Matched([], [])) == 0


def test_no_image_is_among_the_best_and_the_worst() -> None:
    figures = [
        ImageFigures(number, people, {}, {"hgg": value})
        for number, people, value in ((1, 1, 0.5), (2, 1, 0.9), (3, 4, 0.9), (4, 2, 0.0), (5, 3, 0.0))
    ]

    def chosen(most: int) -> list[Sequence[int]]:
        return [[each.image_id for each in part] for part in best_and_worst(figures, most)]

    assert chosen(2) == [[3, 2], [5, 4]]
    assert chosen(4) == [[3, 2, 1, 5], [4]]
    assert chosen(0) == [[], []]


def test_the_right_ones_are_those_of_cocos_recall(tmp_path: Path) -> None:
    """By another way: AR50 is the share of people who are found at an OKS of 0.5."""
    config = seen_config(tmp_path)
    records = config.run_root / "records" / "val2017"
    found = evaluate_model(SeeingModel(config.model, records), records, batch_size=2)
    write_detections(tmp_path / "people.json", found.detections["hgg"])
    matched = match(found.truth, read_detections(tmp_path / "people.json"), SKELETON, found.image_ids)
    people = sum(len(image.people) for image in matched.values())
    right = sum(each.person != NOBODY for image in matched.values() for each in image.found)
    assert 0 < right < people
    assert right / people == pytest.approx(found.ap["hgg"]["AR50"])
    nose = joint_figures(matched.values(), SKELETON)[NOSE]
    assert (nose.labelled, nose.matched) == (people, right)
