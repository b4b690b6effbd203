"""HGG: proposal network and differentiable grouping in one model (Fig. 2).

Letters: B images, N candidates, M macro-nodes, J joint types, T views, H embedding.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hgg.candidates import Candidates
from hgg.clusters import Clusters
from hgg.config import HOURGLASS, GroupingConfig, ModelConfig, NetworkConfig
from hgg.discriminators import EdgeDiscriminator, EmbeddingDistance, MacroDiscriminator
from hgg.encoder import EncoderNetwork
from hgg.graph import Graph, keypoint_graph, link_rule, node_features, num_features
from hgg.hierarchy import Hierarchy
from hgg.hourglass import Hourglass
from hgg.interaction import Interaction
from hgg.maps import Maps
from hgg.ohgc import cluster
from hgg.skeleton import COCO, Skeleton


def proposal_network(config: NetworkConfig, joints: int) -> Hourglass | EncoderNetwork:
    """What makes `Maps` of pictures: the paper's stacked hourglass, or an encoder with a decoder.

    Raises `ValueError`: no such encoder, or a package of it that is missing.
    """
    if config.backbone == HOURGLASS:
        return Hourglass(config, joints)
    return EncoderNetwork(config, joints)


class Grouping(nn.Module):
    """Interaction network, both discriminators, and the clustering that they drive."""

    def __init__(self, config: GroupingConfig, visual_dim: int, joints: Skeleton = COCO) -> None:
        super().__init__()
        self.config = config
        self.joints = joints
        features = num_features(visual_dim, joints, score=config.score_feature)
        self.interaction = Interaction(features, config)
        self.edge = EdgeDiscriminator(config) if config.proximity == "edge" else EmbeddingDistance()
        self.macro = MacroDiscriminator(config)
        self.rule_JJ: Tensor
        self.register_buffer("rule_JJ", link_rule(config.graph, joints), persistent=False)

    def forward(
        self,
        candidates: Candidates,
        label_BN: Tensor | None = None,
        teacher_B: Tensor | None = None,
    ) -> Hierarchy:
        """Candidates to the rounds of Algorithm 1."""
        return self.cluster(*self.embed(candidates), candidates, label_BN, teacher_B)

    def embed(self, candidates: Candidates) -> tuple[Tensor, Graph]:
        """The interaction network: embeddings (B, N, T, H) of the nodes in each view, and the graph.

        All views have the same edges: each graph of Fig. 4a is its own mirror image.
        """
        graph = keypoint_graph(candidates, self.rule_JJ)
        embeddings = [
            self.interaction(
                node_features(candidates, view, self.joints, score=self.config.score_feature), graph
            )
            for view in range(candidates.tag.shape[-1])
        ]
        return torch.stack(embeddings, dim=2), graph

    def cluster(
        self,
        embedding_BNTH: Tensor,
        graph: Graph,
        candidates: Candidates,
        label_BN: Tensor | None = None,
        teacher_B: Tensor | None = None,
    ) -> Hierarchy:
        """Algorithm 1 on what `embed` made of the candidates."""
        return cluster(
            embedding_BNTH,
            graph,
            candidates,
            self.edge,
            self.macro,
            self.rule_JJ,
            self.config,
            label_BN,
            teacher_B,
        )


class HGG(nn.Module):
    """The whole method.

    Args:
        config: everything that is needed to build the model again.
        network: in place of the one that `config` describes.

    Raises `ValueError` where its network needs what is not here.
    """

    def __init__(self, config: ModelConfig, network: nn.Module | None = None) -> None:
        super().__init__()
        self.config = config
        self.network: Any = network or proposal_network(config.network, config.joints.count)
        self.grouping = Grouping(config.grouping, config.network.visual_dim, config.joints)

    def forward(self, images_B3HW: Tensor) -> Maps:
        """Output maps of the proposal network; RGB in [0, 1]."""
        return self.network(images_B3HW)

    def people(self, hierarchy: Hierarchy, candidates: Candidates) -> Clusters:
        """The last macro-nodes of Algorithm 1 as people.

        A person's confidence is the macro-node discriminator's probability, where
        `grouping.macro_score` asks for it; people of fewer than `macro_score_from` candidates have 1.
        """
        confidence_BN = torch.ones_like(candidates.score)
        if self.config.grouping.macro_score:
            # Macro-nodes that are not judged, and padding, go to a place behind the last.
            probability_X = torch.sigmoid(hierarchy.final.logit).to(confidence_BN.dtype)
            judged_X = hierarchy.of_at_least(self.config.grouping.macro_score_from)
            place_X = hierarchy.node.masked_fill(~judged_X, confidence_BN.numel())
            spare_A = F.pad(confidence_BN.flatten(), (0, 1), value=1.0)
            confidence_BN = spare_A.scatter_(0, place_X, probability_X)[:-1].view_as(confidence_BN)
        return Clusters(hierarchy.member, confidence_BN)
