"""From photographs to people: the whole path of inference, one forward pass for any grouping.

Letters: B images, H W input side in pixels, J joint types, S output side in cells, P people.
"""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from hgg.associative import group_associative
from hgg.candidates import Candidates, find_candidates
from hgg.clusters import Clusters
from hgg.model import HGG
from hgg.poses import Poses, to_poses
from hgg.transform import apply, cells_inside, invert, letterbox, to_pixels, warp


class Detections(NamedTuple):
    """What one forward pass found in a batch, before anything is grouped."""

    candidates: Candidates
    heatmaps: Tensor
    """(B, J, S, S) of the last stack, 0 in cells outside the photograph."""
    tags: Tensor
    """(B, J, S, S) of the last stack."""
    transforms: np.ndarray
    """(B, 2, 3) original pixels to input pixels."""


class Predictor:
    """A trained model as a function from images to people.

    Args:
        model: on the device that it is to run on.
        grouping: the model's own, or associative embedding's greedy one.
    """

    def __init__(self, model: HGG, grouping: Literal["hgg", "associative"] = "hgg") -> None:
        self.model = model
        self.grouping = grouping

    def predict(self, images: Sequence[np.ndarray]) -> list[Poses]:
        """People of each image, in its own pixels.

        Args:
            images: RGB uint8 (H, W, 3) of any sizes; all go through the network as one batch.

        Raises:
            ValueError: an image that is not RGB uint8.
        """
        if not images:
            return []
        detections = self.detect(images)
        return self.people(detections, self.group(detections.candidates))

    @torch.no_grad()
    def detect(self, images: Sequence[np.ndarray]) -> Detections:
        """Letterbox, network and candidates of a batch of at least one image."""
        config = self.model.config
        side = config.network.input_size
        for image in images:
            if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
                raise ValueError(f"an image is {image.dtype} {image.shape}: give uint8 (H, W, 3) in RGB")
        transforms = np.stack([letterbox(image.shape[1], image.shape[0], side) for image in images])
        inputs = np.stack([warp(*view, side) for view in zip(images, transforms, strict=True)])
        device = next(self.model.parameters()).device
        images_B3HW = torch.from_numpy(inputs).to(device).permute(0, 3, 1, 2).float() / 255
        with evaluating(self.model):
            maps = self.model(images_B3HW)
        # The network never learned what stands beside a photograph: those cells are not supervised.
        heatmaps = maps.heatmaps[-1] * self._photographs(images, transforms).to(device)
        tags = maps.tags[-1]
        return Detections(
            find_candidates(heatmaps, tags, maps.visual, config.candidates), heatmaps, tags, transforms
        )

    def _photographs(self, images: Sequence[np.ndarray], transforms: np.ndarray) -> Tensor:
        """Whether a cell lies on its image's photograph, (B, 1, S, S) bool."""
        side = self.model.config.network.output_size
        inside = [
            cells_inside(image.shape[1], image.shape[0], transform, side)
            for image, transform in zip(images, transforms, strict=True)
        ]
        return torch.from_numpy(np.stack(inside))[:, None]

    @torch.no_grad()
    def group(self, candidates: Candidates) -> Clusters:
        """People among candidates, by this predictor's grouping."""
        if self.grouping == "associative":
            return group_associative(candidates, self.model.config.grouping.tag_threshold)
        with evaluating(self.model):
            return self.model.group(candidates)

    def people(self, detections: Detections, clusters: Clusters) -> list[Poses]:
        """People of each image in its own pixels, from any grouping of its candidates."""
        config = self.model.config
        found = to_poses(
            detections.candidates,
            clusters,
            detections.heatmaps,
            detections.tags,
            fill_missing=config.grouping.fill_missing,
            subcell=config.candidates.subcell,
        )
        pairs = zip(found, detections.transforms, strict=True)
        return [to_original(poses, transform) for poses, transform in pairs]


def to_original(poses: Poses, transform: np.ndarray) -> Poses:
    """People in cells to people in original pixels; missing joints stay 0.

    Positions are not clipped to the image, as AE does not: a joint just outside costs OKS less
    where it was seen.

    Args:
        poses: in cells.
        transform: (2, 3) original pixels to input pixels.
    """
    keypoints_PJ3 = poses.keypoints.copy()
    found = keypoints_PJ3[..., 2] > 0
    keypoints_PJ3[found, :2] = apply(invert(transform), to_pixels(poses.keypoints[found, :2]))
    return Poses(keypoints_PJ3, poses.score)


@contextmanager
def evaluating(model: HGG) -> Generator[None, None, None]:
    """The model in evaluation mode, and afterwards in the mode that it was in."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)
