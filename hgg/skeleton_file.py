"""A skeleton as a file says it: joints and links by name, checked, and completed where it is silent.

A file is YAML. COCO's and CrowdPose's, in `hgg/skeletons/`, are written in the part of YAML that is JSON too,
so that reading them needs no package. A model's settings hold its skeleton in this form, complete.
"""

import json
from collections import Counter, deque
from collections.abc import Sequence
from importlib import resources
from typing import Annotated, Any

from pydantic import Field, ValidationError, model_validator

from hgg.joint_names import words
from hgg.settings import Settings

MOST_JOINTS = 256  # COCO-WholeBody has 133
MOST_LINKS = 4096
DEFAULT_SIGMA = 0.067
"""Constant of object keypoint similarity where none is known: the mean of COCO's 17."""

Name = Annotated[str, Field(min_length=1, max_length=100)]
Pair = tuple[Name, Name]
Pairs = Annotated[tuple[Pair, ...], Field(max_length=MOST_LINKS)]
Sigma = Annotated[float, Field(gt=0.0, le=1.0)]


class SkeletonFile(Settings):
    """The joint types of people (or animals, or things), by name. What is None is derived by `completed`."""

    name: str = Field("custom", min_length=1, max_length=100)
    """What messages call it."""
    source: str = Field("", max_length=2000)
    """Where it is from, for whoever reads it."""
    names: tuple[Name, ...] = Field(min_length=2, max_length=MOST_JOINTS)
    """Of the joints, in the order of the annotations; 256 at most."""
    mirrored: Pairs | None = None
    """Joints that change places when a picture is mirrored; those in no pair stay. Derived: names that differ
    by left and right."""
    limbs: Pairs | None = None
    """Pairs that are joined by a line when drawn; they connect all joints. Derived: each joint with the
    next."""
    sigmas: tuple[Sigma, ...] | None = Field(None, max_length=MOST_JOINTS)
    """Constants of object keypoint similarity, one a joint, above 0 and at most 1. Derived: 0.067 for each,
    the mean of COCO's."""
    order: tuple[Name, ...] | None = Field(None, max_length=MOST_JOINTS)
    """In which associative embedding's grouping visits the joints. Derived: along the tree, from its root."""
    tree: Pairs | None = None
    """Links of grouping.graph=tree, which span all joints. Derived: the limbs' spanning tree, from the first
    joint on."""
    bypass: Pairs | None = None
    """Links that grouping.graph=bypass has beside the tree's. Derived: joints two steps apart in the tree."""
    extended: Pairs | None = None
    """Links that grouping.graph=extended has beside those of bypass. Derived: mirrored joints."""

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> "SkeletonFile":
        mistakes = [*_mistakes(self)]
        if mistakes:
            raise ValueError("; ".join(mistakes))
        return self


def shipped(name: str) -> SkeletonFile:
    """One of the skeletons that come along: coco, crowdpose."""
    text = resources.files("hgg").joinpath("skeletons", f"{name}.yaml").read_text(encoding="utf-8")
    return SkeletonFile.model_validate(json.loads(text))


def mistakes_in(error: ValidationError) -> list[str]:
    """What is wrong with a skeleton, a text each: the field, its value where it is short, what is allowed."""
    return [_text(problem) for problem in error.errors(include_url=False)]


def _text(problem: Any) -> str:
    key = ".".join(map(str, problem["loc"]))
    text = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        return f"{key}: not a field of a skeleton, which has {', '.join(SkeletonFile.model_fields)}"
    return f"{key}: {text[0].lower()}{text[1:]}" if key else text


def completed(file: SkeletonFile) -> SkeletonFile:
    """The same with all that it left out, so that whoever has it needs none of the rules here."""
    mirrored = file.mirrored if file.mirrored is not None else mirrored_by_name(file.names)
    limbs = file.limbs if file.limbs is not None else tuple(zip(file.names, file.names[1:], strict=False))
    tree = file.tree if file.tree is not None else _spanning_tree(file.names, limbs)
    return file.model_copy(
        update={
            "mirrored": mirrored,
            "limbs": limbs,
            "sigmas": file.sigmas or (DEFAULT_SIGMA,) * len(file.names),
            "order": file.order or _along(tree, file.names),
            "tree": tree,
            "bypass": file.bypass if file.bypass is not None else _two_steps(tree, file.names),
            "extended": file.extended if file.extended is not None else mirrored,
        }
    )


def mirrored_by_name(names: Sequence[str]) -> tuple[Pair, ...]:
    """Pairs of names that are each other's with left and right exchanged, as words or as letters.

    left_eye and right_eye, LeftEye and RightEye, eye_L and eye_R, l-eye and r-eye.
    """
    found = {words(name): name for name in names}
    pairs = []
    for name in names:
        mirrored = tuple(sorted("right" if word == "left" else word for word in words(name)))
        if mirrored != words(name) and mirrored in found:
            pairs.append((name, found[mirrored]))
    return tuple(pairs)


def _mistakes(file: SkeletonFile) -> list[str]:
    """Everything that is wrong with names and links."""
    known, found = set(file.names), []
    twice = [name for name, count in Counter(file.names).items() if count > 1]
    found += [f"names: {name!r} is there twice" for name in twice]
    for key in ("mirrored", "limbs", "tree", "bypass", "extended"):
        pairs: Sequence[Pair] = getattr(file, key) or ()
        strange = sorted({name for pair in pairs for name in pair} - known)
        found += [f"{key}: {name!r} is none of the names" for name in strange]
        found += [f"{key}: {a!r} is paired with itself" for a, b in pairs if a == b]
    partners: dict[str, set[str]] = {}
    for a, b in file.mirrored or ():
        partners.setdefault(a, set()).add(b)
        partners.setdefault(b, set()).add(a)
    for name, others in partners.items():
        if len(others) > 1:
            found.append(f"mirrored: {name!r} is in pairs with {' and '.join(map(repr, sorted(others)))}")
    for key in ("limbs", "tree"):
        pairs = getattr(file, key)
        if pairs is not None and len(apart := pieces(file.names, pairs)) > 1:
            parts = " | ".join(", ".join(piece) for piece in apart)
            found.append(f"{key}: do not connect all joints: {parts}")
    if file.tree is not None and len(file.tree) != len(file.names) - 1:
        found.append(f"tree: {len(file.tree)} links, where a tree over {len(file.names)} joints has one less")
    if file.sigmas is not None and len(file.sigmas) != len(file.names):
        found.append(f"sigmas: {len(file.sigmas)} for {len(file.names)} joints")
    if file.order is not None and sorted(file.order) != sorted(file.names):
        found.append("order: must name every joint once")
    return found


def pieces(names: Sequence[str], pairs: Sequence[Pair]) -> list[list[str]]:
    """The joints that links connect, piece by piece, in the order of the names."""
    left, found = dict.fromkeys(names), []
    while left:
        reached = {next(iter(left))}
        while more := {end for pair in pairs if reached & {*pair} for end in pair} - reached:
            reached |= more
        found.append([name for name in names if name in reached])
        left = {name: None for name in left if name not in reached}
    return found


def _spanning_tree(names: Sequence[str], limbs: Sequence[Pair]) -> tuple[Pair, ...]:
    """Breadth first from the first joint, neighbours in the order of the limbs."""
    tree, reached, ahead = [], {names[0]}, deque([names[0]])
    while ahead:
        joint = ahead.popleft()
        for a, b in limbs:
            other = b if a == joint else a if b == joint else joint
            if other not in reached:
                tree.append((joint, other))
                reached.add(other)
                ahead.append(other)
    return tuple(tree)


def _along(tree: Sequence[Pair], names: Sequence[str]) -> tuple[str, ...]:
    """The joints of a tree, breadth first from the first."""
    return (names[0], *(b for _, b in _spanning_tree(names, tree)))


def _two_steps(tree: Sequence[Pair], names: Sequence[str]) -> tuple[Pair, ...]:
    """Pairs of joints that have a neighbour in common, each once."""
    place = {name: number for number, name in enumerate(names)}
    around = {name: [b if a == name else a for a, b in tree if name in (a, b)] for name in names}
    found = dict.fromkeys(
        (a, b) if place[a] < place[b] else (b, a)
        for name in names
        for number, a in enumerate(around[name])
        for b in around[name][number + 1 :]
    )
    return tuple(found)
