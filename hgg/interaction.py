"""Interaction network: EdgeConv layers that let every candidate see all others (section 3.1, Fig. 3).

Table 2 puts a per-node layer (#7) and graph attention (#8) in EdgeConv's place.

EdgeConv is torch-geometric's formulation, x_i' = max_j mlp([x_i, x_j - x_i]), written for the matrix of
an image's pairs: the first linear layer of a pair is a sum of two per-node products, so only the second one
is computed per pair. `hgg/README.md` has the time that this takes beside torch-geometric's own class;
`tests/hgg/test_interaction.py` holds the two together, and a plain form of the matrix.

The perceptron has two layers. With one, max_j relu(A x_i + B x_j) = relu(A x_i + max_j B x_j):
no term would relate i to j.

Letters: B images, N candidates, A candidates of the batch, X = B * N rows, F input features, H hidden
features, O output features.
"""

import warnings
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from hgg.config import GroupingConfig
from hgg.graph import Graph, pairs_at_once, parts


class EdgeConv(nn.Module):
    """One EdgeConv layer: two linear layers with ReLU between on every pair, maximum over neighbours.

    Shapes:
        nodes (B, N, F) and their graph to (B, N, O); a node without neighbours gives 0.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = nn.Linear(2 * inputs, outputs)
        self.last = nn.Linear(outputs, outputs)

    def forward(self, x_BNF: Tensor, graph: Graph) -> Tensor:
        """Maximum over j of last(relu(first([x_i, x_j - x_i])))."""
        own_HF, other_HF = self.first.weight.chunk(2, dim=1)
        # first([x_i, x_j - x_i]) = (W_own - W_other) x_i + b + W_other x_j
        own_BNH = F.linear(x_BNF, own_HF - other_HF, self.first.bias)
        other_BNH = F.linear(x_BNF, other_HF)
        if torch.is_grad_enabled():
            return _HighestMessage.apply(own_BNH, other_BNH, self.last.weight, self.last.bias, graph)
        heard_BNO, _ = _highest(own_BNH, other_BNH, self.last.weight, graph, whose=False)
        return (heard_BNO + self.last.bias).masked_fill_(heard_BNO == -torch.inf, 0)


class _HighestMessage(torch.autograd.Function):
    """What a node hears at the loudest, and on the way back only what was heard.

    A maximum's gradient goes to one neighbour a feature. So the way back needs no pair but those, O of each
    node instead of N, and nothing of a pair is kept for it.
    """

    @staticmethod
    def forward(
        ctx: Any, own_BNH: Tensor, other_BNH: Tensor, weight_OH: Tensor, bias_O: Tensor, graph: Graph
    ) -> Tensor:
        heard_BNO, source_BNO = _highest(own_BNH, other_BNH, weight_OH, graph, whose=True)
        deaf_BNO = heard_BNO == -torch.inf
        ctx.save_for_backward(own_BNH, other_BNH, weight_OH, source_BNO, deaf_BNO, graph.rows)
        return (heard_BNO + bias_O).masked_fill_(deaf_BNO, 0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Any) -> Any:  # pyrefly: ignore[bad-override]  # its wrapper names nothing
        (grad_BNO,) = grad_outputs
        own_BNH, other_BNH, weight_OH, source_BNO, deaf_BNO, row_A = ctx.saved_tensors
        start_B11 = torch.arange(len(own_BNH), device=row_A.device)[:, None, None] * own_BNH.shape[1]
        source_BNO = source_BNO + start_B11
        grad_AO, own_AH, source_AO = (
            part.flatten(0, 1).index_select(0, row_A)  # without padding
            for part in (grad_BNO.masked_fill(deaf_BNO, 0), own_BNH, source_BNO)
        )
        hidden_AOH = other_BNH.flatten(0, 1).index_select(0, source_AO.flatten()).unflatten(0, grad_AO.shape)
        hidden_AOH += own_AH[:, None]
        grad_AOH = torch.where(hidden_AOH > 0, grad_AO[..., None] * weight_OH, 0)
        hidden_AOH.relu_()
        grad_weight_OH = torch.bmm(grad_AO.T[:, None], hidden_AOH.transpose(0, 1)).squeeze(1)
        nothing_XH = torch.zeros_like(own_BNH).flatten(0, 1)
        grad_own_XH = nothing_XH.index_copy(0, row_A, grad_AOH.sum(dim=1))
        grad_other_XH = nothing_XH.index_add_(0, source_AO.flatten(), grad_AOH.flatten(0, 1))
        grads = grad_own_XH.view_as(own_BNH), grad_other_XH.view_as(own_BNH)
        return *grads, grad_weight_OH, grad_AO.sum(dim=0), None


def _highest(
    own_BNH: Tensor, other_BNH: Tensor, weight_OH: Tensor, graph: Graph, *, whose: bool
) -> tuple[Tensor, Tensor]:
    """What each node hears at the loudest, without the bias, and where asked for, from which neighbour.

    -inf where it has no neighbour.
    """
    shape = (*own_BNH.shape[:2], len(weight_OH))
    heard_BNO = own_BNH.new_full(shape, -torch.inf)
    source_BNO = torch.zeros(shape if whose else 0, dtype=torch.int64, device=own_BNH.device)
    for images, rows, columns in parts(graph.sizes, pairs_at_once(own_BNH.device)):
        hidden_bnNH = (own_BNH[images, rows, None] + other_BNH[images, None, columns]).relu_()
        # As what the products are added to, silence costs nothing.
        silence_QO = graph.silence[images, rows, columns].reshape(-1, 1).expand(-1, shape[2])
        message_QO = torch.addmm(silence_QO, hidden_bnNH.flatten(0, 2), weight_OH.T)
        message_bnNO = message_QO.view(*hidden_bnNH.shape[:3], shape[2])
        if whose:
            heard_BNO[images, rows], source_BNO[images, rows] = message_bnNO.max(dim=2)
        else:
            heard_BNO[images, rows] = message_bnNO.amax(dim=2)
    return heard_BNO, source_BNO


class PerNode(nn.Module):
    """What Table 2 #7 has in EdgeConv's place: two linear layers with ReLU between on every node alone.

    The inner width, three halves of the outer, brings its parameters within 1 % of EdgeConv's.

    Shapes:
        nodes (B, N, F) to (B, N, O); the graph is not looked at.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        inner = 3 * outputs // 2
        self.perceptron = nn.Sequential(nn.Linear(inputs, inner), nn.ReLU(), nn.Linear(inner, outputs))

    def forward(self, x_BNF: Tensor, _graph: Graph) -> Tensor:
        """last(relu(first(x_i)))."""
        return self.perceptron(x_BNF)


def attention_layer(inputs: int, outputs: int) -> nn.Module:
    """What Table 2 #8 has in EdgeConv's place: torch-geometric's graph attention (GAT).

    The mean of three heads has 3 % more parameters than EdgeConv. A node attends to itself too. Its edges are
    a list, for whose length a GPU has to be waited for.

    Raises:
        ValueError: torch-geometric, which nothing else of a trained model needs, is not installed.
    """
    try:
        with warnings.catch_warnings():
            # torch-geometric 2.8 scripts classes as it is imported, deprecated from torch 2.13 on.
            warnings.filterwarnings("ignore", "`torch.jit.script")
            from torch_geometric.nn import GATConv
    except ImportError as error:
        raise ValueError("grouping.interaction=gat needs the package torch-geometric: install it") from error

    class Attention(GATConv):
        """Shapes: nodes (B, N, F) and their graph to (B, N, O)."""

        def forward(self, x_BNF: Tensor, graph: Graph) -> Tensor:  # pyrefly: ignore[bad-override]
            image_D, target_D, source_D = graph.joined.nonzero(as_tuple=True)
            edges_2D = torch.stack((source_D, target_D)) + image_D * x_BNF.shape[1]
            return super().forward(x_BNF.flatten(0, 1), edges_2D).unflatten(0, x_BNF.shape[:2])

    return Attention(inputs, outputs, heads=3, concat=False)


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
        nodes (B, N, F) and their graph to node embeddings (B, N, H).
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

    def forward(self, x_BNF: Tensor, graph: Graph) -> Tensor:
        """Node embeddings, (B, N, H)."""
        x_BNH = self.entry(x_BNF)
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x_BNH = norm(x_BNH + layer(x_BNH, graph))
        return self.perceptron(x_BNH)
