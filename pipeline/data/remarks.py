"""What preprocessing says of a split's annotations once it has seen them all: what it derived, what is odd.

Both are counted on the way under the names here, so the manifest and results.json have the counts too.
"""

from collections.abc import Mapping
from typing import NamedTuple

from hgg.skeleton import BOX_SHARE

DERIVED = {
    "no_iscrowd": "{n} annotations have no iscrowd: none of them is taken for a crowd",
    "num_keypoints_counted": "{n} annotations have no num_keypoints, or another number than their labelled "
    "joints: counted",
    "keypoints_in_triples": "the keypoints of {n} annotations are triples [x, y, v]: read as such",
    "joints_null": "{n} annotations have null in the place of unlabelled joints: read as unlabelled",
    "box_from_segmentation": "{n} annotations have no bbox: taken from the segmentation",
    "box_from_joints": "{n} annotations have no bbox: the extent of their labelled joints is taken",
    "box_clipped": "the bbox of {n} annotations reaches out of the picture: clipped to it",
    "area_from_segmentation": "{n} annotations have no area: taken from the segmentation",
    "area_from_box": f"{{n}} annotations have no area, and no segmentation but a box: {BOX_SHARE} of the "
    "bbox is taken",
    "people_without_joints": "{n} people have no labelled joints: nothing is trained or scored there",
    "size_from_picture": "{n} images have no width and height: taken from the picture",
    "pictures_turned": "{n} pictures are turned as their orientation tag says, as the annotation file's "
    "width and height are those of the upright picture, or data.orientation=upright",
}
"""What was derived, by the name of its count."""

OFTEN = 0.1  # of the people; of COCO's 5,000 here 0.1 % have most joints far outside of their box
MOST = 0.5  # of the people; of COCO's, 43 % have no labelled joints


class Remark(NamedTuple):
    """A sentence about a split."""

    text: str
    warns: bool
    """Whether figures may come out wrong for it."""


def remarks(counts: Mapping[str, int]) -> list[Remark]:
    """What is to be said of a split's counts, what was derived first."""
    said = [Remark(text.format(n=counts[name]), False) for name, text in DERIVED.items() if counts.get(name)]
    return said + [Remark(text, True) for text in _odd(counts)]


def _odd(counts: Mapping[str, int]) -> list[str]:
    """What a machine can read and a person would not believe."""
    people, without = counts.get("people", 0), counts.get("people_without_joints", 0)
    outside, tiny = counts.get("joints_far_outside_box", 0), counts.get("people_tiny", 0)
    perhaps = counts.get("pictures_turned_perhaps", 0)
    said = []
    if outside > OFTEN * people:
        said.append(
            f"{outside} of {people} people have most of their joints far outside of their bbox: are "
            "keypoints and bbox both in pixels (not in shares of the picture), x before y, bbox as x, y, "
            "width, height?"
        )
    if tiny > OFTEN * people:
        said.append(
            f"{tiny} of {people} people have a bbox smaller than 2 pixels: are bbox and keypoints in shares "
            "of the picture? They must be in pixels"
        )
    if without > MOST * (people + without):
        said.append(
            f"{without} of {people + without} people have no labelled joints (v above 0 in keypoints): is "
            "this the file with the keypoints, and does it write v=1 or 2 for each labelled joint?"
        )
    if perhaps:
        said.append(
            f"{perhaps} pictures have an orientation tag of which their width and height tell nothing: their "
            "labels are taken as made on the stored pixels; if the annotation tool showed them upright, as "
            "most do, set data.orientation=upright"
        )
    return said
