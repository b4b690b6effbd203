"""What is decided anew in every epoch, on the training device: the mirror and the colours.

Each decision follows from the sample's key, never from a device's or a rank's random state, so
a step's loss does not depend on how the work is split.

Letters: B images, P people, J joint types, H = W input pixels, S output cells.
"""

import torch
from torch import Tensor

from hgg.constants import constant
from hgg.skeleton import COCO, Skeleton
from hgg.targets import Targets
from pipeline.batches.collate import Batch

GREY = (0.299, 0.587, 0.114)  # ITU-R BT.601 luma
FLIP, BRIGHTNESS = 0, 1  # which of a key's random numbers decides what; the three colours follow each other
DRAWS = 4


def augment(batch: Batch, flip: float, colour: float, skeleton: Skeleton = COCO) -> tuple[Tensor, Targets]:
    """Mirror a share `flip` of a batch and jitter all colours by `colour`, both chosen by the keys.

    The batch is on its device (`Batch.to`). Returns images (B, 3, H, W) float32 in [0, 1], and targets.
    """
    random_BD = uniforms(batch.keys, DRAWS)
    batch = flip_batch(batch, random_BD[:, FLIP] < flip, skeleton)
    images = batch.images.float().div_(255)
    factors_B3 = 2 * random_BD[:, BRIGHTNESS:] - 1
    return jitter_colour(images, factors_B3, colour) if colour > 0 else images, batch.targets


def uniforms(keys_B: Tensor, draws: int) -> Tensor:
    """Random numbers (B, draws) in [0, 1) from 64-bit keys, the same on every device.

    SplitMix64 (Steele, Lea and Flood, 2014) at consecutive states, in int64 arithmetic that wraps around.
    """
    states = keys_B[:, None] + _signed(0x9E3779B97F4A7C15) * torch.arange(1, draws + 1, device=keys_B.device)
    mixed = (states ^ _shifted(states, 30)) * _signed(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ _shifted(mixed, 27)) * _signed(0x94D049BB133111EB)
    mixed = mixed ^ _shifted(mixed, 31)
    return _shifted(mixed, 40).float() / 2**24


def flip_batch(batch: Batch, chosen_B: Tensor, skeleton: Skeleton = COCO) -> Batch:
    """Mirror the chosen images with their maps, masks and joints; left and right joints change places.

    Input pixel x becomes W - 1 - x, and so cell c becomes S - 1 - c exactly (the cells' centres lie at
    4c + 1.5). Mirroring twice gives the batch back.

    Args:
        chosen_B: (B,) bool.
        skeleton: joint types.
    """
    targets = batch.targets
    assert targets.joints.shape[2] == skeleton.count, (targets.joints.shape, skeleton.name)
    index = constant(skeleton.flip_index, chosen_B.device)
    joints = targets.joints[:, :, index]
    mirrored_x = targets.heatmaps.shape[-1] - 1 - joints[..., 0]
    # Absent joints and padding stay at zero.
    x = torch.where(joints[..., 2] > 0, mirrored_x, joints[..., 0])
    joints = torch.cat((x[..., None], joints[..., 1:]), dim=-1)
    return batch._replace(
        images=_choose(chosen_B, batch.images.flip(-1), batch.images),
        targets=Targets(
            heatmaps=_choose(chosen_B, targets.heatmaps[:, index].flip(-1), targets.heatmaps),
            mask=_choose(chosen_B, targets.mask.flip(-1), targets.mask),
            joints=_choose(chosen_B, joints, targets.joints),
            areas=targets.areas,
        ),
    )


def jitter_colour(images: Tensor, factors_B3: Tensor, strength: float) -> Tensor:
    """Change brightness, contrast and saturation of each image, in this order.

    Args:
        images: (B, 3, H, W) float RGB in [0, 1].
        factors_B3: in [-1, 1]; brightness, contrast and saturation are multiplied by 1 + strength x factor,
            contrast about the image's mean grey, saturation about each pixel's grey.
        strength: in [0, 1).

    Returns images of the same shape in [0, 1].
    """
    brightness, contrast, saturation = (1 + strength * factors_B3).T[..., None, None, None]
    weights = constant(GREY, images.device)[:, None, None]
    images = (images * brightness).clamp(0, 1)
    mean = (images * weights).sum(1, keepdim=True).mean((2, 3), keepdim=True)
    images = torch.lerp(mean.expand_as(images), images, contrast).clamp(0, 1)
    grey = (images * weights).sum(1, keepdim=True)
    return torch.lerp(grey.expand_as(images), images, saturation).clamp(0, 1)


def _choose(chosen_B: Tensor, changed: Tensor, kept: Tensor) -> Tensor:
    return torch.where(chosen_B.view(-1, *(1,) * (kept.dim() - 1)), changed, kept)


def _shifted(values: Tensor, bits: int) -> Tensor:
    """Logical shift to the right; int64's own keeps the sign."""
    return (values >> bits) & ((1 << (64 - bits)) - 1)


def _signed(value: int) -> int:
    """The int64 with the bits of an unsigned number."""
    return value - (1 << 64) if value >> 63 else value
