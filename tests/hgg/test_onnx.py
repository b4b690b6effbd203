"""ONNX files: the network by ONNX Runtime as by PyTorch, all settings in the file, and what is refused."""

import base64
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import hgg
from hgg.config import InferenceConfig, ModelConfig
from hgg.model import HGG
from hgg.onnx_file import is_whole, save_onnx, sealed
from hgg.onnx_model import OnnxNetwork, read_model, settings_in
from hgg.weights import save_model
from tests.cases.core import tiny_model
from tests.cases.exported import assert_agrees, decided, expected_of, pictures, run_file

NETWORK = {"stacks": 1, "depth": 1, "visual_dim": 4}


@pytest.fixture(scope="module")
def model() -> HGG:
    # Of nearly flat maps rounding decides where a missing joint is highest; those of photographs are not so.
    grouping = {"cut": 0.45, "fill_missing": False}
    return decided(tiny_model(3, network=NETWORK, grouping=grouping)).eval()


@pytest.fixture(scope="module")
def file(model: HGG, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the network alone, which is written in seconds."""
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    save_onnx(path, model, 0)
    return path


@pytest.mark.parametrize(("images", "rows", "columns"), [(1, 64, 64), (3, 64, 64), (2, 64, 128), (1, 96, 40)])
def test_any_number_of_pictures_of_any_size(
    model: HGG, file: Path, images: int, rows: int, columns: int
) -> None:
    shown = pictures(images, rows, columns, inside=False)
    assert_agrees(run_file(file, shown), expected_of(model, shown, 0))


def test_what_a_file_says_of_itself(model: HGG, file: Path) -> None:
    import onnxruntime

    told = onnxruntime.InferenceSession(str(file)).get_modelmeta().custom_metadata_map
    assert ModelConfig.model_validate(json.loads(told["config"])) == model.config
    about, joints = json.loads(told["about"]), model.config.joints
    assert about["joints"]["names"] == [*joints.names]
    assert about["joints"]["flipped"] == [*joints.flip_index]
    assert [tuple(limb) for limb in about["joints"]["limbs"]] == [*joints.limbs]
    assert about["pictures"] | {"fit": ""} == {
        "colours": "RGB, 0 to 1, no other normalisation",
        "side": 64,
        "sides are multiples of": 8,
        "sides are at least": 8,
        "fit": "",
    }
    assert about["candidate threshold"] == 0.2
    assert settings_in(file) == model.config
    sides = [each.shape for each in onnxruntime.InferenceSession(str(file)).get_inputs()]
    assert sides == [["B", 3, "8*rows", "8*columns"]]


def test_a_file_names_no_folder_of_who_wrote_it(file: Path, repository: Path) -> None:
    assert str(repository).encode() not in file.read_bytes()
    assert b"site-packages" not in file.read_bytes()


def test_three_lines_give_the_same_people(model: HGG, file: Path, tmp_path: Path) -> None:
    own = tmp_path / "model.pt"
    save_model(own, model)
    picture = np.random.default_rng(0).integers(0, 255, (90, 120, 3), dtype=np.uint8)
    # Mirrored too, and at a size that the network cannot halve as it comes.
    views = InferenceConfig(flip=True, scales=(0.6, 1.0))
    ways: list[dict[str, Any]] = [{}, {"inference": views}]
    for options in ways:
        expected = hgg.load(own, device="cpu", **options)(picture, min_score=0.0)
        people = hgg.load(file, **options)(picture, min_score=0.0)
        assert len(people) == len(expected) > 0
        np.testing.assert_allclose(people.scores, expected.scores, atol=1e-5)
        np.testing.assert_allclose(people.keypoints, expected.keypoints, atol=1e-2)
    # AE's assignment of tags, which lie on a line, has ties that a map's last bit decides.
    assert len(hgg.load(file, grouping="ae")(picture, min_score=0.0)) > 0
    rounds = [hgg.load(each)(picture).explain().steps for each in (own, file)]
    assert [[step.member for step in steps] for steps in rounds[:1]] == [[step.member for step in rounds[1]]]
    assert len(rounds[0]) > 0


def test_settings_of_what_comes_after_the_network_may_differ(model: HGG, file: Path) -> None:
    values = model.config.model_dump()
    values["grouping"]["cut"], values["network"]["input_size"] = 0.7, 128
    read = read_model(file, ModelConfig.model_validate(values))
    assert (read.config.grouping.cut, read.config.network.input_size) == (0.7, 128)
    assert isinstance(read.network, OnnxNetwork)
    for name, value in model.grouping.state_dict().items():
        assert read.grouping.state_dict()[name].equal(value), name


@pytest.mark.parametrize(
    ("group", "key", "value", "said"),
    [
        ("network", "channels", 16, "network.channels is 8 in the file and 16 here"),
        ("grouping", "hidden", 32, "grouping.hidden is 16 in the file and 32 here"),
    ],
)
def test_settings_of_other_weights_are_refused(
    model: HGG, file: Path, group: str, key: str, value: int, said: str
) -> None:
    values = model.config.model_dump()
    values[group][key] = value
    with pytest.raises(ValueError, match=said):
        read_model(file, ModelConfig.model_validate(values))


def _flipped(data: bytes) -> bytes:
    middle = len(data) // 3
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def _metadata(change: Callable[[dict[str, str]], None]) -> Callable[[bytes], bytes]:
    """A file with other metadata and the checksum of that: as somebody would write it who means it."""

    def changed(data: bytes) -> bytes:
        import onnx

        proto = onnx.load_from_string(data)
        told = {each.key: each.value for each in proto.metadata_props}
        change(told)
        onnx.helper.set_model_props(proto, told)
        if "sha256" not in told:
            return proto.SerializeToString()
        told["sha256"] = "0" * 64
        onnx.helper.set_model_props(proto, told)
        return sealed(proto.SerializeToString())

    return changed


def _foreign(_data: bytes) -> bytes:
    import onnx
    from onnx import TensorProto, helper

    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("a", "b")]
    graph = helper.make_graph([helper.make_node("Relu", ["a"], ["b"])], "g", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    model.ir_version = 10
    onnx.checker.check_model(model)
    return model.SerializeToString()


def _with_foreign_graph(data: bytes) -> bytes:
    import onnx

    ours, other = onnx.load_from_string(data), onnx.load_from_string(_foreign(data))
    told = {each.key: each.value for each in ours.metadata_props}
    onnx.helper.set_model_props(other, told | {"sha256": "0" * 64})
    return sealed(other.SerializeToString())


def _with_weights_of_a_file(data: bytes) -> bytes:
    import onnx

    proto = onnx.load_from_string(data)
    weight = next(each for each in proto.graph.initializer if len(each.raw_data) > 100)
    for key, value in (("location", "beside.bin"), ("offset", "0"), ("length", str(len(weight.raw_data)))):
        entry = weight.external_data.add()
        entry.key, entry.value = key, value
    weight.ClearField("raw_data")
    weight.data_location = onnx.TensorProto.EXTERNAL
    return proto.SerializeToString()


def test_no_other_file_is_read(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "beside.bin").write_bytes(bytes(1 << 16))
    (tmp_path / "other.onnx").write_bytes(_with_weights_of_a_file(file.read_bytes()))
    with pytest.raises(ValueError, match="External data path"):
        read_model(tmp_path / "other.onnx")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda data: b"", "not an ONNX file, cut off"),
        (lambda data: b"PK\x03\x04" + data, "not an ONNX file, cut off"),
        (lambda data: data[: len(data) // 2], "not an ONNX file, cut off"),
        (_flipped, "altered|not an ONNX file"),
        (_foreign, "an ONNX file of something else than hgg: its metadata has no format"),
        (_with_foreign_graph, r"its graph takes \['a'\] and gives \['b'\]: not hgg's"),
        (_metadata(lambda told: told.__delitem__("weights")), "its metadata has no weights"),
        (_metadata(lambda told: told.update(format="2")), "format 2, this version of hgg reads 1"),
        (_metadata(lambda told: told.update(config="{")), "the file was altered"),
        (_metadata(lambda told: told.update(config="[" * 100_000)), "the file was altered"),
        (
            _metadata(lambda told: told.update(config='{"grouping": {"hidden": 1e9}}')),
            "grouping.hidden=1",
        ),
        (_metadata(lambda told: told.update(weights="AAAA")), r"ends behind the 3 bytes that are there"),
        (_metadata(lambda told: told.update(grouping="[]")), "bytes of weights are nobody's"),
        (_metadata(lambda told: told.update(grouping="3")), "have no table"),
        (_metadata(lambda told: told.update(grouping='[["a", "float32", [-1]]]')), r"a is float32 \[-1\]"),
        (_metadata(lambda told: told.update(grouping='[["a"]]')), "the file was altered"),
        (_metadata(lambda told: told.update(grouping="[]", weights="")), "another architecture"),
    ],
)
def test_a_file_that_is_not_whole_or_not_ours_is_refused_in_one_line(
    file: Path, tmp_path: Path, change: Callable[[bytes], bytes], said: str
) -> None:
    path = tmp_path / "other.onnx"
    path.write_bytes(change(file.read_bytes()))
    with pytest.raises(ValueError, match=said) as raised:
        read_model(path)
    assert str(raised.value).startswith(f"{path}: ")
    assert "\n" not in str(raised.value)


def test_a_checksum_finds_any_bit(file: Path) -> None:
    data = file.read_bytes()
    assert is_whole(data)
    for place in range(0, len(data), len(data) // 50):
        other = data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :]
        assert not is_whole(other)


def test_weights_that_are_no_numbers_are_refused(file: Path, tmp_path: Path) -> None:
    def broken(told: dict[str, str]) -> None:
        data = np.frombuffer(base64.b64decode(told["weights"]), "<f4").copy()
        data[0] = np.nan
        told["weights"] = base64.b64encode(data.tobytes()).decode()

    path = tmp_path / "nan.onnx"
    path.write_bytes(_metadata(broken)(file.read_bytes()))
    with pytest.raises(ValueError, match="holds values that are not finite"):
        read_model(path)


def test_what_is_missing_is_said(
    model: HGG, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match=r"absent\.onnx: no such file"):
        read_model(tmp_path / "absent.onnx")
    with pytest.raises(ValueError, match="cannot be read"):
        (tmp_path / "folder.onnx").mkdir()
        read_model(tmp_path / "folder.onnx")
    for package in ("onnx", "onnxruntime"):
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ValueError, match=r"needs ONNX Runtime: pip install 'hgg\[export\]'"):
        read_model(file)
    with pytest.raises(ValueError, match=r"needs onnx and onnxscript: pip install 'hgg\[export\]'"):
        save_onnx(tmp_path / "new.onnx", model, 0)
    assert not (tmp_path / "new.onnx").exists()


def test_a_model_that_groups_by_tags_needs_no_weights_of_grouping(tmp_path: Path) -> None:
    path = tmp_path / "ae.onnx"
    save_onnx(path, tiny_model(3, network=NETWORK, grouping={"decoder": "associative"}).eval(), 0)
    picture = np.random.default_rng(0).integers(0, 255, (90, 120, 3), dtype=np.uint8)
    assert len(hgg.load(path)(picture, min_score=0.0)) > 0
    with torch.no_grad():
        assert read_model(path)(torch.zeros(1, 3, 64, 64)).heatmaps.shape == (1, 1, 17, 16, 16)
