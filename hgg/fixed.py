"""Candidates and Algorithm 1 in shapes that are known beforehand, for runtimes that know nothing else.

The same answer as `hgg.candidates`, `hgg.interaction` and `hgg.ohgc` at inference, of one view, by another
route: an image has N candidates, whatever was found; those behind the last are padding, and of more the
highest stay. Edges are not listed: what a list says of each, a matrix says of every pair of rows, so that a
round costs the same with few edges as with many. Rounds and passes of the matching go on until nothing is
left to do, as there: a loop of a graph may end by what it computed, only shapes may not.

Letters: B images, J joint types, S output side in cells (maps need not be square), V visual channels,
N candidates (padded), H embedding, S sums of a macro-node in arrays of rows (as `hgg.ohgc`), F features.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hgg.candidates import Candidates, fixed_candidates
from hgg.clusters import LEFT_OUT, Clusters
from hgg.discriminators import EdgeDiscriminator
from hgg.graph import compatible, node_features, one_hot, silence_of
from hgg.interaction import EdgeConv, PerNode
from hgg.matching import ALONE
from hgg.model import HGG, Grouping
from hgg.ohgc import LARGEST, macro_features

State = tuple[Tensor, ...]


class Grouped(NamedTuple):
    """What was found in a batch, and who belongs to whom."""

    found: Tensor
    """(B,) int64 candidates of each image, of which the N highest are given."""
    candidates: Candidates
    clusters: Clusters


def why_not_fixed(model: HGG) -> str:
    """What keeps a model's grouping from having fixed shapes; nothing where nothing does."""
    config = model.config.grouping
    if config.decoder == "associative":
        return "grouping.decoder=associative solves an assignment for each joint type, on the CPU"
    if config.matching == "graclus":
        return "grouping.matching=graclus visits the candidates in random order"
    if config.interaction == "gat":
        return "grouping.interaction=gat is torch-geometric's, over lists of edges"
    return ""


class FixedGrouping(nn.Module):
    """A model's grouping of maps, with N candidates an image.

    Args:
        model: whose grouping it is; shares its weights. `why_not_fixed` has nothing against it.
        number: N.

    Shapes:
        heatmaps and tags (B, J, S, S) and relational features (B, V, S, S) of the last stack to `Grouped`.
    """

    def __init__(self, model: HGG, number: int) -> None:
        super().__init__()
        assert not why_not_fixed(model)
        self.grouping, self.config, self.number = model.grouping, model.config, number

    def forward(self, heatmaps_BJSS: Tensor, tags_BJSS: Tensor, visual_BVSS: Tensor) -> Grouped:
        """Find the candidates and group them."""
        found_B, candidates = fixed_candidates(
            heatmaps_BJSS, tags_BJSS, visual_BVSS, self.config.candidates, self.number
        )
        return Grouped(found_B, candidates, fixed_clusters(self.grouping, candidates))


def fixed_clusters(grouping: Grouping, candidates: Candidates) -> Clusters:
    """People among candidates of one view: `hgg.model.HGG.people` of Algorithm 1 on them."""
    rule_JJ, config = grouping.rule_JJ, grouping.config
    types_BNJ = one_hot(candidates.kind, len(rule_JJ), rule_JJ.dtype) * candidates.valid[..., None]
    linked_BNJ = types_BNJ @ rule_JJ
    joined_BNN = compatible(types_BNJ, linked_BNJ)
    features_BNF = node_features(candidates, 0, grouping.joints, score=config.score_feature)
    embedding_BNH = _embed(grouping, features_BNF, joined_BNN)
    squares = [embedding_BNH.square()] if grouping.macro.spread else []
    there_BN1 = candidates.valid[..., None].to(embedding_BNH.dtype)
    parts = [embedding_BNH, *squares, types_BNJ, linked_BNJ, there_BN1]
    sums_BNS = torch.cat(parts, dim=-1) * there_BN1
    row_BN = _rows_of(candidates.kind)
    sums_BNS, row_BN = _cluster(grouping, sums_BNS, row_BN, joined_BNN)
    # A macro-node stands in the row of its first candidate, which is what a person is named by.
    return Clusters(row_BN.masked_fill(~candidates.valid, LEFT_OUT), _confidence(grouping, sums_BNS))


def _rows_of(kind_BN: Tensor) -> Tensor:
    """Each candidate's own row, (B, N) int64."""
    return torch.arange(kind_BN.shape[1], device=kind_BN.device) + torch.zeros_like(kind_BN)


def _embed(grouping: Grouping, features_BNF: Tensor, joined_BNN: Tensor) -> Tensor:
    """The interaction network: (B, N, H)."""
    interaction = grouping.interaction
    silence_BNN1 = silence_of(joined_BNN, features_BNF.dtype)
    x_BNH = interaction.entry(features_BNF)
    for layer, norm in zip(interaction.layers, interaction.norms, strict=True):
        x_BNH = norm(x_BNH + _heard(layer, x_BNH, silence_BNN1))
    return interaction.perceptron(x_BNH)


def _heard(layer: nn.Module, x_BNH: Tensor, silence_BNN1: Tensor) -> Tensor:
    """A layer of the interaction network, of EdgeConv the message of every pair at once."""
    if isinstance(layer, PerNode):
        return layer.perceptron(x_BNH)
    assert isinstance(layer, EdgeConv)
    own_HF, other_HF = layer.first.weight.chunk(2, dim=1)
    own_BNH = F.linear(x_BNH, own_HF - other_HF, layer.first.bias)
    other_BNH = F.linear(x_BNH, other_HF)
    message_BNNH = F.linear(F.relu(own_BNH[:, :, None] + other_BNH[:, None]), layer.last.weight)
    heard_BNH = (message_BNNH + silence_BNN1).amax(dim=2)
    return torch.where(heard_BNH == -torch.inf, 0.0, heard_BNH + layer.last.bias)


def _cluster(
    grouping: Grouping, sums_BNS: Tensor, row_BN: Tensor, joined_BNN: Tensor
) -> tuple[Tensor, Tensor]:
    """Algorithm 1: what is in every row at the end, and the row that each candidate is in."""
    config = grouping.config

    def going(round_: Tensor, _sums: Tensor, _row: Tensor, joined_BNN: Tensor) -> Tensor:
        return (round_ < config.max_rounds) & joined_BNN.any()

    def step(round_: Tensor, sums_BNS: Tensor, row_BN: Tensor, joined_BNN: Tensor) -> State:
        into_BN = _match(_weights(grouping, sums_BNS, joined_BNN))
        index_BNS = into_BN[..., None].expand(sums_BNS.shape)
        sums_BNS = torch.zeros_like(sums_BNS).scatter_add(1, index_BNS, sums_BNS)
        joined_BNN = _still_joined(grouping, sums_BNS, into_BN)
        return round_ + 1, sums_BNS, into_BN.gather(1, row_BN), joined_BNN

    first = torch.zeros((), dtype=torch.int64, device=row_BN.device)
    _, sums_BNS, row_BN, _ = _repeated(going, step, (first, sums_BNS, row_BN, joined_BNN))
    return sums_BNS, row_BN


def _repeated(going: Callable[..., Tensor], step: Callable[..., State], state: State) -> State:
    """Steps as long as there is something to do; where a graph is made of it, one loop in it."""
    if torch.compiler.is_exporting():
        return torch.while_loop(going, step, state)
    while going(*state):
        state = step(*state)
    return state


def _weights(grouping: Grouping, sums_BNS: Tensor, joined_BNN: Tensor) -> Tensor:
    """Logits of the pairs of rows that may merge, as `hgg.matching` wants them, (B, N, N)."""
    config = grouping.config
    logit_BNN = _proximity(grouping, _means(sums_BNS, config.hidden))
    open_BNN = joined_BNN & (torch.sigmoid(logit_BNN) >= config.cut)
    if config.veto > 0:
        together_BNNS = sums_BNS[:, :, None] + sums_BNS[:, None]
        open_BNN &= _macro_logit(grouping, together_BNNS).sigmoid() >= config.veto
    weight_BNN = logit_BNN.nan_to_num(0, LARGEST, -LARGEST).masked_fill(~open_BNN, -torch.inf)
    alone_NN = torch.eye(weight_BNN.shape[1], dtype=torch.bool, device=weight_BNN.device)
    return weight_BNN.masked_fill(alone_NN, ALONE)


def _means(sums_BNS: Tensor, hidden: int) -> Tensor:
    """Embedding of the macro-node in every row, 0 in empty ones."""
    return sums_BNS[..., :hidden] / sums_BNS[..., -1:].clamp(min=1)


def _proximity(grouping: Grouping, mean_BNH: Tensor) -> Tensor:
    """The edge discriminator's logit of every pair of rows, (B, N, N)."""
    apart_BNNH = mean_BNH[:, :, None] - mean_BNH[:, None]
    if not isinstance(grouping.edge, EdgeDiscriminator):
        return 1 - apart_BNNH.square().mean(dim=-1)
    first, *rest = grouping.edge.perceptron
    assert isinstance(first, nn.Linear)
    sum_HH, difference_HH = first.weight.chunk(2, dim=1)
    half_BNH = F.linear(mean_BNH, sum_HH)
    x_BNNH = half_BNH[:, :, None] + half_BNH[:, None] + F.linear(apart_BNNH.abs(), difference_HH, first.bias)
    return _through(rest, x_BNNH)


def _through(layers: list[nn.Module], x: Tensor) -> Tensor:
    """What a perceptron's layers make of (..., H), without the last dimension, which is 1."""
    for layer in layers:
        if isinstance(layer, nn.Linear):
            x = layer(x)
        elif isinstance(layer, nn.ReLU):  # those of the model write over their input
            x = F.relu(x)
    return x.squeeze(-1)


def _macro_logit(grouping: Grouping, sums: Tensor) -> Tensor:
    """The macro-node discriminator's logit on sums (..., S)."""
    one_view = torch.Size([1, grouping.config.hidden])
    flat_XS = sums.flatten(0, -2)
    seen_XF = macro_features(flat_XS, one_view, spread=grouping.macro.spread)
    return _through([*grouping.macro.perceptron], seen_XF).view(sums.shape[:-1])


def _match(weight_BNN: Tensor) -> Tensor:
    """`hgg.matching.dominant_matching` to its end: the smaller row of each row's pair, (B, N)."""
    own_N = torch.arange(weight_BNN.shape[1], device=weight_BNN.device)

    def going(_weight: Tensor, _into: Tensor, left_BN: Tensor) -> Tensor:
        return left_BN.any()

    def step(weight_BNN: Tensor, into_BN: Tensor, left_BN: Tensor) -> State:
        choice_BN = weight_BNN.argmax(dim=2)
        done_BN = choice_BN.gather(1, choice_BN) == own_N
        into_BN = torch.minimum(into_BN, torch.where(done_BN, choice_BN, own_N))
        return weight_BNN.masked_fill(done_BN[:, None], -torch.inf), into_BN, left_BN & ~done_BN

    nobody_BN = torch.zeros_like(weight_BNN[:, :, 0], dtype=torch.int64)
    _, into_BN, _ = _repeated(going, step, (weight_BNN, own_N + nobody_BN, nobody_BN == 0))
    return into_BN


def _still_joined(grouping: Grouping, sums_BNS: Tensor, into_BN: Tensor) -> Tensor:
    """Edges that are left, (B, N, N) bool: as `hgg.ohgc` prunes."""
    joints = len(grouping.rule_JJ)
    types_BNJ, linked_BNJ = sums_BNS[..., -1 - 2 * joints : -1].chunk(2, dim=-1)
    own_N = torch.arange(into_BN.shape[1], device=into_BN.device)
    going_B11 = (into_BN != own_N).any(dim=1)[:, None, None]
    return compatible(types_BNJ, linked_BNJ) & going_B11


def _confidence(grouping: Grouping, sums_BNS: Tensor) -> Tensor:
    """Probability that the macro-node in a row is one person, 1 where it is not asked for, (B, N)."""
    config, members_BN = grouping.config, sums_BNS[..., -1]
    if not config.macro_score:
        return torch.ones_like(members_BN)
    probability_BN = _macro_logit(grouping, sums_BNS).sigmoid()
    return torch.where(members_BN >= config.macro_score_from, probability_BN, 1.0)
