"""True people of a photograph that is to be explained, for the oracle's grouping beside the model's own."""

from pathlib import Path

import numpy as np

from hgg.predictor import Detections
from hgg.skeleton import Skeleton
from hgg.targets import Targets
from pipeline.base.errors import UserError
from pipeline.data.annotations import people_and_ignored
from pipeline.data.coco_file import CocoImage, read_coco
from pipeline.data.formats import dialect_of
from pipeline.data.rejects import BadData
from pipeline.evaluation.truth import true_people


def read_labels(path: Path, joints: Skeleton) -> dict[str, CocoImage]:
    """Images of a COCO keypoint annotation file by their file names.

    Raises:
        UserError: no such file, or not COCO's.
    """
    if not path.is_file():
        raise UserError(f"--labels={path}: no such file: give a COCO keypoint annotation file")
    return {image.file_name: image for image in read_coco(path, joints).images}


def label_targets(found: Detections, picture: np.ndarray, label: CocoImage, joints: Skeleton) -> Targets:
    """A picture's labels as targets, on the device of its candidates.

    Args:
        found: of a batch of this picture alone.
        picture: RGB uint8 (H, W, 3).
        label: its true people.
        joints: the joint types of both.

    Raises:
        UserError: labels of a picture of another size, or that contradict themselves.
    """
    if picture.shape[:2] != (label.height, label.width):
        raise UserError(
            f"--labels: {label.file_name} is {label.width} x {label.height} there, the picture is "
            f"{picture.shape[1]} x {picture.shape[0]}: give the labels of this very picture"
        )
    try:
        size, dialect = (label.width, label.height), dialect_of(joints)
        labelled = people_and_ignored(label.annotations, *size, dialect)
    except BadData as error:
        raise UserError(f"--labels: {label.file_name}: {error}") from error
    record = {"people": labelled.people, "ignore": labelled.ignore}
    targets = true_people([record], found.transforms, found.candidates.size.tolist(), joints)
    return Targets(*(part.to(found.candidates.xy.device) for part in targets))
