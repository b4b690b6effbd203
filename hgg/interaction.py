"""Interaction network: EdgeConv layers that let every candidate see all others (section 3.1, Fig. 3).

Table 2 puts a per-node layer (#7) and graph attention (#8) in EdgeConv's place.

EdgeConv is torch-geometric's formulation, x_i' = max_j mlp([x_i, x_j - x_i]), written for the
list of pairs: the first linear layer of a pair is a sum of two per-node products, so only the
second one is computed per pair. `hgg/README.md` has the time that this takes beside torch-geometric's own
class and a dense (B, N, N) form; `tests/hgg/test_interaction.py` holds the three together.

The perceptron has two layers. With one, max_j relu(A x_i + B x_j) = relu(A x_i + max_j B x_j):
no term would relate i to j.

Letters: A nodes of the whole batch, E edges, D directed edges (both ways), F input features,
H hidden features.
"""

import warnings

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hgg.config import GroupingConfig
from hgg.graph import both_ways, in_cache


class EdgeConv(nn.Module):
    """One EdgeConv layer: two linear layers with ReLU between on every pair, maximum over neighbours.

    Shapes:
        nodes (A, F) and directed edges (2, D), from the neighbour j to the node i, to (A, H); a node without
        neighbours gives 0. Where gradients are wanted, the edges must be ordered by i.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = nn.Linear(2 * inputs, outputs)
        self.last = nn.Linear(outputs, outputs)

    def forward(self, x_AF: Tensor, edges_2D: Tensor) -> Tensor:
        """Maximum over j of last(relu(first([x_i, x_j - x_i])))."""
        own_HF, other_HF = self.first.weight.chunk(2, dim=1)
        # first([x_i, x_j - x_i]) = (W_own - W_other) x_i + b + W_other x_j
        own_AH = F.linear(x_AF, own_HF - other_HF, self.first.bias)
        other_AH = F.linear(x_AF, other_HF)
        if torch.is_grad_enabled():
            return _highest(self._messages(own_AH, other_AH, edges_2D), edges_2D[1], len(x_AF))
        highest_AH = torch.full_like(own_AH, -torch.inf)
        for part_2D in in_cache(edges_2D):
            pair_DH = self._messages(own_AH, other_AH, part_2D)
            highest_AH.scatter_reduce_(0, part_2D[1, :, None].expand_as(pair_DH), pair_DH, "amax")
        return highest_AH.masked_fill_(highest_AH == -torch.inf, 0)

    def _messages(self, own_AH: Tensor, other_AH: Tensor, edges_2D: Tensor) -> Tensor:
        """What each node hears from each of its neighbours, (D, H)."""
        source_D, target_D = edges_2D
        first_DH = own_AH.index_select(0, target_D)
        first_DH += other_AH.index_select(0, source_D)
        return self.last(F.relu_(first_DH))


def _highest(pair_DH: Tensor, target_D: Tensor, nodes: int) -> Tensor:
    """Maximum over each node's edges, which lie one after the other, 0 without any; (A, H).

    The bags of `embedding_bag` are the nodes here. With its gradient it takes a quarter of the time of
    `scatter_reduce`, which looks for the maxima again on the way back.
    """
    rows_D = torch.arange(len(target_D), device=target_D.device)
    start_A = torch.searchsorted(target_D, torch.arange(nodes, device=target_D.device))
    return F.embedding_bag(rows_D, pair_DH, start_A, mode="max")


class PerNode(nn.Module):
    """What Table 2 #7 has in EdgeConv's place: two linear layers with ReLU between on every node alone.

    The inner width, three halves of the outer, brings its parameters within 1 % of EdgeConv's.

    Shapes:
        nodes (A, F) to (A, H); the edges (2, D) are not looked at.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        inner = 3 * outputs // 2
        self.perceptron = nn.Sequential(nn.Linear(inputs, inner), nn.ReLU(), nn.Linear(inner, outputs))

    def forward(self, x_AF: Tensor, _edges_2D: Tensor) -> Tensor:
        """last(relu(first(x_i)))."""
        return self.perceptron(x_AF)


def attention_layer(inputs: int, outputs: int) -> nn.Module:
    """What Table 2 #8 has in EdgeConv's place: torch-geometric's graph attention (GAT).

    The mean of three heads has 3 % more parameters than EdgeConv. A node attends to itself too.

    Raises:
        ValueError: torch-geometric, which nothing else of a trained model needs, is not installed.
    """
    try:
        with warnings.catch_warnings():
            # torch-geometric 2.8 scripts classes as it is imported, which torch 2.13 calls deprecated.
            warnings.filterwarnings("ignore", "`torch.jit.script", DeprecationWarning)
            from torch_geometric.nn import GATConv
    except ImportError as error:
        raise ValueError("grouping.interaction=gat needs the package torch-geometric: install it") from error
    return GATConv(inputs, outputs, heads=3, concat=False)


def _layer(config: GroupingConfig) -> nn.Module:
    match config.interaction:
        case "edgeconv":
            return EdgeConv(config.hidden, config.hidden)
        case "fc":
            return PerNode(config.hidden, config.hidden)
        case "gat":
            return attention_layer(config.hidden, config.hidden)


class Interaction(nn.Module):
    """Layers with residual and LayerNorm, then a three-layer perceptron (Fig. 3).

    Args:
        inputs: node features.
        config: kind of layer, width, number of layers, dropout.

    Shapes:
        nodes (A, F) and edges (2, E), each once, to node embeddings (A, H).
    """

    def __init__(self, inputs: int, config: GroupingConfig) -> None:
        super().__init__()
        hidden = config.hidden
        self.entry = nn.Linear(inputs, hidden)
        self.layers = nn.ModuleList(_layer(config) for _ in range(config.layers))
        self.norms = nn.ModuleList(nn.LayerNorm(hidden) for _ in range(config.layers))
        self.perceptron = nn.Sequential(
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Dropout(config.dropout),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Dropout(config.dropout),
            nn.Linear(hidden, hidden),
            # Embeddings of one scale. Without it they differ so little at first that the edge
            # discriminator needs longer: on a frozen network, first-round loss 0.34 after 200
            # steps against 0.27 after 120 with it.
            nn.LayerNorm(hidden),
        )

    def forward(self, x_AF: Tensor, pairs_2E: Tensor) -> Tensor:
        """Node embeddings, (A, H)."""
        edges_2D = both_ways(pairs_2E)
        x_AH = self.entry(x_AF)
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x_AH = norm(x_AH + layer(x_AH, edges_2D))
        return self.perceptron(x_AH)
