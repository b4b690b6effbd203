"""The whole of HGG as one graph: by ONNX Runtime and by torch.export as by PyTorch, and photographs."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import hgg
from hgg.exported import MAPS, PEOPLE, save_program
from hgg.model import HGG
from hgg.onnx_file import save_onnx
from hgg.onnx_model import read_model
from hgg.pictures import decode_picture, encode_jpeg
from hgg.predictor import Predictor
from hgg.weights import load_model
from tests.cases.core import tiny_model
from tests.cases.exported import (
    NUMBER,
    PADDED,
    assert_agrees,
    decided,
    expected_of,
    open_file,
    photograph,
    pictures,
    run_file,
    run_session,
)

HOURGLASS = {"stacks": 1, "depth": 1, "visual_dim": 4}
LITE0 = {"backbone": "efficientnet_lite0", "channels": 8, "visual_dim": 4, "norm": "batch"}
MODELS: dict[str, dict[str, Any]] = {
    "hourglass": {"network": HOURGLASS, "grouping": {"cut": 0.3}},
    "norm, two stacks": {
        "network": {"norm": "batch", "depth": 1},
        "grouping": {"macro_input": "spread", "cut": 0.1},
    },
    "veto": {"network": HOURGLASS, "grouping": {"veto": 0.02, "macro_input": "spread", "cut": 0.1}},
    "distance": {"network": HOURGLASS, "grouping": {"proximity": "distance", "interaction": "fc"}},
    "score": {
        "network": HOURGLASS | {"visual_dim": 0},
        "grouping": {"score_feature": True, "max_rounds": 2, "macro_score_from": 4},
    },
    "no macro score": {"network": HOURGLASS, "grouping": {"macro_score": False, "graph": "tree"}},
    "efficientnet_lite0": {"network": LITE0},
}
SHOWN = [(1, 64, 64), (3, 64, 128), (2, 128, 64)]


def _model(name: str) -> HGG:
    model = decided(tiny_model(5, **MODELS[name])).eval()
    if name == "efficientnet_lite0":
        # As drawn: with the weights of its 50 layers doubled the last bit of a picture decides everything.
        for weight in model.network.encoder.parameters():
            weight.data *= 0.5 if weight.dim() > 1 else 1
    return model


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_the_whole_by_onnx_runtime(name: str, tmp_path: Path) -> None:
    model = _model(name)
    save_onnx(tmp_path / "whole.onnx", model, NUMBER)
    merged = 0
    for images, rows, columns in SHOWN:
        shown = pictures(images, rows, columns, inside=True)
        expected = expected_of(model, shown, NUMBER)
        found = run_file(tmp_path / "whole.onnx", shown)
        assert_agrees(found, expected)
        assert (found["heatmaps"][:, :, : rows // 16] == 0).all()
        for part in PADDED:
            assert (found[part][found["member"] < 0] == 0).all()
        merged += int((expected["member"] != torch.arange(NUMBER)).logical_and(expected["member"] >= 0).sum())
    assert merged > 0
    nobody = pictures(2, 64, 64, inside=True)
    nobody["inside"][:] = 0
    found = run_file(tmp_path / "whole.onnx", nobody)
    assert not found["found"].any()
    assert (found["member"] == -1).all()


@pytest.mark.slow
def test_more_candidates_than_there_is_room_for(tmp_path: Path) -> None:
    model = _model("hourglass")
    save_onnx(tmp_path / "few.onnx", model, 5)
    shown = pictures(2, 64, 64, inside=True)
    found = run_file(tmp_path / "few.onnx", shown)
    assert (found["found"] > 5).all()
    assert_agrees(found, expected_of(model, shown, 5))


@pytest.mark.slow
@pytest.mark.parametrize("number", [0, NUMBER], ids=["network", "whole"])
def test_half_precision_is_of_the_weights_alone(number: int, tmp_path: Path) -> None:
    model = _model("hourglass")
    for half in (False, True):
        save_onnx(tmp_path / f"{half}.onnx", model, number, half=half)
    whole, rounded = (read_model(tmp_path / f"{half}.onnx") for half in (False, True))
    assert (tmp_path / "True.onnx").stat().st_size < (tmp_path / "False.onnx").stat().st_size
    picture = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        maps, expected = rounded(picture), whole(picture)
    assert 0 < (maps.heatmaps - expected.heatmaps).abs().max() < 1e-2
    for name, value in whole.grouping.state_dict().items():
        torch.testing.assert_close(rounded.grouping.state_dict()[name], value, rtol=1e-3, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("half", [False, True])
@torch.no_grad()
def test_a_program_of_torch_export(half: bool, tmp_path: Path) -> None:
    model = _model("hourglass")
    save_program(tmp_path / "whole.pt2", model, NUMBER, half=half)
    told = {"about.json": "", "config.json": ""}
    program = torch.export.load(tmp_path / "whole.pt2", extra_files=told).module()
    assert json.loads(told["about.json"])["candidates"] == NUMBER
    assert json.loads(told["config.json"]) == model.config.model_dump(mode="json")
    for images, rows, columns in SHOWN:
        shown = pictures(images, rows, columns, inside=True)
        found = program(*shown.values())
        if half:
            expected = expected_of(model, shown, NUMBER)
            torch.testing.assert_close(found[0], expected["heatmaps"], rtol=0.02, atol=0.02)
        else:
            by_name = {name: each.numpy() for name, each in zip(MAPS + PEOPLE, found, strict=True)}
            assert_agrees(by_name, expected_of(model, shown, NUMBER))


@pytest.mark.slow
def test_photographs_have_the_same_people(shared_data: Path, repository: Path, tmp_path: Path) -> None:
    """The model that comes along, on 50 photographs: as docs/export.md states."""
    own = repository / "docs" / "models" / "lite0_hgg.pt"
    model = load_model(own)
    save_onnx(tmp_path / "lite0.onnx", model)
    files = sorted((shared_data / "coco_small" / "val2017").glob("*.jpg"))[:50]
    assert len(files) == 50
    by_file, by_onnx = hgg.load(own, device="cpu"), hgg.load(tmp_path / "lite0.onnx")
    session, people = open_file(tmp_path / "lite0.onnx"), 0
    for file in files:
        picture = decode_picture(file.read_bytes())
        expected, found = by_file(picture, min_score=0.0), by_onnx(picture, min_score=0.0)
        assert len(found) == len(expected), file
        people += len(found)
        np.testing.assert_allclose(found.scores, expected.scores, atol=1e-4)
        np.testing.assert_allclose(found.keypoints[..., :2], expected.keypoints[..., :2], atol=1e-2)
        # And those of the graph itself, who are grouped without anything of this project.
        predictor = Predictor(model)
        candidates = predictor.detect([picture]).candidates
        clusters, number = predictor.clusters_of(candidates, "hgg"), int(candidates.valid.sum())
        graph = run_session(session, photograph(model, picture))
        assert graph["found"].tolist() == [number]
        np.testing.assert_array_equal(graph["member"][0, :number], clusters.member[0, :number])
        np.testing.assert_allclose(
            graph["confidence"][0, :number], clusters.confidence[0, :number], atol=1e-4
        )
        np.testing.assert_allclose(graph["xy"][0, :number], candidates.xy[0, :number], atol=1e-2)
    assert people > 100


@pytest.mark.slow
def test_the_example_of_the_document_runs_as_it_stands(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model = _model("hourglass")
    save_onnx(tmp_path / "hgg.onnx", model, 60)
    noise = np.random.default_rng(0).integers(0, 255, (90, 120, 3), dtype=np.uint8)
    (tmp_path / "photo.jpg").write_bytes(encode_jpeg(noise, 90))
    lines = (repository / "docs" / "export.md").read_text(encoding="utf-8").partition("```python\n")[2]
    names: dict[str, Any] = {}
    exec(lines.partition("```")[0], names)
    predictor = Predictor(model)
    found = predictor.detect([decode_picture((tmp_path / "photo.jpg").read_bytes())])
    np.testing.assert_array_equal(names["given"]["inside"][0, 0], _inside(model, 120, 90))
    (expected,) = predictor.everybody(found, predictor.clusters_of(found.candidates, "hgg"))
    scores = sorted((score for score, _ in names["people"]), reverse=True)
    np.testing.assert_allclose(scores, expected.score, atol=1e-5)
    best, joints = max(names["people"], key=lambda person: person[0])
    assert best == scores[0]
    for joint, xy in joints.items():
        place = model.config.joints.names.index(joint)
        np.testing.assert_allclose(xy, expected.keypoints[0, place, :2], atol=0.05)


def _inside(model: HGG, width: int, height: int) -> np.ndarray:
    return photograph(model, np.zeros((height, width, 3), np.uint8))["inside"][0, 0].numpy()
