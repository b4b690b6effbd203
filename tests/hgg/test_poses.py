"""From clusters to people: scores, order and filling, by hand."""

import numpy as np
import pytest
import torch

from hgg.clusters import Clusters
from hgg.poses import LEAST, to_poses
from hgg.skeleton import NUM_JOINTS
from tests.cases.candidates import make_candidates

SIDE = 16


def _maps(images: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """Heatmaps of 0, (images, J, S, S), and tags of 0 of one view, (images, 1, J, S, S)."""
    return torch.zeros(images, NUM_JOINTS, SIDE, SIDE), torch.zeros(images, 1, NUM_JOINTS, SIDE, SIDE)


def _clusters(*members: list[int], confidence: float = 1.0) -> Clusters:
    member = torch.tensor(members)
    return Clusters(member, torch.full(member.shape, confidence))


def test_score_is_the_mean_over_all_joints_times_the_confidence() -> None:
    candidates = make_candidates([(0, 0.5, 0.0, 2, 3), (5, 0.9, 0.0, 7, 3), (0, 0.8, 0.0, 12, 3)])
    clusters = _clusters([0, 0, 2])
    clusters.confidence[0, 0] = 0.5
    (poses,) = to_poses(candidates, clusters, *_maps(), fill_missing=False)
    # The single nose scores 0.8 / 17, the two joints (0.5 + 0.9) / 17 / 2: the nose comes first.
    np.testing.assert_allclose(poses.score, [0.8 / 17, 0.7 / 17], rtol=1e-6)
    np.testing.assert_allclose(poses.keypoints[0, 0], [12, 3, 0.8])
    np.testing.assert_allclose(poses.keypoints[1, 0], [2, 3, 0.5])
    np.testing.assert_allclose(poses.keypoints[1, 5], [7, 3, 0.9])
    assert (poses.keypoints[..., 2] > 0).sum() == 3
    assert not poses.keypoints[1, 6].any()


def test_positions_are_those_inside_the_cell() -> None:
    candidates = make_candidates([(0, 0.5, 0.0, 2, 3)])
    candidates = candidates._replace(xy=candidates.xy + 0.25)
    (poses,) = to_poses(candidates, _clusters([0]), *_maps(), fill_missing=False)
    assert poses.keypoints[0, 0, :2].tolist() == [2.25, 3.25]


def test_candidates_left_out_make_nobody() -> None:
    candidates = make_candidates([(0, 0.5, 0.0, 2, 3)], [])
    poses = to_poses(candidates, _clusters([-1], [-1]), *_maps(2), fill_missing=True)
    assert [(p.keypoints.shape, p.score.shape) for p in poses] == [((0, NUM_JOINTS, 3), (0,))] * 2


def test_a_missing_joint_is_filled_where_heat_less_rounded_tag_distance_is_highest() -> None:
    heatmaps, tags = _maps()
    candidates = make_candidates([(0, 0.9, 1.0, 2, 3), (5, 0.7, 2.0, 2, 6)])  # mean tag 1.5
    tags[0, 0, 9] = 1.5
    heatmaps[0, 9, 10, 4], tags[0, 0, 9, 10, 4] = 0.40, 1.9  # distance 0.4 rounds to 0: 0.40, the best
    heatmaps[0, 9, 2, 8], tags[0, 0, 9, 2, 8] = 0.95, 2.2  # distance 0.7 rounds to 1: -0.05
    heatmaps[0, 9, 5, 5], tags[0, 0, 9, 5, 5] = 0.30, 1.5  # distance 0: 0.30
    (poses,) = to_poses(candidates, _clusters([0, 0]), heatmaps, tags, fill_missing=True, subcell="quarter")
    np.testing.assert_allclose(poses.keypoints[0, 9], [4, 10, 0.40])
    assert poses.score[0] == pytest.approx(1.6 / 17)  # before filling
    np.testing.assert_allclose(poses.keypoints[0, 0], [2, 3, 0.9])  # a found joint stays
    assert (poses.keypoints[0, :, 2] > 0).sum() == 3  # maps without heat fill nothing


def test_another_person_s_joint_is_a_place_but_has_hardly_a_value() -> None:
    heatmaps, tags = _maps()
    tags[0, 0, 9] = 5.0
    heatmaps[0, 9, 10, 4] = 0.9
    candidates = make_candidates([(0, 0.9, 0.0, 2, 3)])
    (poses,) = to_poses(candidates, _clusters([0]), heatmaps, tags, fill_missing=True, subcell="quarter")
    np.testing.assert_allclose(poses.keypoints[0, 9], [4, 10, LEAST])


def test_each_person_is_filled_by_its_own_tag_and_by_the_same_subcell_rule() -> None:
    heatmaps, tags = _maps()
    candidates = make_candidates([(0, 0.9, 0.0, 2, 3), (0, 0.8, 8.0, 12, 3)])
    tags[0, 0, 9, :, 8:] = 8.0
    for column in (3, 11):
        heatmaps[0, 9, 10, column], heatmaps[0, 9, 10, column + 1] = 0.5, 0.2
    (poses,) = to_poses(candidates, _clusters([0, 1]), heatmaps, tags, fill_missing=True, subcell="quarter")
    np.testing.assert_allclose(poses.keypoints[0, 9], [3.25, 10, 0.5])
    np.testing.assert_allclose(poses.keypoints[1, 9], [11.25, 10, 0.5])


def test_a_gaussian_is_filled_to_its_exact_position() -> None:
    heatmaps, tags = _maps()
    rows, columns = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    heatmaps[0, 9] = torch.exp(-((columns - 6.3) ** 2 + (rows - 9.6) ** 2) / 8)
    (poses,) = to_poses(
        make_candidates([(0, 0.9, 0.0, 2, 3)]), _clusters([0]), heatmaps, tags, fill_missing=True
    )
    np.testing.assert_allclose(poses.keypoints[0, 9, :2], [6.3, 9.6], atol=1e-4)


def test_a_batch_gives_what_each_image_gives_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    heatmaps = torch.rand(2, NUM_JOINTS, SIDE, SIDE, generator=generator)
    tags = torch.rand(2, 1, NUM_JOINTS, SIDE, SIDE, generator=generator) * 6
    first, second = [(0, 0.9, 0.0, 2, 3), (9, 0.5, 0.4, 2, 8)], [(5, 0.7, 3.0, 4, 4)]
    both = to_poses(
        make_candidates(first, second), _clusters([0, 0], [0, -1]), heatmaps, tags, fill_missing=True
    )
    for image, (rows, member) in enumerate([(first, [0, 0]), (second, [0])]):
        alone = slice(image, image + 1)
        (poses,) = to_poses(
            make_candidates(rows), _clusters(member), heatmaps[alone], tags[alone], fill_missing=True
        )
        np.testing.assert_array_equal(poses.keypoints, both[image].keypoints)
        np.testing.assert_array_equal(poses.score, both[image].score)


def test_with_two_views_a_joint_is_filled_by_the_root_mean_square_of_tag_distances() -> None:
    heatmaps, tags = _maps()[0], torch.zeros(1, 2, NUM_JOINTS, SIDE, SIDE)
    candidates = make_candidates([(0, 0.9, 0.0, 2, 3), (5, 0.7, 0.0, 2, 6)])
    candidates = candidates._replace(tag=torch.tensor([[[1.0, -1.0], [2.0, -2.0]]]))  # mean 1.5, -1.5
    heatmaps[0, 9, 10, 4], tags[0, :, 9, 10, 4] = 0.40, torch.tensor([1.5, -0.9])  # 0.42 rounds to 0: 0.40
    heatmaps[0, 9, 2, 8], tags[0, :, 9, 2, 8] = 0.95, torch.tensor([1.5, -0.7])  # 0.57 rounds to 1: -0.05
    (poses,) = to_poses(candidates, _clusters([0, 0]), heatmaps, tags, fill_missing=True, subcell="quarter")
    np.testing.assert_allclose(poses.keypoints[0, 9], [4, 10, 0.40])


def test_a_joint_is_filled_in_maps_that_are_not_square() -> None:
    heatmaps, tags = torch.zeros(1, NUM_JOINTS, 8, 20), torch.zeros(1, 1, NUM_JOINTS, 8, 20)
    heatmaps[0, 9, 7, 17] = 0.5
    (poses,) = to_poses(
        make_candidates([(0, 0.9, 0.0, 2, 3)]), _clusters([0]), heatmaps, tags, fill_missing=True
    )
    np.testing.assert_allclose(poses.keypoints[0, 9], [17, 7, 0.5])
