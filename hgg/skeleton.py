"""The 17 joint types of COCO: names, mirror pairs, OKS constants, limbs, decoding order, graphs.

Every joint-type number elsewhere is an index into `JOINTS`.
"""

from itertools import combinations
from typing import Literal

JOINTS: tuple[str, ...] = (
    "nose",
    "left_eye",
    "right_eye",
    "left_ear",
    "right_ear",
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
    "left_hip",
    "right_hip",
    "left_knee",
    "right_knee",
    "left_ankle",
    "right_ankle",
)
"""COCO's keypoint names in COCO's order (categories[0].keypoints of its annotation files)."""

NUM_JOINTS: int = len(JOINTS)

FLIP_INDEX: tuple[int, ...] = (0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15)
"""Joint type that each joint type becomes when the image is mirrored; its own inverse."""

OKS_SIGMAS: tuple[float, ...] = (
    0.026,
    0.025,
    0.025,
    0.035,
    0.035,
    0.079,
    0.079,
    0.072,
    0.072,
    0.062,
    0.062,
    0.107,
    0.107,
    0.087,
    0.087,
    0.089,
    0.089,
)
"""Per-joint constants of COCO's object keypoint similarity (COCO keypoint evaluation page).

OKS of one joint is exp(-d^2 / (2 area (2 sigma)^2)), d and sqrt(area) in the same unit.
"""

LIMBS: tuple[tuple[int, int], ...] = (
    (15, 13),
    (13, 11),
    (16, 14),
    (14, 12),
    (11, 12),
    (5, 11),
    (6, 12),
    (5, 6),
    (5, 7),
    (7, 9),
    (6, 8),
    (8, 10),
    (1, 2),
    (0, 1),
    (0, 2),
    (1, 3),
    (2, 4),
    (3, 5),
    (4, 6),
)
"""Pairs of joint types that are joined by a line when drawn (COCO's categories[0].skeleton)."""

AE_ORDER: tuple[int, ...] = (0, 1, 2, 3, 4, 5, 6, 11, 12, 7, 8, 9, 10, 13, 14, 15, 16)
"""Order in which AE's greedy decoding visits joint types: head and torso before the limbs."""

GraphName = Literal["full", "extended", "bypass", "tree"]
"""The four graphs of Fig. 4a."""

TREE: tuple[tuple[int, int], ...] = (
    (0, 1),
    (0, 2),
    (1, 3),
    (2, 4),
    (0, 5),
    (0, 6),
    (5, 7),
    (7, 9),
    (6, 8),
    (8, 10),
    (5, 11),
    (6, 12),
    (11, 13),
    (13, 15),
    (12, 14),
    (14, 16),
)
"""Spanning tree over the joint types (Fig. 4a, Tree), rooted at the nose."""

CROSS_BODY: tuple[tuple[int, int], ...] = (
    *((joint, mirrored) for joint, mirrored in enumerate(FLIP_INDEX) if joint < mirrored),
    (5, 12),
    (6, 11),
)
"""Links across the body (Fig. 4a, Extended): mirrored joints, and each shoulder with the opposite hip."""


def graph_links(graph: GraphName) -> frozenset[tuple[int, int]]:
    """Pairs of joint types that the keypoint graph joins, the smaller first (section 4, Fig. 4a).

    Tree joins 16 pairs; bypass also those two steps apart in it (36); extended also those across the body
    (44); full all pairs of different types (136).
    """
    if graph == "full":
        return frozenset(combinations(range(NUM_JOINTS), 2))
    links = {_ordered(*pair) for pair in TREE}
    if graph in ("bypass", "extended"):
        for joint in range(NUM_JOINTS):
            around = {end for pair in TREE if joint in pair for end in pair} - {joint}
            links |= {_ordered(*pair) for pair in combinations(around, 2)}
    if graph == "extended":
        links |= {_ordered(*pair) for pair in CROSS_BODY}
    return frozenset(links)


def _ordered(a: int, b: int) -> tuple[int, int]:
    return (a, b) if a < b else (b, a)
