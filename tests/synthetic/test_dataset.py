"""The drawn data set: COCO's layout and rules, bodies that are people, files that stay whole."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from hgg.skeleton import JOINTS
from pipeline.base.errors import UserError
from pipeline.base.files import sha256_file
from pipeline.metrics.coco import coco_metrics, load_annotations
from pipeline.settings.data import SyntheticConfig
from pipeline.synthetic.bodies import Angles, Body, build_body
from pipeline.synthetic.clothes import random_clothes
from pipeline.synthetic.dataset import make_dataset
from pipeline.synthetic.figures import Figure, draw_figure
from pipeline.synthetic.scenes import draw_scene

SETTINGS = SyntheticConfig(train_images=24, val_images=6, crowd_share=0.3, far_share=0.3)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("synthetic") / "coco"
    make_dataset(folder, "train2017", "val2017", SETTINGS, processes=1)
    return folder


def annotation_file(root: Path, split: str = "train2017") -> Path:
    return root / "annotations" / f"person_keypoints_{split}.json"


def load(root: Path, split: str = "train2017") -> dict[str, Any]:
    return json.loads(annotation_file(root, split).read_text())


def hashes(root: Path) -> dict[str, str]:
    return {str(p.relative_to(root)): sha256_file(p) for p in root.rglob("*") if p.is_file()}


def straight_body(yaw: float) -> Body:
    """A person at attention; yaw 0 faces the viewer, pi turns the back."""
    zero = np.zeros(2)
    c, s = np.cos(yaw), np.sin(yaw)
    view = np.array(((c, 0, s), (0, 1, 0), (-s, 0, c)))
    return build_body(Angles(zero, zero, zero, zero, zero, zero), view, np.random.default_rng(0))


def figure_of(body: Body) -> Figure:
    clothes = random_clothes(np.random.default_rng(0))
    figure = draw_figure(body, clothes, np.array((80.0, 100.0)), 150.0, (160, 192))
    assert figure is not None
    return figure


def test_the_left_of_a_person_who_faces_us_is_right_in_the_picture_and_swaps_from_behind() -> None:
    for yaw, sign in ((0.0, 1), (np.pi, -1)):
        joints = straight_body(yaw).joints
        for name in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle"):
            left, right = JOINTS.index(f"left_{name}"), JOINTS.index(f"right_{name}")
            assert np.sign(joints[left, 0] - joints[right, 0]) == sign, name


def test_bodies_stand_upright_with_y_down() -> None:
    y = straight_body(0.0).joints[:, 1]
    heads, shoulders, hips, knees, ankles = y[0], y[5:7], y[11:13], y[13:15], y[15:17]
    assert heads < shoulders[0] < hips[0] < knees[0] < ankles[0]
    np.testing.assert_allclose(hips, 0.0, atol=1e-9)


def test_the_face_is_seen_from_the_front_only() -> None:
    front, back = figure_of(straight_body(0.0)).visibility, figure_of(straight_body(np.pi)).visibility
    assert front[:3].tolist() == [2, 2, 2]
    assert back[:3].tolist() == [0, 0, 0]


def test_in_profile_the_far_arm_is_hidden_by_the_torso() -> None:
    visibility = figure_of(straight_body(np.pi / 2)).visibility  # the left side turns away
    far, near = JOINTS.index("left_elbow"), JOINTS.index("right_elbow")
    assert (visibility[far], visibility[near]) == (1, 2)


def test_a_figure_is_painted_where_its_joints_are() -> None:
    figure = figure_of(straight_body(0.0))
    for x, y in figure.joints - figure.corner:
        assert figure.alpha[round(float(y)), round(float(x))] == 1.0
    assert figure.paint.max() > 0
    assert not figure.paint[figure.alpha == 0].any()


def test_a_figure_outside_the_picture_is_none() -> None:
    clothes = random_clothes(np.random.default_rng(0))
    assert draw_figure(straight_body(0.0), clothes, np.array((900.0, 100.0)), 150.0, (160, 192)) is None


def test_annotations_follow_cocos_rules(root: Path) -> None:
    for split in ("train2017", "val2017"):
        content = load(root, split)
        assert set(content) == {"info", "licenses", "images", "annotations", "categories"}
        assert content["categories"][0]["keypoints"] == list(JOINTS)
        images = {image["id"]: image for image in content["images"]}
        assert len({a["id"] for a in content["annotations"]}) == len(content["annotations"])
        for image in images.values():
            picture = cv2.imread(str(root / split / image["file_name"]))
            assert picture is not None
            assert picture.shape == (image["height"], image["width"], 3)
        for row in content["annotations"]:
            check_person(row, images[row["image_id"]])


def check_person(row: dict[str, Any], image: dict[str, Any]) -> None:
    x, y, width, height = row["bbox"]
    assert x >= 0
    assert y >= 0
    assert x + width <= image["width"]
    assert y + height <= image["height"]
    assert 0 < row["area"] <= width * height
    joints = np.reshape(row["keypoints"], (17, 3))
    assert row["num_keypoints"] == (joints[:, 2] > 0).sum()
    assert not joints[joints[:, 2] == 0].any()
    assert joints[:, 0].max() <= image["width"] - 0.5
    assert joints[:, 1].max() <= image["height"] - 0.5
    if row["iscrowd"]:
        assert sum(row["segmentation"]["counts"]) == image["width"] * image["height"]
        assert row["num_keypoints"] == 0


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools with numpy 2
def test_masks_agree_with_areas_and_boxes(root: Path) -> None:
    coco = load_annotations(annotation_file(root))
    for row in coco.anns.values():
        mask = coco.annToMask(row).astype(bool)
        x, y, width, height = row["bbox"]
        assert mask[y : y + height, x : x + width].sum() == mask.sum()
        if row["iscrowd"]:
            assert mask.sum() == row["area"]
        elif row["area"] > 2000:
            # The outline runs through the centres of the border pixels, so half of them is lost.
            assert 0.75 < mask.sum() / row["area"] < 1.05


def test_ground_truth_against_itself_has_ap_one(root: Path) -> None:
    rows = [
        {"image_id": a["image_id"], "category_id": 1, "keypoints": a["keypoints"], "score": 1.0}
        for a in load(root)["annotations"]
        if a["num_keypoints"]
    ]
    metrics = coco_metrics(annotation_file(root), rows)
    assert metrics["AP"] == pytest.approx(1.0)
    assert metrics["AP_M"] == pytest.approx(1.0)
    assert metrics["AP_L"] == pytest.approx(1.0)


def test_every_kind_of_annotation_occurs(root: Path) -> None:
    annotations = load(root)["annotations"]
    flags = {int(v) for a in annotations for v in a["keypoints"][2::3]}
    people = [a["image_id"] for a in annotations if a["num_keypoints"]]
    assert flags == {0, 1, 2}
    assert any(a["iscrowd"] for a in annotations)
    assert any(not a["iscrowd"] and not a["num_keypoints"] for a in annotations)
    assert max(people.count(image) for image in set(people)) >= 3


def test_hidden_joints_belong_to_pixels_of_somebody_nearer() -> None:
    settings = SyntheticConfig(occluder_share=0.0, far_share=0.0, crowd_share=0.0)
    hidden = 0
    for seed in range(12):
        rows = draw_scene(settings, np.random.default_rng(seed)).annotations
        boxes = np.array([row["bbox"] for row in rows]).reshape(-1, 4)
        for index, row in enumerate(rows):
            others = np.delete(boxes, index, axis=0)
            for x, y, flag in np.reshape(row["keypoints"], (17, 3)):
                covered = (others[:, :2] <= (x + 1, y + 1)) & ((x, y) <= others[:, :2] + others[:, 2:])
                hidden += flag == 1 and bool(covered.all(axis=1).any())
    assert hidden > 20


def test_a_picture_depends_on_seed_split_and_number_alone(root: Path, tmp_path: Path) -> None:
    more = SETTINGS.model_copy(update={"train_images": 70, "val_images": 1})
    make_dataset(tmp_path / "more", "train2017", "val2017", more, processes=2)
    for image in load(root)["images"]:
        name = f"train2017/{image['file_name']}"
        assert sha256_file(root / name) == sha256_file(tmp_path / "more" / name)
    other = SETTINGS.model_copy(update={"train_images": 1, "val_images": 1, "seed": 5})
    make_dataset(tmp_path / "other", "train2017", "val2017", other, processes=1)
    first = load(root)["images"][0]["file_name"]
    assert sha256_file(root / "train2017" / first) != sha256_file(tmp_path / "other" / "train2017" / first)
    pictures = [tmp_path / "other" / split for split in ("train2017", "val2017")]
    assert len({sha256_file(next(folder.iterdir())) for folder in pictures}) == 2


def test_a_second_run_draws_nothing(root: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in root.rglob("*")}
    counts = make_dataset(root, "train2017", "val2017", SETTINGS)
    assert [split["drawn"] for split in counts.values()] == [False, False]
    assert before == {p: p.stat().st_mtime_ns for p in root.rglob("*")}


@pytest.mark.parametrize("lost", ["annotations/person_keypoints_val2017.json", "val2017/000001000003.jpg"])
def test_what_is_missing_is_drawn_again_alike(tmp_path: Path, lost: str) -> None:
    settings = SETTINGS.model_copy(update={"train_images": 1})
    make_dataset(tmp_path / "d", "train2017", "val2017", settings, processes=1)
    before = hashes(tmp_path / "d")
    (tmp_path / "d" / lost).unlink()
    counts = make_dataset(tmp_path / "d", "train2017", "val2017", settings, processes=1)
    assert [split["drawn"] for split in counts.values()] == [False, True]
    assert hashes(tmp_path / "d") == before


def test_other_settings_and_foreign_files_are_left_alone(root: Path, tmp_path: Path) -> None:
    before = hashes(root)
    with pytest.raises(UserError, match="seed=0 there, 1 wanted"):
        make_dataset(root, "train2017", "val2017", SETTINGS.model_copy(update={"seed": 1}))
    assert hashes(root) == before
    (tmp_path / "photograph.jpg").write_bytes(b"mine")
    with pytest.raises(UserError, match="not drawn by this command"):
        make_dataset(tmp_path, "train2017", "val2017", SETTINGS)
    assert [p.name for p in tmp_path.iterdir()] == ["photograph.jpg"]
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="not drawn by this command"):
        make_dataset(tmp_path / "file", "train2017", "val2017", SETTINGS)
    with pytest.raises(UserError, match="two different splits"):
        make_dataset(tmp_path / "new", "same", "same", SETTINGS)


def test_an_unreadable_marker_is_a_user_error(tmp_path: Path) -> None:
    (tmp_path / "synthetic.json").write_text("[1]")
    with pytest.raises(UserError, match="not a marker"):
        make_dataset(tmp_path, "train2017", "val2017", SETTINGS)
