"""The proposal network: its size, its shapes, and what reaches what."""

from typing import Any

import pytest
import torch

from hgg.config import NetworkConfig
from hgg.hourglass import Hourglass
from hgg.skeleton import NUM_JOINTS


def _network(**config: Any) -> Hourglass:
    small = {"input_size": 64, "stacks": 2, "channels": 32, "increase": 8, "depth": 2, "visual_dim": 5}
    torch.manual_seed(0)
    return Hourglass(NetworkConfig.model_validate(small | config))


def _parameters(**config: Any) -> int:
    with torch.device("meta"):  # counts without allocating half a gigabyte
        network = Hourglass(NetworkConfig.model_validate(config))
    return sum(parameter.numel() for parameter in network.parameters())


def test_parameters_of_the_papers_network() -> None:
    # AE's released network has 138.89 M with its 68 output channels, half of which it never used. Each of
    # its four heads is a 1x1 convolution of 256 channels, and three of them are merged back by another.
    with_34 = _parameters(norm="none", visual_dim=0)
    assert with_34 == 138_832_776
    assert with_34 + 4 * 34 * (256 + 1) + 3 * 34 * 256 == pytest.approx(138.89e6, abs=5e3)


def test_parameters_of_the_relational_map() -> None:
    assert _parameters(norm="none") - _parameters(norm="none", visual_dim=0) == 64 * (256 * 9 + 1)


@pytest.mark.parametrize("norm", ["batch", "group", "none"])
def test_shapes(norm: str) -> None:
    maps = _network(norm=norm)(torch.rand(3, 3, 64, 64))
    assert maps.heatmaps.shape == (2, 3, NUM_JOINTS, 16, 16)
    assert maps.tags.shape == (2, 3, NUM_JOINTS, 16, 16)
    assert maps.visual.shape == (3, 5, 16, 16)


def test_any_size_that_halves_often_enough() -> None:
    assert _network().eval()(torch.rand(1, 3, 96, 64)).heatmaps.shape[-2:] == (24, 16)


def test_without_a_relational_map() -> None:
    network = _network(visual_dim=0)
    assert network(torch.rand(2, 3, 64, 64)).visual.shape == (2, 0, 16, 16)
    assert network.visual is None


def test_bfloat16_inside_gives_float32_maps() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        maps = _network()(torch.rand(1, 3, 64, 64))
    assert {part.dtype for part in maps} == {torch.float32}


def test_every_parameter_has_a_part_in_the_last_stack() -> None:
    network = _network(norm="none")
    maps = network(torch.rand(2, 3, 64, 64))
    (maps.heatmaps[-1].square().sum() + maps.tags[-1].square().sum() + maps.visual.square().sum()).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_an_earlier_stack_does_not_see_the_later() -> None:
    network = _network(norm="none")
    network(torch.rand(1, 3, 64, 64)).heatmaps[0].square().sum().backward()
    for name, parameter in network.named_parameters():
        reached = parameter.grad is not None and bool(parameter.grad.any())
        in_first = name.startswith(("stem.", "stacks.0.features.", "stacks.0.head."))
        assert reached == in_first, name


def test_images_do_not_mix_in_evaluation() -> None:
    network = _network().eval()
    images = torch.rand(2, 3, 64, 64)
    both, alone = network(images), network(images[1:])
    torch.testing.assert_close(both.heatmaps[:, 1:], alone.heatmaps)
    torch.testing.assert_close(both.visual[1:], alone.visual)
