"""Matching: small graphs by hand, and locally dominant against the written-out greedy choice.

Letters: E edges.
"""

import importlib.util
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hgg.matching import dominant_matching, graclus_matching, match

GRACLUS = importlib.util.find_spec("torch_cluster") is not None

Edge = tuple[int, int, float]

# Whoever visits node 2 first, as torch-cluster's graclus may, takes the edge 1-2 and loses the heaviest, 0-1.
CYCLE: list[Edge] = [(0, 1, 0.99), (1, 2, 0.6), (2, 3, 0.01), (0, 3, 0.01)]


def _tensors(edges: list[Edge]) -> tuple[torch.Tensor, torch.Tensor]:
    pairs_2E = torch.tensor([edge[:2] for edge in edges], dtype=torch.int64).reshape(-1, 2).T
    return pairs_2E, torch.tensor([edge[2] for edge in edges])


def _chosen(edges: list[Edge], num_nodes: int) -> list[int]:
    return dominant_matching(*_tensors(edges), num_nodes).nonzero().flatten().tolist()


def _greedy(edges: list[Edge]) -> list[int]:
    """Edges from the heaviest down, the first listed where equal, each whose ends are still free."""
    taken: set[int] = set()
    chosen = []
    for index in sorted(range(len(edges)), key=lambda index: -edges[index][2]):
        ends = set(edges[index][:2])
        if not ends & taken:
            taken |= ends
            chosen.append(index)
    return sorted(chosen)


def test_the_heaviest_edge_of_a_cycle_is_taken() -> None:
    assert _chosen(CYCLE, 4) == [0, 2]


def test_a_path_whose_weights_fall_is_decided_from_its_heavy_end() -> None:
    # Only one edge is locally dominant at a time: 0-1, then 2-3, then 4-5.
    path = [(0, 1, 0.9), (1, 2, 0.8), (2, 3, 0.7), (3, 4, 0.6), (4, 5, 0.5)]
    assert _chosen(path, 6) == [0, 2, 4]


def test_the_middle_edge_of_a_path_leaves_both_sides_out() -> None:
    assert _chosen([(0, 1, 0.5), (1, 2, 0.6), (2, 3, 0.5)], 4) == [1]


def test_ties_go_to_the_edge_listed_first() -> None:
    triangle = [(0, 1, 0.5), (0, 2, 0.5), (1, 2, 0.5)]
    assert _chosen(triangle, 3) == [0]
    assert _chosen(triangle[::-1], 3) == [0]  # which is 1-2


def test_weights_may_be_negative_and_nodes_without_edges() -> None:
    assert _chosen([(3, 5, -4.0), (5, 8, -3.0)], 10) == [1]


def test_no_edge_at_all() -> None:
    assert _chosen([], 4) == []
    assert _chosen([], 0) == []


def test_logits_that_all_have_probability_one_keep_their_order() -> None:
    pairs_2E, logit_E = _tensors([(0, 1, 20.0), (1, 2, 25.0)])
    assert torch.sigmoid(logit_E).tolist() == [1.0, 1.0]
    assert match(pairs_2E, logit_E, 3, "dominant").tolist() == [False, True]


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


def test_without_torch_cluster_graclus_says_in_one_line_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "torch_cluster", None)
    pairs_2E, logit_E = _tensors(CYCLE)
    with pytest.raises(
        ValueError, match=r"^grouping\.matching=graclus needs .*make graclus.*dominant$"
    ) as raised:
        match(pairs_2E, logit_E, 4, "graclus")
    assert "\n" not in str(raised.value)


@pytest.mark.skipif(not GRACLUS, reason="needs torch-cluster: make graclus")
def test_graclus_gives_a_maximal_matching_and_may_pass_over_the_heaviest_edge() -> None:
    pairs_2E, weight_E = _tensors(CYCLE)
    found = set()
    for seed in range(50):
        torch.manual_seed(seed)
        found.add(tuple(graclus_matching(pairs_2E, weight_E, 4).nonzero().flatten().tolist()))
    assert found == {(0, 2), (1, 3)}
    assert match(pairs_2E[:, :0], weight_E[:0], 4, "graclus").tolist() == []
