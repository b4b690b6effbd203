"""Interaction network: EdgeConv layers that let every candidate see all others (section 3.1, Fig. 3).

EdgeConv is torch-geometric's formulation, x_i' = max_j mlp([x_i, x_j - x_i]), in a dense
batched form: the first linear layer of a pair is a sum of two per-node products, so only
the second one is computed per pair. `tests/test_interaction.py` holds the two together, and
`python -m hgg.interaction_benchmark` times them.

The perceptron has two layers. With one, max_j relu(A x_i + B x_j) = relu(A x_i + max_j B x_j):
no term would relate i to j.

Letters: B images, N candidates, F input features, H hidden features.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hgg.config import GroupingConfig


class EdgeConv(nn.Module):
    """One EdgeConv layer: two linear layers with ReLU between on every pair, maximum over neighbours.

    Shapes:
        (B, N, F) and adjacency (B, N, N) bool to (B, N, H); a node without neighbours gives 0.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = nn.Linear(2 * inputs, outputs)
        self.last = nn.Linear(outputs, outputs)

    def forward(self, x_BNF: Tensor, adjacency_BNN: Tensor) -> Tensor:
        """Maximum over j of last(relu(first([x_i, x_j - x_i])))."""
        own_HF, other_HF = self.first.weight.chunk(2, dim=1)
        # first([x_i, x_j - x_i]) = (W_own - W_other) x_i + b + W_other x_j
        own_BNH = F.linear(x_BNF, own_HF - other_HF, self.first.bias)
        other_BNH = F.linear(x_BNF, other_HF)
        pair_BNNH = self.last(F.relu(own_BNH[:, :, None] + other_BNH[:, None]))
        lowest = torch.finfo(pair_BNNH.dtype).min
        best_BNH = pair_BNNH.masked_fill(~adjacency_BNN[..., None], lowest).amax(dim=2)
        return torch.where(adjacency_BNN.any(dim=2)[..., None], best_BNH, 0.0)


class Interaction(nn.Module):
    """EdgeConv layers with residual and LayerNorm, then a three-layer perceptron (Fig. 3).

    Args:
        inputs: node features.
        config: width, layers, dropout.

    Shapes:
        (B, N, F) and adjacency (B, N, N) bool to node embeddings (B, N, H).
    """

    def __init__(self, inputs: int, config: GroupingConfig) -> None:
        super().__init__()
        hidden = config.hidden
        self.entry = nn.Linear(inputs, hidden)
        self.layers = nn.ModuleList(EdgeConv(hidden, hidden) for _ in range(config.layers))
        self.norms = nn.ModuleList(nn.LayerNorm(hidden) for _ in range(config.layers))
        self.perceptron = nn.Sequential(
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Dropout(config.dropout),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Dropout(config.dropout),
            nn.Linear(hidden, hidden),
        )

    def forward(self, x_BNF: Tensor, adjacency_BNN: Tensor) -> Tensor:
        """Node embeddings, (B, N, H)."""
        x_BNH = self.entry(x_BNF)
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x_BNH = norm(x_BNH + layer(x_BNH, adjacency_BNN))
        return self.perceptron(x_BNH)
