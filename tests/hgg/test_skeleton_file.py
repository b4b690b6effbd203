"""Skeletons as files: what is checked, what is derived, and that a model carries its own."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from hgg.config import ModelConfig, NetworkConfig
from hgg.model import HGG
from hgg.skeleton import COCO, graph_links, skeleton_of
from hgg.skeleton_file import (
    DEFAULT_SIGMA,
    MOST_JOINTS,
    SkeletonFile,
    completed,
    mirrored_by_name,
    shipped,
)
from hgg.weights import load_model, save_model

COW = SkeletonFile(
    name="cow",
    names=("nose", "left_ear", "right_ear", "withers", "tail"),
    limbs=(("nose", "left_ear"), ("nose", "right_ear"), ("nose", "withers"), ("withers", "tail")),
)


def test_every_mistake_is_told_at_once() -> None:
    with pytest.raises(ValidationError) as caught:
        SkeletonFile(
            names=("a", "a", "b", "c", "d"),
            mirrored=(("a", "b"), ("b", "c"), ("x", "c")),
            limbs=(("a", "b"), ("c", "d"), ("d", "d")),
            sigmas=(0.1,),
            order=("a",),
            tree=(("a", "b"),),
        )
    said = caught.value.errors()[0]["msg"]
    for mistake in (
        "names: 'a' is there twice",
        "mirrored: 'x' is none of the names",
        "mirrored: 'b' is in pairs with 'a' and 'c'",
        "limbs: 'd' is paired with itself",
        "limbs: do not connect all joints: a, a, b | c, d",
        "tree: do not connect all joints",
        "sigmas: 1 for 5 joints",
        "order: must name every joint once",
    ):
        assert mistake in said


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"names": ("a",)}, "names"),
        ({"names": tuple(map(str, range(MOST_JOINTS + 1)))}, "names"),
        ({"names": ("a", "b"), "sigmas": (0.1, 0.0)}, "sigmas"),
        ({"names": ("a", "b"), "sigmas": (0.1, float("nan"))}, "sigmas"),
        ({"names": ("a", "b"), "limb": ()}, "limb"),
        ({"limbs": ()}, "names"),
    ],
)
def test_what_is_out_of_bounds_is_named(values: dict[str, Any], key: str) -> None:
    with pytest.raises(ValidationError) as caught:
        SkeletonFile.model_validate(values)
    assert caught.value.errors()[0]["loc"][0] == key


def test_what_a_file_leaves_out_is_derived() -> None:
    cow = skeleton_of(COW)
    assert cow.flip_index == (0, 2, 1, 3, 4)
    assert cow.sigmas == (DEFAULT_SIGMA,) * 5
    assert pytest.approx(sum(COCO.sigmas) / COCO.count, abs=5e-4) == DEFAULT_SIGMA
    assert cow.tree == ((0, 1), (0, 2), (0, 3), (3, 4))
    assert cow.order == (0, 1, 2, 3, 4)
    links = [graph_links(name, cow) for name in ("tree", "bypass", "extended", "full")]
    assert links[1] - links[0] == {(1, 2), (1, 3), (2, 3), (0, 4)}
    assert links[2] - links[1] == set()  # the ears are two steps apart already
    assert len(links[3]) == 10


def test_limbs_in_a_circle_have_a_tree_and_no_limbs_a_chain() -> None:
    ring = SkeletonFile(names=("a", "b", "c"), limbs=(("a", "b"), ("b", "c"), ("c", "a")))
    assert skeleton_of(ring).tree == ((0, 1), (0, 2))
    assert skeleton_of(SkeletonFile(names=("a", "b", "c"))).limbs == ((0, 1), (1, 2))


@pytest.mark.parametrize(
    ("names", "pairs"),
    [
        (("LeftEye", "RightEye"), 1),
        (("eye_L", "eye_R", "L", "R"), 2),
        (("l-hip", "hip right"), 1),
        (("left_eye", "left_ear"), 0),
        (("clef", "cleft", "bright"), 0),
        (("leg_1", "leg_2"), 0),
    ],
)
def test_mirrored_pairs_by_names(names: tuple[str, ...], pairs: int) -> None:
    assert len(mirrored_by_name(names)) == pairs


def test_completing_twice_changes_nothing_and_what_is_given_stays() -> None:
    whole = completed(COW)
    assert completed(whole) == whole
    assert all(value is not None for value in whole.model_dump().values())
    given = COW.model_copy(update={"tree": tuple(reversed(whole.tree or ())), "extended": ()})
    assert completed(given).tree == given.tree
    assert completed(given).extended == ()


def test_the_files_that_come_along_are_json_too_and_complete_but_for_bypass() -> None:
    for name in ("coco", "crowdpose"):
        file = shipped(name)
        assert file.name == name
        assert {key for key, value in file if value is None} == {"bypass"}
        assert len(file.source) > 50


def test_a_model_carries_its_skeleton_whole(tmp_path: Path) -> None:
    network = NetworkConfig(input_size=64, stacks=1, channels=8, increase=0, depth=1, visual_dim=4)
    config = ModelConfig.model_validate({"network": network, "skeleton": COW.model_dump(mode="json")})
    assert config.skeleton == completed(COW)
    path = tmp_path / "model.pt"
    save_model(path, HGG(config))
    loaded = load_model(path)
    assert loaded.config == config
    assert loaded.config.joints.names == COW.names
    assert loaded(torch.zeros(1, 3, 64, 64)).heatmaps.shape[2] == 5
    with pytest.raises(ValueError, match=r"other joints: 5 of cow \(nose, .*\) in the file, 17 of coco"):
        load_model(path, ModelConfig(network=network))


def test_a_model_file_with_too_much_in_its_skeleton_is_refused(tmp_path: Path) -> None:
    network = NetworkConfig(input_size=64, stacks=1, channels=8, increase=0, depth=1, visual_dim=4)
    save_model(tmp_path / "model.pt", HGG(ModelConfig(network=network)))
    content = torch.load(tmp_path / "model.pt", weights_only=True)
    whole = json.loads(completed(COW).model_dump_json())
    for skeleton in (
        whole | {"limbs": [["nose", "tail"] for _ in range(5000)]},
        whole | {"limbs": [[["nose"]]]},
        whole | {"names": [["nose"], "tail"]},
        whole | {"strange": 1},
        "cow",
    ):
        content["config"] = content["config"] | {"skeleton": skeleton}
        torch.save(content, tmp_path / "altered.pt")
        with pytest.raises(ValueError, match=r"altered\.pt: its settings are"):
            load_model(tmp_path / "altered.pt")
