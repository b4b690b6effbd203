"""The evaluation on arrays gives pycocotools' own results, to the last bit."""

import contextlib
import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from hgg.skeleton import CROWDPOSE
from pipeline.metrics.coco import result_rows
from pipeline.metrics.coco_evaluator import Evaluator

Row = dict[str, Any]
CATEGORY = {"id": 1, "name": "person"}
SIDES = (20, 60, 200)  # of people that COCO calls small, medium and large


def _person(rng: np.random.Generator, image: int, joints: int) -> Row:
    """Somebody in the corner of an image with all, some or no joints labelled; a crowd now and then."""
    side = int(rng.choice(SIDES))
    labels = rng.choice([0, 1, 2], joints) * (rng.random() < 0.8)
    keypoints = np.column_stack((rng.integers(0, side, (joints, 2)), labels))
    return {
        "image_id": image,
        "category_id": 1,
        "iscrowd": int(rng.random() < 0.15),
        "num_keypoints": int((labels > 0).sum()),
        "keypoints": keypoints.ravel().tolist(),
        "bbox": [0, 0, side, side],
        "area": float(side * side * rng.choice([0.3, 1.0])),
    }


def _detection(rng: np.random.Generator, person: Row) -> Row:
    """The person with its joints moved, or a copy of it; scores are of four values, so some are equal."""
    keypoints = np.reshape(person["keypoints"], (-1, 3)).astype(float)
    keypoints[:, :2] += rng.choice([0, 1, 4]) * rng.normal(size=keypoints[:, :2].shape)
    return {
        "image_id": person["image_id"],
        "category_id": 1,
        "keypoints": keypoints.ravel().tolist(),
        "score": float(rng.choice([0.1, 0.4, 0.5, 0.9])),
    }


def _set(rng: np.random.Generator, images: int, most: int, joints: int) -> tuple[COCO, list[Row]]:
    people = [_person(rng, image, joints) for image in range(images) for _ in range(rng.integers(most))]
    seen = [person for person in people if rng.random() < 0.8]  # also twice and more often
    found = [_detection(rng, person) for person in seen for _ in range(rng.integers(6))]
    found += [
        _detection(rng, _person(rng, int(rng.integers(images)), joints)) for _ in range(rng.integers(4))
    ]
    truth = COCO()
    dataset: Any = {
        "images": [{"id": image, "width": 300, "height": 300} for image in range(images)],
        "annotations": [dict(each, id=n) for n, each in enumerate(people, 1)],
        "categories": [CATEGORY],
    }
    truth.dataset = dataset
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
    return truth, found


def _evaluated(evaluator: type[COCOeval], truth: COCO, found: list[Row], kind: Any, joints: int) -> Any:
    with contextlib.redirect_stdout(io.StringIO()):
        done = evaluator(truth, result_rows(truth, [dict(row) for row in found]), kind)
        if joints == CROWDPOSE.count:
            done.params.kpt_oks_sigmas = np.array(CROWDPOSE.sigmas)
        done.evaluate()
        done.accumulate()
        done.summarize()
    return done


def _same(ours: Any, theirs: Any) -> None:
    if theirs is None:
        assert ours is None
        return
    assert ours.keys() == theirs.keys()
    for name in theirs:
        np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)


@pytest.mark.parametrize(("kind", "joints"), [("keypoints", 17), ("keypoints", 14), ("bbox", 17)])
@settings(deadline=None)  # two evaluations, on a machine that may have other work
@given(seed=st.integers(0, 2**32 - 1), images=st.integers(1, 4), most=st.sampled_from([1, 3, 9]))
def test_it_is_pycocotools_to_the_last_bit(kind: str, joints: int, seed: int, images: int, most: int) -> None:
    truth, found = _set(np.random.default_rng(seed), images, most, joints)
    ours = _evaluated(Evaluator, truth, found, kind, joints)
    theirs = _evaluated(COCOeval, truth, found, kind, joints)
    assert ours.ious.keys() == theirs.ious.keys()
    for key, overlaps in theirs.ious.items():
        np.testing.assert_array_equal(ours.ious[key], overlaps)
    for mine, other in zip(ours.evalImgs, theirs.evalImgs, strict=True):
        _same(mine, other)
    np.testing.assert_array_equal(ours.eval["precision"], theirs.eval["precision"])
    np.testing.assert_array_equal(ours.stats, theirs.stats)


def test_the_drawn_sets_hold_what_the_rules_are_about() -> None:
    truth, found = _set(np.random.default_rng(0), 200, 9, 17)
    done = _evaluated(COCOeval, truth, found, "keypoints", 17)
    results = [each for each in done.evalImgs if each]
    assert any(len(each["dtIds"]) == 20 for each in results)
    assert any(not each["gtIds"] for each in results)
    assert any(not each["dtIds"] for each in results)
    crowds = {each["id"] for each in truth.dataset["annotations"] if each["iscrowd"]}
    taken = [np.concatenate([row[row > 0] for row in each["dtMatches"][:1]]) for each in results]
    assert any(np.isin(ids, [*crowds]).sum() > 1 for ids in taken)
    assert 0.2 < done.stats[0] < 0.9
