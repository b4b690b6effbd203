"""How well each joint is found: its mean OKS error, and the share that is found.

Letters: J joint types, P people.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from hgg.skeleton import Skeleton
from pipeline.report.matching import LEAST_OKS, NOBODY, Matched


class JointFigures(NamedTuple):
    """One joint type under one grouping."""

    labelled: int
    """Labelled joints of all people that count."""
    matched: int
    """Those of people that were found, at an OKS of 0.5."""
    error: float | None
    """Mean of 1 - exp(-d² / (2 s² k²)) over those of people that were found: d is the distance, s² the area
    of the person, k twice the joint's constant. 0 is the very place, 1 anywhere else. A joint that
    the grouping lacks stands where its person's others are (`pipeline.metrics.detections`). None where nobody
    was found."""
    found: float | None
    """Share of all labelled ones whose person was found and which lie so near that exp(...) is 0.5 at least.
    None where nothing is labelled."""


def joint_figures(matched: Iterable[Matched], skeleton: Skeleton) -> list[JointFigures]:
    """Figures of each joint type over some images, in the skeleton's order."""
    labelled_J = np.zeros(skeleton.count, int)
    matched_J, near_J = np.zeros_like(labelled_J), np.zeros_like(labelled_J)
    error_J = np.zeros(skeleton.count)
    for image in matched:
        for person in image.people:
            labelled_J += np.reshape(person["keypoints"], (-1, 3))[:, 2] > 0
        for someone in image.found:
            if someone.person != NOBODY:
                person = image.people[someone.person]
                seen_J, likeness_J = likeness(person, someone.keypoints, skeleton)
                matched_J += seen_J
                near_J += seen_J & (likeness_J >= LEAST_OKS)
                error_J += np.where(seen_J, 1 - likeness_J, 0.0)
    return [
        JointFigures(
            int(labelled),
            int(count),
            float(error / count) if count else None,
            float(near / labelled) if labelled else None,
        )
        for labelled, count, error, near in zip(labelled_J, matched_J, error_J, near_J, strict=True)
    ]


def likeness(
    person: Mapping[str, Any], places_J2: np.ndarray, skeleton: Skeleton
) -> tuple[np.ndarray, np.ndarray]:
    """Which joints of a true person are labelled, and the OKS of each alone with a place, both (J,)."""
    labels_J3 = np.reshape(np.asarray(person["keypoints"], float), (-1, 3))
    spread_J = (2 * np.asarray(skeleton.sigmas)) ** 2
    square_J = ((places_J2 - labels_J3[:, :2]) ** 2).sum(axis=1)
    area = float(person["area"]) + np.spacing(1)  # as pycocotools has it
    return labels_J3[:, 2] > 0, np.exp(-square_J / (2 * area * spread_J))
