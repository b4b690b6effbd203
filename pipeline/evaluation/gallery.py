"""Pictures of an evaluation: ground truth, AE and HGG side by side, where people overlap most."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from hgg.draw import colours_like, draw_poses, side_by_side, stacked
from hgg.groupings import BLIND, TITLES
from hgg.poses import Poses
from hgg.skeleton import COCO, Skeleton
from pipeline.data.picture_file import write_picture
from pipeline.evaluation.truth import crowding, true_poses

PANEL_SIDE = 480  # pixels of a panel's longer side
GRID_ROWS = 4


class Shown(NamedTuple):
    """An image that is to be drawn."""

    crowding: float
    image_id: int
    image: np.ndarray
    truth: Poses
    people: dict[str, Poses]

    def order(self) -> tuple[float, int]:
        """The most crowded images come first, of equally crowded ones the lower id."""
        return -self.crowding, self.image_id


class Gallery:
    """Keeps the most crowded of the images offered, and draws them; holds `size` images at a time."""

    def __init__(self, size: int, skeleton: Skeleton = COCO) -> None:
        self.size = size
        self.skeleton = skeleton
        self.shown: list[Shown] = []

    def offer(self, record: dict[str, Any], image: np.ndarray, people: Mapping[Any, Poses]) -> None:
        """Keep an image (RGB, as the record's) if it is among the most crowded so far."""
        truth = true_poses(record, self.skeleton)
        self.add([Shown(crowding(record), record["image_id"], image, truth, dict(people))])

    def add(self, shown: Iterable[Shown]) -> None:
        """Keep those of some images that are among the most crowded so far."""
        self.shown += shown
        self.shown.sort(key=Shown.order)
        del self.shown[self.size :]

    def draw(self, folder: Path) -> list[Path]:
        """Write a picture an image, {image_id}.png, and picture.png, the first few of them in one."""
        rows = {shown.image_id: _row(shown, self.skeleton) for shown in self.shown}
        pictures = {folder / f"{image_id}.png": row for image_id, row in rows.items()}
        if rows:
            pictures[folder / "picture.png"] = stacked(list(rows.values())[:GRID_ROWS])
        for path, picture in pictures.items():
            write_picture(path, picture)
        return list(pictures)


def _row(shown: Shown, skeleton: Skeleton) -> np.ndarray:
    """Ground truth, AE and HGG; a person has the colour of the true person it is nearest to."""
    look: Any = {"long_side": PANEL_SIDE, "skeleton": skeleton}
    truth = draw_poses(shown.image, shown.truth, scores=False, min_joints=1, **look)
    panels = [("ground truth", truth)]
    for grouping in BLIND:
        if grouping in shown.people:
            poses = shown.people[grouping]
            colours = colours_like(poses, shown.truth)
            panels.append((TITLES[grouping], draw_poses(shown.image, poses, colours=colours, **look)))
    return side_by_side(panels)
