"""Joint types: names, mirror pairs, OKS constants, limbs, order, and the graphs of Fig. 4a.

Every joint-type number elsewhere is an index into the names of the configuration's skeleton
(`ModelConfig.joints`). Skeletons are data (`hgg.skeleton_file`); the constants in capitals are COCO's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from typing import Literal

from hgg.skeleton_file import Pair, SkeletonFile, completed, shipped

GraphName = Literal["full", "extended", "bypass", "tree"]
"""The four graphs of Fig. 4a."""

SkeletonName = Literal["coco", "crowdpose"]
"""The skeletons that come along, in `hgg/skeletons/`."""


@dataclass(frozen=True)
class Skeleton:
    """The joint types of a data set. Pairs are of indices into `names`."""

    name: str
    names: tuple[str, ...]
    """The data set's keypoint names in its order."""
    flip_index: tuple[int, ...]
    """Joint type that each joint type becomes when the image is mirrored; its own inverse."""
    sigmas: tuple[float, ...]
    """Per-joint constants of object keypoint similarity.

    OKS of one joint is exp(-d^2 / (2 area (2 sigma)^2)), d and sqrt(area) in the same unit.
    """
    limbs: tuple[tuple[int, int], ...]
    """Pairs that are joined by a line when drawn."""
    order: tuple[int, ...]
    """Order in which AE's greedy decoding visits joint types: head and torso before the limbs."""
    tree: tuple[tuple[int, int], ...]
    """Spanning tree over the joint types (Fig. 4a, Tree), from the head outwards."""
    two_steps: tuple[tuple[int, int], ...]
    """Links two steps apart in the tree (Fig. 4a, Bypass)."""
    cross_body: tuple[tuple[int, int], ...]
    """Links across the body (Fig. 4a, Extended)."""

    @property
    def count(self) -> int:
        """J."""
        return len(self.names)


@lru_cache(maxsize=16)
def skeleton_of(given: SkeletonName | SkeletonFile) -> Skeleton:
    """The skeleton of a setting's value: the name of one that comes along, or one that is written out."""
    file = completed(shipped(given) if isinstance(given, str) else given)
    place = {name: number for number, name in enumerate(file.names)}

    def numbered(pairs: Sequence[Pair] | None) -> tuple[tuple[int, int], ...]:
        return tuple((place[a], place[b]) for a, b in pairs or ())

    mirrored = dict(numbered(file.mirrored))
    mirrored |= {b: a for a, b in mirrored.items()}
    return Skeleton(
        name=file.name,
        names=file.names,
        flip_index=tuple(mirrored.get(joint, joint) for joint in range(len(place))),
        sigmas=file.sigmas or (),
        limbs=numbered(file.limbs),
        order=tuple(place[name] for name in file.order or ()),
        tree=numbered(file.tree),
        two_steps=numbered(file.bypass),
        cross_body=numbered(file.extended),
    )


COCO = skeleton_of("coco")
"""COCO's person, which OCHuman has too."""

JOINTS, NUM_JOINTS, FLIP_INDEX, LIMBS = COCO.names, COCO.count, COCO.flip_index, COCO.limbs
OKS_SIGMAS, AE_ORDER, TREE = COCO.sigmas, COCO.order, COCO.tree

CROWDPOSE = skeleton_of("crowdpose")
"""CrowdPose's person: COCO's joints below the head, then head (its top) and neck."""

BOX_SHARE = 0.53
"""Share of a person's box that CrowdPose's evaluation takes for OKS's area, as its files hold none."""


def graph_links(graph: GraphName, skeleton: Skeleton = COCO) -> frozenset[tuple[int, int]]:
    """Pairs of joint types that the keypoint graph joins, the smaller first (section 4, Fig. 4a).

    Tree joins 16 pairs of COCO's joints; bypass also those two steps apart in it (36); extended also those
    across the body (44); full all pairs of different types (136). Of CrowdPose's: 13, 28, 35 and 91.
    """
    if graph == "full":
        return frozenset(combinations(range(skeleton.count), 2))
    links = set(skeleton.tree)
    if graph in ("bypass", "extended"):
        links |= {*skeleton.two_steps}
    if graph == "extended":
        links |= {*skeleton.cross_body}
    return frozenset((min(pair), max(pair)) for pair in links)
