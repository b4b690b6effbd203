"""The answer of every grouping: which candidates form one person.

Letters: B images, N candidates (padded to the largest image of the batch).
"""

from typing import NamedTuple

from torch import Tensor

LEFT_OUT = -1  # member of a candidate that belongs to nobody


class Clusters(NamedTuple):
    """What HGG, associative embedding and the oracle all return."""

    member: Tensor
    """(B, N) int64; a person's id is the smallest index among its candidates; -1 is left out or padding."""
    confidence: Tensor
    """(B, N) float in [0, 1]; factor of the score of the person whose id is the column, 1 where unused."""
