"""Losses by hand, and push and pull against the written-out double loop.

Letters: B images, K stacks, J joint types, S side, P people.
"""

import math

import pytest
import torch
from torch import Tensor

from hgg.hierarchy import Verdicts
from hgg.losses import heatmap_loss, push_pull_loss, verdict_loss
from hgg.skeleton import NUM_JOINTS
from hgg.targets import Targets


def _detection_targets(heatmaps_BJSS: Tensor, mask_BSS: Tensor) -> Targets:
    batch = len(heatmaps_BJSS)
    return Targets(heatmaps_BJSS, mask_BSS, torch.zeros(batch, 0, NUM_JOINTS, 3), torch.zeros(batch, 0))


def test_heatmap_loss_by_hand() -> None:
    # One joint type, two cells a side; two stacks. The lower row is masked out.
    target = torch.tensor([[[[1.0, 0.0], [0.5, 0.0]]]])
    targets = _detection_targets(target, torch.tensor([[[1.0, 1.0], [0.0, 0.0]]]))
    stacks = torch.tensor([[[[0.5, 0.25], [9.0, 9.0]]], [[[1.0, 0.5], [9.0, 9.0]]]])[:, None]
    # Squared errors 0.25 and 0.0625, then 0 and 0.25; over all eight cells, the masked ones too.
    assert heatmap_loss(stacks, targets, 0.0).item() == pytest.approx(0.5625 / 8)
    # With a foreground weight of 30 the cell whose target is 1 counts 31 times.
    assert heatmap_loss(stacks, targets, 30.0).item() == pytest.approx((31 * 0.25 + 0.0625 + 0.25) / 8)


def test_a_target_of_one_half_counts_half_the_foreground_weight() -> None:
    targets = _detection_targets(torch.full((1, 1, 1, 1), 0.5), torch.ones(1, 1, 1))
    assert heatmap_loss(torch.zeros(1, 1, 1, 1, 1), targets, 30.0).item() == 0.25 * 16


def _tags(*tags: tuple[int, int, int, float], stacks: int = 1, images: int = 1) -> Tensor:
    maps = torch.zeros(stacks, images, NUM_JOINTS, 8, 8)
    for kind, x, y, tag in tags:
        maps[0, 0, kind, y, x] = tag
    return maps


def _people(*people: list[tuple[int, float, float]]) -> Tensor:
    joints = torch.zeros(1, len(people), NUM_JOINTS, 3)
    for person, points in enumerate(people):
        for kind, x, y in points:
            joints[0, person, kind] = torch.tensor([x, y, 1.0])
    return joints


def test_push_and_pull_by_hand() -> None:
    # Tags 1, 2, 3 (mean 2) and 4, 5 (mean 4.5); means 2.5 apart.
    tags = _tags((0, 1, 1, 1.0), (5, 2, 1, 2.0), (9, 3, 1, 3.0), (0, 6, 6, 4.0), (5, 7, 7, 5.0))
    joints = _people([(0, 1, 1), (5, 2, 1), (9, 3, 1)], [(0, 6, 6), (5, 7, 7)])
    push, pull = push_pull_loss(tags, joints)
    assert pull.item() == pytest.approx(((1 + 0 + 1) / 3 + (0.25 + 0.25) / 2) / 2)
    assert push.item() == pytest.approx(0.5 * math.exp(-6.25))


def test_push_of_three_people_is_a_mean_over_pairs() -> None:
    tags = _tags((0, 0, 0, 0.0), (0, 1, 0, 1.0), (0, 2, 0, 3.0))
    push, pull = push_pull_loss(tags, _people([(0, 0, 0)], [(0, 1, 0)], [(0, 2, 0)]))
    assert push.item() == pytest.approx(0.5 * (math.exp(-1) + math.exp(-4) + math.exp(-9)) / 3)
    assert pull.item() == 0


def test_tags_are_read_at_the_nearest_cell() -> None:
    tags = _tags((0, 3, 5, 2.0), (5, 7, 0, 2.0))
    _, pull = push_pull_loss(tags, _people([(0, 2.6, 5.4), (5, 7.4, -0.4)]))
    assert pull.item() == 0  # both read 2
    _, pull = push_pull_loss(tags, _people([(0, 2.4, 5.4), (5, 7.4, -0.4)]))
    assert pull.item() == 1  # 0 and 2, around 1


@pytest.mark.parametrize("people", [[], [[]], [[(0, 1, 1)]], [[(0, 1, 1)], []]])
def test_fewer_than_two_labelled_people_have_no_push(people: list[list[tuple[int, float, float]]]) -> None:
    tags = _tags((0, 1, 1, 4.0)).requires_grad_()
    push, pull = push_pull_loss(tags, _people(*people))
    assert push.item() == pull.item() == 0
    (push + pull).backward()
    assert tags.grad is not None


def _double_loop(tags_KBJSS: Tensor, joints_BPJ3: Tensor) -> tuple[float, float]:
    """AE's formulas, one person and one pair after the other."""
    pushes, pulls = [], []
    for stack in tags_KBJSS.double():
        for tags_JSS, joints_PJ3 in zip(stack, joints_BPJ3, strict=True):
            means, spreads = [], []
            for person in joints_PJ3:
                found = [
                    tags_JSS[j, round(y), round(x)] for j, (x, y, flag) in enumerate(person.tolist()) if flag
                ]
                if found:
                    means.append(sum(found) / len(found))
                    spreads.append(sum((tag - means[-1]) ** 2 for tag in found) / len(found))
            near = [math.exp(-((a - b) ** 2)) for i, a in enumerate(means) for b in means[i + 1 :]]
            pulls.append(sum(spreads) / len(spreads) if spreads else 0.0)
            pushes.append(0.5 * sum(near) / len(near) if near else 0.0)
    return float(sum(pushes) / len(pushes)), float(sum(pulls) / len(pulls))


@pytest.mark.parametrize("seed", range(5))
def test_push_and_pull_equal_the_double_loop(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    tags = torch.randn(2, 3, NUM_JOINTS, 8, 8, generator=generator)
    joints = torch.rand(3, 5, NUM_JOINTS, 3, generator=generator)
    joints[..., :2] *= 7
    joints[..., 2] = (
        joints[..., 2] < torch.tensor([0.9, 0.2, 0.0])[:, None, None]
    ).float()  # few, then nobody
    joints[0, 1] = 0  # padding between people
    push, pull = push_pull_loss(tags, joints)
    expected_push, expected_pull = _double_loop(tags, joints)
    assert push.item() == pytest.approx(expected_push, rel=1e-5)
    assert pull.item() == pytest.approx(expected_pull, rel=1e-5)


def _verdicts(*rows: tuple[int, float, int, bool]) -> Verdicts:
    """Verdicts of (image, logit, target, supervised)."""
    image, logit, target, supervised = (
        (list(column) for column in zip(*rows, strict=True)) if rows else ([],) * 4
    )
    return Verdicts(
        torch.tensor(image, dtype=torch.int64),
        torch.tensor(logit, requires_grad=True),
        torch.tensor(target, dtype=torch.float32),
        torch.tensor(supervised, dtype=torch.bool),
    )


def _softplus(value: float) -> float:
    return math.log1p(math.exp(value))


def test_verdict_loss_by_hand() -> None:
    first = _verdicts((0, 2.0, 1, True), (0, -1.0, 0, True), (0, 7.0, 0, False), (1, 0.5, 0, True))
    second = _verdicts((0, 3.0, 0, True))
    # Cross-entropy is softplus(-logit) for a target of 1, softplus(logit) for 0.
    image_0 = ((_softplus(-2) + _softplus(-1)) / 2 + _softplus(3)) / 2
    image_1 = _softplus(0.5)  # one round only
    found = verdict_loss([first, second], num_images=3)  # the third image has none and counts as 0
    assert found.item() == pytest.approx((image_0 + image_1 + 0) / 3)


def test_a_round_without_supervised_verdicts_does_not_count() -> None:
    rounds = [_verdicts((0, 2.0, 1, True)), _verdicts((0, 5.0, 0, False))]
    assert verdict_loss(rounds, 1).item() == pytest.approx(_softplus(-2))


def test_balanced_classes_weigh_the_same_in_an_image_over_its_rounds() -> None:
    first = _verdicts((0, 2.0, 1, True), (0, -1.0, 0, True), (0, 7.0, 1, False), (1, 0.5, 0, True))
    second = _verdicts((0, 3.0, 0, True), (0, -2.0, 0, True))
    # Of the first image's four, the one of target 1 has a weight of 2, the three others of 2 / 3.
    one, other = 2.0, 2 / 3
    in_first = (one * _softplus(-2) + other * _softplus(-1)) / (one + other)
    in_second = (_softplus(3) + _softplus(-2)) / 2
    found = verdict_loss([first, second], num_images=2, balanced=True)
    assert found.item() == pytest.approx(((in_first + in_second) / 2 + _softplus(0.5)) / 2)
    even = _verdicts((0, 2.0, 1, True), (0, -1.0, 0, True))
    assert verdict_loss([even], 1, balanced=True).item() == pytest.approx(verdict_loss([even], 1).item())
    assert verdict_loss([_verdicts()], 1, balanced=True).item() == 0


@pytest.mark.parametrize("rows", [[], [(0, 3.0, 1, False)]])
def test_nothing_supervised_is_zero_and_connected(rows: list[tuple[int, float, int, bool]]) -> None:
    verdicts = _verdicts(*rows)
    loss = verdict_loss([verdicts], 2)
    assert loss.item() == 0
    loss.backward()
    assert verdicts.logit.grad is not None
    assert not verdicts.logit.grad.any()
