"""Reading a COCO keypoint annotation file: its images, and each image's person annotations as text.

An annotation is kept as one line of JSON with the fields that records need, a fraction of what its Python
objects take, so that the whole of COCO fits in the driver and a slice of it travels to a task as it is.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from hgg.skeleton import NUM_JOINTS
from pipeline.base.errors import UserError
from pipeline.data.annotations import FIELDS, is_person
from pipeline.data.rejects import Rejection

KEPT = ("id", "iscrowd", *FIELDS)
MOST = (1 << 63) - 1  # that a column of whole numbers holds
PARTS = ("images", "annotations", "categories")
IMAGE_FIELDS: dict[str, tuple[type, Any, str]] = {  # type, smallest value, both in words
    "id": (int, 0, "a whole number below 2^63"),
    "file_name": (str, None, "text"),
    "width": (int, 1, "a positive whole number"),
    "height": (int, 1, "a positive whole number"),
}


class CocoImage(NamedTuple):
    """One entry of `images`, with its person annotations as JSON texts in the order of their ids."""

    image_id: int
    file_name: str
    width: int
    height: int
    annotations: list[str]
    has_person: bool  # whether anyone has labelled joints and is no crowd


class Coco(NamedTuple):
    """A whole annotation file: usable images in the order of their ids, and what was left out."""

    images: list[CocoImage]
    rejected: list[Rejection]


class _Annotation(NamedTuple):
    """An annotation, read no further than is needed to sort it to its image."""

    annotation_id: Any  # whole numbers once `_checked`
    image_id: Any
    category_id: Any
    is_person: bool
    text: str


def read_coco(path: Path, joint_types: int = NUM_JOINTS) -> Coco:
    """Read an annotation file; categories without `joint_types` keypoints are passed over.

    Left out: annotations of an unknown image (`unknown_image`, one rejection each), and images whose id
    is used twice (`duplicate_image`) or that hold an annotation whose id is (`duplicate_annotation`).

    Raises `UserError` where the file is not JSON or not COCO's keypoint format.
    """
    document = _load(path)
    categories = _person_categories(document["categories"], path, joint_types)
    images = sorted(_image(entry, f"images[{i}]", path) for i, entry in enumerate(document["images"]))
    annotations = [
        _checked(entry, f"annotations[{i}]", path) for i, entry in enumerate(document["annotations"])
    ]
    people = [annotation for annotation in annotations if annotation.category_id in categories]
    rejected = _rejections(images, people)
    left_out = {rejection.image_id for rejection in rejected}
    by_image = defaultdict(list)
    for annotation in sorted(people):
        by_image[annotation.image_id].append(annotation)
    usable = [
        image._replace(
            annotations=[annotation.text for annotation in by_image[image.image_id]],
            has_person=any(annotation.is_person for annotation in by_image[image.image_id]),
        )
        for image in images
        if image.image_id not in left_out
    ]
    return Coco(usable, rejected)


def _load(path: Path) -> dict[str, list[Any]]:
    """The file's JSON, its annotations already turned into `_Annotation`."""
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"), object_hook=_lean)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not JSON ({error}); a COCO annotation file is expected") from None
    missing = [
        part for part in PARTS if not isinstance(document, dict) or not isinstance(document.get(part), list)
    ]
    if missing:
        raise UserError(f"{path}: not COCO's format: no list {', '.join(map(repr, missing))}")
    return document


def _lean(entry: dict[str, Any]) -> Any:
    """Called for every JSON object as it is read: shortens annotations at once, leaves the rest alone.

    Polygons of people with labelled joints are dropped, as nothing needs them.
    """
    if not {"image_id", "category_id"} <= entry.keys():
        return entry
    person = is_person(entry)
    kept = KEPT if person else (*KEPT, "segmentation")
    text = json.dumps({field: entry[field] for field in kept if field in entry}, separators=(",", ":"))
    return _Annotation(entry.get("id"), entry["image_id"], entry["category_id"], person, text)


def _person_categories(categories: list[Any], path: Path, joint_types: int) -> set[Any]:
    """Ids of the categories whose keypoints are those of this project."""
    lengths = {
        entry.get("id"): len(entry["keypoints"])
        for entry in categories
        if isinstance(entry, dict) and isinstance(entry.get("keypoints"), list)
    }
    people = {category for category, length in lengths.items() if length == joint_types}
    if not people:
        found = (
            f"found {sorted(lengths.values())}"
            if lengths
            else "no category has any; is it COCO's instances file?"
        )
        raise UserError(
            f"{path}: no category with {joint_types} keypoints ({found}): data.format and skeleton must be "
            "those of this file"
        )
    return people


def _image(entry: Any, where: str, path: Path) -> CocoImage:
    values = entry if isinstance(entry, dict) else {}
    for field, (kind, least, wanted) in IMAGE_FIELDS.items():
        value = values.get(field)
        fits = least is None or (isinstance(value, int) and least <= value <= MOST)
        if not isinstance(value, kind) or not fits:
            raise UserError(f"{path}: not COCO's format: {where}.{field} is {value!r}, not {wanted}")
    return CocoImage(values["id"], values["file_name"], values["width"], values["height"], [], False)


def _checked(entry: Any, where: str, path: Path) -> _Annotation:
    """The annotation, where it names itself, its image and its category."""
    if not isinstance(entry, _Annotation):
        raise UserError(f"{path}: not COCO's format: {where} has no image_id or no category_id")
    for field in ("annotation_id", "image_id", "category_id"):
        if not isinstance(value := getattr(entry, field), int) or abs(value) > MOST:
            name = field.removeprefix("annotation_")
            raise UserError(
                f"{path}: not COCO's format: {where}.{name} is {value!r}, not a whole number below 2^63"
            )
    return entry


def _rejections(images: list[CocoImage], people: list[_Annotation]) -> list[Rejection]:
    """What contradicts itself across the file: a rejection for each lost annotation or image."""
    names = {image.image_id: image.file_name for image in images}
    lost = [
        Rejection(entry.image_id, "", "unknown_image", f"annotation {entry.annotation_id}")
        for entry in people
        if entry.image_id not in names
    ]
    repeated = _repeated(entry.annotation_id for entry in people)
    twice = {
        entry.image_id: ("duplicate_annotation", f"annotation id {entry.annotation_id} is used twice")
        for entry in people
        if entry.annotation_id in repeated and entry.image_id in names
    }
    for image_id in _repeated(image.image_id for image in images):
        twice[image_id] = ("duplicate_image", f"image id {image_id} is used twice")
    return lost + [Rejection(image_id, names[image_id], *why) for image_id, why in twice.items()]


def _repeated(ids: Iterable[int]) -> set[int]:
    return {key for key, count in Counter(ids).items() if count > 1}
