"""Records without Ray, and a model that sees the truth, for the tests of evaluation."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hgg.config import ModelConfig
from hgg.maps import Maps
from hgg.model import HGG
from hgg.pictures import encode_jpeg
from hgg.skeleton import JOINTS, NUM_JOINTS
from hgg.targets import encode_heatmaps
from hgg.transform import letterbox
from hgg.weights import save_model
from pipeline.data.encode import to_labels
from pipeline.data.records import plan_records
from pipeline.data.samples import plan_samples
from pipeline.data.shard_writer import ShardPlan
from pipeline.data.shards import read_records, write_manifest
from pipeline.settings.config import RunConfig

WIDTH, HEIGHT = 240, 160
TAG_STEP = 10.0  # between the tags of two people: far more than AE's threshold of 1


def make_records(config: RunConfig, split: str) -> Path:
    """Stage 1 of one split in this process; returns the folder of the records."""
    return _make(plan_records(config, split), split)


def make_samples(config: RunConfig, split: str) -> Path:
    """Stage 2 of one split, whose records are there, in this process; returns the folder of the samples."""
    return _make(plan_samples(config, split), split)


def _make(plan: ShardPlan, split: str) -> Path:
    plan.folder.mkdir(parents=True)
    rows = [plan.write(planned) for planned in plan.shards]
    write_manifest(
        plan.folder,
        plan.name,
        split,
        plan.settings,
        rows,
        dict(plan.before.counts),
        plan.before.rejected,
    )
    return plan.folder


def save_untrained(config: RunConfig, seed: int = 0) -> Path:
    """A model with weights of the seed, where joint training leaves its best one; returns the file."""
    torch.manual_seed(seed)
    path = config.run_root / "joint" / "best.pt"
    path.parent.mkdir(parents=True, exist_ok=True)
    save_model(path, HGG(config.model))
    return path


class PerfectModel(HGG):
    """Its maps are the truth of the records, which it must be shown in their order.

    Heatmaps are Gaussians around every joint, at its place inside the cell. A tag map has the tag of the
    person whose joint of that type is nearest, so the tags of overlapping people meet half way between them.
    """

    def __init__(self, config: ModelConfig, records: Path, sigma: float = 2.0) -> None:
        super().__init__(config)
        self.records: Iterator[dict[str, Any]] = read_records(records)
        self.sigma = sigma

    def forward(self, images_B3HW: Tensor) -> Maps:
        """The truth of the next B records."""
        maps = [self._maps(next(self.records)) for _ in range(len(images_B3HW))]
        heatmaps, tags = (torch.from_numpy(np.stack(part))[None] for part in zip(*maps, strict=True))
        side = self.config.network.output_size
        return Maps(heatmaps, tags, torch.zeros(len(maps), self.config.network.visual_dim, side, side))

    def _maps(self, record: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
        side = self.config.network.output_size
        view = letterbox(record["width"], record["height"], self.config.network.input_size)
        joints_PJ3 = to_labels(record, view, side, joint_types=self.config.joints.count).joints
        return encode_heatmaps(joints_PJ3, side, self.sigma), _tags(joints_PJ3, side)


def _tags(joints_PJ3: np.ndarray, side: int) -> np.ndarray:
    cells = np.arange(side)
    types = joints_PJ3.shape[1]
    tags_JSS = np.zeros((types, side, side), np.float32)
    for kind in range(types):
        people = np.flatnonzero(joints_PJ3[:, kind, 2] > 0)
        if len(people):
            x, y = joints_PJ3[people, kind, :2].T[:, :, None, None]
            distance_PSS = (cells[None, None, :] - x) ** 2 + (cells[None, :, None] - y) ** 2
            tags_JSS[kind] = TAG_STEP * people[distance_PSS.argmin(axis=0)]
    return tags_JSS


def write_coco(root: Path, split: str, people_of_images: list[list[tuple[float, float]]]) -> Path:
    """A data set in COCO's layout: grey pictures with people of 17 joints whose upper left corner is given.

    Image ids are 10, 20, ... Returns the annotation file.
    """
    images, people = [], []
    grey = encode_jpeg(np.full((HEIGHT, WIDTH, 3), 90, np.uint8), 90)
    (root / split).mkdir(parents=True)
    (root / "annotations").mkdir(exist_ok=True)
    for number, corners in enumerate(people_of_images, start=1):
        image = {"id": 10 * number, "file_name": f"{number}.jpg", "width": WIDTH, "height": HEIGHT}
        images.append(image)
        (root / split / f"{number}.jpg").write_bytes(grey)
        for corner in corners:
            people.append(coco_person(image["id"], len(people) + 1, *corner))
    path = root / "annotations" / f"person_keypoints_{split}.json"
    categories = [{"id": 1, "name": "person", "keypoints": list(JOINTS), "skeleton": []}]
    path.write_text(json.dumps({"images": images, "annotations": people, "categories": categories}))
    return path


def coco_person(image_id: int, number: int, x: float, y: float) -> dict[str, Any]:
    """A person 40 pixels wide and 80 high, joints on a zigzag line."""
    joints = [[x + 40 * (joint % 2), y + 80 * joint / (NUM_JOINTS - 1), 2] for joint in range(NUM_JOINTS)]
    return {
        "id": number,
        "image_id": image_id,
        "category_id": 1,
        "iscrowd": 0,
        "num_keypoints": NUM_JOINTS,
        "area": 2400.0,
        "bbox": [x, y, 40.0, 80.0],
        "segmentation": [],
        "keypoints": [value for joint in joints for value in joint],
    }
