"""Data sets by `data.format`: where the files of a split are below `data.root`, and what annotations mean."""

from pathlib import Path
from typing import NamedTuple

from hgg.skeleton import BOX_SHARE, CROWDPOSE, NUM_JOINTS
from pipeline.base.errors import UserError
from pipeline.settings.config import DataConfig, DataFormat


class Layout(NamedTuple):
    """Paths below the root; {split} stands for the split's name."""

    annotations: str
    pictures: str


LAYOUTS: dict[DataFormat, Layout] = {
    "coco": Layout("annotations/person_keypoints_{split}.json", "{split}"),
    # val or test; the people of any overlap, on which AP is published.
    "ochuman": Layout("ochuman_coco_format_{split}_range_0.00_1.00.json", "images"),
    "crowdpose": Layout("json/crowdpose_{split}.json", "images"),
}
"""How each data set's archives unpack."""


class Dialect(NamedTuple):
    """What an annotation means where data sets differ."""

    joints: int = NUM_JOINTS
    """Joint types of a person."""
    counted: int = NUM_JOINTS
    """How many of them, the first, `num_keypoints` counts."""
    box_share: float = 0.0
    """Share of a person's box that is taken for the area, where the file holds no areas; 0 where it does."""


COCO_DIALECT = Dialect()
"""COCO's, and OCHuman's."""
DIALECTS: dict[DataFormat, Dialect] = {
    "coco": COCO_DIALECT,
    "ochuman": COCO_DIALECT,
    # Head and neck are not counted (seen in its files). The share is its evaluation code's.
    "crowdpose": Dialect(CROWDPOSE.count, CROWDPOSE.count - 2, BOX_SHARE),
}
"""By `data.format`."""


def annotation_file(data: DataConfig, split: str) -> Path:
    """The annotation file of a split: `data.annotations`, or the format's own."""
    return data.root / _filled(data.annotations or LAYOUTS[data.format].annotations, split)


def image_folder(data: DataConfig, split: str) -> Path:
    """The folder of a split's pictures: `data.pictures`, or the format's own."""
    return data.root / _filled(data.pictures or LAYOUTS[data.format].pictures, split)


def check_layout(data: DataConfig, split: str) -> None:
    """Raise `UserError` where the annotation file is missing, or the folder of pictures missing or empty."""
    file, folder = annotation_file(data, split), image_folder(data, split)
    if not file.is_file():
        raise UserError(
            f"{file}: no such annotation file; data.format={data.format}: data.root={data.root} must hold "
            f"{file.relative_to(data.root)} and the folder {folder.relative_to(data.root)} of pictures, as "
            "the data set's archives unpack; other places are named by data.annotations and data.pictures"
        )
    if not folder.is_dir() or not any(folder.iterdir()):
        state = "is empty" if folder.is_dir() else "is missing"
        raise UserError(f"{folder}: the folder of pictures {state}; unpack the pictures of {split} there")


def _filled(path: str, split: str) -> str:
    return path.replace("{split}", split)
