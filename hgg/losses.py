"""Losses: detection, push and pull, and the discriminators' binary cross-entropy (sections 3.2, 3.3).

Every term is a mean over the images of the batch, images without people or edges counting
as 0, so that the mean over DDP ranks equals the loss of the whole batch.

Letters: B images, K stacks, J joint types, S output side in cells, P people, X verdicts.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from hgg.hierarchy import Verdicts
from hgg.targets import Targets


def heatmap_loss(heatmaps_KBJSS: Tensor, targets: Targets, foreground_weight: float) -> Tensor:
    """Masked mean squared error, averaged as AE does: over all cells, masked ones too, images and stacks.

    Each cell counts 1 + `foreground_weight` * target times. With 0 (the paper, AE) a network
    can rest for a thousand steps on the answer "no keypoint anywhere".
    """
    weight_BJSS = targets.mask[:, None] * (1 + foreground_weight * targets.heatmaps)
    return ((heatmaps_KBJSS - targets.heatmaps).square() * weight_BJSS).mean()


def push_pull_loss(tags_KBJSS: Tensor, joints_BPJ3: Tensor) -> tuple[Tensor, Tensor]:
    """AE's two grouping terms, per stack and image, averaged over both.

    With m_n the mean tag of person n over its K_n labelled joints, and N people:
    pull = 1/N sum_n 1/K_n sum_k (t_nk - m_n)²; push = 1/2 mean over pairs i < j of
    exp(-(m_i - m_j)²), 0 for fewer than two people.

    Returns:
        push and pull, scalars; push is at most 0.5.
    """
    tags_KBPJ, labelled_BPJ = _tags_at_joints(tags_KBJSS, joints_BPJ3)
    count_BP = labelled_BPJ.sum(-1)
    there_BP = (count_BP > 0).float()
    people_B = there_BP.sum(-1)
    mean_KBP = (tags_KBPJ * labelled_BPJ).sum(-1) / count_BP.clamp(min=1)
    spread_KBP = ((tags_KBPJ - mean_KBP[..., None]).square() * labelled_BPJ).sum(-1) / count_BP.clamp(min=1)
    pull = (spread_KBP.sum(-1) / people_B.clamp(min=1)).mean()
    near_KBPP = torch.exp(-(mean_KBP[..., :, None] - mean_KBP[..., None, :]).square())
    pair_BPP = (there_BP[:, :, None] * there_BP[:, None, :]).triu(diagonal=1)
    pairs_B = (people_B * (people_B - 1) / 2).clamp(min=1)
    push = 0.5 * ((near_KBPP * pair_BPP).sum((-2, -1)) / pairs_B).mean()
    return push, pull


def _tags_at_joints(tags_KBJSS: Tensor, joints_BPJ3: Tensor) -> tuple[Tensor, Tensor]:
    """Tag at every joint's cell (K, B, P, J), and 1 where the joint is labelled (B, P, J)."""
    stacks, joints, side = tags_KBJSS.shape[0], tags_KBJSS.shape[2], tags_KBJSS.shape[-1]
    cell_BPJ2 = joints_BPJ3[..., :2].round().long().clamp(0, side - 1)
    type_J = torch.arange(joints, device=tags_KBJSS.device)
    index_BPJ = (type_J * side + cell_BPJ2[..., 1]) * side + cell_BPJ2[..., 0]
    flat_KBQ = index_BPJ.flatten(1).expand(stacks, -1, -1)
    tags_KBPJ = tags_KBJSS.flatten(2).gather(2, flat_KBQ).view(stacks, *index_BPJ.shape)
    return tags_KBPJ, (joints_BPJ3[..., 2] > 0).float()


def verdict_loss(rounds: list[Verdicts], num_images: int, *, balanced: bool = False) -> Tensor:
    """Binary cross-entropy of a discriminator over the rounds of Algorithm 1.

    Averaged over the supervised verdicts of an image in a round, then over the rounds in
    which the image has any, then over the images.

    Args:
        rounds: verdicts of each round, at least one, each possibly empty.
        num_images: images in the batch.
        balanced: whether, over an image's rounds, those whose target is 1 weigh as much as those of 0.

    Returns:
        Scalar, connected to the discriminator even where nothing is supervised.
    """
    key_X = torch.cat([verdicts.image * len(rounds) + k for k, verdicts in enumerate(rounds)])
    logit_X = torch.cat([verdicts.logit for verdicts in rounds])
    target_X = torch.cat([verdicts.target for verdicts in rounds])
    weight_X = torch.cat([verdicts.supervised for verdicts in rounds]).float()
    if balanced:
        weight_X = weight_X * _balance(torch.cat([v.image for v in rounds]), target_X, weight_X, num_images)
    loss_X = F.binary_cross_entropy_with_logits(logit_X, target_X, weight=weight_X, reduction="none")
    slots = logit_X.new_zeros(num_images * len(rounds))
    total = slots.index_add(0, key_X, loss_X).view(num_images, len(rounds))
    count = slots.index_add(0, key_X, weight_X).view(num_images, len(rounds))
    there = count > 0
    image_B = (total / count.masked_fill(~there, 1)).sum(1) / there.sum(1).clamp(min=1)
    return image_B.mean()


def _balance(image_X: Tensor, target_X: Tensor, weight_X: Tensor, num_images: int) -> Tensor:
    """Factors (X,) by which both classes of an image weigh the same; those of one class alone have 1."""
    class_X = image_X * 2 + target_X.long()
    count_B2 = weight_X.new_zeros(num_images * 2).index_add(0, class_X, weight_X).view(num_images, 2)
    whole_B1 = count_B2.sum(dim=1, keepdim=True)
    both_B1 = (count_B2 > 0).all(dim=1, keepdim=True)
    factor_B2 = torch.where(both_B1, whole_B1 / (2 * count_B2.clamp(min=1)), 1.0)
    return factor_B2.flatten()[class_X]
