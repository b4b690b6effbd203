"""Batch normalisation (Ioffe and Szegedy, 2015, algorithm 1) over the images of all ranks, for small batches.

In place of torch's SyncBatchNorm, which does not run on CPUs, cannot be compiled in one piece, and in each of
its layers waits for the GPU three times a step, as it indexes by a mask: a rank might have no images. Here
every rank has equally many.

Letters: B images of a rank, C channels, H W cells.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from pipeline.training.ranks import world_size


@torch.library.custom_op("hgg::sum_over_ranks", mutates_args=())
def sum_over_ranks(values: Tensor) -> Tensor:
    """The sum of the ranks' tensors, on every rank; its gradient is the sum of their gradients.

    One operation that a compiler does not look into, so that each rank's graph is the same and stays whole.
    """
    total = values.clone(memory_format=torch.contiguous_format)
    dist.all_reduce(total)
    return total


@sum_over_ranks.register_fake
def _shape_of_sum(values: Tensor) -> Tensor:
    return torch.empty_like(values, memory_format=torch.contiguous_format)


@sum_over_ranks.register_autograd
def _gradient_of_sum(_context: Any, gradient: Tensor) -> Tensor:
    return sum_over_ranks(gradient)


class SharedBatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation whose mean and variance in training are those of all ranks' images together.

    `then` is what follows it in the same layer, as timm's normalisations activate too; it has no weights.

    Shapes:
        (B, C, H, W) in and out, B, H and W the same on every rank; statistics are float32 under autocast too.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.then = nn.Sequential()

    def forward(self, input: Tensor) -> Tensor:
        """Normalised maps; in evaluation by the running statistics, as `nn.BatchNorm2d`."""
        if not self.training:
            return self.then(super().forward(input))
        x_BCHW = input
        mean_C, variance_C = self._of_all_ranks(x_BCHW)
        self._remember(mean_C.detach(), variance_C.detach(), world_size() * x_BCHW.numel() // x_BCHW.shape[1])
        scale_C = self.weight * (variance_C + self.eps).rsqrt()
        mean_C11, scale_C11, bias_C11 = (part[:, None, None] for part in (mean_C, scale_C, self.bias))
        return self.then(((x_BCHW - mean_C11) * scale_C11 + bias_C11).to(x_BCHW.dtype))

    def _of_all_ranks(self, x_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance (C,): those of equally large parts, summed in float64, as squares lose digits.

        Nothing here may look at the running mean: compiled, the backward pass would see it already moved.
        """
        variance_C, mean_C = (
            part.double() for part in torch.var_mean(x_BCHW.float(), (0, 2, 3), correction=0)
        )
        mean_C, square_C = (
            sum_over_ranks(torch.stack((mean_C, variance_C + mean_C**2))) / world_size()
        ).unbind()
        return mean_C.float(), (square_C - mean_C**2).clamp(min=0).float()

    @torch.no_grad()
    def _remember(self, mean_C: Tensor, variance_C: Tensor, count: int) -> None:
        """Move the running statistics; their variance is the unbiased one, as torch's."""
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        self.running_mean.lerp_(mean_C, self.momentum)
        self.running_var.lerp_(variance_C * (count / (count - 1)), self.momentum)
        self.num_batches_tracked.add_(1)


def share_normalisation(module: nn.Module) -> None:
    """Have a module's batch normalisations, each replaced in place, look at the images of all ranks.

    Weights and statistics are the same tensors under the same names, so optimiser and checkpoints know them.
    """
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(module, name, _shared(child))
        else:
            share_normalisation(child)


def _shared(norm: nn.BatchNorm2d) -> SharedBatchNorm2d:
    assert norm.affine, norm
    shared = SharedBatchNorm2d(norm.num_features, norm.eps, norm.momentum)
    shared.weight, shared.bias = norm.weight, norm.bias
    shared.running_mean, shared.running_var = norm.running_mean, norm.running_var
    shared.num_batches_tracked = norm.num_batches_tracked
    shared.then = nn.Sequential(*norm.children())  # in their order: dropping, activating
    assert not [*shared.then.parameters()], norm
    return shared.train(norm.training)
