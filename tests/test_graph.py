"""Node features and the full graph, by hand."""

import torch

from candidate_cases import make_candidates
from hgg.graph import FEATURES_BESIDE_VISUAL, full_graph, node_features
from hgg.skeleton import NUM_JOINTS

NOSE, HIP, ANKLE = 0, 11, 16


def test_node_features() -> None:
    candidates = make_candidates([(HIP, 0.5, 1.5, 8, 4), (ANKLE, 0.4, -2.0, 0, 31)])
    visual = torch.tensor([[[0.25, -0.5], [3.0, 4.0]]])
    features = node_features(candidates._replace(visual=visual), side=32)
    assert features.shape == (1, 2, FEATURES_BESIDE_VISUAL + 2)
    first, second = features[0]
    assert first[:3].tolist() == [1.5, 0.25, -0.5]
    assert first[3:-2].nonzero().flatten().tolist() == [HIP]
    assert first[3:-2].sum() == 1
    assert first[-2:].tolist() == [0.25, 0.125]
    assert second[3:-2].nonzero().flatten().tolist() == [ANKLE]
    assert second[-2:].tolist() == [0.0, 31 / 32]


def test_edges_join_valid_candidates_of_different_types_inside_one_image() -> None:
    candidates = make_candidates(
        [(NOSE, 0.9, 0.0, 0, 0), (NOSE, 0.8, 0.0, 4, 0), (HIP, 0.7, 0.0, 0, 4), (ANKLE, 0.6, 0.0, 0, 8)],
        [(NOSE, 0.9, 0.0, 0, 0), (HIP, 0.8, 0.0, 4, 0)],
    )
    # The second image's numbers begin at 4; its padding, of type 0, has no edges.
    assert full_graph(candidates).T.tolist() == [[0, 2], [0, 3], [1, 2], [1, 3], [2, 3], [4, 5]]


def test_no_edges() -> None:
    for rows in ([], [(NOSE, 0.9, 0.0, 0, 0)], [(NOSE, 0.9, 0.0, 0, 0), (NOSE, 0.8, 0.0, 4, 0)]):
        assert full_graph(make_candidates(rows)).shape == (2, 0)


def test_all_types_once() -> None:
    candidates = make_candidates([(kind, 0.5, 0.0, kind, 0) for kind in range(NUM_JOINTS)])
    assert full_graph(candidates).shape == (2, NUM_JOINTS * (NUM_JOINTS - 1) // 2)
