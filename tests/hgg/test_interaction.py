"""Interaction network: EdgeConv by hand and by three other routes; what the whole network must keep.

Letters: B images, N nodes, A = B * N, F input features, H hidden features.
"""

import pytest
import torch
from torch import Tensor

from hgg import interaction
from hgg.config import GroupingConfig
from hgg.graph import Graph
from hgg.interaction import EdgeConv, Interaction
from tests.cases.edgeconv_forms import (
    dense_edge_conv,
    geometric_edge_conv,
    random_neighbours,
    to_edges,
    to_graph,
)
from tests.cases.grouping_by_edges import edge_conv_by_edges


@pytest.fixture
def conv() -> EdgeConv:
    torch.manual_seed(0)
    return EdgeConv(5, 7)


def _scalar_conv() -> EdgeConv:
    """first([a, b]) = a + 2 b + 1 and last(c) = 3 c - 4, on one feature."""
    conv = EdgeConv(1, 1)
    with torch.no_grad():
        for parameter, values in zip(conv.parameters(), ([[1.0, 2.0]], [1.0], [[3.0]], [-4.0]), strict=True):
            parameter.copy_(torch.tensor(values))
    return conv


def _joined(number: int, *pairs: tuple[int, int]) -> Graph:
    """The graph of one image of so many nodes."""
    joined = torch.zeros(1, number, number, dtype=torch.bool)
    for a, b in pairs:
        joined[0, a, b] = joined[0, b, a] = True
    return to_graph(joined)._replace(sizes=[number], rows=torch.arange(number))


def test_by_hand() -> None:
    # Node 0 hears 1 and 2, these hear 0, node 3 nobody. x = 1, 4, -5, 7:
    # 0 from 1: relu(1 + 2 * 3 + 1) = 8 -> 20; 0 from 2: relu(1 - 2 * 6 + 1) = 0 -> -4; the maximum is 20.
    # 1 from 0: relu(4 - 2 * 3 + 1) = 0 -> -4, which is kept although it is below 0.
    # 2 from 0: relu(-5 + 2 * 6 + 1) = 8 -> 20.
    x = torch.tensor([[[1.0], [4.0], [-5.0], [7.0]]])
    expected = [[[20.0], [-4.0], [20.0], [0.0]]]
    assert _scalar_conv()(x, _joined(4, (0, 1), (0, 2))).tolist() == expected
    with torch.no_grad():
        assert _scalar_conv()(x, _joined(4, (0, 1), (0, 2))).tolist() == expected


def _gradients(output: Tensor, x: Tensor, conv: EdgeConv) -> list[Tensor]:
    torch.manual_seed(1)
    return list(torch.autograd.grad((output * torch.randn_like(output)).sum(), [x, *conv.parameters()]))


@pytest.mark.parametrize("at_once", [1, 40, 10**9])
@pytest.mark.parametrize("types", [2, 17, 1], ids=["two types", "17 types", "no neighbours"])
def test_four_routes_agree_forward_and_backward(
    conv: EdgeConv, types: int, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interaction, "pairs_at_once", lambda _: at_once)
    neighbour = random_neighbours([11, 11, 6], types)
    neighbour[1, 4] = neighbour[1, :, 4] = False  # a node by itself
    edges, graph = to_edges(neighbour), to_graph(neighbour)
    x = torch.randn(33, 5, requires_grad=True)
    geometric = geometric_edge_conv(conv)
    ours = conv(x.view(3, 11, 5), graph).view(33, 7)
    others = [
        dense_edge_conv(conv, x.view(3, 11, 5), neighbour).view(33, 7),
        geometric(x, edges),
        edge_conv_by_edges(conv, x, edges),
    ]
    with torch.no_grad():
        torch.testing.assert_close(conv(x.view(3, 11, 5), graph).view(33, 7), ours)
    for other in others:
        torch.testing.assert_close(ours, other)
    if types == 1:
        assert (ours == 0).all()
        return
    assert (ours[11 + 4] == 0).all()
    assert (ours[22 + 6 :] == 0).all()
    assert (ours.view(3, 11, 7)[0] != 0).all()
    gradients = _gradients(ours, x, conv)
    for other in others:
        for gradient, expected in zip(gradients, _gradients(other, x, conv), strict=True):
            torch.testing.assert_close(gradient, expected, atol=1e-5, rtol=1e-5)


def test_its_gradient_is_that_of_small_steps() -> None:
    torch.manual_seed(0)
    conv = EdgeConv(3, 4).double()
    graph = to_graph(random_neighbours([6, 4], types=3), torch.float64)
    x = torch.randn(2, 6, 3, dtype=torch.float64, requires_grad=True)
    parameters = {name: value.detach().requires_grad_() for name, value in conv.named_parameters()}

    def layer(x_BNF: Tensor, *values: Tensor) -> Tensor:
        return torch.func.functional_call(conv, dict(zip(parameters, values, strict=True)), (x_BNF, graph))

    assert torch.autograd.gradcheck(layer, (x, *parameters.values()))


def test_without_edges_all_parameters_stay_connected(conv: EdgeConv) -> None:
    output = conv(torch.randn(1, 3, 5), _joined(3))
    assert (output == 0).all()
    output.sum().backward()
    assert all(parameter.grad is not None for parameter in conv.parameters())


def test_the_message_depends_on_the_pair(conv: EdgeConv) -> None:
    # With one linear layer, two receivers would pick the same neighbour for every feature.
    torch.manual_seed(2)
    x = torch.randn(1, 40, 5)
    picked = []
    for receiver in (0, 1):
        alone = torch.stack(
            [conv(x, _joined(40, (sender, receiver)))[0, receiver] for sender in range(2, 40)]
        )
        picked.append(alone.argmax(0))
    assert not picked[0].equal(picked[1])


def _network(**config: float | str) -> Interaction:
    torch.manual_seed(0)
    return Interaction(6, GroupingConfig.model_validate({"hidden": 16, **config}))


LAYERS = ["edgeconv", "fc", "gat"]


@pytest.mark.parametrize("layer", LAYERS)
def test_output_follows_the_numbering_of_the_nodes(layer: str) -> None:
    network = _network(interaction=layer).eval().double()
    x = torch.randn(1, 12, 6, dtype=torch.float64)
    joined = random_neighbours([12], types=4)
    order = torch.randperm(12)
    moved = to_graph(joined[:, order][:, :, order], x.dtype)
    torch.testing.assert_close(network(x[:, order], moved), network(x, to_graph(joined, x.dtype))[:, order])


def test_a_node_hears_only_the_nodes_it_is_joined_with() -> None:
    network = _network(layers=1).eval()
    x, graph = torch.randn(1, 4, 6, requires_grad=True), _joined(4, (0, 1), (1, 2))
    (gradient,) = torch.autograd.grad(network(x, graph)[0, 0, 0], x)
    assert gradient[0].abs().sum(1).gt(0).tolist() == [True, True, False, False]
    (gradient,) = torch.autograd.grad(_network(layers=2).eval()(x, graph)[0, 0, 0], x)
    assert gradient[0].abs().sum(1).gt(0).tolist() == [True, True, True, False]


def test_paper_sizes() -> None:
    network = Interaction(84, GroupingConfig())
    assert network(torch.randn(2, 5, 84), to_graph(random_neighbours([5, 5]))).shape == (2, 5, 64)
    assert len(network.layers) == 3
    # Entry 84 -> 64, three EdgeConv 128 -> 64 -> 64, perceptron 64 -> 64 -> 64 -> 64, LayerNorm after each.
    layer = (128 * 64 + 64) + (64 * 64 + 64) + 2 * 64
    expected = (84 * 64 + 64) + 3 * layer + 3 * (64 * 64 + 64) + 2 * 64
    assert sum(parameter.numel() for parameter in network.parameters()) == expected


@pytest.mark.parametrize(("layer", "heard"), [("edgeconv", 2), ("fc", 1), ("gat", 2)])
def test_who_hears_whom(layer: str, heard: int) -> None:
    network = _network(layers=1, interaction=layer).eval()
    x = torch.randn(1, 3, 6, requires_grad=True)
    (gradient,) = torch.autograd.grad(network(x, _joined(3, (0, 1), (1, 2)))[0, 0, 0], x)
    assert gradient[0].abs().sum(1).gt(0).tolist() == [True, heard > 1, False]


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("nodes", [0, 1, 5])
def test_every_layer_works_without_edges(layer: str, nodes: int) -> None:
    network = _network(interaction=layer)
    network(torch.randn(1, nodes, 6), _joined(nodes)).sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_variants_have_as_many_parameters() -> None:
    sizes = {}
    for layer in LAYERS:
        network = Interaction(84, GroupingConfig.model_validate({"interaction": layer}))
        sizes[layer] = sum(parameter.numel() for parameter in network.parameters())
    assert sizes == {"edgeconv": 55680, "fc": 55776, "gat": 56640}  # Table 2 #9, #7, #8: within 2 %
