"""torch.compile for training: the proposal network alone, for its one size of batch."""

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from pipeline.base.errors import UserError, first_line


def check_compiling(device: torch.device) -> None:
    """Compile and run something small.

    Raises `UserError` where torch cannot: on a CPU it needs a C++ compiler, on a GPU Triton and a C compiler.
    """
    try:
        torch.compile(_small)(torch.zeros(8, device=device))
    except RuntimeError as error:
        needed = "Triton and a C compiler" if device.type == "cuda" else "a C++ compiler"
        raise UserError(
            f"train.compile=true: torch cannot compile for this {device.type} ({first_line(error)}): it "
            f"needs {needed}, or set train.compile=false"
        ) from error


def compile_network(network: nn.Module, backend: str | Callable[..., Any] = "inductor") -> None:
    """Have a network compiled at its first step, in place: its names, and so its checkpoints, stay.

    A graph that breaks is an error. An input of another size is compiled anew, so validation, whose batches
    are other ones, runs without it (`pipeline.training.validation`). In DDP torch cuts the graph where a
    bucket of gradients is full, so that their exchange still hides behind the backward pass.

    Args:
        network: in the mode that it is trained in.
        backend: of torch.compile.
    """
    network.compile(backend=backend, fullgraph=True, dynamic=False)


def set_float32_precision(tf32: bool) -> None:
    """Let a GPU round what stays in float32 to TF32 (10 bits of mantissa) before it multiplies, or not.

    It holds for the whole process: for matrix products, which torch leaves in full precision by default, and
    for convolutions, which it does not.
    """
    with warnings.catch_warnings():
        # torch 2.9 asks for other names of the two, which later ones do not.
        warnings.filterwarnings("ignore", "Please use the new API settings to control TF32", UserWarning)
        torch.set_float32_matmul_precision("high" if tf32 else "highest")
        torch.backends.cudnn.allow_tf32 = tf32


def _small(values: torch.Tensor) -> torch.Tensor:
    return values.sin() + 1
