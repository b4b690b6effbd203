"""The joint tables agree with each other and with COCO's own."""

import pytest
from pycocotools.cocoeval import Params

from hgg.skeleton import AE_ORDER, FLIP_INDEX, JOINTS, LIMBS, NUM_JOINTS, OKS_SIGMAS


def test_mirror_swaps_left_and_right() -> None:
    for joint, mirrored in enumerate(FLIP_INDEX):
        name = JOINTS[joint]
        expected = name.replace("left", "LEFT").replace("right", "left").replace("LEFT", "right")
        assert JOINTS[mirrored] == expected


def test_oks_constants_are_those_of_pycocotools() -> None:
    assert pytest.approx(Params(iouType="keypoints").kpt_oks_sigmas.tolist(), rel=1e-12) == OKS_SIGMAS


def test_decoding_order_visits_every_joint_once_and_hips_before_elbows() -> None:
    assert sorted(AE_ORDER) == list(range(NUM_JOINTS))
    assert AE_ORDER.index(JOINTS.index("right_hip")) < AE_ORDER.index(JOINTS.index("left_elbow"))


def test_limbs_are_coco_s_nineteen_mirror_symmetric_ones() -> None:
    limbs = {frozenset(limb) for limb in LIMBS}
    assert len(limbs) == len(LIMBS) == 19
    assert {frozenset(FLIP_INDEX[joint] for joint in limb) for limb in limbs} == limbs
    assert {joint for limb in LIMBS for joint in limb} == set(range(NUM_JOINTS))
