"""The training objective: images and targets to the weighted sum of the loss terms (sections 3.2, 3.3).

One module, so that DDP wraps the whole forward pass: network, candidates, labels,
clustering and losses.

Letters: B images, N candidates.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from hgg.candidates import find_candidates
from hgg.config import LossConfig
from hgg.labels import assign
from hgg.losses import heatmap_loss, push_pull_loss, verdict_loss
from hgg.maps import Maps
from hgg.model import HGG
from hgg.targets import Targets


class Terms(NamedTuple):
    """Loss terms of a batch, scalars; all but `total` before their weights."""

    total: Tensor
    heatmap: Tensor
    push: Tensor
    pull: Tensor
    edge: Tensor
    macro: Tensor


class Objective(nn.Module):
    """Loss of a batch.

    Args:
        model: what is trained. Without `joint` the grouping and the relational feature map,
            which no term reaches, are frozen, so that DDP does not wait for their gradients.
        loss: weights of the terms.
        joint: whether grouping is part of the loss (stage two) or not (pretraining). Where neither of its
            terms weighs anything (Table 2 #1) it is not.
    """

    def __init__(self, model: HGG, loss: LossConfig, joint: bool) -> None:
        super().__init__()
        self.model = model
        self.loss = loss
        self.joint = joint = joint and (loss.edge > 0 or loss.macro > 0)
        model.grouping.requires_grad_(joint)
        if model.network.visual is not None:
            model.network.visual.requires_grad_(joint)

    def forward(
        self, images_B3HW: Tensor, targets: Targets, teacher_share: float = 0.0, bf16: bool = False
    ) -> Terms:
        """Loss terms.

        Args:
            images_B3HW: float RGB in [0, 1].
            targets: of the same images.
            teacher_share: probability of an image to merge by ground truth (joint only).
            bf16: bfloat16 autocast in the network; maps and grouping are float32 regardless.
        """
        with torch.autocast(images_B3HW.device.type, dtype=torch.bfloat16, enabled=bf16):
            maps = self.model(images_B3HW)
        heatmap = heatmap_loss(maps.heatmaps, targets, self.loss.heatmap_foreground_weight)
        push, pull = push_pull_loss(maps.tags, targets.joints)
        total = self.loss.heatmap * heatmap + self.loss.push * push + self.loss.pull * pull
        edge = macro = torch.zeros_like(total)
        if self.joint:
            edge, macro = self._grouping_losses(maps, targets, teacher_share)
            total = total + self.loss.edge * edge + self.loss.macro * macro
        return Terms(total, heatmap, push, pull, edge, macro)

    def _grouping_losses(self, maps: Maps, targets: Targets, teacher_share: float) -> tuple[Tensor, Tensor]:
        """Edge loss, and macro-node loss: final macro-nodes and, where asked for, those of each round."""
        config = self.model.config.candidates
        candidates = find_candidates(
            maps.heatmaps[-1], maps.tags[-1], maps.visual, config, limit=config.max_total
        )
        label_BN = assign(candidates, targets, self.model.config.joints)
        batch = len(label_BN)
        teacher_B = torch.rand(batch, device=label_BN.device) < teacher_share
        hierarchy = self.model.grouping(candidates, label_BN, teacher_B)
        edge = verdict_loss([r.edges for r in hierarchy.rounds], batch)
        balanced = self.loss.macro_balance
        macro = verdict_loss([hierarchy.final], batch, balanced=balanced)
        if self.loss.macro_intermediate:
            macro = macro + verdict_loss([r.macros for r in hierarchy.rounds], batch, balanced=balanced)
        return edge, macro
