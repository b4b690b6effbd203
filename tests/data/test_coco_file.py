"""pipeline.data.coco_file: what is read, what is left out, and files that are not COCO's."""

import codecs
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hgg.skeleton import JOINTS, NUM_JOINTS
from pipeline.base.errors import UserError
from pipeline.data.coco_file import read_coco
from pipeline.data.rejects import by_reason
from pipeline.metrics.coco import load_annotations
from tests.cases.tiny_coco import PERSON, TinyCoco


def test_images_come_by_id_with_their_annotations_by_id(tmp_path: Path) -> None:
    coco = TinyCoco()
    first, second = coco.add_image(people=2), coco.add_image(people=0)
    coco.add_unlabelled(second)
    coco.images.reverse()
    coco.annotations.reverse()
    read = read_coco(coco.write(tmp_path, "val"))
    assert read.rejected == []
    assert [image.image_id for image in read.images] == [first, second]
    assert read.images[0][:4] == (first, f"{first:012d}.jpg", 64, 48)
    ids = [[json.loads(text)["id"] for text in image.annotations] for image in read.images]
    assert ids == [[100, 101], [102]]
    assert [image.has_person for image in read.images] == [True, False]


def test_a_byte_order_mark_is_no_part_of_the_file(tmp_path: Path) -> None:
    """As editors on Windows write it; training reads the file, and AP is computed from it."""
    coco = TinyCoco()
    coco.add_image(people=2)
    path = coco.write(tmp_path, "val")
    plain = read_coco(path), load_annotations(path).dataset
    path.write_bytes(codecs.BOM_UTF8 + path.read_bytes())
    assert (read_coco(path), load_annotations(path).dataset) == plain


def test_what_nothing_needs_is_dropped_on_reading(tmp_path: Path) -> None:
    coco = TinyCoco()
    image = coco.add_image(people=1)
    coco.add_unlabelled(image, segmentation=[[0, 0, 4, 0, 4, 4]], extra="text")
    person, unlabelled = (json.loads(t) for t in read_coco(coco.write(tmp_path, "val")).images[0].annotations)
    assert "segmentation" not in person
    assert unlabelled["segmentation"] == [[0, 0, 4, 0, 4, 4]]
    assert "extra" not in unlabelled


def test_contradictory_people_count_as_people_so_that_they_are_looked_at(tmp_path: Path) -> None:
    coco = TinyCoco()
    coco.add_person(coco.add_image(people=0), num_keypoints=0)
    coco.add_person(coco.add_image(people=0), keypoints="many")
    coco.add_person(coco.add_image(people=0), iscrowd=1)
    read = read_coco(coco.write(tmp_path, "val"))
    assert [image.has_person for image in read.images] == [True, True, False]


def test_unknown_and_repeated_ids(tmp_path: Path) -> None:
    coco = TinyCoco()
    good, twice, holds_twice, holds_too = (coco.add_image() for _ in range(4))
    coco.images.append(dict(coco.images[1], file_name="other.jpg"))
    repeated = coco.add_person(holds_twice)
    coco.add_person(holds_too, id=repeated["id"])
    coco.add_person(4711)
    coco.add_person(4711)
    read = read_coco(coco.write(tmp_path, "val"))
    assert [image.image_id for image in read.images] == [good]
    assert by_reason(read.rejected) == {"duplicate_annotation": 2, "unknown_image": 2, "duplicate_image": 1}
    assert {r.image_id for r in read.rejected} == {twice, holds_twice, holds_too, 4711}


def test_other_categories_are_passed_over(tmp_path: Path) -> None:
    coco = TinyCoco()
    coco.add_person(coco.add_image(people=0), category_id=18, keypoints="a dog's")
    path = coco.write(tmp_path, "val")
    dog = {"id": 18, "name": "dog", "keypoints": ["nose", "tail"]}
    whole = coco.document()
    whole |= {"categories": [*whole["categories"], dog]}
    path.write_text(json.dumps(whole))
    with pytest.raises(UserError, match=r"category_id is 18 \(1 times\); categories lists 1, 18, of which 1"):
        read_coco(path)
    coco.add_image()
    path.write_text(json.dumps(whole))
    read = read_coco(path)
    assert read.images[0].annotations == []
    assert read.notes == ["passed over, as not chosen or of other joints: 'dog' (id 18)"]
    assert read.rejected == []


def document(**changes: Any) -> dict[str, Any]:
    coco = TinyCoco()
    coco.add_image()
    return coco.document() | changes


def with_entry(part: str, **changes: Any) -> dict[str, Any]:
    whole = document()
    return whole | {part: [whole[part][0] | changes]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "no list 'images', 'annotations', 'categories'"),
        ({"images": [], "annotations": {}, "categories": []}, "no list 'annotations'"),
        (
            document(categories=[{"id": 1, "name": "person"}]),
            "no category with keypoints; is it COCO's instances file",
        ),
        (
            document(categories=[{"id": 1, "keypoints": ["nose"] * 14}]),
            "the 17 keypoints of skeleton=coco: nose, .* has 14: nose",
        ),
        (document(images=["a.jpg"]), "images\\[0\\].id is None, not a whole number"),
        (with_entry("images", file_name=7), "images\\[0\\].file_name is 7, not text"),
        (with_entry("images", width=-1), "images\\[0\\].width is -1, not a positive whole number"),
        (document(annotations=[{"id": 1}]), "annotations\\[0\\] has no image_id or no category_id"),
        (with_entry("annotations", image_id="a10"), "annotations\\[0\\].image_id is 'a10', not a whole"),
        (with_entry("annotations", id=True), "annotations\\[0\\].id is True, not a whole number"),
        (
            with_entry("images", id=1 << 63),
            "images\\[0\\].id is 9223372036854775808, not a whole number below",
        ),
        (
            with_entry("annotations", id=-(1 << 64)),
            "annotations\\[0\\].id is -.*, not a whole number below 2\\^63",
        ),
        (with_entry("annotations", category_id=[1]), "annotations\\[0\\].category_id is \\[1\\]"),
    ],
)
def test_files_that_are_not_cocos(content: Any, message: str, tmp_path: Path) -> None:
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(UserError, match=message) as caught:
        read_coco(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\x00", b"[" * 100_000])
def test_files_that_are_not_json(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "annotations.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match="not JSON"):
        read_coco(path)


def test_real_annotations_are_read_without_loss(shared_data: Path) -> None:
    path = shared_data / "coco_dev39" / "annotations" / "person_keypoints_val2017.json"
    read = read_coco(path)
    original = json.loads(path.read_text(encoding="utf-8"))
    assert len(read.images) == len(original["images"]) == 39
    assert read.rejected == []
    annotations = {a["id"]: a for a in original["annotations"]}
    kept = [json.loads(text) for image in read.images for text in image.annotations]
    assert len(kept) == len(annotations)
    for annotation in kept:
        whole = annotations[annotation["id"]]
        assert whole["category_id"] == PERSON
        assert len(whole["keypoints"]) == 3 * NUM_JOINTS
        assert annotation.items() <= whole.items()


def test_ids_as_text_or_with_a_point_are_the_numbers_that_they_are(tmp_path: Path) -> None:
    coco = TinyCoco()
    coco.add_image(people=2)
    path = coco.write(tmp_path, "val")
    plain = read_coco(path)
    document = coco.document()
    document["images"][0] |= {"id": "10", "width": 64.0, "height": "48"}
    document["categories"][0]["id"] = "1"
    document["annotations"][0] |= {"id": "100", "image_id": 10.0, "category_id": 1.0}
    path.write_text(json.dumps(document))
    read = read_coco(path)
    assert read.images == plain.images
    assert read.notes == [
        "1 annotations have ids that are text or have a point: read as the whole numbers that they are"
    ]


def test_annotations_without_an_id_are_numbered(tmp_path: Path) -> None:
    coco = TinyCoco()
    coco.add_image(people=3)
    del coco.annotations[0]["id"]
    del coco.annotations[2]["id"]
    read = read_coco(coco.write(tmp_path, "val"))
    assert [json.loads(text)["id"] for text in read.images[0].annotations] == [101, 102, 103]
    assert read.images[0].truth["order"] == [1, 0, 2]
    assert read.notes == ["2 annotations have no id: numbered"]


@pytest.mark.parametrize("triples", [False, True])
def test_joints_in_another_order_are_put_right(tmp_path: Path, triples: bool) -> None:
    coco = TinyCoco()
    coco.add_image(people=2)
    path = coco.write(tmp_path, "val")
    plain = read_coco(path)
    document = coco.document()
    document["categories"][0]["keypoints"] = [name.replace("_", " ").title() for name in reversed(JOINTS)]
    for person in document["annotations"]:
        joints = [person["keypoints"][3 * place : 3 * place + 3] for place in range(NUM_JOINTS)][::-1]
        person["keypoints"] = joints if triples else [number for joint in joints for number in joint]
    path.write_text(json.dumps(document))
    read = read_coco(path)
    assert "names its joints in another order (Right Ankle, Left Ankle, Right Knee, ...)" in read.notes[0]
    found = [json.loads(text)["keypoints"] for image in read.images for text in image.annotations]
    wanted = [json.loads(text)["keypoints"] for image in plain.images for text in image.annotations]
    flat = [[number for joint in joints for number in joint] for joints in found] if triples else found
    assert flat == wanted


def test_an_annotation_of_an_unknown_category_costs_its_image(tmp_path: Path) -> None:
    coco = TinyCoco()
    coco.add_image()
    coco.add_person(coco.add_image(), category_id=7)
    read = read_coco(coco.write(tmp_path, "val"))
    assert [image.image_id for image in read.images] == [10]
    assert read.rejected[0].reason == "unknown_category"
    assert "category_id 7" in read.rejected[0].detail


@pytest.mark.parametrize(
    "spell",
    [
        str.upper,
        lambda name: name.replace("_", "-"),
        lambda name: name.title().replace("_", ""),
        lambda name: "_".join(reversed(name.split("_"))),
        lambda name: name.replace("left", "L").replace("right", "R"),
        lambda name: name.title().replace("Left_", "L").replace("Right_", "R"),
    ],
)
def test_joints_are_known_in_the_spelling_of_any_tool(tmp_path: Path, spell: Callable[[str], str]) -> None:
    coco = TinyCoco()
    coco.add_image()
    path, document = coco.write(tmp_path, "val"), coco.document()
    document["categories"][0]["keypoints"] = [spell(name) for name in JOINTS]
    path.write_text(json.dumps(document))
    read = read_coco(path)
    assert len(read.images[0].annotations) == 1
    assert read.notes == []


def test_what_is_wrong_with_names_of_any_length_is_a_line(tmp_path: Path) -> None:
    document = TinyCoco().document()
    odd = {"keypoints": ["left_" + "9" * 500] * 300, "name": "n" * 5000}
    document["categories"] = [{"id": number} | odd for number in range(1, 200)]
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps(document))
    with pytest.raises(UserError) as caught:
        read_coco(path)
    text = str(caught.value)
    assert len(text) < 4_000
    assert "and 196 categories more" in text
    assert "and 276 more" in text
