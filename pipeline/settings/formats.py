"""The data sets that are read, one row a `data.format`: where its files are, and how its people are labelled.

A format is its name in `DataFormat` and its row in `FORMATS`; all else asks the row. They stand among the
settings, as settings are checked against them. AP goes by the skeleton of the model, not by the format of the
data, so that a model of COCO's joints is evaluated on OCHuman: its rules are `pipeline.metrics.ap.RULES`.
"""

from typing import Literal, NamedTuple

from hgg.skeleton import BOX_SHARE, COCO, CROWDPOSE, NUM_JOINTS, Skeleton

DataFormat = Literal["coco", "ochuman", "crowdpose"]
"""The names of `FORMATS`."""


class Dialect(NamedTuple):
    """What an annotation means where data sets differ."""

    joints: int = NUM_JOINTS
    """Joint types of a person."""
    counted: int = NUM_JOINTS
    """How many of them, the first, `num_keypoints` counts."""
    box_share: float = 0.0
    """Share of a person's box that is taken for the area, where the file holds no areas; 0 where it does."""


class Labelling(NamedTuple):
    """A way to label people, named by the data set that it is from; others can share it."""

    title: str
    """That data set."""
    skeleton: Skeleton
    dialect: Dialect
    licence: str
    """Whose terms hold for its data, in the card of a model."""


class Format(NamedTuple):
    """A data set. Paths are below `data.root`; {split} stands for the split's name."""

    annotations: str
    pictures: str
    labelling: Labelling


COCO_DIALECT = Dialect()
COCO_LABELLING = Labelling(
    "COCO",
    COCO,
    COCO_DIALECT,
    "COCO's annotations: CC BY 4.0, COCO Consortium. COCO's photographs belong to Flickr users, each under a "
    "licence of its own.",
)
CROWDPOSE_LABELLING = Labelling(
    "CrowdPose",
    CROWDPOSE,
    # Head and neck are not counted (seen in its files). The share is its evaluation code's.
    Dialect(CROWDPOSE.count, CROWDPOSE.count - 2, BOX_SHARE),
    "CrowdPose's photographs come from other data sets, whose terms hold for them.",
)

FORMATS: dict[DataFormat, Format] = {
    "coco": Format("annotations/person_keypoints_{split}.json", "{split}", COCO_LABELLING),
    # val or test; the people of any overlap, on which AP is published.
    "ochuman": Format("ochuman_coco_format_{split}_range_0.00_1.00.json", "images", COCO_LABELLING),
    "crowdpose": Format("json/crowdpose_{split}.json", "images", CROWDPOSE_LABELLING),
}
"""By `data.format`; paths as each data set's archives unpack."""


def labelling_of(skeleton: Skeleton) -> Labelling:
    """How people of these joints are labelled: as in the data set known for them, or as in COCO's format."""
    for row in FORMATS.values():
        if row.labelling.skeleton == skeleton:
            return row.labelling
    terms = "Photographs and annotations that it was trained on: under the terms of whoever made them."
    return Labelling(
        f"its skeleton, {skeleton.name},", skeleton, Dialect(skeleton.count, skeleton.count), terms
    )
