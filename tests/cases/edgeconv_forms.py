"""EdgeConv in other forms with the same weights, to compare with: plainly dense, and torch-geometric's class.

Letters: B images, N candidates, A = B * N nodes, D directed edges, F input features, H hidden features.
"""

import warnings

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hgg.graph import Graph, rows_of, silence_of
from hgg.interaction import EdgeConv

with warnings.catch_warnings():
    # torch-geometric 2.8 scripts its pooling classes as it is imported, deprecated from torch 2.13 on.
    warnings.filterwarnings("ignore", "`torch.jit.script")
    from torch_geometric.nn import EdgeConv as GeometricEdgeConv


def dense_edge_conv(conv: EdgeConv, x_BNF: Tensor, neighbour_BNN: Tensor) -> Tensor:
    """EdgeConv over a matrix of all pairs; `neighbour_BNN[b, i, j]` says whether j is a neighbour of i."""
    own_HF, other_HF = conv.first.weight.chunk(2, dim=1)
    own_BNH = F.linear(x_BNF, own_HF - other_HF, conv.first.bias)
    other_BNH = F.linear(x_BNF, other_HF)
    pair_BNNH = conv.last(F.relu(own_BNH[:, :, None] + other_BNH[:, None]))
    highest_BNH = pair_BNNH.masked_fill(~neighbour_BNN[..., None], -torch.inf).amax(2)
    return torch.where(neighbour_BNN.any(2)[..., None], highest_BNH, 0.0)


def geometric_edge_conv(conv: EdgeConv) -> GeometricEdgeConv:
    """torch-geometric's class around the same two linear layers; called with (A, F) and (2, D)."""
    weights = {name: weight.clone() for name, weight in conv.state_dict().items()}
    geometric = GeometricEdgeConv(nn.Sequential(conv.first, nn.ReLU(), conv.last), aggr="max")
    conv.load_state_dict(weights)  # its constructor draws the layers anew
    return geometric


def random_neighbours(sizes: list[int], types: int = 17, seed: int = 0) -> Tensor:
    """(B, N, N) pairs of different types among so many candidates an image, of random types."""
    generator = torch.Generator().manual_seed(seed)
    kind_BN = torch.randint(types, (len(sizes), max(sizes)), generator=generator)
    valid_BN = torch.arange(max(sizes)) < torch.tensor(sizes)[:, None]
    return (kind_BN[:, :, None] != kind_BN[:, None]) & valid_BN[:, :, None] & valid_BN[:, None]


def to_graph(neighbour_BNN: Tensor, dtype: torch.dtype = torch.float32) -> Graph:
    """The graph of these neighbours, whose images need the rows up to their last node with one."""
    last = [int(image.nonzero().max()) + 1 if image.any() else 0 for image in neighbour_BNN.any(dim=2)]
    valid_BN = torch.arange(neighbour_BNN.shape[1]) < torch.tensor(last)[:, None]
    silence_BNN1, edges = silence_of(neighbour_BNN, dtype), int(neighbour_BNN.sum()) // 2
    return Graph(neighbour_BNN, silence_BNN1, edges, last, rows_of(valid_BN, last))


def to_edges(neighbour_BNN: Tensor) -> Tensor:
    """(2, D) directed edges from neighbour to node, nodes numbered over the batch."""
    size = neighbour_BNN.shape[1]
    image_D, target_D, source_D = neighbour_BNN.nonzero(as_tuple=True)
    return image_D * size + torch.stack((source_D, target_D))
