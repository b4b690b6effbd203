"""Labels that a machine can read and a person might doubt, one rule each, for any skeleton.

Letters: P people of an image, J joint types.
"""

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np

from hgg.joint_names import words
from hgg.skeleton import Skeleton
from pipeline.data.annotations import FAR

SEVERITIES = ("wrong", "doubtful", "note")
"""The worst first: what makes figures wrong; what may be a slip; what is only to be known."""

CROSSED = 0.35  # of a person's size: so much shorter do limbs become where two joints are exchanged
APART = 0.15  # of a person's size: joints nearer to each other than that say nothing of left and right
ALIKE = 0.9  # OKS of two people who are one
COMMON = 3  # joints that both must have for it
AT_ONE_PLACE = 3  # joints


class Person(NamedTuple):
    """A person as it is labelled."""

    annotation: int
    """Id in the annotation file; 0 for a box alone."""
    joints: np.ndarray
    """(J, 3) x, y in pixels and COCO's flag."""
    box: np.ndarray
    """(4,) x, y, width, height in pixels."""
    area: float
    """Pixels squared."""


class Suspect(NamedTuple):
    """A label to be looked at."""

    severity: str
    kind: str
    """In the plural, as a heading."""
    text: str
    people: tuple[Person, ...]
    joints: tuple[int, ...] = ()
    """Joint types that it is about."""


def suspects(
    people: Sequence[Person], empty: Sequence[Person], size: tuple[int, int], skeleton: Skeleton
) -> list[Suspect]:
    """Everything to be doubted in an image, the worst first.

    Args:
        people: those with labelled joints.
        empty: boxes of people without any, crowds left out.
        size: width and height of the picture.
        skeleton: their joint types.
    """
    found = [*_duplicates(people, skeleton)]
    for person in people:
        found += _outside_picture(person, size, skeleton)
        for rule in (_outside_box, _at_one_place, _exchanged, _turned):
            found += rule(person, skeleton)
    for person in empty:
        text = (
            f"a box of {person.box[2]:.0f} x {person.box[3]:.0f} pixels: nothing is trained or scored there"
        )
        found.append(Suspect("note", "boxes without labelled joints", text, (person,)))
    return sorted(found, key=lambda each: SEVERITIES.index(each.severity))


def _outside_box(person: Person, skeleton: Skeleton) -> Iterator[Suspect]:
    low, extent = person.box[:2], person.box[2:]
    margin = FAR * extent.max()
    places = person.joints[:, :2]
    away_J = ((places < low - margin) | (places > low + extent + margin)).any(axis=1) & _seen(person)
    if away_J.any():
        labelled = _seen(person).sum()
        severity = "wrong" if away_J.sum() > labelled / 2 else "doubtful"
        text = f"{_listed(away_J, skeleton)} of {labelled} labelled joints"
        yield Suspect(severity, "joints far outside of their box", text, (person,), _which(away_J))


def _outside_picture(person: Person, size: tuple[int, int], skeleton: Skeleton) -> Iterator[Suspect]:
    places = person.joints[:, :2]
    away_J = ((places < -0.5) | (places > np.array(size))).any(axis=1) & _seen(person)
    if away_J.any():
        text = f"{_listed(away_J, skeleton)}: outside of {size[0]} x {size[1]} pixels"
        yield Suspect("wrong", "joints outside of the picture", text, (person,), _which(away_J))


def _at_one_place(person: Person, skeleton: Skeleton) -> Iterator[Suspect]:
    places, counts = np.unique(person.joints[_seen(person), :2], axis=0, return_counts=True)
    for place in places[counts >= AT_ONE_PLACE]:
        same_J = (person.joints[:, :2] == place).all(axis=1) & _seen(person)
        text = f"{_listed(same_J, skeleton)} at {place[0]:g}, {place[1]:g}"
        yield Suspect("wrong", "joints at one place", text, (person,), _which(same_J))


def _exchanged(person: Person, skeleton: Skeleton) -> Iterator[Suspect]:
    """Mirrored joints whose limbs would be much shorter the other way round, the most so first.

    Each is told once and looked at as put right after that, as a wrong wrist makes the elbows look wrong too.
    """
    mended, left_over = person, _pairs(skeleton)
    while True:
        gains = {pair: _gain(mended, pair, skeleton) for pair in left_over}
        best = max(gains, key=gains.__getitem__, default=None)
        if best is None or gains[best] <= CROSSED * _scale(person):
            return
        left, right = best
        text = (
            f"{skeleton.names[left]} and {skeleton.names[right]}: their limbs would be {gains[best]:.0f} "
            "pixels shorter the other way round"
        )
        yield Suspect("doubtful", "left and right exchanged?", text, (person,), best)
        joints_J3 = mended.joints.copy()
        joints_J3[[left, right]] = joints_J3[[right, left]]
        mended = mended._replace(joints=joints_J3)
        left_over = [pair for pair in left_over if pair != best]


def _gain(person: Person, pair: tuple[int, int], skeleton: Skeleton) -> float:
    """Pixels by which the limbs of two mirrored joints would be shorter if they were exchanged."""
    left, right = pair
    seen_J, swap = _seen(person), {left: right, right: left}
    limbs = [(a, b) for a, b in skeleton.limbs if (a in swap) != (b in swap) and seen_J[a] and seen_J[b]]
    if {end for limb in limbs for end in limb if end in swap} != {*swap}:  # both have limbs
        return 0.0
    given = sum(_length(person, a, b) for a, b in limbs)
    return given - sum(_length(person, swap.get(a, a), swap.get(b, b)) for a, b in limbs)


def _turned(person: Person, skeleton: Skeleton) -> Iterator[Suspect]:
    """Linked mirrored joints (shoulders, hips, eyes): some from left to right, others from right to left."""
    seen_J, scale = _seen(person), _scale(person)
    linked = {frozenset(limb) for limb in skeleton.limbs}
    across = {
        (left, right): person.joints[left, 0] - person.joints[right, 0]
        for left, right in _pairs(skeleton)
        if frozenset((left, right)) in linked and seen_J[left] and seen_J[right]
    }
    told = {pair: apart for pair, apart in across.items() if abs(apart) > APART * scale}
    if len({apart > 0 for apart in told.values()}) == 2:
        sides = [
            " and ".join(
                f"{skeleton.names[a]}, {skeleton.names[b]}"
                for (a, b), apart in told.items()
                if (apart > 0) == side
            )
            for side in (True, False)
        ]
        text = f"{sides[0]} are the other way round than {sides[1]}"
        joints = tuple(sorted(joint for pair in told for joint in pair))
        yield Suspect("doubtful", "left and right exchanged?", text, (person,), joints)


def _duplicates(people: Sequence[Person], skeleton: Skeleton) -> Iterator[Suspect]:
    for one, other in combinations(people, 2):
        both_J = _seen(one) & _seen(other)
        if both_J.sum() < COMMON:
            continue
        distance_J = np.linalg.norm(one.joints[both_J, :2] - other.joints[both_J, :2], axis=1)
        spread_J = 2 * np.array(skeleton.sigmas)[both_J] * np.sqrt(max(1.0, (one.area + other.area) / 2))
        oks = float(np.exp(-0.5 * (distance_J / spread_J) ** 2).mean())
        if oks > ALIKE:
            both = f"annotations {one.annotation} and {other.annotation}"
            text = f"{both}: OKS {oks:.2f} over {both_J.sum()} joints"
            yield Suspect("wrong", "one person labelled twice", text, (one, other))


def _seen(person: Person) -> np.ndarray:
    return person.joints[:, 2] > 0


def _scale(person: Person) -> float:
    """A person's size: the longer side of the labelled joints' extent, at least a pixel."""
    return max(1.0, float(np.ptp(person.joints[_seen(person), :2], axis=0).max()))


def _length(person: Person, a: int, b: int) -> float:
    return float(np.linalg.norm(person.joints[a, :2] - person.joints[b, :2]))


def _pairs(skeleton: Skeleton) -> list[tuple[int, int]]:
    """Mirrored joints, each pair once, the left one first where the names say so."""
    pairs = [(a, b) for a, b in enumerate(skeleton.flip_index) if a < b]
    return [(b, a) if "right" in words(skeleton.names[a]) else (a, b) for a, b in pairs]


def _which(chosen_J: np.ndarray) -> tuple[int, ...]:
    return tuple(np.flatnonzero(chosen_J).tolist())


def _listed(chosen_J: np.ndarray, skeleton: Skeleton) -> str:
    return ", ".join(skeleton.names[joint] for joint in _which(chosen_J))
