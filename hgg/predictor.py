"""From photographs to people: the whole path of inference, one forward pass for any grouping.

Letters: B images, J joint types, S output side in cells (maps need not be square), T views, P people,
N candidates, H embedding.
"""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Literal, NamedTuple, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from hgg.associative import group_associative
from hgg.candidates import Candidates, find_candidates, join_candidates, with_view
from hgg.clusters import Clusters
from hgg.config import InferenceConfig
from hgg.graph import Graph
from hgg.groupings import BlindName, GroupingName
from hgg.model import HGG
from hgg.oracle import group_oracle
from hgg.poses import Poses, to_poses
from hgg.suppression import suppressors, without
from hgg.targets import Targets
from hgg.testtime import Frame, Views, frame, look
from hgg.transform import apply, invert, to_pixels

Step = Literal["network", "candidates", "GNN", "clustering", "back-projection"]
"""Resizing and network; peaks with tags and features; interaction network; Algorithm 1 with its
discriminators (or AE's greedy grouping); people in the photograph's pixels, missing joints filled."""

T = TypeVar("T")


class Watch(Protocol):
    """Is called with what each step of a prediction made, as soon as it is made, and hands it on."""

    def __call__(self, step: Step, made: T, /) -> T:
        """Hand on what the step made."""
        ...


def unwatched(step: Step, made: T) -> T:  # noqa: ARG001  # nobody looks
    """What the step made."""
    return made


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


class Embedded(NamedTuple):
    """What the interaction network made of the candidates."""

    nodes: Tensor
    """(B, N, T, H) embeddings in each view."""
    graph: Graph
    """The edges between them."""


class Predictor:
    """A trained model as a function from images to people.

    Args:
        model: on the device that it is to run on.
        grouping: that `predict` groups by.
        inference: how a photograph is shown; by default once, its longer side as long as the input.
        suppression: in place of the model's `grouping.suppression`.
    """

    def __init__(
        self,
        model: HGG,
        grouping: BlindName = "hgg",
        inference: InferenceConfig | None = None,
        suppression: float | None = None,
    ) -> None:
        self.model = model
        self.grouping = grouping
        self.inference = inference or InferenceConfig()
        self.suppression = model.config.grouping.suppression if suppression is None else suppression

    def predict(self, images: Sequence[np.ndarray], watch: Watch = unwatched) -> list[Poses]:
        """People of each image, in its own pixels.

        Args:
            images: RGB uint8 (H, W, 3) of any sizes; those whose frames are equally large, by default all, go
                through the network as one batch.
            watch: looks on, step by step.

        Raises:
            ValueError: an image that is not RGB uint8.
        """
        if not images:
            return []
        found = watch("candidates", self.find(watch("network", self.look(images))))
        embedded = watch("GNN", self.embed(found.candidates, self.grouping))
        clusters = watch("clustering", self.cluster(found.candidates, embedded))
        return watch("back-projection", self.people(found, clusters))

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

    def clusters_of(
        self, candidates: Candidates, grouping: GroupingName, targets: Targets | None = None
    ) -> Clusters:
        """People among candidates, by any grouping.

        Args:
            candidates: of a batch.
            grouping: `hgg` is the model's own, which is AE's where `grouping.decoder` says so.
            targets: the truth, on the candidates' device, which the oracle alone looks at.

        Raises:
            ValueError: the oracle without the truth.
        """
        if grouping != "oracle":
            return self.cluster(candidates, self.embed(candidates, grouping))
        if targets is None:
            raise ValueError("the oracle groups by the truth: give its targets")
        return group_oracle(candidates, targets, self.model.config.joints)

    @torch.no_grad()
    def embed(self, candidates: Candidates, grouping: BlindName) -> Embedded | None:
        """The candidates as the interaction network knows them; None where tags alone group them."""
        if grouping == "ae" or self.model.config.grouping.decoder == "associative":
            return None
        with evaluating(self.model.grouping):
            return Embedded(*self.model.grouping.embed(candidates))

    @torch.no_grad()
    def cluster(self, candidates: Candidates, embedded: Embedded | None) -> Clusters:
        """Algorithm 1 on what `embed` made of the candidates; AE's greedy grouping on None."""
        model = self.model
        if embedded is None:
            return group_associative(candidates, model.config.grouping.tag_threshold, model.config.joints)
        with evaluating(model.grouping):
            return model.people(model.grouping.cluster(*embedded, candidates), candidates)

    def people(self, detections: Detections, clusters: Clusters) -> list[Poses]:
        """People of each image in its own pixels, from any grouping of its candidates, each once."""
        everybody = self.everybody(detections, clusters)
        return [without(poses, self.suppressed(poses)) for poses in everybody]

    def suppressed(self, poses: Poses) -> np.ndarray:
        """By whom each person of an image is left out, -1 where it stays (`hgg.suppression.suppressors`)."""
        return suppressors(poses, self.suppression, self.model.config.joints)

    def everybody(self, detections: Detections, clusters: Clusters) -> list[Poses]:
        """The same with those who are there already."""
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
    return poses._replace(keypoints=keypoints_PJ3)


@contextmanager
def evaluating(model: nn.Module) -> Generator[None, None, None]:
    """The model in evaluation mode, and afterwards in the mode that it was in."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)
