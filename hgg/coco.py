"""People as COCO's annotation file has them, which other tools read.

Letters: P people, J joint types.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from hgg.poses import Poses
from hgg.skeleton import Skeleton

PERSON = 1  # COCO's category
FOUND, MISSING = 2, 0  # COCO's visibility flags


def image_entry(image_id: int, file_name: str, picture: np.ndarray) -> dict[str, Any]:
    """A picture in `images`: its number, name and size."""
    height, width = picture.shape[:2]
    return {"id": image_id, "file_name": file_name, "width": width, "height": height}


def annotations(image_id: int, first_id: int, poses: Poses) -> Iterator[dict[str, Any]]:
    """A picture's people in `annotations`, numbered from `first_id`.

    keypoints have flag 2, or are 0, 0, 0 where the joint is missing; beside COCO's keys there are score and
    keypoint_scores. bbox is around the joints, area is the box's.
    """
    keypoints_PJ3 = poses.keypoints.astype(np.float64)
    for number, (joints_J3, score) in enumerate(zip(keypoints_PJ3, poses.score, strict=True), first_id):
        found = joints_J3[:, 2] > 0
        low, high = joints_J3[found, :2].min(axis=0), joints_J3[found, :2].max(axis=0)
        flags = np.where(found, FOUND, MISSING)[:, None]
        places = np.concatenate([joints_J3[:, :2].round(2), flags], axis=1) * found[:, None]
        yield {
            "id": number,
            "image_id": image_id,
            "category_id": PERSON,
            "iscrowd": 0,
            "keypoints": places.ravel().tolist(),
            "num_keypoints": int(found.sum()),
            "keypoint_scores": joints_J3[:, 2].round(4).tolist(),
            "score": round(float(score), 6),
            "bbox": [*low.round(2).tolist(), *(high - low).round(2).tolist()],
            "area": round(float((high - low).prod()), 2),
        }


def category(skeleton: Skeleton) -> dict[str, Any]:
    """COCO's person with a skeleton's joints; limbs count joints from 1 there."""
    limbs = [[first + 1, second + 1] for first, second in skeleton.limbs]
    return {"id": PERSON, "name": "person", "keypoints": list(skeleton.names), "skeleton": limbs}
