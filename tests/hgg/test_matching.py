"""Matching: small graphs by hand, and locally dominant against the written-out greedy choice.

Letters: E edges, M nodes.
"""

import importlib.util
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hgg.matching import ALONE, dominant_assignment, dominant_matching, graclus_matching, match

GRACLUS = importlib.util.find_spec("torch_cluster") is not None

Edge = tuple[int, int, float]

# Whoever visits node 2 first, as torch-cluster's graclus may, takes the edge 1-2 and loses the heaviest, 0-1.
CYCLE: list[Edge] = [(0, 1, 0.99), (1, 2, 0.6), (2, 3, 0.01), (0, 3, 0.01)]


def _weights(edges: list[Edge], num_nodes: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """(1, M, M)."""
    weight_MM = torch.full((num_nodes, num_nodes), -torch.inf, dtype=dtype)
    weight_MM.fill_diagonal_(ALONE)
    for first, second, weight in edges:
        weight_MM[first, second] = weight_MM[second, first] = weight
    return weight_MM[None]


def _pairs(into_M: torch.Tensor) -> list[tuple[int, int]]:
    """Pairs of nodes, the smaller first."""
    return [(into, node) for node, into in enumerate(into_M.tolist()) if into != node]


def _chosen(edges: list[Edge], num_nodes: int) -> list[tuple[int, int]]:
    weight_GMM, into_GM = _weights(edges, num_nodes, torch.float64), None
    for _ in range(num_nodes + 1):
        into_GM, left = dominant_matching(weight_GMM, into_GM)
        if not left:
            return _pairs(into_GM[0])
    raise AssertionError("it does not end")


def _greedy(edges: list[Edge]) -> list[tuple[int, int]]:
    """Edges from the heaviest down, of equal ones that of the smallest nodes, if both ends are still free."""
    taken: set[int] = set()
    chosen = []
    for first, second, _ in sorted(edges, key=lambda edge: (-edge[2], edge[:2])):
        if not {first, second} & taken:
            taken |= {first, second}
            chosen.append((first, second))
    return sorted(chosen, key=lambda pair: pair[1])


def test_the_heaviest_edge_of_a_cycle_is_taken() -> None:
    assert _chosen(CYCLE, 4) == [(0, 1), (2, 3)]


def test_a_path_whose_weights_fall_is_decided_from_its_heavy_end() -> None:
    # Only one edge is locally dominant at a time: 0-1, then 2-3, then 4-5; more than one call makes.
    path = [(node, node + 1, 1 - node / 20) for node in range(15)]
    assert _chosen(path, 16) == [(node, node + 1) for node in range(0, 16, 2)]
    assert dominant_matching(_weights(path, 16)).left > 0


def test_the_middle_edge_of_a_path_leaves_both_sides_out() -> None:
    assert _chosen([(0, 1, 0.5), (1, 2, 0.6), (2, 3, 0.5)], 4) == [(1, 2)]


def test_ties_go_to_the_smallest_nodes() -> None:
    assert _chosen([(0, 1, 0.5), (0, 2, 0.5), (1, 2, 0.5)], 3) == [(0, 1)]
    # The first node is done when the others choose.
    assert _chosen([(0, 1, 0.9), (2, 3, 0.5), (2, 4, 0.5), (3, 4, 0.5)], 5) == [(0, 1), (2, 3)]


def test_weights_may_be_negative_and_nodes_without_edges() -> None:
    assert _chosen([(3, 5, -4.0), (5, 8, -3.0)], 10) == [(5, 8)]


def test_no_edge_at_all() -> None:
    assert _chosen([], 4) == []


def test_graphs_of_a_batch_do_not_touch_one_another() -> None:
    other = [(0, 3, 0.9), (1, 2, 0.1)]
    into, left = dominant_matching(torch.cat((_weights(CYCLE, 4), _weights(other, 4), _weights([], 4))))
    assert [_pairs(one) for one in into] == [[(0, 1), (2, 3)], [(1, 2), (0, 3)], []]
    assert left == 0


def test_logits_that_all_have_probability_one_keep_their_order() -> None:
    edges = [(0, 1, 20.0), (1, 2, 25.0)]
    assert torch.sigmoid(torch.tensor([20.0, 25.0])).tolist() == [1.0, 1.0]
    assert _pairs(match(_weights(edges, 3), None, "dominant").into[0]) == [(1, 2)]


@st.composite
def _graphs(draw: st.DrawFn) -> tuple[list[Edge], int]:
    num_nodes = draw(st.integers(2, 12))
    pairs = [(i, j) for i in range(num_nodes) for j in range(i + 1, num_nodes)]
    kept = draw(st.lists(st.sampled_from(pairs), unique=True))
    weights = st.sampled_from([0.25, 0.5, 0.75]) | st.floats(-2.0, 2.0, width=32)
    return [(i, j, draw(weights)) for i, j in kept], num_nodes


@settings(max_examples=200, deadline=None)
@given(_graphs())
def test_equals_the_greedy_choice_from_the_heaviest_down(graph: tuple[list[Edge], int]) -> None:
    edges, num_nodes = graph
    assert _chosen(edges, num_nodes) == _greedy(edges)


def _greedy_assignment(weights: list[list[float]]) -> list[int]:
    """Column of each row, the heaviest pairs first, of equal ones that of the smallest row and column."""
    places = [(-weight, row, col) for row, line in enumerate(weights) for col, weight in enumerate(line)]
    column_of = [-1] * len(weights)
    for weight, row, column in sorted(places):
        if weight != float("inf") and column_of[row] < 0 and column not in column_of:
            column_of[row] = column
    return column_of


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.data())
def test_an_assignment_is_the_greedy_choice_too(rows: int, columns: int, data: st.DataObject) -> None:
    weight = st.sampled_from([float("-inf"), 0.25, 0.5]) | st.floats(-2.0, 2.0, width=32)
    weights = data.draw(
        st.lists(st.lists(weight, min_size=columns, max_size=columns), min_size=rows, max_size=rows)
    )
    found = dominant_assignment(torch.tensor([weights, weights]))
    assert found.tolist() == [_greedy_assignment(weights)] * 2


def test_without_torch_cluster_graclus_says_in_one_line_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "torch_cluster", None)
    with pytest.raises(
        ValueError, match=r"^grouping\.matching=graclus needs .*make graclus.*dominant$"
    ) as raised:
        match(_weights(CYCLE, 4), None, "graclus")
    assert "\n" not in str(raised.value)


@pytest.mark.skipif(not GRACLUS, reason="needs torch-cluster: make graclus")
def test_graclus_gives_a_maximal_matching_and_may_pass_over_the_heaviest_edge() -> None:
    found = set()
    for seed in range(50):
        torch.manual_seed(seed)
        found.add(tuple(_pairs(graclus_matching(_weights(CYCLE, 4)).into[0])))
    assert found == {((0, 1), (2, 3)), ((1, 2), (0, 3))}
    into, left = match(_weights([], 4), None, "graclus")
    assert (_pairs(into[0]), left) == ([], 0)
