"""Candidates and Algorithm 1 in fixed shapes: the same answer as by lists of what was found.

Letters: B images, J joint types, S sides of the maps, V visual channels, N candidates.
"""

from typing import Any

import pytest
import torch
from torch import Tensor

from hgg.candidates import Candidates, find_candidates, fixed_candidates
from hgg.clusters import Clusters
from hgg.config import CandidateConfig
from hgg.fixed import FixedGrouping, fixed_clusters, why_not_fixed
from hgg.model import HGG
from hgg.skeleton import NUM_JOINTS
from tests.cases.candidates import check_people, make_candidates
from tests.cases.core import tiny_model
from tests.cases.exported import decided

BATCHES = 24
VARIANTS: dict[str, dict[str, Any]] = {
    "edge": {},
    "few rounds": {"max_rounds": 2},
    "low cut": {"cut": 0.2},
    "high cut": {"cut": 0.8},
    "no cut": {"cut": 0.0},
    "distance": {"proximity": "distance"},
    "spread": {"macro_input": "spread"},
    "veto": {"veto": 0.4, "cut": 0.3},
    "veto by spread": {"veto": 0.4, "cut": 0.3, "macro_input": "spread"},
    "no macro score": {"macro_score": False},
    "large only": {"macro_score_from": 3},
    "score": {"score_feature": True},
    "per node": {"interaction": "fc"},
    "tree": {"graph": "tree"},
}


def _model(seed: int, **grouping: Any) -> HGG:
    """Random weights in double precision, with logits spread so that any cut leaves some edges."""
    model = tiny_model(seed, grouping={"hidden": 8, **grouping}, network={"visual_dim": 0})
    return decided(model).double().eval()


def _candidates(generator: torch.Generator, tied: bool) -> Candidates:
    """One to three images of none to 24 candidates; where tied, many of them are alike."""
    images = []
    for _ in range(int(torch.randint(1, 4, (), generator=generator))):
        count = int(torch.randint(0, 25, (), generator=generator))
        drawn = torch.rand(count, 5, generator=generator)
        if tied:
            drawn[:, 1:] = drawn[:, 1:].round()
        images.append(
            [
                (int(17 * kind) % NUM_JOINTS, 0.1 + score, 4 * tag, int(15 * x), int(15 * y))
                for kind, score, tag, x, y in drawn.tolist()
            ]
        )
    found = make_candidates(*images)
    return found._replace(
        xy=found.xy.double(), score=found.score.double(), tag=found.tag.double(), visual=found.visual.double()
    )


def _padded(candidates: Candidates, more: int) -> Candidates:
    def longer(part: Tensor) -> Tensor:
        return torch.cat((part, part.new_zeros(len(part), more, *part.shape[2:])), dim=1)

    return Candidates(*[longer(part) for part in candidates])._replace(size=candidates.size)


def _assert_same(ours: Clusters, other: Clusters) -> None:
    size = other.member.shape[1]
    assert ours.member[:, :size].equal(other.member)
    assert (ours.member[:, size:] == -1).all()
    torch.testing.assert_close(ours.confidence[:, :size], other.confidence)


@pytest.mark.parametrize("tied", [False, True], ids=["distinct", "ties"])
@pytest.mark.parametrize("name", VARIANTS)
@torch.no_grad()
def test_the_same_people(name: str, tied: bool) -> None:
    generator = torch.Generator().manual_seed(3)
    merged = judged = 0
    for seed in range(BATCHES // 2):
        model, candidates = _model(seed, **VARIANTS[name]), _candidates(generator, tied)
        expected = model.people(model.grouping(candidates), candidates)
        found = fixed_clusters(model.grouping, _padded(candidates, seed % 4))
        _assert_same(found, expected)
        check_people(candidates, expected)
        own = torch.arange(expected.member.shape[1])
        merged += int(((expected.member != own) & candidates.valid).sum())
        judged += int((expected.confidence < 1).sum())
    assert merged > BATCHES // 2
    assert (judged == 0) == (name == "no macro score")


def _maps(images: int, rows: int, columns: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    heatmaps = torch.rand(images, NUM_JOINTS, rows, columns, generator=generator)
    tags = torch.randn(images, NUM_JOINTS, rows, columns, generator=generator)
    return heatmaps, tags, torch.randn(images, 5, rows, columns, generator=generator)


@pytest.mark.parametrize("number", [1, 7, 40, 300])
def test_the_same_candidates_of_more_the_highest(number: int) -> None:
    config = CandidateConfig(threshold=0.97, per_type=4)
    maps = _maps(3, 12, 20)
    maps[0][1] = 0  # one image has none
    found_B, fixed = fixed_candidates(*maps, config, number)
    expected = find_candidates(*maps, config)
    assert found_B.tolist() == expected.valid.sum(dim=1).tolist()
    assert found_B.max() > 40
    kept = min(number, expected.kind.shape[1])
    valid = fixed.valid[:, :kept]
    assert valid.equal(expected.valid[:, :kept])
    assert not fixed.valid[:, kept:].any()
    for name in ("cell", "xy", "kind", "score", "tag", "visual"):
        assert getattr(fixed, name)[:, :kept][valid].equal(getattr(expected, name)[:, :kept][valid]), name
    assert fixed.kind.shape == (3, number)
    assert fixed.size.equal(expected.size)


@torch.no_grad()
def test_from_maps_to_people_and_from_none_to_nobody() -> None:
    model = tiny_model(1, network={"visual_dim": 5}).eval()
    maps = _maps(2, 16, 16, seed=1)
    maps[0][0] = 0
    expected = find_candidates(*maps, model.config.candidates, limit=20)
    found_B, candidates, clusters = FixedGrouping(model, 20)(*maps)
    assert found_B.tolist()[0] == 0
    assert found_B[1] > 20  # of more the highest
    assert candidates.valid.equal(expected.valid)
    _assert_same(clusters, model.people(model.grouping(expected), expected))
    assert (clusters.member[0] == -1).all()


@pytest.mark.parametrize(
    ("grouping", "said"),
    [
        ({"decoder": "associative"}, "decoder=associative solves an assignment"),
        ({"matching": "graclus"}, "matching=graclus visits the candidates in random order"),
    ],
)
def test_what_has_no_fixed_shapes_is_said(grouping: dict[str, Any], said: str) -> None:
    assert said in why_not_fixed(tiny_model(grouping=grouping))
    assert why_not_fixed(tiny_model()) == ""
