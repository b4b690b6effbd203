"""What a grouping did with every labelled keypoint: right, person split, people mixed, candidate missing.

Where AP says how much a grouping loses, these counts say how. Letters: N candidates of one image, P people.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from hgg.clusters import LEFT_OUT
from hgg.groupings import BLIND, TITLES
from hgg.labels import BACKGROUND


class Fates(NamedTuple):
    """Labelled keypoints by what became of them; the first is the sum of the next four."""

    keypoints: int = 0
    """Labelled keypoints."""
    missing: int = 0
    """Without a candidate: the detector's error, which no grouping can mend."""
    right: int = 0
    """With its person's other candidates."""
    split: int = 0
    """In a part that broke off: a cluster that is nobody's, or left out by the grouping."""
    mixed: int = 0
    """In the cluster of another person."""
    background: int = 0
    """Not labelled keypoints: candidates that are nobody's joint, in the cluster of a person."""

    def __add__(self, other: tuple[int, ...]) -> "Fates":  # pyrefly: ignore[bad-override]  # a sum, not a chain
        """Counts of both."""
        return Fates(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))


def count_fates(label_N: np.ndarray, member_N: np.ndarray, labelled: int) -> Fates:
    """Fates of one image's labelled keypoints under a grouping.

    A person has one cluster at the most and a cluster one person: of all such pairings the one that puts the
    most candidates right. Ignored candidates count nowhere.

    Args:
        label_N: labels of the candidates (`hgg.labels.assign`), padding background.
        member_N: their clusters (`hgg.clusters.Clusters.member`), padding left out.
        labelled: labelled keypoints of the image.
    """
    known_N = label_N >= 0
    people, person_N = np.unique(label_N[known_N], return_inverse=True)
    clusters, cluster_N = np.unique(member_N[member_N != LEFT_OUT], return_inverse=True)
    cluster_of = np.full(len(member_N), LEFT_OUT)
    cluster_of[member_N != LEFT_OUT] = cluster_N
    shared = np.zeros((len(people), len(clusters)), dtype=int)
    grouped = cluster_of[known_N] != LEFT_OUT
    np.add.at(shared, (person_N[grouped], cluster_of[known_N][grouped]), 1)
    owner = np.full(len(clusters) + 1, LEFT_OUT)  # the last entry stands for what was left out
    for person, cluster in zip(*linear_sum_assignment(shared, maximize=True), strict=True):
        if shared[person, cluster]:
            owner[cluster] = person
    owner_N = owner[cluster_of]
    found = int(known_N.sum())
    right = int((owner_N[known_N] == person_N).sum())
    split = int((owner_N[known_N] == LEFT_OUT).sum())
    background = int(((label_N == BACKGROUND) & (owner_N != LEFT_OUT)).sum())
    return Fates(labelled, labelled - found, right, split, found - right - split, background)


def fate_table(fates: Mapping[str, Mapping[str, Fates]]) -> str:
    """Fates by part and grouping in Markdown, as numbers and shares of the labelled keypoints."""
    names = ("right", "split", "mixed", "background")
    groupings = [name for name in BLIND if name in fates]  # the oracle makes no errors
    heads = [f"{TITLES[grouping]} {name}" for grouping in groupings for name in names]
    lines = [f"| | keypoints | missing | {' | '.join(heads)} |", f"|---|{'---:|' * (len(heads) + 2)}"]
    for part, first in fates[groupings[0]].items():
        cells = [str(first.keypoints), _share(first.missing, first.keypoints)]
        for grouping in groupings:
            found = fates[grouping][part]
            cells += [_share(getattr(found, name), found.keypoints) for name in names]
        lines.append(f"| {part} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _share(count: int, of: int) -> str:
    return f"{count} ({count / of:.1%})" if of else str(count)
