"""A COCO data set of a few generated pictures, and the means to spoil it."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from hgg.skeleton import JOINTS, NUM_JOINTS
from pipeline.data.formats import annotation_file, image_folder
from pipeline.settings.data import DataConfig

PERSON = 1


def jpeg(width: int, height: int, seed: int = 0) -> bytes:
    """A colourful picture that does not compress to nothing."""
    small = np.random.default_rng(seed).integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), np.uint8)
    done, data = cv2.imencode(".jpg", cv2.resize(small, (width, height)))
    assert done
    return data.tobytes()


class TinyCoco:
    """Collects images and annotations; `write` puts them on disk in COCO's layout."""

    def __init__(self) -> None:
        self.images: list[dict[str, Any]] = []
        self.annotations: list[dict[str, Any]] = []
        self.pictures: dict[str, bytes] = {}

    def add_image(self, width: int = 64, height: int = 48, people: int = 1) -> int:
        """An image with people in it; returns its id."""
        image_id = 10 + len(self.images)
        name = f"{image_id:012d}.jpg"
        self.images.append({"id": image_id, "file_name": name, "width": width, "height": height})
        self.pictures[name] = jpeg(width, height, image_id)
        for index in range(people):
            self.add_person(image_id, x=4 + 10 * index)
        return image_id

    def add_person(self, image_id: int, x: float = 4, **changes: Any) -> dict[str, Any]:
        """A person with two labelled joints, the first visible, the second hidden."""
        keypoints = [x + 2, 9, 2, x + 6, 21.5, 1] + [0, 0, 0] * (NUM_JOINTS - 2)
        annotation = {
            "id": 100 + len(self.annotations),
            "image_id": image_id,
            "category_id": PERSON,
            "iscrowd": 0,
            "keypoints": keypoints,
            "num_keypoints": 2,
            "bbox": [x, 5, 10, 20],
            "area": 100.0,
            "segmentation": [[x, 5, x + 10, 5, x + 10, 25, x, 25]],
        }
        self.annotations.append(annotation | changes)
        return self.annotations[-1]

    def add_unlabelled(self, image_id: int, **changes: Any) -> dict[str, Any]:
        """A person without labelled joints, in the left half of the picture's upper rows."""
        nothing: dict[str, Any] = {
            "keypoints": [0] * (3 * NUM_JOINTS),
            "num_keypoints": 0,
            "bbox": [0, 0, 8, 4],
        }
        nothing["segmentation"] = []
        return self.add_person(image_id, **(nothing | changes))

    def document(self) -> dict[str, Any]:
        """What the annotation file holds."""
        person = {"id": PERSON, "name": "person", "keypoints": list(JOINTS)}
        return {"images": self.images, "annotations": self.annotations, "categories": [person]}

    def write(self, root: Path, split: str) -> Path:
        """Write annotation file and pictures; returns the annotation file."""
        data = DataConfig(root=root)
        path = annotation_file(data, split)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(self.document()), encoding="utf-8")
        image_folder(data, split).mkdir(parents=True, exist_ok=True)
        for name, picture in self.pictures.items():
            (image_folder(data, split) / name).write_bytes(picture)
        return path


def spoiled() -> tuple[TinyCoco, dict[str, int]]:
    """One image that is good and one for each reason to leave an image out; returns the reasons' counts."""
    coco = TinyCoco()
    coco.add_image(people=2)

    def picture(change: Any) -> None:
        name = coco.images[coco.add_image() - 10]["file_name"]
        coco.pictures[name] = change(coco.pictures[name])

    picture(lambda data: b"")
    picture(lambda data: data[: len(data) // 2])
    picture(lambda data: b"not a picture")
    picture(lambda data: jpeg(48, 64))
    missing = coco.images[coco.add_image() - 10]
    del coco.pictures[missing["file_name"]]
    coco.add_person(coco.add_image(), area=-1)
    coco.add_person(coco.add_image(), iscrowd=7)
    coco.add_person(coco.add_image(), bbox=[200, 5, 10, 20])
    coco.add_person(coco.add_image(), keypoints=[5, 5, 2])
    coco.add_unlabelled(coco.add_image(), segmentation=[[1, 2, 3, 4]])
    coco.add_person(999)
    reasons = [
        "area", "box_outside", "empty_file", "iscrowd", "keypoints_length", "missing_file", "not_decodable",
        "segmentation", "truncated", "unknown_image", "wrong_size",
    ]  # fmt: skip
    return coco, dict.fromkeys(reasons, 1)
