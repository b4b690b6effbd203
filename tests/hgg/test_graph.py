"""Node features and the graphs of Fig. 4a, by hand."""

from typing import get_args

import pytest
import torch

from hgg.graph import (
    NEVER,
    Graph,
    compatible,
    keypoint_graph,
    link_rule,
    list_pairs,
    node_features,
    num_features,
    parts,
)
from hgg.skeleton import FLIP_INDEX, NUM_JOINTS, GraphName, graph_links
from tests.cases.candidates import make_candidates

NOSE, HIP, ANKLE = 0, 11, 16
FULL = link_rule("full")


def _pairs(graph: Graph) -> list[list[int]]:
    """Edges of all images, their nodes numbered over the batch."""
    image, first, second = list_pairs(graph.joined, graph.edges)
    assert graph.joined.equal(graph.joined.mT)
    return (torch.stack((first, second)) + image * graph.joined.shape[1]).T.tolist()


def test_node_features() -> None:
    candidates = make_candidates([(HIP, 0.5, 1.5, 8, 4), (ANKLE, 0.4, -2.0, 0, 31)])
    visual = torch.tensor([[[[0.25, -0.5]], [[3.0, 4.0]]]])
    # x and y are divided by the longer side, 32 cells.
    features = node_features(candidates._replace(visual=visual, size=torch.tensor([[20, 32]])))
    assert features.shape == (1, 2, num_features(2))
    first, second = features[0]
    assert first[:3].tolist() == [1.5, 0.25, -0.5]
    assert first[3:-2].nonzero().flatten().tolist() == [HIP]
    assert first[3:-2].sum() == 1
    assert first[-2:].tolist() == [0.25, 0.125]
    assert second[3:-2].nonzero().flatten().tolist() == [ANKLE]
    assert second[-2:].tolist() == [0.0, 31 / 32]


def test_the_score_is_a_feature_where_asked_for() -> None:
    candidates = make_candidates([(HIP, 0.5, 1.5, 8, 4), (ANKLE, 0.25, -2.0, 0, 31)])
    plain, scored = node_features(candidates), node_features(candidates, score=True)
    assert torch.equal(scored[..., :-1], plain)
    assert scored[0, :, -1].tolist() == [0.5, 0.25]


def test_edges_join_valid_candidates_of_different_types_inside_one_image() -> None:
    candidates = make_candidates(
        [(NOSE, 0.9, 0.0, 0, 0), (NOSE, 0.8, 0.0, 4, 0), (HIP, 0.7, 0.0, 0, 4), (ANKLE, 0.6, 0.0, 0, 8)],
        [(NOSE, 0.9, 0.0, 0, 0), (HIP, 0.8, 0.0, 4, 0)],
    )
    # The second image's numbers begin at 4; its padding, of type 0, has no edges.
    graph = keypoint_graph(candidates, FULL)
    assert _pairs(graph) == [[0, 2], [0, 3], [1, 2], [1, 3], [2, 3], [4, 5]]
    assert (graph.edges, graph.sizes) == (6, [4, 2])


def test_no_edges() -> None:
    for rows in ([], [(NOSE, 0.9, 0.0, 0, 0)], [(NOSE, 0.9, 0.0, 0, 0), (NOSE, 0.8, 0.0, 4, 0)]):
        graph = keypoint_graph(make_candidates(rows), FULL)
        assert _pairs(graph) == []
        assert not graph.joined.any()


def test_all_types_once() -> None:
    candidates = make_candidates([(kind, 0.5, 0.0, kind, 0) for kind in range(NUM_JOINTS)])
    assert keypoint_graph(candidates, FULL).edges == NUM_JOINTS * (NUM_JOINTS - 1) // 2


def test_other_graphs_join_fewer_types() -> None:
    eye, ear, shoulder = 1, 3, 5
    rows = [(kind, 0.9, 0.0, 4 * kind, 0) for kind in (NOSE, eye, ear, shoulder, HIP)]
    candidates = make_candidates([*rows, (NOSE, 0.8, 0.0, 40, 40)])
    edges = _pairs(keypoint_graph(candidates, link_rule("tree")))
    # Both noses (0, 5) with eye (1) and shoulder (3), eye with ear (2), shoulder with hip (4).
    assert edges == [[0, 1], [0, 3], [1, 2], [1, 5], [3, 4], [3, 5]]
    skipped = _pairs(keypoint_graph(candidates, link_rule("bypass")))
    assert [edge for edge in skipped if edge not in edges] == [[0, 2], [0, 4], [1, 3], [2, 5], [4, 5]]


def test_the_rule_is_the_links_both_ways_and_never_a_type_with_itself() -> None:
    rule = link_rule("extended")
    assert rule.equal(rule.T)
    assert {(a, b) for a, b in (rule == 1).nonzero().tolist() if a < b} == graph_links("extended")
    assert rule.diagonal().eq(-NEVER).all()
    assert FULL.equal(1 - (1 + NEVER) * torch.eye(NUM_JOINTS))


def test_macro_nodes_are_compatible_that_share_no_type_and_have_some_that_are_linked() -> None:
    eye, ear, hip = 1, 3, 11
    members = [[NOSE, eye], [ear], [eye, ear], [hip], [ANKLE], []]
    types = torch.zeros(1, len(members), NUM_JOINTS)
    for row, kinds in enumerate(members):
        types[0, row, kinds] = 1
    # In the tree the eye is joined with the ear; neither hip nor ankle with any of these, nor one another.
    rule = link_rule("tree")
    assert compatible(types, types @ rule)[0].nonzero().tolist() == [[0, 1], [1, 0]]
    everybody = compatible(types, types @ FULL)[0]
    assert everybody.triu().nonzero().tolist() == [
        [0, 1],
        [0, 3],
        [0, 4],
        [1, 3],
        [1, 4],
        [2, 3],
        [2, 4],
        [3, 4],
    ]


@pytest.mark.parametrize("at_once", [1, 7, 20, 100, 10**9])
@pytest.mark.parametrize("sizes", [[5, 0, 3], [4, 4, 4, 4], [0], [1, 9, 2]])
def test_parts_are_all_pairs_once_and_hardly_more_at_a_time(sizes: list[int], at_once: int) -> None:
    seen = torch.zeros(len(sizes), max(sizes), max(sizes), dtype=torch.int64)
    for images, rows, columns in parts(sizes, at_once):
        part = seen[images, rows, columns]
        part += 1
        assert part.numel() <= max(at_once, max(sizes))
    assert (seen <= 1).all()
    for image, size in enumerate(sizes):
        assert seen[image, :size, :size].all()


def test_a_node_of_the_second_view_is_described_as_it_looks_in_the_mirror() -> None:
    candidates = make_candidates([(HIP, 0.5, 1.5, 8, 4), (NOSE, 0.4, -2.0, 0, 9)])
    candidates = candidates._replace(
        tag=torch.tensor([[[1.5, -4.0], [-2.0, 7.0]]]),
        visual=torch.tensor([[[[0.25], [0.5]], [[3.0], [4.0]]]]),
        size=torch.tensor([[20, 10]]),
    )
    first, second = node_features(candidates, view=1)[0]
    assert first[:2].tolist() == [-4.0, 0.5]
    assert first[2:-2].nonzero().flatten().tolist() == [HIP + 1]  # the right hip
    torch.testing.assert_close(first[-2:], torch.tensor([11 / 20, 4 / 20]))
    assert second[:2].tolist() == [7.0, 4.0]
    assert second[2:-2].nonzero().flatten().tolist() == [NOSE]
    torch.testing.assert_close(second[-2:], torch.tensor([19 / 20, 9 / 20]))
    plain = node_features(candidates)[0]
    assert plain[0, :2].tolist() == [1.5, 0.25]


@pytest.mark.parametrize("graph", get_args(GraphName))
def test_every_graph_is_its_own_mirror_image(graph: GraphName) -> None:
    rule = link_rule(graph)
    flip = torch.tensor(FLIP_INDEX)
    assert rule[flip][:, flip].equal(rule)
