"""The keypoint graph: candidates are nodes, every pair of different types is an edge (section 3.1).

Letters: B images, N candidates, V visual channels, J joint types, E edges.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from hgg.candidates import Candidates
from hgg.skeleton import NUM_JOINTS

FEATURES_BESIDE_VISUAL = 1 + NUM_JOINTS + 2  # tag, one-hot type, x and y


def node_features(candidates: Candidates, side: int) -> Tensor:
    """Features of the nodes: tag, relational feature, one-hot type, position (section 3.1).

    Args:
        candidates: nodes.
        side: longer side of the output map in cells; x and y are divided by it.

    Returns:
        (B, N, 1 + V + J + 2) float32.
    """
    kind_BNJ = F.one_hot(candidates.kind, NUM_JOINTS).to(candidates.tag.dtype)
    return torch.cat(
        (candidates.tag[..., None], candidates.visual, kind_BNJ, candidates.xy / side),
        dim=-1,
    )


def full_graph(candidates: Candidates) -> Tensor:
    """Edges of the full graph: all pairs of valid candidates of different types.

    Nodes carry one number over the whole batch, image * N + candidate, so that a batch is
    one graph of separate parts.

    Returns:
        (2, E) int64, each edge once, the smaller number first, in ascending order.
    """
    differ_BNN = candidates.kind[:, :, None] != candidates.kind[:, None, :]
    edge_BNN = differ_BNN & candidates.valid[:, :, None] & candidates.valid[:, None, :]
    image_E, first_E, second_E = edge_BNN.triu(diagonal=1).nonzero(as_tuple=True)
    start_E = image_E * candidates.kind.shape[1]
    return torch.stack((start_E + first_E, start_E + second_E))
