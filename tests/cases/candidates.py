"""Candidates for grouping tests: written out by hand, or drawn at random by hypothesis.

Letters: B images, N candidates (padded), V visual channels.
"""

import torch
from hypothesis import strategies as st

from hgg.candidates import Candidates
from hgg.clusters import LEFT_OUT, Clusters
from hgg.skeleton import NUM_JOINTS

SIDE = 16  # of the maps, in cells

Row = tuple[int, float, float, int, int]
"""Joint type, score, tag, column and row of the cell."""


def make_candidates(*images: list[Row]) -> Candidates:
    """One list of candidates an image, padded to the longest."""
    most = max(1, *(len(rows) for rows in images))
    padded = [rows + [(0, 0.0, 0.0, 0, 0)] * (most - len(rows)) for rows in images]
    cell = torch.tensor([[row[3:] for row in rows] for rows in padded])
    return Candidates(
        cell=cell,
        xy=cell.float(),
        kind=torch.tensor([[row[0] for row in rows] for rows in padded]),
        score=torch.tensor([[row[1] for row in rows] for rows in padded]),
        tag=torch.tensor([[row[2:3] for row in rows] for rows in padded]),
        visual=torch.zeros(len(images), most, 1, 0),
        valid=torch.tensor([[place < len(rows) for place in range(most)] for rows in images]),
        size=torch.full((len(images), 2), SIDE),
    )


def people_of(clusters: Clusters, image: int = 0) -> set[frozenset[int]]:
    """The people of an image as sets of candidate indices."""
    member = clusters.member[image].tolist()
    return {
        frozenset(index for index, other in enumerate(member) if other == person)
        for person in set(member) - {LEFT_OUT}
    }


def check_people(candidates: Candidates, clusters: Clusters) -> None:
    """What every grouping promises: ids are the smallest index, no joint type twice, padding left out."""
    for image, members in enumerate(clusters.member.tolist()):
        for index, person in enumerate(members):
            if not candidates.valid[image, index]:
                assert person == LEFT_OUT
        for person in people_of(clusters, image):
            assert members[min(person)] == min(person)
            kinds = [int(candidates.kind[image, index]) for index in person]
            assert len(kinds) == len(set(kinds))


@st.composite
def random_rows(draw: st.DrawFn, most: int = 24) -> list[Row]:
    """Candidates of one image in distinct cells, with many equal scores and tags among them."""
    cells = draw(st.lists(st.integers(0, 16 * 16 - 1), unique=True, max_size=most))
    kinds = st.integers(0, NUM_JOINTS - 1) if draw(st.booleans()) else st.sampled_from([0, 5, 9])
    scores = st.sampled_from([0.25, 0.5, 0.75]) | st.floats(0.125, 1.0, width=32)
    tags = st.sampled_from([0.0, 0.25, 1.0, 10.0]) | st.floats(-5.0, 5.0, width=32)
    return [(draw(kinds), draw(scores), draw(tags), cell % 16, cell // 16) for cell in cells]
