"""Learning rate, clipping, parameter groups and moving average, each with figures worked by hand."""

import math

import pytest
import torch
from torch import nn

from hgg.config import GroupingConfig, LossConfig, ModelConfig, NetworkConfig
from hgg.model import HGG
from hgg.objective import Objective
from pipeline.settings.config import StageConfig
from pipeline.training.optimiser import MovingAverage, clip_gradients, make_optimiser, rate_factor, set_rates
from tests.cases.host_reads import HostReads

SMALL = ModelConfig(
    network=NetworkConfig(input_size=32, stacks=1, channels=8, increase=0, depth=1, visual_dim=4),
    grouping=GroupingConfig(hidden=8, layers=1),
)


def test_warm_up_rises_from_zero_and_the_step_schedule_drops_once() -> None:
    stage = StageConfig(steps=100, warmup_steps=10, drop_at=0.8, final_lr_ratio=0.05)
    assert rate_factor(1, stage) == pytest.approx(0.1)
    assert rate_factor(10, stage) == 1.0
    assert rate_factor(80, stage) == 1.0
    assert rate_factor(81, stage) == pytest.approx(0.05)
    assert rate_factor(1, StageConfig(warmup_steps=0)) == 1.0


def test_cosine_passes_the_middle_and_ends_at_the_last_rate() -> None:
    stage = StageConfig(steps=100, warmup_steps=0, schedule="cosine", final_lr_ratio=0.1)
    assert rate_factor(50, stage) == pytest.approx(0.55)  # 0.1 + 0.9 / 2
    assert rate_factor(100, stage) == pytest.approx(0.1)
    quarter = 0.1 + 0.9 * 0.5 * (1 + math.sqrt(0.5))
    assert rate_factor(25, stage) == pytest.approx(quarter)


def test_grouping_has_a_rate_and_a_constant_of_its_own() -> None:
    model = HGG(SMALL)
    stage = StageConfig(lr=2e-4, grouping_lr=1e-3, warmup_steps=2)
    Objective(model, LossConfig(), joint=True)
    optimiser = make_optimiser(model, stage)
    assert [group["eps"] for group in optimiser.param_groups] == [1e-8, 1e-12]
    assert set_rates(optimiser, 1, stage) == pytest.approx(1e-4)
    assert [group["lr"] for group in optimiser.param_groups] == pytest.approx([1e-4, 5e-4])
    trained = sum(len(group["params"]) for group in optimiser.param_groups)
    assert trained == len(list(model.parameters()))


def test_frozen_parameters_are_left_out() -> None:
    model = HGG(SMALL)
    Objective(model, LossConfig(), joint=False)
    groups = make_optimiser(model, StageConfig()).param_groups
    assert len(groups) == 1
    assert len(groups[0]["params"]) == len(list(model.network.parameters())) - 2  # the relational map's


def test_clipping_scales_the_norm_down_to_the_limit_and_never_up() -> None:
    first, second = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(1))
    unused = nn.Parameter(torch.zeros(1))
    first.grad, second.grad = torch.tensor([3.0, 0.0]), torch.tensor([4.0])
    assert clip_gradients([first, second, unused], 0.0).item() == 5.0
    assert clip_gradients([first, second, unused], 10.0).item() == 5.0
    assert first.grad.tolist() == [3.0, 0.0]
    assert clip_gradients([first, second, unused], 1.0).item() == 5.0
    assert first.grad.tolist() == pytest.approx([0.6, 0.0])
    assert second.grad.tolist() == pytest.approx([0.8])


def test_moving_average_by_hand() -> None:
    model = HGG(SMALL)
    weight = model.state_dict()["network.stem.0.0.weight"]
    weight.fill_(0.0)
    average = MovingAverage(model, decay=0.5)
    averaged = average.model.state_dict()["network.stem.0.0.weight"]
    weight.fill_(1.0)
    average.update(model, 0)  # decay 1 / 10
    assert averaged.flatten()[0].item() == pytest.approx(0.9)
    average.update(model, 100)  # decay 0.5
    assert averaged.flatten()[0].item() == pytest.approx(0.95)
    assert weight.flatten()[0].item() == 1.0


def test_moving_average_follows_normalisation_statistics() -> None:
    model = HGG(SMALL)
    average = MovingAverage(model, decay=0.9)
    current, averaged = model.state_dict(), average.model.state_dict()
    current["network.stem.0.1.running_mean"].fill_(10.0)
    current["network.stem.0.1.num_batches_tracked"].fill_(7)
    average.update(model, 0)
    assert averaged["network.stem.0.1.running_mean"].tolist() == pytest.approx([9.0, 9.0])
    assert averaged["network.stem.0.1.num_batches_tracked"].item() == 7


def test_moving_average_is_the_plain_formula_to_the_last_bit_in_two_operations() -> None:
    model = HGG(SMALL)
    average = MovingAverage(model, decay=0.9)
    plain = {name: value.clone() for name, value in model.state_dict().items()}
    reads = HostReads()
    for updates in range(12):
        for value in model.state_dict().values():
            value.copy_(torch.randn(value.shape) if value.is_floating_point() else value + 1)
        with reads.counting():
            average.update(model, updates)
        decay = min(0.9, (1 + updates) / (10 + updates))
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                plain[name].lerp_(value, 1 - decay)
            else:
                plain[name].copy_(value)
    assert all(torch.equal(value, plain[name]) for name, value in average.model.state_dict().items())
    assert not reads.found
    views = reads.operations.pop("detach")  # by `state_dict`, which starts no kernel; twice in torch 2.9
    assert views in (12 * 2 * len(plain), 12 * 4 * len(plain))
    assert reads.operations == {"_foreach_lerp_": 12, "_foreach_copy_": 12}


def test_moving_average_of_a_model_without_counters() -> None:
    network = SMALL.network.model_copy(update={"norm": "none"})
    model = HGG(SMALL.model_copy(update={"network": network}))
    MovingAverage(model, decay=0.9).update(model, 0)
