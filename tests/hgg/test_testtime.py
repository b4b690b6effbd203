"""Flip, scales and the side that is resized: what the network is shown, and what of it is kept.

An untrained network with random weights is enough: nothing here depends on what it says, but on that it
says the same of the same input.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hgg.candidates import find_candidates
from hgg.config import InferenceConfig, NetworkConfig
from hgg.maps import Maps
from hgg.model import HGG
from hgg.poses import Poses, to_poses
from hgg.predictor import Predictor, to_original
from hgg.skeleton import FLIP_INDEX, NUM_JOINTS
from hgg.testtime import Views, frame, look
from hgg.transform import apply, letterbox, to_cells
from tests.cases.core import CELLS, INPUT, make_images, tiny_model

FLIP = list(FLIP_INDEX)


def _photograph(seed: int = 0, width: int = INPUT, height: int = INPUT) -> np.ndarray:
    """Smooth noise, RGB uint8, as photographs are: of every size the same scene."""
    coarse = make_images(1, seed)[..., :8, :8]
    smooth = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic").clamp(0, 1)
    return (smooth[0] * 255).round().byte().permute(1, 2, 0).contiguous().numpy()


def _mirrored(image: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(image[:, ::-1])


def _turned(maps: Tensor) -> Tensor:
    """Maps (..., J, S, S) in the mirror."""
    return maps.flip(-1)[..., FLIP, :, :]


def _model(seed: int = 0, **settings: Any) -> HGG:
    return tiny_model(seed, **settings).eval()


def _look(model: HGG, image: np.ndarray, **inference: Any) -> Views:
    config = InferenceConfig(**inference)
    place = frame(image.shape[1], image.shape[0], model.config.network, config.resize)
    return look(model, [image], [place], config)


def _same(found: Sequence[Poses], expected: Sequence[Poses]) -> bool:
    return all(
        np.array_equal(poses.keypoints, others.keypoints) and np.array_equal(poses.score, others.score)
        for poses, others in zip(found, expected, strict=True)
    )


@pytest.mark.parametrize("decoder", ["hgg", "associative"])
def test_one_scale_and_no_flip_is_the_plain_way_to_the_last_bit(decoder: str) -> None:
    model = _model(grouping={"decoder": decoder})
    images = [_photograph(seed) for seed in range(5)]
    maps = model(torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255)
    heatmaps, tags = maps.heatmaps[-1].detach(), maps.tags[-1].detach()
    candidates = find_candidates(heatmaps, tags, maps.visual, model.config.candidates)
    clusters = Predictor(model).clusters_of(candidates, "hgg")
    in_cells = to_poses(candidates, clusters, heatmaps, tags[:, None], fill_missing=True)
    plain = [to_original(poses, letterbox(INPUT, INPUT, INPUT)) for poses in in_cells]
    assert sum(len(poses.score) for poses in plain) >= 10
    assert _same(Predictor(model).predict(images), plain)
    single = InferenceConfig(scales=(1.0,), flip=False)
    assert _same(Predictor(model, inference=single).predict(images), plain)


def test_the_order_of_the_scales_has_no_say() -> None:
    model, images = _model(), [_photograph(seed, 80, 60) for seed in range(2)]
    orders = [(0.5, 1.0, 2.0), (2.0, 1.0, 0.5), (1.0, 2.0, 0.5)]
    people = [
        Predictor(model, inference=InferenceConfig(scales=order, flip=True)).predict(images)
        for order in orders
    ]
    assert sum(len(poses.score) for poses in people[0]) > 0
    assert _same(people[1], people[0])
    assert _same(people[2], people[0])


def test_flipped_maps_of_a_photograph_and_its_mirror_image_are_mirror_images() -> None:
    model, image = _model(), _photograph()
    here, there = _look(model, image, flip=True), _look(model, _mirrored(image), flip=True)
    assert torch.equal(there.heatmaps, _turned(here.heatmaps))
    # What is view 0 here is view 1 there.
    assert torch.equal(there.tags, _turned(here.tags).flip(0))
    assert torch.equal(there.visual, here.visual.flip(-1).flip(0))
    # Without the flip, a network that was never taught it knows no symmetry.
    plain, other = _look(model, image), _look(model, _mirrored(image))
    assert (other.heatmaps - _turned(plain.heatmaps)).abs().max() > 0.01


@pytest.mark.parametrize("scales", [(1.0,), (0.5, 1.0, 2.0), (0.6, 1.0)])
@pytest.mark.parametrize("resize", ["long", "short"])
def test_a_symmetric_picture_has_symmetric_maps(scales: tuple[float, ...], resize: str) -> None:
    half = _photograph(width=INPUT // 2)
    image = np.concatenate([half, _mirrored(half)], axis=1)
    found = _look(_model(), image, flip=True, scales=scales, resize=resize)
    assert found.heatmaps.std() > 0.01
    # To the last bit where nothing is resampled, which rounds pixels to 8 bits.
    torch.testing.assert_close(found.heatmaps, _turned(found.heatmaps), rtol=0, atol=1e-3)
    if len(scales) == 1:
        assert torch.equal(found.heatmaps, _turned(found.heatmaps))


@pytest.mark.parametrize("proximity", ["edge", "distance"])
def test_people_of_a_photograph_and_its_mirror_image_are_mirror_images(proximity: str) -> None:
    """The whole path: what is averaged, and how a node looks in the mirror.

    Not of AE's grouping, which visits left joints before right ones.
    """
    model = _model(grouping={"proximity": proximity, "cut": 0.3, "fill_missing": False})
    predictor = Predictor(model, inference=InferenceConfig(flip=True))
    image = _photograph(seed=3)
    (here,), (there,) = predictor.predict([image]), predictor.predict([_mirrored(image)])
    assert len(here.score) > 1
    assert ((here.keypoints[..., 2] > 0).sum(axis=1) > 1).any()
    np.testing.assert_allclose(there.score, here.score, rtol=1e-5)
    expected = here.keypoints[:, FLIP].copy()
    found = expected[..., 2] > 0
    expected[..., 0] = np.where(found, INPUT - 1 - expected[..., 0], 0)
    np.testing.assert_allclose(there.keypoints, expected, atol=1e-3)


class _Scene(HGG):
    """A model that sees where the picture is bright: its heatmaps are the input, averaged over cells."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.seen: list[tuple[int, ...]] = []

    def forward(self, images_B3HW: Tensor) -> Maps:
        """Red in all heatmaps, green in all tags, and blue as the relational feature."""
        self.seen.append(tuple(images_B3HW.shape[-2:]))
        red, green, blue = torch.nn.functional.avg_pool2d(images_B3HW, 4).unbind(1)
        heatmaps = red[:, None].expand(-1, NUM_JOINTS, -1, -1)[None]
        tags = green[:, None].expand(-1, NUM_JOINTS, -1, -1)[None]
        return Maps(heatmaps, tags, blue[:, None])


@pytest.mark.parametrize("scale", [0.5, 0.6, 0.8, 1.7, 2.0])
def test_every_scale_shows_the_same_scene_in_the_same_cells(scale: float) -> None:
    """A ramp is the same after any resampling but at its ends, however the input had to be filled up."""
    ramp = np.linspace(20, 220, INPUT)
    image = np.stack([np.tile(ramp, (INPUT, 1)), np.tile(ramp[:, None], INPUT), np.zeros((INPUT, INPUT))], -1)
    model = _Scene(tiny_model().config)
    alone = _look(model, image.astype(np.uint8))
    both = _look(model, image.astype(np.uint8), scales=(1.0, scale), flip=True)
    of_scale = 2 * both.heatmaps - alone.heatmaps
    inner = (..., slice(2, -2), slice(2, -2))
    torch.testing.assert_close(of_scale[inner], alone.heatmaps[inner], rtol=0, atol=2 / 255)
    step = model.config.network.step
    assert all(side % step == 0 for shape in model.seen for side in shape)
    # Tags are of scale 1 alone.
    assert both.tags.shape == (2, *alone.tags.shape[1:])
    assert torch.equal(both.tags[0], alone.tags[0])


def test_heatmaps_are_the_mean_over_scales_and_mirror() -> None:
    model, image = _model(), _photograph()
    parts = [_look(model, image).heatmaps, _turned(_look(model, _mirrored(image)).heatmaps)]
    both = _look(model, image, flip=True)
    torch.testing.assert_close(both.heatmaps, sum(parts) / 2)
    small = model(torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255)  # the photograph at scale 1
    torch.testing.assert_close(both.tags[0], small.tags[-1])
    # At 2.0 the network is shown 128 pixels and 32 cells, of which each 2 x 2 become one.
    double = _photograph(width=2 * INPUT, height=2 * INPUT)
    larger = model(torch.from_numpy(double).permute(2, 0, 1)[None].float() / 255).heatmaps[-1]
    from_large = _look(model, double, scales=(1.0, 2.0)).heatmaps
    expected = (_look(model, double).heatmaps + torch.nn.functional.avg_pool2d(larger, 2)) / 2
    torch.testing.assert_close(from_large, expected)


@pytest.mark.parametrize(
    ("width", "height", "size"),
    [
        (640, 480, (704, 512)),  # 682.67 rounded up to a multiple of 64, as HigherHRNet does
        (480, 640, (512, 704)),
        (500, 500, (512, 512)),
        (1024, 512, (1024, 512)),
    ],
)
def test_the_short_side_is_the_input_size_and_the_long_one_what_the_network_can_halve(
    width: int, height: int, size: tuple[int, int]
) -> None:
    placed = frame(width, height, NetworkConfig(), "short")
    assert (placed.columns * 4, placed.rows * 4) == size
    # The photograph is in the middle, and as large as its shorter side asks for.
    centre = apply(placed.transform, np.array([(width - 1) / 2, (height - 1) / 2]))
    np.testing.assert_allclose(centre, (np.array(size) - 1) / 2)
    np.testing.assert_allclose(placed.transform[:, :2], np.eye(2) * 512 / min(width, height))
    plain = frame(width, height, NetworkConfig(), "long")
    np.testing.assert_array_equal(plain.transform, letterbox(width, height, 512))
    assert (plain.columns, plain.rows) == (128, 128)


def test_short_side_finds_what_is_there_whatever_else_is_in_the_batch() -> None:
    """A bright spot in each of several photographs of several shapes comes back at its place."""
    model = _Scene(tiny_model().config)
    sizes, spots = [(96, 64), (64, 64), (60, 110), (192, 128)], [(70, 20), (30, 45), (17, 92), (150, 99)]
    images = []
    for (width, height), (x, y) in zip(sizes, spots, strict=True):
        distance = np.hypot(np.arange(width)[None] - x, np.arange(height)[:, None] - y)
        image = np.zeros((height, width, 3), np.uint8)
        image[..., 0] = 250 * np.exp(-(distance**2) / 2 / (0.06 * min(width, height)) ** 2)
        images.append(image)
    for flip in (False, True):
        inference = InferenceConfig(resize="short", flip=flip)
        predictor = Predictor(model, "ae", inference)
        together = predictor.predict(images)
        assert _same(together, [predictor.predict([image])[0] for image in images])
        for poses, spot in zip(together, spots, strict=True):
            assert len(poses.score) == 1
            np.testing.assert_allclose(poses.keypoints[0, :, :2], [spot] * NUM_JOINTS, atol=1.0)
    candidates = predictor.detect(images).candidates
    assert candidates.size.tolist() == [[24, 16], [16, 16], [16, 32], [24, 16]]
    assert candidates.tag.shape[-1] == 2
    # In the third photograph, 110 high: 60 become 64, and 117.3 lie in the middle of 128.
    np.testing.assert_allclose(
        candidates.xy[2, 0].numpy(), to_cells(np.array([17.5, 92.5]) * 64 / 60 - 0.5 + [0, 5.33]), atol=0.2
    )


def test_cells_beside_the_photograph_are_no_one_s_in_any_view() -> None:
    found = _look(_model(), _photograph(width=64, height=32), flip=True, scales=(0.5, 1.0, 2.0))
    assert (found.heatmaps[:, :, : CELLS // 4 - 1] == 0).all()
    assert (found.heatmaps[:, :, CELLS // 4 : 3 * CELLS // 4] != 0).all()


@pytest.mark.parametrize(("width", "height"), [(1_000_000, 1), (3, 100_000), (9 * 512, 512)])
def test_a_form_alone_makes_no_large_input(width: int, height: int) -> None:
    network = NetworkConfig()
    placed = frame(width, height, network, "short")
    assert max(placed.columns, placed.rows) == 8 * network.output_size
    assert network.step // 4 <= min(placed.columns, placed.rows) <= network.output_size


def test_the_longest_that_is_shown_by_its_shorter_side_is_eight_inputs() -> None:
    placed = frame(8 * 100, 100, NetworkConfig(), "short")
    assert (placed.columns, placed.rows) == (8 * 128, 128)
