"""Whether scores can be believed: of the people with a score of about so much, which share is right."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from pipeline.report.matching import NOBODY, Matched

BINS = 10


class Bin(NamedTuple):
    """People whose scores are alike."""

    low: float
    """The least score; the next bin's is the end. Scores above 1 are in the last one."""
    count: int
    score: float
    """Their mean score."""
    right: float
    """Share that is somebody, at an OKS of 0.5."""
    oks: float
    """Mean OKS with whom they are, 0 for those who are nobody."""


class Calibration(NamedTuple):
    """The scores of everybody who was found."""

    bins: list[Bin]
    """Without those that hold nobody."""
    count: int
    error: float | None
    """Expected calibration error: the mean over people of how far their bin's mean score is from its share
    that is right. None where nobody was found."""


def calibrate(matched: Iterable[Matched]) -> Calibration:
    """The scores of people beside how many of them are right, over some images."""
    found = [
        (someone.score, someone.person != NOBODY, someone.oks) for image in matched for someone in image.found
    ]
    score, right, oks = np.array(found, float).reshape(-1, 3).T
    place = np.clip((score * BINS).astype(int), 0, BINS - 1)
    bins = []
    for number in range(BINS):
        inside = place == number
        if inside.any():
            means = (float(values[inside].mean()) for values in (score, right, oks))
            bins.append(Bin(number / BINS, int(inside.sum()), *means))
    off = sum(each.count * abs(each.score - each.right) for each in bins)
    return Calibration(bins, len(found), off / len(found) if found else None)
