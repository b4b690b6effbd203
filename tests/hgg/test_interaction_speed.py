"""How long the four forms of EdgeConv take; the table of hgg/README.md.

    python -m pytest tests/hgg/test_interaction_speed.py -o addopts= --benchmark-columns=min,median \\
        --benchmark-timer=time.process_time

A batch of four images with so many candidates each, of 17 types; 64 features; one thread.
"""

from collections.abc import Callable

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor

from hgg.interaction import EdgeConv
from tests.cases.edgeconv_forms import (
    dense_edge_conv,
    geometric_edge_conv,
    random_neighbours,
    to_edges,
    to_graph,
)
from tests.cases.grouping_by_edges import edge_conv_by_edges

HIDDEN = 64
SIZES = {"40": [40] * 4, "100": [100] * 4, "256": [256] * 4, "100-50-25-12": [100, 50, 25, 12]}


def _forward(form: str, sizes: list[int]) -> tuple[Callable[[], Tensor], Tensor]:
    """The layer in one of its forms as a function without arguments, and its input."""
    torch.manual_seed(0)
    conv = EdgeConv(HIDDEN, HIDDEN)
    neighbour = random_neighbours(sizes)
    edges, graph = to_edges(neighbour), to_graph(neighbour)
    x_AF = torch.randn(len(sizes) * max(sizes), HIDDEN, requires_grad=True)
    x_BNF = x_AF.view(len(sizes), max(sizes), HIDDEN)
    geometric = geometric_edge_conv(conv)
    forms: dict[str, Callable[[], Tensor]] = {
        "ours": lambda: conv(x_BNF, graph),
        "list of edges": lambda: edge_conv_by_edges(conv, x_AF, edges),
        "dense": lambda: dense_edge_conv(conv, x_BNF, neighbour),
        "torch-geometric": lambda: geometric(x_AF, edges),
    }
    return forms[form], x_AF


@pytest.mark.slow
@pytest.mark.parametrize("form", ["ours", "list of edges", "dense", "torch-geometric"])
@pytest.mark.parametrize("backward", [False, True], ids=["forward", "both"])
@pytest.mark.parametrize("sizes", SIZES)
def test_speed(benchmark: BenchmarkFixture, sizes: str, backward: bool, form: str) -> None:
    benchmark.group = f"{sizes} candidates, forward {'and backward' if backward else 'alone'}"
    forward, x_AF = _forward(form, SIZES[sizes])

    def step() -> None:
        with torch.set_grad_enabled(backward):
            output = forward()
        if backward:
            x_AF.grad = None
            output.sum().backward(retain_graph=True)

    benchmark.pedantic(step, warmup_rounds=2, rounds=15)
