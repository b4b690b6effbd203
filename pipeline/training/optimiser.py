"""How weights are changed: Adam's parameter groups, the learning rate of a step, clipping, moving average."""

import copy
import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from hgg.encoder import EncoderNetwork
from hgg.model import HGG
from pipeline.settings.config import StageConfig

NETWORK_EPS = 1e-8  # Adam's usual constant
# With BCE weights of 1e-5 the discriminators' gradients (median 3.5e-9) would vanish beside 1e-8.
GROUPING_EPS = 1e-12
AVERAGE_WARMUP = 10


def make_optimiser(model: HGG, stage: StageConfig) -> torch.optim.Adam:
    """Adam over what is trained: the proposal network, grouping with a rate and a constant of its own, and an
    encoder with a rate of its own.

    Frozen parameters belong to no group. Each group keeps its undisturbed rate as `base_lr`.
    """
    encoder = _trained(model.network.encoder) if isinstance(model.network, EncoderNetwork) else []
    others = {id(parameter) for parameter in encoder}
    network = [parameter for parameter in _trained(model.network) if id(parameter) not in others]
    groups = [
        {"params": network, "base_lr": stage.lr, "eps": NETWORK_EPS},
        {"params": _trained(model.grouping), "base_lr": stage.grouping_lr, "eps": GROUPING_EPS},
        {"params": encoder, "base_lr": stage.backbone_lr or stage.lr, "eps": NETWORK_EPS},
    ]
    return torch.optim.Adam([group for group in groups if group["params"]], lr=stage.lr, fused=True)


def rate_factor(step: int, stage: StageConfig) -> float:
    """Share of the base rate at a step, counted from 1.

    It rises linearly over `warmup_steps`. Schedule `step` drops once to `final_lr_ratio` after the share
    `drop_at` of all steps; `cosine` falls from 1 to `final_lr_ratio` at the last step.
    """
    warm = min(1.0, step / stage.warmup_steps) if stage.warmup_steps else 1.0
    if stage.schedule == "step":
        return warm * (stage.final_lr_ratio if step > stage.drop_at * stage.steps else 1.0)
    fall = 0.5 * (1 + math.cos(math.pi * min(1.0, step / stage.steps)))
    return warm * (stage.final_lr_ratio + (1 - stage.final_lr_ratio) * fall)


def set_rates(optimiser: torch.optim.Optimizer, step: int, stage: StageConfig) -> float:
    """Give every group its rate of this step; returns the first group's, the proposal network's own."""
    factor = rate_factor(step, stage)
    for group in optimiser.param_groups:
        group["lr"] = group["base_lr"] * factor
    return optimiser.param_groups[0]["lr"]


def clip_gradients(parameters: Iterable[nn.Parameter], largest: float) -> Tensor:
    """Norm of all gradients together before clipping; they are scaled down where it exceeds `largest` > 0."""
    parameters = [parameter for parameter in parameters if parameter.grad is not None]
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    norm = torch.nn.utils.get_total_norm(gradients)
    if largest > 0:
        torch.nn.utils.clip_grads_with_norm_(parameters, largest, norm)
    return norm


class MovingAverage:
    """Exponential moving average of a model's weights and normalisation statistics.

    After `n` updates the decay is min(decay, (1 + n) / (10 + n)), so that the untrained first weights
    are soon forgotten.
    """

    def __init__(self, model: HGG, decay: float) -> None:
        self.decay = decay
        self.model = copy.deepcopy(model).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, model: HGG, updates: int) -> None:
        """Move towards `model`; `updates` were made before this one."""
        decay = min(self.decay, (1 + updates) / (AVERAGE_WARMUP + updates))
        current = model.state_dict()
        pairs = [(average, current[name]) for name, average in self.model.state_dict().items()]
        numbers = [pair for pair in pairs if pair[0].is_floating_point()]
        # All tensors at once: a few kernels on a GPU, where one each were 382 (the paper's model).
        get_ema_multi_avg_fn(decay)(*_unzipped(numbers), updates)
        counters = [pair for pair in pairs if not pair[0].is_floating_point()]
        if counters:
            torch._foreach_copy_(*_unzipped(counters))


def _unzipped(pairs: list[tuple[Tensor, Tensor]]) -> tuple[list[Tensor], list[Tensor]]:
    return [first for first, _ in pairs], [second for _, second in pairs]


def _trained(module: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in module.parameters() if parameter.requires_grad]
