"""Encoders in the hourglass' place: maps, gradients, what is frozen, files, and what is refused."""

import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hgg.config import GroupingConfig, LossConfig, ModelConfig, NetworkConfig
from hgg.encoder import EncoderNetwork
from hgg.encoders import stages_of
from hgg.model import HGG, proposal_network
from hgg.objective import Objective
from hgg.weights import load_model, load_network, needed_packages, save_model
from tests.cases.core import make_images, make_targets
from tests.cases.encoders import SMALL, encoder_config, encoder_of, encoder_settings, timm_or_skip

pytest.importorskip("transformers")

every_kind = pytest.mark.parametrize("kind", SMALL)


def model_of(kind: str = "resnet", skeleton: str = "coco", **changes: Any) -> HGG:
    torch.manual_seed(0)
    grouping = GroupingConfig(hidden=8, layers=1)
    return HGG(
        ModelConfig.model_validate(
            {"network": encoder_settings(kind, **changes), "grouping": grouping, "skeleton": skeleton}
        )
    )


@every_kind
def test_maps_are_those_of_a_network_of_one_stack_at_a_quarter_of_the_input(kind: str) -> None:
    network = proposal_network(encoder_config(kind), 14)
    assert isinstance(network, EncoderNetwork)
    assert network.stages.strides == (4, 8, 16, 32)
    maps = network(torch.rand(2, 3, 64, 96))
    assert maps.heatmaps.shape == maps.tags.shape == (1, 2, 14, 16, 24)
    assert maps.visual.shape == (2, 4, 16, 24)
    assert proposal_network(encoder_config(kind, visual_dim=0), 14)(
        torch.rand(1, 3, 64, 64)
    ).visual.shape == ((1, 0, 16, 16))


@every_kind
@pytest.mark.parametrize("norm", ["batch", "group", "none"])
def test_everything_that_is_trained_has_a_gradient(kind: str, norm: str) -> None:
    """So DDP waits for none."""
    model = model_of(kind, norm=norm, channels=32)
    Objective(model, LossConfig(edge=1.0, macro=1.0), joint=False).train()(
        make_images(3), make_targets([1, 2, 3])
    ).total.backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name
    assert any(not parameter.requires_grad for parameter in model.parameters())


def test_the_finest_map_reaches_each_output_and_the_coarsest_too() -> None:
    """A change in any map of the encoder changes the heatmaps: none is passed over."""
    network = EncoderNetwork(encoder_config()).eval()
    images = torch.rand(1, 3, 64, 64)
    plain = network(images).heatmaps
    for lateral in network.laterals:
        handle = lateral.register_forward_hook(lambda _module, _inputs, output: output + 1)
        assert not torch.allclose(network(images).heatmaps, plain)
        handle.remove()


def test_frozen_stages_stay_as_they_are_and_the_others_do_not() -> None:
    model = model_of(frozen_stages=2)
    objective = Objective(model, LossConfig(), joint=False).train()
    before = {name: value.clone() for name, value in model.network.state_dict().items()}
    optimiser = torch.optim.SGD([each for each in model.parameters() if each.requires_grad], lr=0.1)
    objective(make_images(3), make_targets([1, 2, 3])).total.backward()
    optimiser.step()
    after = model.network.state_dict()
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    stage = "encoder.encoder.stages.{}.layers.0.layer.0.{}".format
    for frozen in (0, 1):
        assert not changed & {
            stage(frozen, name) for name in ("convolution.weight", "normalization.running_mean")
        }
    assert not any(name.startswith("encoder.embedder") for name in changed)
    for trained in (2, 3):
        assert changed >= {
            stage(trained, name) for name in ("convolution.weight", "normalization.running_mean")
        }
    model.eval()
    model.train()
    assert not encoder_of(model).encoder.embedder.embedder.normalization.training
    assert encoder_of(model).encoder.encoder.stages[3].training
    with pytest.raises(ValueError, match=r"network\.frozen_stages=2: backbone=vitdet has 1 stages"):
        small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1, "image_size": 64}
        EncoderNetwork(NetworkConfig(backbone="vitdet", encoder=small, input_size=64, frozen_stages=2))


def test_an_encoder_of_one_stride_is_led_down_to_a_quarter() -> None:
    small = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 1, "image_size": 64}
    network = EncoderNetwork(NetworkConfig(backbone="vitdet", encoder=small, input_size=64, channels=8))
    assert network.stages.strides == (16,)
    assert network(torch.rand(1, 3, 64, 96)).heatmaps.shape[-2:] == (16, 24)


def test_the_encoder_sees_colours_as_it_was_trained_with_them() -> None:
    network = EncoderNetwork(encoder_config()).eval()
    seen: list[Tensor] = []
    network.encoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    images = torch.rand(1, 3, 64, 64)
    network(images)
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    assert torch.allclose(seen[0], (images - mean[:, None, None]) / deviation[:, None, None])


def test_the_same_seed_draws_the_same_weights_whatever_was_asked_before() -> None:
    stages_of.cache_clear()
    first, second = model_of(), model_of()
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_bfloat16_stops_at_the_maps() -> None:
    model = model_of()
    kinds: list[torch.dtype] = []
    encoder_of(model).laterals[0].register_forward_hook(lambda _, __, output: kinds.append(output.dtype))
    terms = Objective(model, LossConfig(), joint=True)(make_images(2), make_targets([2, 2]), bf16=True)
    assert kinds == [torch.bfloat16]
    assert terms.total.dtype == torch.float32


@every_kind
@pytest.mark.parametrize("half", [False, True])
def test_a_saved_model_comes_back_without_asking_for_anything(tmp_path: Path, kind: str, half: bool) -> None:
    model, images = model_of(kind).eval(), torch.rand(1, 3, 64, 64)
    save_model(tmp_path / "model.pt", model, half=half)
    loaded = load_model(tmp_path / "model.pt")
    assert loaded.config == model.config
    made, expected = loaded(images).heatmaps, model(images).heatmaps
    assert torch.allclose(made, expected, atol=1e-2 if half else 0.0)
    versions = torch.load(tmp_path / "model.pt", weights_only=True)["versions"]
    assert versions["transformers"] == sys.modules["transformers"].__version__


def test_a_network_of_other_joints_is_taken_over_and_one_of_another_encoder_is_not(tmp_path: Path) -> None:
    save_model(tmp_path / "model.pt", model_of())
    other = model_of(skeleton="crowdpose")
    assert load_network(tmp_path / "model.pt", other) == ["head.weight", "head.bias"]
    with pytest.raises(ValueError, match=r"network\.backbone is resnet in the file and convnextv2 here"):
        load_network(tmp_path / "model.pt", model_of("convnextv2"))
    with pytest.raises(ValueError, match=r"network\.backbone is resnet in the file and hourglass here"):
        load_network(tmp_path / "model.pt", HGG(ModelConfig(network=NetworkConfig(input_size=64))))


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"backbone": "resnett"}, "network.backbone=resnett: did you mean resnet? Known are hourglass, "),
        ({"backbone": "timm_backbone"}, "network.backbone=timm_backbone: "),
        ({"encoder": {"dephts": [1]}}, "network.encoder.dephts=[1]: no setting of backbone=resnet: depths, "),
        ({"encoder": {"out_features": ["stage1"]}}, "network.encoder.out_features=['stage1']: no setting of"),
        ({"encoder": {"depths": [1, 1, 1, 900]}}, "must be between -1 and 256"),
        ({"encoder": {"hidden_sizes": [8, 8, 8, 90_000]}}, "must be between -1 and 8192"),
        ({"encoder": {"layer_type": "odd"}}, "layer_type=odd is not one of basic,bottleneck"),
        ({"backbone": "hiera", "encoder": {}}, "cannot show pictures of 64 x 512 pixels"),
        (
            {"backbone": "dinov2", "encoder": {"num_hidden_layers": 1}},
            "taken are those at strides of 4, 8, 16, 32",
        ),
    ],
)
def test_what_cannot_be_built_is_one_line_that_says_what_can(changes: dict[str, Any], complaint: str) -> None:
    config = encoder_config(**changes)
    with pytest.raises(ValueError) as caught:
        EncoderNetwork(config)
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_without_transformers_one_line_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_model(tmp_path / "model.pt", model_of())
    stages_of.cache_clear()
    monkeypatch.setitem(sys.modules, "transformers", None)
    assert HGG(ModelConfig(network=NetworkConfig(input_size=64, stacks=1, channels=8)))
    with pytest.raises(
        ValueError, match=r"^network\.backbone=resnet needs the package transformers \(.*\): pip"
    ):
        EncoderNetwork(encoder_config())
    with pytest.raises(
        ValueError, match=r"model\.pt: network\.backbone=resnet needs the package transformers"
    ):
        load_model(tmp_path / "model.pt")


def test_timm_says_what_it_needs_where_it_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    config = NetworkConfig(backbone="timm/tf_efficientnet_lite0.in1k", input_size=64)
    with pytest.raises(ValueError, match=r"needs the package timm, and timm a torchvision that was"):
        EncoderNetwork(config)
    assert needed_packages(config) == ("transformers", "timm")


def test_settings_of_a_file_take_no_time_and_no_memory(tmp_path: Path) -> None:
    """A file that says that it holds a giant is compared with what it holds first."""
    save_model(tmp_path / "model.pt", model_of())
    content = torch.load(tmp_path / "model.pt", weights_only=True)
    content["config"]["network"]["encoder"] |= {"hidden_sizes": [8192] * 4, "depths": [4] * 4}
    torch.save(content, tmp_path / "giant.pt")
    began = time.monotonic()
    with pytest.raises(ValueError, match=r"the file was altered|another architecture"):
        load_model(tmp_path / "giant.pt")
    assert time.monotonic() - began < 30


def test_timm_s_encoders() -> None:
    timm = timm_or_skip()
    network = EncoderNetwork(
        NetworkConfig(backbone="timm/tf_efficientnet_lite0.in1k", input_size=64, channels=16, frozen_stages=1)
    )
    assert network.stages.strides == (4, 8, 16, 32)
    assert network(torch.rand(1, 3, 64, 96)).heatmaps.shape == (1, 1, 17, 16, 24)
    assert network.mean_3.tolist() == [0.5] * 3  # of its publisher's configuration
    assert not network.train().encoder._backbone.conv_stem.training
    assert timm.is_model("hrnet_w32")
    with pytest.raises(ValueError, match=r"did you mean timm/"):
        EncoderNetwork(NetworkConfig(backbone="timm/tf_efficientnet_light0", input_size=64))
    with pytest.raises(ValueError, match=r"network\.encoder\.checkpoint_path=x: no setting"):
        config = {"backbone": "timm/resnet18", "encoder": {"checkpoint_path": "x"}, "input_size": 64}
        EncoderNetwork(NetworkConfig.model_validate(config))


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"encoder": {"depths": [1]}}, r"encoder=\{'depths': \(1,\)\}: backbone=hourglass is no encoder"),
        ({"weights": "a/b"}, "weights=a/b: backbone=hourglass is no encoder"),
        ({"frozen_stages": 1}, "frozen_stages=1: backbone=hourglass is no encoder"),
        ({"backbone": "resnet", "input_size": 80}, "input_size=80: backbone=resnet needs a multiple of 32"),
        ({"backbone": "../x"}, "backbone"),
        ({"backbone": "resnet", "encoder": {"a": {"b": 1}}}, "encoder"),
    ],
)
def test_settings_that_do_not_go_together(values: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        NetworkConfig.model_validate({"input_size": 64, "stacks": 1} | values)


def test_batch_normalisation_needs_two_values() -> None:
    assert encoder_config(input_size=32, norm="none").normalises_nothing(1)
    assert not encoder_config(input_size=64).normalises_nothing(1)


def test_modules_keep_their_own_way(tmp_path: Path) -> None:
    """Evaluation mode reaches the encoder: transformers' modules are torch's."""
    model = model_of("convnextv2")
    assert isinstance(encoder_of(model).encoder, nn.Module)
    assert not encoder_of(model.eval()).encoder.training
    images = torch.rand(1, 3, 64, 64)
    assert torch.equal(model(images).heatmaps, model(images).heatmaps)  # no stage is dropped by chance
    model.train()
    torch.manual_seed(0)
    first = model(images).heatmaps
    assert any(not torch.equal(model(images).heatmaps, first) for _ in range(20))
