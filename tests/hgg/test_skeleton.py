"""The joint tables agree with each other and with COCO's own."""

import pytest
from pycocotools.cocoeval import Params

from hgg.skeleton import (
    AE_ORDER,
    CROWDPOSE,
    FLIP_INDEX,
    JOINTS,
    LIMBS,
    NUM_JOINTS,
    OKS_SIGMAS,
    TREE,
    GraphName,
    graph_links,
)


def _swapped(name: str) -> str:
    return name.replace("left", "LEFT").replace("right", "left").replace("LEFT", "right")


def test_mirror_swaps_left_and_right() -> None:
    for joint, mirrored in enumerate(FLIP_INDEX):
        assert JOINTS[mirrored] == _swapped(JOINTS[joint])


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


def test_the_tree_spans_all_joints() -> None:
    reached = {0}
    for _ in TREE:
        reached |= {joint for pair in TREE if reached & set(pair) for joint in pair}
    assert reached == set(range(NUM_JOINTS))
    assert len(TREE) == NUM_JOINTS - 1


def test_each_graph_holds_the_one_before_and_is_mirror_symmetric() -> None:
    names: list[GraphName] = ["tree", "bypass", "extended", "full"]
    links = [graph_links(name) for name in names]
    assert [len(pairs) for pairs in links] == [16, 36, 44, 136]
    assert links[0] < links[1] < links[2] < links[3]
    for pairs in links:
        assert all(a < b for a, b in pairs)
        assert {tuple(sorted((FLIP_INDEX[a], FLIP_INDEX[b]))) for a, b in pairs} == pairs


def test_crowdpose_s_skeleton_agrees_with_itself() -> None:
    assert CROWDPOSE.count == 14
    for joint, mirrored in enumerate(CROWDPOSE.flip_index):
        assert CROWDPOSE.names[mirrored] == _swapped(CROWDPOSE.names[joint])
    assert sorted(CROWDPOSE.order) == list(range(14))
    assert len(CROWDPOSE.tree) == 13
    assert [len(graph_links(name, CROWDPOSE)) for name in ("tree", "bypass", "extended", "full")] == [
        13, 28, 35, 91,
    ]  # fmt: skip
    for pairs in (CROWDPOSE.limbs, CROWDPOSE.tree, CROWDPOSE.cross_body):
        links = {frozenset(pair) for pair in pairs}
        assert {frozenset(CROWDPOSE.flip_index[joint] for joint in pair) for pair in links} == links


def test_crowdpose_s_constants_are_those_of_its_evaluation() -> None:
    of_pairs = (0.79, 0.72, 0.62, 1.07, 0.87, 0.89, 0.79)  # tenths; the last pair is head and neck
    assert [value / 10 for value in of_pairs for _ in "lr"] == pytest.approx(CROWDPOSE.sigmas)
