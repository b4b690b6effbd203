"""Reading a COCO keypoint annotation file: its images, and each image's person annotations as text.

An annotation is kept as one line of JSON with the fields that records need, a fraction of what its Python
objects take, so that the whole of COCO fits in the driver and a slice of it travels to a task as it is.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hgg.skeleton import COCO, Skeleton
from pipeline.base.errors import UserError
from pipeline.data.annotations import FIELDS, is_person
from pipeline.data.categories import CHOICE, People, people_categories, put_in_order, whole_number
from pipeline.data.rejects import Rejection

KEPT = ("id", "iscrowd", *FIELDS)
PARTS = ("images", "annotations", "categories")
WHOLE = "a whole number below 2^63"


class CocoImage(NamedTuple):
    """One entry of `images`, with its person annotations as JSON texts in the order of their ids."""

    image_id: int
    file_name: str
    width: int
    """0 where the file does not say."""
    height: int
    annotations: list[str]
    has_person: bool  # whether anyone has labelled joints and is no crowd
    truth: dict[str, Any]
    """What AP reads of the file beside that: `order`, the place of each annotation among the image's in the
    file, where they do not come by their ids; `crowdIndex`, where it has one."""


class Coco(NamedTuple):
    """A whole annotation file: usable images in the order of their ids, and what was left out."""

    images: list[CocoImage]
    rejected: list[Rejection]
    notes: list[str]
    """What was assumed of the file, to be said once."""


class _Annotation(NamedTuple):
    """An annotation, read no further than is needed to sort it to its image."""

    annotation_id: Any  # whole numbers once `_checked`
    image_id: Any
    category_id: Any
    is_person: bool
    text: str


def read_coco(path: Path, skeleton: Skeleton = COCO, categories: Sequence[str] = ()) -> Coco:
    """Read an annotation file; categories that do not name the skeleton's joints are passed over.

    Ids and sizes may be text or have a point; annotations without an id are numbered.

    Args:
        path: the file.
        skeleton: whose joints its people have, in whatever order its categories name them.
        categories: names or ids of those that are meant; none means every one that fits.

    Left out: annotations of an unknown image (`unknown_image`, one rejection each), and images whose id
    is used twice (`duplicate_image`) or that hold an annotation whose id is (`duplicate_annotation`) or whose
    category is not in the file (`unknown_category`).

    Raises `UserError` where the file is not JSON or not COCO's keypoint format, or nobody is of these
    categories.
    """
    document = _load(path)
    people = people_categories(document["categories"], path, skeleton, categories)
    entries = [_image(entry, f"images[{i}]", path) for i, entry in enumerate(document["images"])]
    images = sorted(entries, key=lambda image: image[:2])
    counts: Counter[str] = Counter()
    annotations = [
        _checked(entry, i, path, counts) for i, entry in enumerate(_numbered(document["annotations"], counts))
    ]
    known = {whole_number(entry.get("id")) for entry in document["categories"] if isinstance(entry, dict)}
    ours = [_ordered(entry, people) for entry in annotations if entry.category_id in people.orders]
    if annotations and not ours:
        raise UserError(_nobody(path, annotations, known, people))
    stray = [entry for entry in annotations if entry.category_id not in known]
    rejected = _rejections(images, ours, stray)
    left_out = {rejection.image_id for rejection in rejected}
    by_image = defaultdict(list)
    for place, annotation in enumerate(ours):
        by_image[annotation.image_id].append((annotation, place))
    usable = [
        _with_annotations(image, by_image[image.image_id])
        for image in images
        if image.image_id not in left_out
    ]
    return Coco(
        usable, rejected, people.notes + [NOTES[name].format(n) for name, n in sorted(counts.items())]
    )


NOTES = {
    "ids": "{} annotations have ids that are text or have a point: read as the whole numbers that they are",
    "numbered": "{} annotations have no id: numbered",
}


def _with_annotations(image: CocoImage, found: list[tuple[_Annotation, int]]) -> CocoImage:
    """The image with its annotations by id, and their places in the file where these go otherwise."""
    by_id = sorted(found)
    places = [place for _, place in by_id]
    if places != sorted(places):
        image.truth["order"] = [sorted(places).index(place) for place in places]
    return image._replace(
        annotations=[annotation.text for annotation, _ in by_id],
        has_person=any(annotation.is_person for annotation, _ in by_id),
    )


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

    Polygons of people with labelled joints are dropped where box and area are there, as nothing needs them.
    """
    if not {"image_id", "category_id"} <= entry.keys():
        return entry
    person = is_person(entry)
    whole = person and entry.get("bbox") and entry.get("area")
    kept = KEPT if whole else (*KEPT, "segmentation")
    text = json.dumps({field: entry[field] for field in kept if field in entry}, separators=(",", ":"))
    return _Annotation(entry.get("id"), entry["image_id"], entry["category_id"], person, text)


def _image(entry: Any, where: str, path: Path) -> CocoImage:
    values = entry if isinstance(entry, dict) else {}
    number, name = whole_number(values.get("id")), values.get("file_name")
    if number is None or number < 0:
        raise UserError(f"{path}: not COCO's format: {where}.id is {values.get('id')!r}, not {WHOLE}")
    if not isinstance(name, str):
        raise UserError(f"{path}: not COCO's format: {where}.file_name is {name!r}, not text")
    sizes: dict[str, int] = {}
    for field in ("width", "height"):
        size = whole_number(values.get(field) or 0)
        if size is None or size < 0:
            raise UserError(
                f"{path}: not COCO's format: {where}.{field} is {values[field]!r}, not a positive whole "
                "number"
            )
        sizes[field] = size
    crowding = values.get("crowdIndex")
    known = isinstance(crowding, int | float) and 0 <= crowding <= 1  # else it is counted from the people
    truth = {"crowdIndex": crowding} if known else {}
    return CocoImage(number, name, **sizes, annotations=[], has_person=False, truth=truth)


def _numbered(entries: list[Any], counts: Counter[str]) -> list[Any]:
    """The annotations, those without an id numbered after the highest one."""
    there = [entry.annotation_id for entry in entries if isinstance(entry, _Annotation)]
    if None not in there:
        return entries
    free = 1 + max((number for given in there if (number := whole_number(given)) is not None), default=0)
    numbered = []
    for entry in entries:
        if isinstance(entry, _Annotation) and entry.annotation_id is None:
            entry = _with_text(entry, id=free)._replace(annotation_id=free)
            counts["numbered"] += 1
            free += 1
        numbered.append(entry)
    return numbered


def _checked(entry: Any, place: int, path: Path, counts: Counter[str]) -> _Annotation:
    """The annotation, where it names itself, its image and its category."""
    if not isinstance(entry, _Annotation):
        raise UserError(f"{path}: not COCO's format: annotations[{place}] has no image_id or no category_id")
    given = entry[:3]
    numbers = [whole_number(value) for value in given]
    if None in numbers:
        wrong = numbers.index(None)
        name = ("id", "image_id", "category_id")[wrong]
        raise UserError(
            f"{path}: not COCO's format: annotations[{place}].{name} is {given[wrong]!r}, not {WHOLE}"
        )
    if any(type(value) is not int for value in given):
        counts["ids"] += 1
        entry = _with_text(entry, id=numbers[0])
    return entry._replace(annotation_id=numbers[0], image_id=numbers[1], category_id=numbers[2])


def _ordered(entry: _Annotation, people: People) -> _Annotation:
    """The annotation with its joints in the skeleton's order."""
    order = people.orders[entry.category_id]
    if order is None:
        return entry
    return _with_text(entry, keypoints=put_in_order(json.loads(entry.text).get("keypoints"), order))


def _with_text(entry: _Annotation, **fields: Any) -> _Annotation:
    """The annotation with other values of some fields."""
    return entry._replace(text=json.dumps(json.loads(entry.text) | fields, separators=(",", ":")))


def _nobody(path: Path, annotations: list[_Annotation], known: Iterable[int | None], people: People) -> str:
    used = Counter(entry.category_id for entry in annotations)
    listed = ", ".join(f"{number} ({count} times)" for number, count in sorted(used.items()))
    ids = ", ".join(map(str, sorted(number for number in known if number is not None)))
    return (
        f"{path}: no annotation is of a category of people: category_id is {listed}; categories lists {ids}, "
        f"of which {', '.join(map(str, people.orders))} are people (or chosen by {CHOICE}): make them agree"
    )


def _rejections(
    images: list[CocoImage], people: list[_Annotation], stray: list[_Annotation]
) -> list[Rejection]:
    """What contradicts itself across the file: a rejection for each lost annotation or image."""
    names = {image.image_id: image.file_name for image in images}
    lost = [
        Rejection(entry.image_id, "", "unknown_image", f"annotation {entry.annotation_id}")
        for entry in people
        if entry.image_id not in names
    ]
    wrong = {
        entry.image_id: (
            "unknown_category",
            f"annotation {entry.annotation_id}: category_id {entry.category_id} is not in categories",
        )
        for entry in stray
        if entry.image_id in names
    }
    repeated = _repeated(entry.annotation_id for entry in people)
    wrong |= {
        entry.image_id: ("duplicate_annotation", f"annotation id {entry.annotation_id} is used twice")
        for entry in people
        if entry.annotation_id in repeated and entry.image_id in names
    }
    for image_id in _repeated(image.image_id for image in images):
        wrong[image_id] = ("duplicate_image", f"image id {image_id} is used twice")
    return lost + [Rejection(image_id, names[image_id], *why) for image_id, why in wrong.items()]


def _repeated(ids: Iterable[int]) -> set[int]:
    return {key for key, count in Counter(ids).items() if count > 1}
