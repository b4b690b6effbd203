"""Node features and the graphs of Fig. 4a, by hand."""

from typing import get_args

import pytest
import torch

from hgg.graph import joined_types, keypoint_graph, node_features, num_features
from hgg.skeleton import FLIP_INDEX, NUM_JOINTS, GraphName, graph_links
from tests.cases.candidates import make_candidates

NOSE, HIP, ANKLE = 0, 11, 16
FULL = joined_types("full")


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
    assert keypoint_graph(candidates, FULL).T.tolist() == [[0, 2], [0, 3], [1, 2], [1, 3], [2, 3], [4, 5]]


def test_no_edges() -> None:
    for rows in ([], [(NOSE, 0.9, 0.0, 0, 0)], [(NOSE, 0.9, 0.0, 0, 0), (NOSE, 0.8, 0.0, 4, 0)]):
        assert keypoint_graph(make_candidates(rows), FULL).shape == (2, 0)


def test_all_types_once() -> None:
    candidates = make_candidates([(kind, 0.5, 0.0, kind, 0) for kind in range(NUM_JOINTS)])
    assert keypoint_graph(candidates, FULL).shape == (2, NUM_JOINTS * (NUM_JOINTS - 1) // 2)


def test_other_graphs_join_fewer_types() -> None:
    eye, ear, shoulder = 1, 3, 5
    rows = [(kind, 0.9, 0.0, 4 * kind, 0) for kind in (NOSE, eye, ear, shoulder, HIP)]
    candidates = make_candidates([*rows, (NOSE, 0.8, 0.0, 40, 40)])
    edges = keypoint_graph(candidates, joined_types("tree")).T.tolist()
    # Both noses (0, 5) with eye (1) and shoulder (3), eye with ear (2), shoulder with hip (4).
    assert edges == [[0, 1], [0, 3], [1, 2], [1, 5], [3, 4], [3, 5]]
    skipped = keypoint_graph(candidates, joined_types("bypass")).T.tolist()
    assert [edge for edge in skipped if edge not in edges] == [[0, 2], [0, 4], [1, 3], [2, 5], [4, 5]]


def test_joined_types_are_the_links_both_ways() -> None:
    joined = joined_types("extended")
    assert torch.equal(joined, joined.T)
    assert {(a, b) for a, b in joined.nonzero().tolist() if a < b} == graph_links("extended")
    assert torch.equal(FULL, ~torch.eye(NUM_JOINTS, dtype=torch.bool))


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
    joined = joined_types(graph)
    flip = torch.tensor(FLIP_INDEX)
    assert joined[flip][:, flip].equal(joined)
