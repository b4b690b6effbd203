"""Joint types of COCO (17) and of CrowdPose (14): names, mirror pairs, OKS constants, limbs, order, graphs.

Every joint-type number elsewhere is an index into the names of the configuration's skeleton
(`ModelConfig.joints`). The constants in capitals are COCO's.
"""

from dataclasses import dataclass
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


SkeletonName = Literal["coco", "crowdpose"]
"""The skeletons that there are."""


@dataclass(frozen=True)
class Skeleton:
    """The joint types of a data set. Pairs are of indices into `names`."""

    name: SkeletonName
    names: tuple[str, ...]
    """The data set's keypoint names in its order."""
    flip_index: tuple[int, ...]
    """Joint type that each joint type becomes when the image is mirrored; its own inverse."""
    sigmas: tuple[float, ...]
    """Per-joint constants of object keypoint similarity, as `OKS_SIGMAS`."""
    limbs: tuple[tuple[int, int], ...]
    """Pairs that are joined by a line when drawn."""
    order: tuple[int, ...]
    """Order in which AE's greedy decoding visits joint types: head and torso before the limbs."""
    tree: tuple[tuple[int, int], ...]
    """Spanning tree over the joint types (Fig. 4a, Tree), from the head outwards."""
    cross_body: tuple[tuple[int, int], ...]
    """Links across the body (Fig. 4a, Extended)."""

    @property
    def count(self) -> int:
        """J."""
        return len(self.names)


COCO = Skeleton("coco", JOINTS, FLIP_INDEX, OKS_SIGMAS, LIMBS, AE_ORDER, TREE, CROSS_BODY)
"""COCO's person, which OCHuman has too."""

BOX_SHARE = 0.53
"""Share of a person's box that CrowdPose's evaluation takes for OKS's area, as its files hold none."""

CROWDPOSE = Skeleton(
    name="crowdpose",
    names=(*JOINTS[5:], "head", "neck"),
    flip_index=(1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 12, 13),
    # CrowdPose's evaluation code: those of COCO's joints are COCO's, head and neck have the shoulders'.
    sigmas=(*OKS_SIGMAS[5:], 0.079, 0.079),
    # Those of COCO's below the neck, then head, neck and shoulders. The list in CrowdPose's own files counts
    # 17 joints, so it is not used.
    limbs=(*((a - 5, b - 5) for a, b in LIMBS if min(a, b) >= 5), (12, 13), (13, 0), (13, 1)),
    order=(12, 13, 0, 1, 6, 7, 2, 3, 4, 5, 8, 9, 10, 11),
    tree=(
        (12, 13),
        (13, 0),
        (13, 1),
        *((a - 5, b - 5) for a, b in TREE if min(a, b) >= 5),
    ),
    cross_body=tuple((a - 5, b - 5) for a, b in CROSS_BODY if min(a, b) >= 5),
)
"""CrowdPose's person: COCO's joints below the head, then head (its top) and neck."""


def skeleton_named(name: SkeletonName) -> Skeleton:
    """The skeleton of a setting's value."""
    return {COCO.name: COCO, CROWDPOSE.name: CROWDPOSE}[name]


def graph_links(graph: GraphName, skeleton: Skeleton = COCO) -> frozenset[tuple[int, int]]:
    """Pairs of joint types that the keypoint graph joins, the smaller first (section 4, Fig. 4a).

    Tree joins 16 pairs of COCO's joints; bypass also those two steps apart in it (36); extended also those
    across the body (44); full all pairs of different types (136). Of CrowdPose's: 13, 28, 35 and 91.
    """
    if graph == "full":
        return frozenset(combinations(range(skeleton.count), 2))
    links = {_ordered(*pair) for pair in skeleton.tree}
    if graph in ("bypass", "extended"):
        for joint in range(skeleton.count):
            around = {end for pair in skeleton.tree if joint in pair for end in pair} - {joint}
            links |= {_ordered(*pair) for pair in combinations(around, 2)}
    if graph == "extended":
        links |= {_ordered(*pair) for pair in skeleton.cross_body}
    return frozenset(links)


def _ordered(a: int, b: int) -> tuple[int, int]:
    return (a, b) if a < b else (b, a)
