"""From photographs to people: the whole path of inference, one forward pass for any grouping.

Letters: B images, J joint types, S output side in cells (maps need not be square), T views, P people.
"""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from hgg.associative import group_associative
from hgg.candidates import Candidates, find_candidates, join_candidates, with_view
from hgg.clusters import Clusters
from hgg.config import InferenceConfig
from hgg.model import HGG
from hgg.poses import Poses, to_poses
from hgg.testtime import Frame, Views, frame, look
from hgg.transform import apply, invert, to_pixels


class Seen(NamedTuple):
    """What the network said of a batch."""

    frames: list[Frame]
    """Of each image."""
    parts: list[tuple[list[int], Views]]
    """Images whose frames are equally large, and what was seen of them."""


class Detections(NamedTuple):
    """What one forward pass, or one of each view, found in a batch, before anything is grouped."""

    candidates: Candidates
    heatmaps: list[Tensor]
    """(J, S, S) of each image: the last stack's, the mean of all views, 0 in cells outside the photograph."""
    tags: list[Tensor]
    """(T, J, S, S) of each image: the last stack's."""
    transforms: np.ndarray
    """(B, 2, 3) original pixels to input pixels."""


class Predictor:
    """A trained model as a function from images to people.

    Args:
        model: on the device that it is to run on.
        grouping: the model's own, or associative embedding's greedy one.
        inference: how a photograph is shown; by default once, its longer side as long as the input.
    """

    def __init__(
        self,
        model: HGG,
        grouping: Literal["hgg", "associative"] = "hgg",
        inference: InferenceConfig | None = None,
    ) -> None:
        self.model = model
        self.grouping = grouping
        self.inference = inference or InferenceConfig()

    def predict(self, images: Sequence[np.ndarray]) -> list[Poses]:
        """People of each image, in its own pixels.

        Args:
            images: RGB uint8 (H, W, 3) of any sizes; those whose frames are equally large, by default all, go
                through the network as one batch.

        Raises:
            ValueError: an image that is not RGB uint8.
        """
        if not images:
            return []
        detections = self.detect(images)
        return self.people(detections, self.group(detections.candidates))

    def detect(self, images: Sequence[np.ndarray]) -> Detections:
        """Resizing, network and candidates of a batch of at least one image."""
        return self.find(self.look(images))

    def look(self, images: Sequence[np.ndarray]) -> Seen:
        """What the network says of at least one image, in all views."""
        for image in images:
            if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
                raise ValueError(f"an image is {image.dtype} {image.shape}: give uint8 (H, W, 3) in RGB")
        network, resize = self.model.config.network, self.inference.resize
        frames = [frame(image.shape[1], image.shape[0], network, resize) for image in images]
        alike: dict[tuple[int, int], list[int]] = {}
        for place, one in enumerate(frames):
            alike.setdefault((one.columns, one.rows), []).append(place)
        with evaluating(self.model):
            parts = [(places, self._views(images, frames, places)) for places in alike.values()]
        return Seen(frames, parts)

    def _views(self, images: Sequence[np.ndarray], frames: Sequence[Frame], places: Sequence[int]) -> Views:
        chosen = [images[place] for place in places]
        return look(self.model, chosen, [frames[place] for place in places], self.inference)

    @torch.no_grad()
    def find(self, seen: Seen) -> Detections:
        """Candidates in what the network said, in the images' order."""
        found, order, maps = [], [], []
        for places, views in seen.parts:
            candidates = find_candidates(
                views.heatmaps, views.tags[0], views.visual[0], self.model.config.candidates
            )
            for tags, visual in zip(views.tags[1:], views.visual[1:], strict=True):
                candidates = with_view(candidates, tags, visual)
            found.append(candidates)
            order += places
            maps += [*zip(views.heatmaps, views.tags.unbind(1), strict=True)]
        back = np.argsort(order).tolist()
        together = join_candidates(found)
        return Detections(
            Candidates(*(part[back] for part in together)),
            [maps[place][0] for place in back],
            [maps[place][1] for place in back],
            np.stack([one.transform for one in seen.frames]),
        )

    @torch.no_grad()
    def group(self, candidates: Candidates) -> Clusters:
        """People among candidates, by this predictor's grouping."""
        if self.grouping == "associative":
            config = self.model.config
            return group_associative(candidates, config.grouping.tag_threshold, config.joints)
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
