"""What Algorithm 1 works on and leaves behind: macro-nodes, what was said of them, rounds, the hierarchy.

The macro-nodes of an image stand in rows, each in that of its first candidate; the other rows are empty. Over
the batch they are numbered by their first candidates, image * N + candidate.

Letters: B images, N candidates per image (padded), M rows of macro-nodes per image, T views, H embedding,
J joint types, E edges alive in a round, X edges or macro-nodes, S sums (`hgg.ohgc`), K = 4 marks.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from hgg.clusters import LEFT_OUT

FIRST = 3  # mark of a macro-node's first candidate, behind those of its labels (`hgg.labels`)


class Verdicts(NamedTuple):
    """What a discriminator said of some edges or macro-nodes, beside the truth."""

    image: Tensor
    """(X,) int64 image of each."""
    logit: Tensor
    """(X,) float32 logit of the discriminator."""
    target: Tensor
    """(X,) float32, 0 or 1."""
    supervised: Tensor
    """(X,) bool; all false without labels."""


class MacroNodes(NamedTuple):
    """Macro-nodes between two rounds."""

    sums: Tensor
    """(B, M, S) float32 sums over the members: embeddings of all views, their squares where `macro_input`
    wants them, joint types, these times `hgg.graph.link_rule`, and 1; 0 in empty rows."""
    marks: Tensor
    """(B, M, K) int64 minima over the members: their labels' marks (`hgg.labels`), and their places in the
    image; not to be read in empty rows."""
    row: Tensor
    """(B, N) int64 row of the macro-node that a candidate is in."""
    joined: Tensor
    """(B, M, M) bool edges, symmetric."""
    edges: int
    """Edges of the whole batch, each once."""
    most: int
    """Macro-nodes of the image that has the most, where somebody counted, else M."""

    @property
    def members(self) -> Tensor:
        """(B, M) float32 how many are in each row's macro-node, 0 in empty rows."""
        return self.sums[..., -1].detach()

    @property
    def number(self) -> Tensor:
        """(B, M) int64 number of the macro-node in each row, -1 in empty rows."""
        start_B1 = torch.arange(len(self.row), device=self.row.device)[:, None] * self.row.shape[1]
        return (self.marks[..., FIRST] + start_B1).masked_fill(self.members == 0, LEFT_OUT)


class Round(NamedTuple):
    """One round of Algorithm 1."""

    before: MacroNodes
    """The macro-nodes that were compared."""
    ends: tuple[Tensor, Tensor]
    """(E,) int64 twice: rows of each edge's ends within its image, the smaller first."""
    edges: Verdicts
    """The edge discriminator on every edge."""
    rejected: Tensor | None
    """(E,) bool, whether the macro-node discriminator forbade an edge; None where `veto` is 0."""
    into: Tensor
    """(B, M) int64 row of the macro-node that each row's was merged into, or its own."""
    after: MacroNodes
    """The macro-nodes that are left, in the same rows."""
    macros: Verdicts
    """The macro-node discriminator on every row after the round, supervised where the round formed one."""

    @property
    def pairs(self) -> Tensor:
        """(2, E) int64 numbers of the macro-nodes that an edge joins, the smaller first."""
        return torch.stack([self.before.number[self.edges.image, end_E] for end_E in self.ends])

    @property
    def merged(self) -> Tensor:
        """(E,) bool, whether the round merged the pair."""
        first_E, second_E = self.ends
        return self.into[self.edges.image, second_E] == first_E

    @property
    def formed(self) -> Tensor:
        """(X,) bool, whether the round formed the macro-node in a row."""
        return (self.after.sums[..., -1] > self.before.sums[..., -1]).flatten()


class Hierarchy(NamedTuple):
    """All rounds, and the macro-nodes at the end."""

    rounds: list[Round]
    """At least one, possibly without edges."""
    member: Tensor
    """(B, N) int64 first candidate of each candidate's macro-node, -1 in padding."""
    final: Verdicts
    """The macro-node discriminator on every row after the last round, supervised where two candidates or more
    are there."""

    @property
    def node(self) -> Tensor:
        """(X,) int64 number of the macro-node in each of those rows, -1 in empty ones."""
        return self.rounds[-1].after.number.flatten()

    def of_at_least(self, members: int) -> Tensor:
        """(X,) bool, whether so many candidates or more are there."""
        return (self.rounds[-1].after.members >= members).flatten()
