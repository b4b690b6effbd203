"""Flip and colours: exact mirror, left and right swapped, nothing depends on how the work is split."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hgg.skeleton import FLIP_INDEX, JOINTS
from hgg.targets import Targets, encode_heatmaps
from pipeline.batches.augment import augment, flip_batch, jitter_colour, uniforms
from pipeline.batches.collate import Batch

S = 16


def batch_of(people: int = 2, images: int = 3) -> Batch:
    """Random pictures, and heatmaps that are drawn from the joints."""
    rng = np.random.default_rng(0)
    joints = np.concatenate(
        (rng.uniform(0, S - 1, (images, people, 17, 2)), rng.integers(0, 2, (images, people, 17, 1))), -1
    ).astype(np.float32)
    joints[joints[..., 2] == 0] = 0
    heatmaps = np.stack([encode_heatmaps(j, S, 1.0) for j in joints])
    targets = Targets(
        torch.from_numpy(heatmaps),
        torch.from_numpy((rng.random((images, S, S)) < 0.7).astype(np.float32)),
        torch.from_numpy(joints),
        torch.from_numpy(rng.uniform(1, 9, (images, people)).astype(np.float32)),
    )
    pictures = torch.from_numpy(rng.integers(0, 256, (images, 3, 4 * S, 4 * S)).astype(np.uint8))
    return Batch(pictures, targets, torch.arange(images), torch.arange(images) * 77 - 5)


def everything(batch: Batch) -> list[torch.Tensor]:
    return [batch.images, *batch.targets, batch.image_ids, batch.keys]


def test_flipping_by_hand() -> None:
    batch = batch_of(images=1)
    flipped = flip_batch(batch, torch.tensor([True]))
    left, right = JOINTS.index("left_wrist"), JOINTS.index("right_wrist")
    assert torch.equal(flipped.images[..., 3], batch.images[..., 4 * S - 1 - 3])
    assert torch.equal(flipped.targets.heatmaps[0, left, :, 2], batch.targets.heatmaps[0, right, :, S - 3])
    assert torch.equal(flipped.targets.mask[0, :, 0], batch.targets.mask[0, :, S - 1])
    before, after = batch.targets.joints[0, 0], flipped.targets.joints[0, 0]
    labelled = before[:, 2] > 0
    assert 0 < labelled.sum() < 17
    for joint in range(17):
        source = before[FLIP_INDEX[joint]]
        x = S - 1 - source[0] if source[2] > 0 else source[0]
        assert after[joint].tolist() == [x, source[1], source[2]]
    assert torch.equal(flipped.targets.areas, batch.targets.areas)


def test_flipped_joints_and_flipped_maps_agree() -> None:
    batch = batch_of()
    flipped = flip_batch(batch, torch.ones(3, dtype=torch.bool)).targets
    for joints, heatmaps in zip(flipped.joints.numpy(), flipped.heatmaps.numpy(), strict=True):
        np.testing.assert_allclose(encode_heatmaps(joints, S, 1.0), heatmaps, atol=2e-6)


def test_the_mirror_of_pixels_is_the_mirror_of_cells() -> None:
    pixel = torch.linspace(0, 4 * S - 1, 50)
    cell = (pixel - 1.5) / 4
    torch.testing.assert_close(((4 * S - 1 - pixel) - 1.5) / 4, S - 1 - cell)


def test_flipping_twice_gives_the_batch_back() -> None:
    batch, chosen = batch_of(), torch.tensor([True, False, True])
    for a, b in zip(
        everything(flip_batch(flip_batch(batch, chosen), chosen)), everything(batch), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-6)  # S - 1 - x rounds


def test_only_the_chosen_are_flipped() -> None:
    batch = batch_of()
    flipped = flip_batch(batch, torch.tensor([False, True, False]))
    for a, b in zip(everything(flipped), everything(batch), strict=True):
        assert torch.equal(a[[0, 2]], b[[0, 2]])
    assert not torch.equal(flipped.images[1], batch.images[1])


def test_batches_as_read_and_without_people_flip_too() -> None:
    batch = batch_of(people=0)
    stored = batch._replace(
        targets=batch.targets._replace(heatmaps=torch.zeros(3, 17, S, S, dtype=torch.uint8))
    )
    flipped = flip_batch(stored, torch.ones(3, dtype=torch.bool))
    assert flipped.targets.heatmaps.dtype == torch.uint8
    assert flipped.targets.joints.shape == (3, 0, 17, 3)


def test_uniforms_are_those_of_splitmix64() -> None:
    """The algorithm in Python's whole numbers, against int64 tensors."""
    full = 2**64 - 1

    def splitmix(key: int, draw: int) -> float:
        z = (key + 0x9E3779B97F4A7C15 * (draw + 1)) & full
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & full
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & full
        return ((z ^ (z >> 31)) >> 40) / 2**24

    keys = [0, 1, -1, 2**62 + 12345, -(2**63)]
    expected = [[splitmix(key & full, draw) for draw in range(4)] for key in keys]
    assert uniforms(torch.tensor(keys), 4).tolist() == expected
    assert expected[0][0] == (0xE220A8397B1DCDAF >> 40) / 2**24  # the published first output for seed 0


def test_uniforms_fill_the_unit_interval_evenly() -> None:
    values = uniforms(torch.arange(4000), 4)
    assert values.min() >= 0
    assert values.max() < 1
    torch.testing.assert_close(values.mean(0), torch.full((4,), 0.5), atol=0.02, rtol=0)
    assert torch.corrcoef(values.T).fill_diagonal_(0).abs().max() < 0.06


def test_augmenting_halves_is_augmenting_the_whole() -> None:
    batch = batch_of(images=8)
    images, targets = augment(batch, 0.5, 0.2)
    parts = [[f[s] for f in everything(batch)] for s in (slice(0, 3), slice(3, 8))]
    halves = [augment(Batch(p[0], Targets(*p[1:5]), p[5], p[6]), 0.5, 0.2) for p in parts]
    torch.testing.assert_close(torch.cat([h[0] for h in halves]), images, rtol=0, atol=1e-6)
    for whole, *pieces in zip(targets, *(h[1] for h in halves), strict=True):
        assert torch.equal(torch.cat(pieces), whole)


def test_shares_of_nothing_and_all() -> None:
    batch = batch_of()
    images, targets = augment(batch, 0.0, 0.0)
    assert torch.equal(images, batch.images.float() / 255)
    assert torch.equal(targets.heatmaps, batch.targets.heatmaps)
    images, _ = augment(batch, 1.0, 0.0)
    assert torch.equal(images, batch.images.flip(-1).float() / 255)


def test_colours_by_hand() -> None:
    image = torch.tensor([[0.2, 0.4, 0.6]]).reshape(1, 3, 1, 1).repeat(1, 1, 2, 2)
    grey = 0.2 * 0.299 + 0.4 * 0.587 + 0.6 * 0.114

    def jittered(*factors: float) -> list[float]:
        return jitter_colour(image, torch.tensor([factors]), 0.5)[0, :, 0, 0].tolist()

    assert jittered(0, 0, 0) == pytest.approx([0.2, 0.4, 0.6])
    assert jittered(1, 0, 0) == pytest.approx([0.3, 0.6, 0.9])
    # A uniform picture's mean grey is its pixels' grey, so contrast and saturation do the same to it.
    stretched = [grey + 1.5 * (v - grey) for v in (0.2, 0.4, 0.6)]
    assert jittered(0, 1, 0) == pytest.approx(stretched)
    assert jittered(0, 0, 1) == pytest.approx(stretched)
    two_pixels = torch.tensor([0.2, 0.6]).repeat(3, 1).reshape(1, 3, 1, 2)
    contrast = jitter_colour(two_pixels, torch.tensor([[0.0, -1.0, 0.0]]), 0.5)
    assert contrast[0, 0, 0].tolist() == pytest.approx([0.3, 0.5])


@given(st.integers(0, 1000), st.floats(0, 0.99))
def test_colours_stay_in_range(seed: int, strength: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(2, 3, 4, 4, generator=generator)
    factors = 2 * torch.rand(2, 3, generator=generator) - 1
    jittered = jitter_colour(images, factors, strength)
    assert jittered.min() >= 0
    assert jittered.max() <= 1
