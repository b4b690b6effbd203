"""What an encoder begins with: from a folder, a file or a hub, and each thing that may be wrong with it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from hgg.config import NetworkConfig
from hgg.encoder_weights import first_weights
from pipeline.base.provenance import REPOSITORY
from tests.cases.encoders import DEVIATION, MEAN, SMALL, encoder_config, hub_of, publish, timm_or_skip

pytest.importorskip("transformers")

STEM = "embedder.embedder.convolution.weight"


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Tensor]]:
    folder = tmp_path_factory.mktemp("published")
    return folder, publish(folder)


@pytest.mark.parametrize("form", ["folder", "safetensors", "torch", "checkpoint"])
def test_the_forms_that_weights_come_in(
    published: tuple[Path, dict[str, Tensor]], tmp_path: Path, form: str
) -> None:
    folder, weights = published
    torch.save(weights, tmp_path / "torch.pth")
    torch.save({"epoch": 3, "state_dict": weights}, tmp_path / "checkpoint.bin")
    places = {
        "folder": folder,
        "safetensors": folder / "model.safetensors",
        "torch": tmp_path / "torch.pth",
        "checkpoint": tmp_path / "checkpoint.bin",
    }
    found = first_weights(encoder_config(weights=str(places[form])))
    assert found.drawn == []
    for name, value in weights.items():
        if name.startswith("resnet."):
            assert torch.equal(found.state[f"encoder.{name.removeprefix('resnet.')}"], value), name
    mean = MEAN if form == "folder" else [0.485, 0.456, 0.406]
    assert found.state["mean_3"].tolist() == pytest.approx(mean)
    assert (found.state["deviation_3"].tolist() == pytest.approx(DEVIATION)) == (form == "folder")


def test_norms_of_maps_that_nothing_published_has_are_drawn_and_named(tmp_path: Path) -> None:
    publish(tmp_path, "convnextv2", colours=False)
    found = first_weights(encoder_config("convnextv2", weights=str(tmp_path)))
    assert found.drawn
    assert all(name.startswith("hidden_states_norms") for name in found.drawn)


def _complaint(**changes: object) -> str:
    with pytest.raises(ValueError) as caught:
        first_weights(encoder_config(**changes))  # pyrefly: ignore[bad-argument-type]
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_weights_that_are_not_this_encoder_s_are_refused(
    published: tuple[Path, dict[str, Tensor]], tmp_path: Path
) -> None:
    folder, weights = published
    wider = SMALL["resnet"] | {"hidden_sizes": [8, 16, 24, 40]}
    told = _complaint(weights=str(folder), encoder=wider)
    assert told.startswith(f"network.weights={folder}: of other settings than here: ")
    assert told.endswith(": set network.encoder.hidden_sizes=[8,16,24,32]")
    file = str(folder / "model.safetensors")
    assert "have other shapes; set network.encoder" in _complaint(weights=file, encoder=wider)
    assert "of backbone=resnet, which is convnextv2 here" in _complaint(
        kind="convnextv2", weights=str(folder)
    )
    torch.save({STEM: weights[f"resnet.{STEM}"]}, tmp_path / "part.pt")
    assert "of the numbers of backbone=resnet are not there" in _complaint(weights=str(tmp_path / "part.pt"))
    (tmp_path / "text.safetensors").write_text("no weights")
    assert "no file of safetensors" in _complaint(weights=str(tmp_path / "text.safetensors"))
    (tmp_path / "text.pt").write_text("no weights")
    assert "not a checkpoint" in _complaint(weights=str(tmp_path / "text.pt"))
    assert "no such file or folder, and no name on the Hugging Face hub" in _complaint(weights="resnet.pt")
    (tmp_path / "empty").mkdir()
    assert str(tmp_path / "empty") in _complaint(weights=str(tmp_path / "empty"))


FETCH = """
import sys, torch
from hgg.config import NetworkConfig
from hgg.config import NetworkConfig
from hgg.encoder_weights import first_weights
try:
    found = first_weights(NetworkConfig.model_validate_json(sys.argv[1]))
    print(len(found.state), found.drawn, found.state["mean_3"].tolist())
except ValueError as error:
    print(error)
"""


def _fetched(home: Path, **variables: str) -> "subprocess.CompletedProcess[str]":
    config = encoder_config(weights="made-up/tiny").model_dump_json()
    return subprocess.run(
        [sys.executable, "-c", FETCH, config],
        env=os.environ | {"HF_HOME": str(home)} | variables,
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )


@pytest.mark.slow
def test_weights_are_fetched_by_name_and_where_there_is_no_network_one_line_says_so(
    published: tuple[Path, dict[str, Tensor]], tmp_path: Path
) -> None:
    with hub_of(published[0]) as address:
        done = _fetched(tmp_path / "home", HF_ENDPOINT=address)
        assert done.stdout.startswith("74 [] [0.4"), done.stdout + done.stderr
        assert "LOAD REPORT" not in done.stderr
    done = _fetched(tmp_path / "home", HF_HUB_OFFLINE="1")  # from the hub's own cache
    assert done.stdout.startswith("74 [] [0.4"), done.stdout + done.stderr
    done = _fetched(tmp_path / "other home", HF_HUB_OFFLINE="1")
    assert done.stdout.count("\n") == 1
    assert done.stdout.startswith("network.weights=made-up/tiny: cannot be fetched (")
    assert "hf download made-up/tiny --local-dir FOLDER" in done.stdout


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "convnextv2_atto"])
def test_files_of_timm_are_found_whatever_it_calls_what_gives_features(name: str, tmp_path: Path) -> None:
    timm = timm_or_skip()
    weights = timm.create_model(name).state_dict()
    torch.save(weights, tmp_path / "weights.pth")
    config = {"backbone": f"timm/{name}", "input_size": 64, "weights": str(tmp_path / "weights.pth")}
    found = first_weights(NetworkConfig.model_validate(config))
    assert found.drawn == []
    stem = next(
        name for name in weights if name.startswith(("conv_stem", "stem")) and name.endswith("weight")
    )
    taken = next(
        value for name, value in found.state.items() if name.endswith(stem.replace("stem.0", "stem_0"))
    )
    assert torch.equal(taken, weights[stem])
