"""Ground truth and detections of many crowds, for the time of COCO's evaluation."""

import contextlib
import io
from typing import Any

import numpy as np
from pycocotools.coco import COCO

from hgg.poses import Poses
from hgg.skeleton import JOINTS
from pipeline.metrics.detections import Detection, coco_rows
from tests.benchmarks.crowds import CELLS, SIDE, make_crowd

PIXELS = SIDE / CELLS
SCENES = 10  # different ones; each image has its own detections


def scored_crowds(images: int, people: int) -> tuple[COCO, list[Detection]]:
    """So many images of so many people, each found with its joints off by 2 pixels."""
    rng = np.random.default_rng(people)
    annotations, detections = [], []
    scenes = [make_crowd(people, seed, visual_dim=1).joints * (PIXELS, PIXELS, 1) for seed in range(SCENES)]
    for image in range(1, images + 1):
        joints_PJ3 = scenes[image % SCENES]
        annotations += [_person(image, len(annotations) + 1 + n, each) for n, each in enumerate(joints_PJ3)]
        found = joints_PJ3.copy()
        found[..., :2] += rng.normal(0, 2, found[..., :2].shape)
        score = rng.random(people).astype(np.float32)
        detections += coco_rows(image, Poses(found, score))
    truth = COCO()
    dataset: Any = {
        "images": [{"id": image, "width": SIDE, "height": SIDE} for image in range(1, images + 1)],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "person", "keypoints": list(JOINTS), "skeleton": []}],
    }
    truth.dataset = dataset
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
    return truth, detections


def _person(image: int, number: int, joints_J3: np.ndarray) -> dict[str, Any]:
    labelled = joints_J3[joints_J3[:, 2] > 0, :2]
    low, high = labelled.min(axis=0), labelled.max(axis=0)
    keypoints = joints_J3.copy()
    keypoints[:, 2] *= 2
    return {
        "id": number, "image_id": image, "category_id": 1, "iscrowd": 0, "num_keypoints": len(labelled),
        "keypoints": keypoints.ravel().tolist(), "bbox": [*low.tolist(), *(high - low).tolist()],
        "area": float((high - low).prod() * 0.6), "segmentation": [],
    }  # fmt: skip
