"""Images to people and back to the image's own pixels, with a network that is not trained."""

import numpy as np
import pytest
import torch

from hgg.associative import group_associative
from hgg.candidates import Candidates
from hgg.clusters import Clusters
from hgg.config import ModelConfig
from hgg.groupings import BLIND, GROUPINGS, BlindName
from hgg.maps import Maps
from hgg.model import HGG
from hgg.oracle import group_oracle
from hgg.predictor import Predictor, evaluating
from hgg.skeleton import NUM_JOINTS
from hgg.suppression import OFF
from hgg.targets import encode_heatmaps
from hgg.transform import apply, letterbox, to_cells
from tests.cases.core import make_targets, tiny_model

SIDE = 64
CONFIG = ModelConfig.model_validate(
    {"network": {"input_size": SIDE, "stacks": 1, "channels": 8, "increase": 8, "depth": 2, "visual_dim": 4}}
)


class _Painted(HGG):
    """A model whose network sees the truth: the joints given in original pixels of each image."""

    def __init__(self, sizes: list[tuple[int, int]], joints: list[np.ndarray]) -> None:
        super().__init__(CONFIG)
        self.painted = []
        for (width, height), points in zip(sizes, joints, strict=True):
            cells = np.ones((*points.shape[:2], 3))
            cells[..., :2] = to_cells(apply(letterbox(width, height, SIDE), points))
            self.painted.append(torch.from_numpy(encode_heatmaps(cells, SIDE // 4, 1.0)))

    def forward(self, images_B3HW: torch.Tensor) -> Maps:
        """Maps of the truth, whatever the images are; all tags 0."""
        heatmaps = torch.stack(self.painted)[None]
        side = SIDE // 4
        return Maps(heatmaps, torch.zeros_like(heatmaps), torch.zeros(len(images_B3HW), 4, side, side))


def _image(width: int, height: int) -> np.ndarray:
    return np.zeros((height, width, 3), np.uint8)


def test_joints_come_back_in_each_image_s_own_pixels() -> None:
    sizes = [(200, 100), (60, 90)]
    grid = np.stack([np.arange(NUM_JOINTS) * 2.0 + 10, np.arange(NUM_JOINTS) * 3.0 + 20], axis=1)[None]
    joints = [grid * [3.5, 1.0], grid]
    predictor = Predictor(_Painted(sizes, joints), "ae")
    people = predictor.predict([_image(*size) for size in sizes])
    for poses, points in zip(people, joints, strict=True):
        np.testing.assert_allclose(poses.keypoints[..., :2], points, atol=0.02)
        assert 0.5 < poses.score[0] <= 1.0


@pytest.mark.parametrize("grouping", BLIND)
def test_an_untrained_model_runs_on_images_of_several_sizes(grouping: BlindName) -> None:
    torch.manual_seed(0)
    model = HGG(CONFIG)
    generator = np.random.default_rng(0)
    images = [generator.integers(0, 256, (50 + 9 * n, 70, 3), dtype=np.uint8) for n in range(3)]
    predictor = Predictor(model, grouping)
    people = predictor.predict(images)
    assert {poses.keypoints.shape[1:] for poses in people} == {(NUM_JOINTS, 3)}
    assert model.training
    # Maps, not people: in an untrained network's flat maps the last bit of a sum decides what is a peak.
    together = predictor.detect(images)
    for place, image in enumerate(images):
        alone = predictor.detect([image])
        torch.testing.assert_close(alone.heatmaps[0], together.heatmaps[place], rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(alone.transforms[0], together.transforms[place])


def test_any_grouping_of_the_same_detections() -> None:
    predictor = Predictor(_Painted([(64, 64)], [np.full((1, NUM_JOINTS, 2), 30.0)]))
    detections = predictor.detect([_image(64, 64)])
    nobody = Clusters(torch.full((1, NUM_JOINTS), -1), torch.ones(1, NUM_JOINTS))
    (poses,) = predictor.people(detections, nobody)
    assert poses.keypoints.shape == (0, NUM_JOINTS, 3)
    assert isinstance(detections.candidates, Candidates)
    assert int(detections.candidates.valid.sum()) == NUM_JOINTS


def test_who_is_found_in_two_parts_is_there_once_unless_that_is_off() -> None:
    """Two clusters of one person: each has its other joints filled in from the maps."""
    rng = np.random.default_rng(0)
    predictor = Predictor(_Painted([(64, 64)], [rng.uniform(8, 56, (1, NUM_JOINTS, 2))]))
    detections = predictor.detect([_image(64, 64)])
    half = torch.arange(detections.candidates.kind.shape[1])[None] >= 9
    clusters = Clusters(torch.where(half, 9, 0), torch.ones(half.shape))
    (twice,), (once,) = predictor.everybody(detections, clusters), predictor.people(detections, clusters)
    assert predictor.suppressed(twice).tolist() == [-1, 0]
    assert once.score.tolist() == twice.score[:1].tolist()
    np.testing.assert_array_equal(once.keypoints, twice.keypoints[:1])
    off = Predictor(predictor.model, suppression=OFF)
    assert len(off.people(detections, clusters)[0].score) == 2
    own = tiny_model(grouping={"suppression": 0.75})
    assert Predictor(own).suppression == 0.75


@pytest.mark.parametrize("decoder", ["hgg", "associative"])
def test_each_name_groups_by_its_own_function(decoder: str) -> None:
    model = tiny_model(grouping={"decoder": decoder, "cut": 0.3})
    predictor = Predictor(model)
    generator = np.random.default_rng(0)
    candidates = predictor.detect([generator.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)]).candidates
    targets = make_targets([2])
    by_tags = group_associative(candidates, model.config.grouping.tag_threshold)
    with evaluating(model):
        by_rounds = model.people(model.grouping(candidates), candidates)
    expected = {
        "ae": by_tags,
        "hgg": by_tags if decoder == "associative" else by_rounds,
        "oracle": group_oracle(candidates, targets),
    }
    for name in GROUPINGS:
        for found, wanted in zip(
            predictor.clusters_of(candidates, name, targets), expected[name], strict=True
        ):
            assert torch.equal(found, wanted)
    assert not torch.equal(by_tags.member, by_rounds.member)
    assert model.training
    with pytest.raises(ValueError, match="give its targets"):
        predictor.clusters_of(candidates, "oracle")


def test_what_is_not_an_rgb_image_is_refused() -> None:
    predictor = Predictor(HGG(CONFIG))
    assert predictor.predict([]) == []
    with pytest.raises(ValueError, match=r"uint8 \(H, W, 3\) in RGB"):
        predictor.predict([np.zeros((20, 20), np.uint8)])
    with pytest.raises(ValueError, match="float32"):
        predictor.predict([np.zeros((20, 20, 3), np.float32)])


def test_evaluation_mode_ends_also_after_an_error() -> None:
    model = HGG(CONFIG).train()

    def fail() -> None:
        with evaluating(model):
            assert not model.training
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert model.training
