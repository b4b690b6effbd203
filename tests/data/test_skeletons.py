"""The skeleton of a run that names none, or a file."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from hgg.skeleton import COCO, CROWDPOSE
from hgg.skeleton_file import SkeletonFile, completed
from pipeline.base.errors import UserError
from pipeline.data.skeletons import settled
from pipeline.settings.config import RunConfig
from pipeline.settings.load import load_config, print_config

OX = ["Nose", "L_Eye", "R_Eye", "Tail"]


def _config(root: Path, *categories: dict[str, Any], **data: Any) -> RunConfig:
    file = root / "annotations" / "person_keypoints_train2017.json"
    file.parent.mkdir(exist_ok=True)
    content = {"info": {"categories": 1}, "images": [], "annotations": [], "categories": list(categories)}
    file.write_text(json.dumps(content))
    return RunConfig.model_validate({"run_root": root / "run", "data": {"root": root, **data}})


def _category(number: int, name: str, joints: list[str], skeleton: Any = None) -> dict[str, Any]:
    return {"id": number, "name": name, "keypoints": joints} | ({"skeleton": skeleton} if skeleton else {})


def test_the_annotation_file_s_own_joints_and_what_is_assumed_of_them(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = _config(tmp_path, _category(7, "ox", OX, [[1, 2], [1, 3], [9, 1]]))
    with caplog.at_level(logging.INFO):
        found = settled(config, anew=True)
    assert found.joints.names == tuple(OX)
    assert found.joints.name == "ox"
    assert found.joints.limbs == ((0, 1), (0, 2), (2, 3))
    assert found.joints.flip_index == (0, 2, 1, 3)
    said = "\n".join(record.getMessage() for record in caplog.records)
    assert "4 joints: Nose, L_Eye, R_Eye, Tail" in said
    assert "mirrored by their names: L_Eye and R_Eye" in said
    assert "1 of the category's links name no two joints: left out" in said
    assert "joined R_Eye and Tail" in said
    assert "OKS's constant of each joint is 0.067" in said
    assert settled(found, anew=True) == found


def test_links_from_0(tmp_path: Path) -> None:
    config = _config(tmp_path, _category(1, "ox", OX, [[0, 1], [0, 2], [0, 3]]))
    assert settled(config, anew=True).joints.limbs == ((0, 1), (0, 2), (0, 3))


@pytest.mark.parametrize(("skeleton", "name"), [(COCO, "coco"), (CROWDPOSE, "crowdpose")])
def test_known_joints_in_any_order_are_the_known_skeleton(skeleton: Any, name: str, tmp_path: Path) -> None:
    names = [joint.replace("_", " ").title() for joint in reversed(skeleton.names)]
    config = _config(tmp_path, _category(2, "person", names), _category(3, "ox", OX))
    assert settled(config, anew=True).skeleton == name


def test_several_skeletons_need_a_choice(tmp_path: Path) -> None:
    both = _category(1, "ox", OX), _category(4, "cart", ["wheel", "shaft"])
    with pytest.raises(
        UserError, match=r"'ox' \(id 1\): 4 joints; 'cart' \(id 4\): 2 joints: choose with"
    ) as e:
        settled(_config(tmp_path, *both), anew=True)
    assert "data.categories=[NAME]" in str(e.value)
    for choice in ("cart", 4):
        found = settled(_config(tmp_path, *both, categories=[choice]), anew=True)
        assert found.joints.names == ("wheel", "shaft")
    alike = both[0] | {"id": 9, "name": "cow"}
    assert settled(_config(tmp_path, both[0], alike), anew=True).joints.names == tuple(OX)


def test_joints_that_are_none_end_with_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"category 'ox' \(id 1\): names: 'a' is there twice"):
        settled(_config(tmp_path, _category(1, "ox", ["a", "a"])), anew=True)


def test_later_jobs_go_by_the_records(tmp_path: Path) -> None:
    config = _config(tmp_path, _category(1, "ox", OX))
    made = config.run_root / "preprocess" / "config.yaml"
    made.parent.mkdir(parents=True)
    made.write_text(print_config(settled(config, anew=True)))
    other = _config(tmp_path, _category(1, "ox", ["a", "b", "c"]))
    assert settled(other, anew=False).joints.names == tuple(OX)
    assert settled(other, anew=True).joints.names == ("a", "b", "c")
    (tmp_path / "annotations" / "person_keypoints_train2017.json").unlink()
    assert settled(config, anew=True).joints.names == tuple(OX)


def test_without_data_it_is_the_format_s_own(tmp_path: Path) -> None:
    for name, skeleton in (("coco", "coco"), ("ochuman", "coco"), ("crowdpose", "crowdpose")):
        config = RunConfig.model_validate({"run_root": tmp_path, "data": {"root": tmp_path, "format": name}})
        assert settled(config, anew=False).skeleton == skeleton
        assert config.model.skeleton == skeleton


def test_a_file_is_read_once_and_printed_whole(tmp_path: Path) -> None:
    file = tmp_path / "ox.yaml"
    file.write_text(
        "# An ox.\nnames: [nose, left eye, right eye]\nlimbs:\n- [nose, left eye]\n- [nose, right eye]\n"
    )
    config = load_config([], [f"skeleton={file}"])
    assert config.skeleton == completed(
        SkeletonFile(
            name="ox",
            names=("nose", "left eye", "right eye"),
            limbs=(("nose", "left eye"), ("nose", "right eye")),
        )
    )
    file.unlink()
    printed = tmp_path / "printed.yaml"
    printed.write_text(print_config(config))
    assert load_config([printed]) == config


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("names: [a, b]\nlimb: []", "limb: not a field of a skeleton, which has name, source, names"),
        (
            "names: [a, b]\nmirrored: [[a, c]]\nsigmas: [0.1]",
            "mirrored: 'c' is none of the names; sigmas: 1 for 2",
        ),
        ("limbs: []", "names: field required"),
        ("names: [a, b", "not YAML"),
    ],
)
def test_mistakes_of_a_file_are_in_one_line(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(text)
    with pytest.raises(UserError) as caught:
        load_config([], [f"skeleton={tmp_path / 's.yaml'}"])
    assert str(caught.value).startswith(f"{tmp_path / 's.yaml'}: ")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_and_a_skeleton_that_is_none() -> None:
    with pytest.raises(
        UserError, match=r"skeleton=.*cocoo: no such file; skeleton takes auto, coco, crowdpose"
    ):
        load_config([], ["skeleton=cocoo"])
    with pytest.raises(UserError, match=r"skeleton.*names: 'a' is there twice"):
        load_config([], ["skeleton.names=[a,a]"])
    with pytest.raises(UserError, match="skeleton"):
        load_config([], ["skeleton=5"])


def test_the_file_of_the_page_is_one(repository: Path, tmp_path: Path) -> None:
    page = (repository / "docs" / "skeletons.md").read_text()
    (tmp_path / "ox.yaml").write_text(page.split("```yaml\n")[1].split("```")[0])
    config = load_config([], [f"skeleton={tmp_path / 'ox.yaml'}"])
    assert isinstance(config.skeleton, SkeletonFile)
    fields = SkeletonFile.model_fields
    assert config.skeleton.model_fields_set == set(fields)
    assert all(f"\n| {field}" in page for field in ("names", "mirrored", "limbs", "sigmas", "order", "tree"))
