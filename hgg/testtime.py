"""Test time: how photographs are shown to the network, and what is kept of the views (AE, section 4).

A photograph may be shown at several sizes, and mirrored. Heatmaps of all views are averaged at the
resolution of scale 1. Tags and relational features are those of scale 1, one of the photograph and one
of its mirror image, as those of two views are not comparable.

Letters: B photographs, J joint types, S output side in cells (maps need not be square), V visual
channels, T views at scale 1, H W input sides in pixels.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hgg.config import NUM_STRIDE, InferenceConfig, NetworkConfig
from hgg.maps import Maps
from hgg.model import HGG
from hgg.transform import cells_inside, letterbox, warp

LONGEST = 8  # inputs; what is longer would take memory by its form, not by its pixels


class Frame(NamedTuple):
    """Where a photograph lies in the network input at scale 1."""

    transform: np.ndarray
    """(2, 3) original pixels to input pixels."""
    columns: int
    """Width of the output maps in cells."""
    rows: int
    """Height of the output maps in cells."""


class Views(NamedTuple):
    """What the network said of photographs whose frames are equally large."""

    heatmaps: Tensor
    """(B, J, S, S) mean over all views, 0 in cells outside the photograph."""
    tags: Tensor
    """(T, B, J, S, S) tag maps of scale 1, the mirrored one turned back and its joints renamed."""
    visual: Tensor
    """(T, B, V, S, S) relational feature maps of scale 1, the mirrored one turned back."""


def frame(width: int, height: int, network: NetworkConfig, resize: str) -> Frame:
    """Where a photograph of this size in pixels is shown.

    `long` is the letterbox of training. `short` makes the shorter side `input_size` long and rounds the
    longer one up to what the network can halve (HigherHRNet), the photograph in its middle. A photograph more
    than eight times as long as it is wide is shown smaller: its longer side is then as long as eight inputs.
    """
    size = network.input_size
    if resize == "long":
        return Frame(letterbox(width, height, size), network.output_size, network.output_size)
    zoom = min(size / min(width, height), LONGEST * size / max(width, height))
    columns, rows = (
        -(-max(1, round(side * zoom)) // network.step) * network.step for side in (width, height)
    )
    shift = (np.array([columns, rows]) - 1) / 2 - zoom * (np.array([width, height]) - 1) / 2
    transform = np.column_stack([np.eye(2) * zoom, shift])
    return Frame(transform, columns // NUM_STRIDE, rows // NUM_STRIDE)


@torch.no_grad()
def look(
    model: HGG, images: Sequence[np.ndarray], frames: Sequence[Frame], inference: InferenceConfig
) -> Views:
    """Show photographs to the network in every view.

    The order of the scales has no say in the result.

    Args:
        model: in evaluation mode, on the device that it is to run on.
        images: RGB uint8 (H, W, 3).
        frames: theirs; all equally large.
        inference: scales and flip.
    """
    columns, rows = frames[0].columns, frames[0].rows
    heatmaps, tags, visual = [], [], []
    for scale in sorted(inference.scales):
        content = _content(images, frames, scale).to(next(model.parameters()).device)
        maps = [_maps(model, content)]
        if inference.flip:
            maps.append(_turned_back(_maps(model, content.flip(-1)), model.config.joints.flip_index))
        heatmap_BJSS = _mean([view.heatmaps[-1] for view in maps])
        if heatmap_BJSS.shape[-2:] != (rows, columns):
            heatmap_BJSS = F.interpolate(heatmap_BJSS, (rows, columns), mode="bilinear", align_corners=False)
        heatmaps.append(heatmap_BJSS)
        if scale == 1:
            tags = [view.tags[-1] for view in maps]
            visual = [view.visual for view in maps]
    mean_BJSS = _mean(heatmaps)
    # The network never learned what stands beside a photograph: those cells are not supervised.
    inside_B1SS = _photographs(images, frames).to(mean_BJSS.device)
    return Views(mean_BJSS * inside_B1SS, torch.stack(tags), torch.stack(visual))


def _content(images: Sequence[np.ndarray], frames: Sequence[Frame], scale: float) -> Tensor:
    """What the frames show at a scale, (B, 3, H, W) in [0, 1]; H and W are whole cells."""
    columns, rows = (max(1, round(scale * side)) for side in frames[0][1:])
    zoom = np.array([columns / frames[0].columns, rows / frames[0].rows])
    shown = [
        warp(image, _zoomed(one.transform, zoom), columns * NUM_STRIDE, rows * NUM_STRIDE)
        for image, one in zip(images, frames, strict=True)
    ]
    return torch.from_numpy(np.stack(shown)).permute(0, 3, 1, 2).float() / 255


def _zoomed(transform: np.ndarray, zoom: np.ndarray) -> np.ndarray:
    """A transform (2, 3) into an input whose pixels are smaller by these factors in x and y."""
    if (zoom == 1).all():
        return transform
    turn, shift = transform[:, :2] * zoom[:, None], transform[:, 2]
    return np.column_stack([turn, (shift + 0.5) * zoom - 0.5])


def _maps(model: HGG, content_B3HW: Tensor) -> Maps:
    """The network's maps of the content, which is filled up with black to what the network can halve.

    The filling comes after the mirroring, right and below, so that a photograph and its mirror image are
    shown in the same places, whichever of them is called the photograph.
    """
    height, width = content_B3HW.shape[-2:]
    step = model.config.network.step
    maps = model(F.pad(content_B3HW, (0, -width % step, 0, -height % step)))
    return Maps(*(part[..., : height // NUM_STRIDE, : width // NUM_STRIDE] for part in maps))


def _turned_back(maps: Maps, flip_index: Sequence[int]) -> Maps:
    """Maps of a mirrored photograph as maps of the photograph: a left joint was taken for a right one."""
    heatmaps, tags = (part.flip(-1)[:, :, list(flip_index)] for part in maps[:2])
    return Maps(heatmaps, tags, maps.visual.flip(-1))


def _mean(parts: Sequence[Tensor]) -> Tensor:
    """Mean of equally large tensors; a single one to the last bit."""
    return sum(parts[1:], parts[0]) / len(parts)


def _photographs(images: Sequence[np.ndarray], frames: Sequence[Frame]) -> Tensor:
    """Whether a cell lies on its photograph, (B, 1, S, S) bool."""
    inside = [
        cells_inside(image.shape[1], image.shape[0], *one) for image, one in zip(images, frames, strict=True)
    ]
    return torch.from_numpy(np.stack(inside))[:, None]
