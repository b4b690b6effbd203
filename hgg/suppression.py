"""One person, one pose: people who are there a second time go.

The paper says nothing of it. Where a candidate stays alone, its other joints are filled in from the maps by
its tag, and so a person who was found in parts comes out once per part, each time in nearly the same pose.
Greedy suppression by OKS is what others do about poses that are alike (G-RMI, Papandreou et al., CVPR 2017).

Letters: P people, the highest score first, J joint types.
"""

import numpy as np

from hgg.poses import LEAST, Poses, box_sides
from hgg.skeleton import Skeleton

OFF = 1.0
"""No OKS is above it: everybody stays."""
SMALLEST_AREA = 1.0  # of a person's box in square pixels or cells; keeps OKS finite for one joint alone


def suppressors(poses: Poses, above: float, skeleton: Skeleton) -> np.ndarray:
    """By whom each person is left out, (P,) int64; -1 where it stays.

    From the best on: who stays suppresses those of a lower score whose OKS with it is above a value. OKS is
    over the joints of the lower one, 0 for those that the better one lacks, with the mean of the areas of
    both boxes. Joints that were filled in and are not believed (`Poses.keypoints`) count for neither: they
    lie where somebody else's are.

    Args:
        poses: people of one image, in pixels or in cells.
        above: OKS in [0, 1]; `OFF` keeps everybody.
        skeleton: whose constants OKS has.
    """
    people = len(poses.score)
    by_P = np.full(people, -1)
    if above >= OFF:
        return by_P
    there_PJ = poses.keypoints[..., 2] > LEAST
    xy_PJ2 = poses.keypoints[..., :2].astype(np.float64)
    area_P = np.maximum(box_sides(xy_PJ2, there_PJ).prod(axis=1), SMALLEST_AREA)
    spread_J = 2 * (2 * np.asarray(skeleton.sigmas)) ** 2
    for person in range(people):
        rest_P = np.flatnonzero(by_P[person + 1 :] < 0) + person + 1
        if by_P[person] >= 0 or not len(rest_P):
            continue
        both_PJ = there_PJ[rest_P] & there_PJ[person]
        distance_PJ = ((xy_PJ2[rest_P] - xy_PJ2[person]) ** 2).sum(axis=2)
        area_P1 = ((area_P[rest_P] + area_P[person]) / 2)[:, None]
        oks_P = (np.exp(-distance_PJ / (spread_J * area_P1)) * both_PJ).sum(axis=1)
        by_P[rest_P[oks_P > above * np.maximum(there_PJ[rest_P].sum(axis=1), 1)]] = person
    return by_P


def said(above: float) -> str:
    """What a table of people's figures says of those who are left out."""
    if above >= OFF:
        return "Nobody is suppressed: who is found in two parts counts twice."
    return f"Who equals somebody of a higher score by an OKS above {above:g} is left out, for every grouping."


def without(poses: Poses, by_P: np.ndarray) -> Poses:
    """Those who stay.

    Args:
        poses: people of one image.
        by_P: of `suppressors`.
    """
    return poses.only(by_P < 0)
