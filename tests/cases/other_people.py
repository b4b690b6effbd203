"""The drawn people with other joints: fewer, others, more, exported as annotation tools do."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from hgg.skeleton import COCO
from pipeline.settings.data import SyntheticConfig
from pipeline.synthetic.dataset import make_dataset

Joints = np.ndarray
"""(J, 3) x, y and COCO's flag."""


class Kind(NamedTuple):
    """Who is labelled."""

    category: dict[str, Any]
    """Without its id."""
    joints: Callable[[Joints], Joints]
    """From COCO's 17."""


def _only(*names: str) -> Callable[[Joints], Joints]:
    return lambda joints: joints[[COCO.names.index(name) for name in names]]


def _middle(joints: Joints, one: str, other: str) -> Joints:
    a, b = (joints[COCO.names.index(name)] for name in (one, other))
    both = a[2] > 0 and b[2] > 0
    return np.array([*(a[:2] + b[:2]) / 2, min(a[2], b[2])]) if both else np.zeros(3)


def _with_middles(joints: Joints) -> Joints:
    neck = _middle(joints, "left_shoulder", "right_shoulder")
    pelvis = _middle(joints, "left_hip", "right_hip")
    knees = _middle(joints, "left_knee", "right_knee")
    ears = _middle(joints, "left_ear", "right_ear")
    return np.concatenate([joints, [neck, pelvis, knees, ears]])


# A made-up animal: COCO's joints below the head under other names.
GRONK = (
    *("l_fore_shoulder", "r_fore_shoulder", "l_fore_elbow", "r_fore_elbow", "l_fore_paw", "r_fore_paw"),
    *("l_hind_hip", "r_hind_hip", "l_hind_knee", "r_hind_knee", "l_hind_paw", "r_hind_paw"),
)
KINDS = {
    3: Kind(
        {"name": "hand raiser", "keypoints": ["head", "left hand", "right hand"]},
        _only("nose", *COCO.names[9:11]),
    ),
    12: Kind(
        {
            "name": "gronk",
            "keypoints": list(GRONK),
            "skeleton": [[a - 4, b - 4] for a, b in COCO.limbs if min(a, b) >= 5],
        },
        _only(*COCO.names[5:]),
    ),
    21: Kind(
        {
            "name": "person",
            "keypoints": [*COCO.names, "neck", "pelvis", "between_knees", "head_middle"],
            "skeleton": [[a + 1, b + 1] for a, b in COCO.limbs] + [[18, 6], [19, 12], [20, 14], [21, 1]],
        },
        _with_middles,
    ),
}
"""By number of joints."""


def draw_others(root: Path, kind: Kind, train: int, val: int, **settings: Any) -> None:
    """A data set as a tool exports it: no areas, no crowd flags, ids from 7 on, pictures in sub-folders."""
    drawn = SyntheticConfig.model_validate({"train_images": train, "val_images": val} | settings)
    make_dataset(root, "train2017", "val2017", drawn)
    for split in ("train2017", "val2017"):
        file = root / "annotations" / f"person_keypoints_{split}.json"
        document = json.loads(file.read_text())
        for number, image in enumerate(document["images"]):
            folder = f"session_{number % 3}"
            (root / split / folder).mkdir(exist_ok=True)
            shutil.move(root / split / image["file_name"], root / split / folder / image["file_name"])
            image["file_name"] = f"{folder}/{image['file_name']}"
        people = [person for person in document["annotations"] if not person["iscrowd"]]
        document["annotations"] = [
            {
                "id": 7 + number,
                "image_id": person["image_id"],
                "category_id": 7,
                "bbox": person["bbox"],
                "keypoints": _flat(kind.joints(np.reshape(person["keypoints"], (-1, 3)))),
            }
            for number, person in enumerate(people)
        ]
        document["categories"] = [kind.category | {"id": 7}]
        file.write_text(json.dumps(document))


def _flat(joints: Joints) -> list[float]:
    return [float(value) for joint in joints for value in joint]
