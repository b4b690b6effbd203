"""Algorithm 1 by hand: every number of three rounds on eight candidates.

Embeddings are places on a line. The edge discriminator's logit is 2 less the distance, so places at most 2
apart may merge; the macro-node discriminator's is twice the place.

    candidate   0      1      2         3         4      5           6        7
    type        nose   nose   shoulder  shoulder  elbow  elbow       hip      knee
    place       0      10     1         8.25      2.5    10.5        20       21
    label       P0     P1     P0        P1        P0     background  ignored  P1

Letters: B images, N candidates, H embedding, E edges.
"""

import pytest
import torch
from torch import Tensor

from hgg.config import GroupingConfig
from hgg.discriminators import EdgeDiscriminator, MacroDiscriminator
from hgg.graph import keypoint_graph, link_rule
from hgg.hierarchy import Hierarchy, Verdicts
from hgg.labels import BACKGROUND, IGNORED
from hgg.losses import verdict_loss
from hgg.ohgc import LEAST_VARIANCE, aggregate, cluster, macro_features
from tests.cases.candidates import make_candidates

NOSE, SHOULDER, ELBOW, HIP, KNEE = 0, 5, 7, 11, 13
KINDS = [NOSE, NOSE, SHOULDER, SHOULDER, ELBOW, ELBOW, HIP, KNEE]
PLACES = [0.0, 10.0, 1.0, 8.25, 2.5, 10.5, 20.0, 21.0]
LABELS = [0, 1, 0, 1, 0, BACKGROUND, IGNORED, 1]
# The second image of the batch: one person, whose two candidates are too far apart to merge.
FAR_KINDS, FAR_PLACES, FAR_LABELS = [NOSE, HIP], [0.0, 5.0], [0, 0]

Pair = tuple[int, int]
FULL = link_rule("full")


class Ruler(EdgeDiscriminator):
    """2 - |a - b|."""

    def __init__(self) -> None:
        super().__init__(GroupingConfig())

    def forward(self, feature_XH: Tensor, first_E: Tensor, second_E: Tensor) -> Tensor:
        return 2 - (feature_XH[first_E] - feature_XH[second_E]).abs().sum(-1)


class Doubler(MacroDiscriminator):
    """2 a."""

    def __init__(self) -> None:
        super().__init__(GroupingConfig())

    def forward(self, feature_XF: Tensor) -> Tensor:
        return 2 * feature_XF.sum(-1)


def _run(
    *images: tuple[list[int], list[float], list[int]],
    config: GroupingConfig | None = None,
    labelled: bool = True,
    teacher: list[bool] | None = None,
) -> Hierarchy:
    candidates = make_candidates(*([(kind, 0.5, 0.0, 0, 0) for kind in kinds] for kinds, _, _ in images))
    batch, size = candidates.kind.shape
    places, labels = torch.zeros(batch, size), torch.full((batch, size), BACKGROUND)
    for image, (kinds, place, label) in enumerate(images):
        places[image, : len(kinds)] = torch.tensor(place)
        labels[image, : len(kinds)] = torch.tensor(label)
    return cluster(
        places[..., None, None],
        keypoint_graph(candidates, FULL),
        candidates,
        Ruler(),
        Doubler(),
        FULL,
        config or GroupingConfig(),
        labels if labelled else None,
        torch.tensor(teacher) if teacher else None,
    )


@pytest.fixture
def hierarchy() -> Hierarchy:
    return _run((KINDS, PLACES, LABELS), (FAR_KINDS, FAR_PLACES, FAR_LABELS))


def _edges(hierarchy: Hierarchy, number: int) -> dict[Pair, tuple[float, float | None]]:
    """Logit of every edge of a round and its target, None where it is not supervised."""
    pairs, verdicts = hierarchy.rounds[number].pairs, hierarchy.rounds[number].edges
    assert (pairs[0] < pairs[1]).all()
    assert verdicts.image.tolist() == (pairs[0] // hierarchy.member.shape[1]).tolist()
    return {tuple(pair): said for pair, said in zip(pairs.T.tolist(), _said(verdicts), strict=True)}


def _said(verdicts: Verdicts) -> list[tuple[float, float | None]]:
    return [
        (logit, target if supervised else None)
        for logit, target, supervised in zip(
            verdicts.logit.tolist(), verdicts.target.tolist(), verdicts.supervised.tolist(), strict=True
        )
    ]


def _chosen(verdicts: Verdicts, chosen: Tensor) -> Verdicts:
    """Verdicts on some rows."""
    assert not verdicts.supervised[~chosen].any()
    return Verdicts(*(part[chosen] for part in verdicts))


def _formed(hierarchy: Hierarchy, number: int) -> Verdicts:
    """Verdicts on the macro-nodes that a round formed."""
    return _chosen(hierarchy.rounds[number].macros, hierarchy.rounds[number].formed)


def _final(hierarchy: Hierarchy) -> Verdicts:
    """Verdicts on the macro-nodes of two candidates or more at the end."""
    return _chosen(hierarchy.final, hierarchy.of_at_least(2))


def _merged(hierarchy: Hierarchy, number: int) -> list[list[int]]:
    return hierarchy.rounds[number].pairs[:, hierarchy.rounds[number].merged].T.tolist()


def test_first_round_scores_every_pair_of_different_types(hierarchy: Hierarchy) -> None:
    assert _edges(hierarchy, 0) == {
        # From the nose of P0, at 0, to the others but the second nose.
        (0, 2): (1.0, 1.0),
        (0, 3): (-6.25, 0.0),
        (0, 4): (-0.5, 1.0),
        (0, 5): (-8.5, 0.0),
        (0, 6): (-18.0, None),
        (0, 7): (-19.0, 0.0),
        # From the nose of P1, at 10.
        (1, 2): (-7.0, 0.0),
        (1, 3): (0.25, 1.0),
        (1, 4): (-5.5, 0.0),
        (1, 5): (1.5, 0.0),
        (1, 6): (-8.0, None),
        (1, 7): (-9.0, 1.0),
        # From the shoulder of P0, at 1.
        (2, 4): (0.5, 1.0),
        (2, 5): (-7.5, 0.0),
        (2, 6): (-17.0, None),
        (2, 7): (-18.0, 0.0),
        # From the shoulder of P1, at 8.25.
        (3, 4): (-3.75, 0.0),
        (3, 5): (-0.25, 0.0),
        (3, 6): (-9.75, None),
        (3, 7): (-10.75, 1.0),
        # From the elbow of P0, at 2.5, from the elbow in the background, at 10.5, and from the hip, at 20.
        (4, 6): (-15.5, None),
        (4, 7): (-16.5, 0.0),
        (5, 6): (-7.5, None),
        (5, 7): (-8.5, 0.0),
        (6, 7): (1.0, None),
        # The second image, whose candidates begin at number 8.
        (8, 9): (-3.0, 1.0),
    }


def test_first_round_merges_the_most_confident_pairs(hierarchy: Hierarchy) -> None:
    # 1-3 and 2-4 are above the cut as well, but 1-5 and 0-2 are more confident and leave them no end free.
    assert _merged(hierarchy, 0) == [[0, 2], [1, 5], [6, 7]]


def test_first_round_judges_what_it_formed(hierarchy: Hierarchy) -> None:
    # Means 0.5 (P0 alone), 10.25 (P1 and background) and 20.5 (P1 and ignored).
    formed = _formed(hierarchy, 0)
    assert _said(formed) == [(1.0, 1.0), (20.5, 0.0), (41.0, None)]
    assert formed.image.tolist() == [0, 0, 0]


def test_second_round_starts_from_the_means_without_pairs_that_share_a_type(hierarchy: Hierarchy) -> None:
    # Left are 0 = {nose, shoulder}, 1 = {nose, elbow}, 3 = shoulder, 4 = elbow, 6 = {hip, knee}:
    # 0-1 share the nose, 0-3 the shoulder, 1-4 the elbow. The second image merged nothing and is done.
    assert _edges(hierarchy, 1) == {
        (0, 4): (0.0, 1.0),
        (0, 6): (-18.0, None),
        (1, 3): (0.0, None),  # 1 is impure
        (1, 6): (-8.25, None),
        (3, 4): (-3.75, 0.0),
        (3, 6): (-10.25, None),
        (4, 6): (-16.0, None),
    }
    assert _merged(hierarchy, 1) == [[0, 4], [1, 3]]  # a probability of exactly one half is enough
    assert _said(_formed(hierarchy, 1)) == [
        (pytest.approx(2 * 3.5 / 3), 1.0),
        (pytest.approx(2 * 28.75 / 3), 0.0),  # impure stays impure
    ]


def test_third_round_finds_nothing_to_merge_and_is_the_last(hierarchy: Hierarchy) -> None:
    assert _edges(hierarchy, 2) == {
        (0, 6): (pytest.approx(2 - (20.5 - 3.5 / 3)), None),
        (1, 6): (pytest.approx(2 - (20.5 - 28.75 / 3)), None),
    }
    assert _merged(hierarchy, 2) == []
    assert _said(_formed(hierarchy, 2)) == []
    assert len(hierarchy.rounds) == 3


def test_final_macro_nodes(hierarchy: Hierarchy) -> None:
    assert hierarchy.member.tolist() == [[0, 1, 0, 1, 0, 1, 6, 6], [0, 1] + [-1] * 6]
    assert hierarchy.node[hierarchy.of_at_least(2)].tolist() == [0, 1, 6]
    assert _final(hierarchy).image.tolist() == [0, 0, 0]
    assert _said(_final(hierarchy)) == [
        (pytest.approx(7 / 3), 1.0),
        (pytest.approx(57.5 / 3), 0.0),
        (41.0, None),
    ]


def test_edge_loss_of_the_whole_run(hierarchy: Hierarchy) -> None:
    def mean(edges: dict[Pair, tuple[float, float | None]]) -> float:
        known = [(torch.tensor(logit), target) for logit, target in edges.values() if target is not None]
        losses = [torch.nn.functional.softplus(-logit if target else logit) for logit, target in known]
        return float(torch.stack(losses).mean())

    first = _edges(hierarchy, 0)
    other = {(8, 9): first.pop((8, 9))}
    # The third round has no supervised edge: the first image averages over two rounds, the second over one.
    expected = ((mean(first) + mean(_edges(hierarchy, 1))) / 2 + mean(other)) / 2
    found = verdict_loss([r.edges for r in hierarchy.rounds], 2)
    assert found.item() == pytest.approx(expected, rel=1e-6)


def test_a_taught_image_merges_by_the_truth_the_most_confident_first() -> None:
    taught = _run((KINDS, PLACES, LABELS), (FAR_KINDS, FAR_PLACES, FAR_LABELS), teacher=[True, False])
    assert _merged(taught, 0) == [[0, 2], [1, 3]]  # not 1-5, which is background, nor 6-7, which is ignored
    assert _merged(taught, 1) == [[0, 4], [1, 7]]  # with logits of 0 and -9.875
    assert taught.member.tolist() == [[0, 1, 0, 1, 0, 5, 6, 1], [0, 1] + [-1] * 6]
    assert _said(_final(taught)) == [(pytest.approx(7 / 3), 1.0), (pytest.approx(78.5 / 3), 1.0)]


def test_without_labels_nothing_is_supervised_and_the_people_are_the_same(hierarchy: Hierarchy) -> None:
    inference = _run((KINDS, PLACES, LABELS), (FAR_KINDS, FAR_PLACES, FAR_LABELS), labelled=False)
    assert inference.member.equal(hierarchy.member)
    for verdicts in [
        *(r.edges for r in inference.rounds),
        *(r.macros for r in inference.rounds),
        inference.final,
    ]:
        assert not verdicts.supervised.any()


def test_two_people_are_impure_even_if_an_ignored_candidate_came_between() -> None:
    merged = _run(([NOSE, HIP, KNEE], [0.0, 1.0, 2.25], [0, IGNORED, 1]))
    assert _merged(merged, 0) == [[0, 1]]
    assert _said(_formed(merged, 0)) == [(1.0, None)]
    assert _edges(merged, 1) == {(0, 2): (0.25, None)}
    assert _said(_formed(merged, 1)) == [(pytest.approx(6.5 / 3), 0.0)]


def test_the_number_of_rounds_is_limited() -> None:
    stopped = _run((KINDS, PLACES, LABELS), config=GroupingConfig(max_rounds=1))
    assert len(stopped.rounds) == 1
    assert stopped.member.tolist() == [[0, 1, 0, 3, 4, 1, 6, 6]]
    assert stopped.node[stopped.of_at_least(2)].tolist() == [0, 1, 6]


def test_the_cut_is_a_probability() -> None:
    # sigmoid(1) = 0.731 and sigmoid(1.5) = 0.818: only 1-5 is left.
    assert _merged(_run((KINDS, PLACES, LABELS), config=GroupingConfig(cut=0.75)), 0) == [[1, 5]]
    # Without a cut whatever shares no type merges: 3-4 at -3.75, then {1, 5} with {6, 7} at -8.25.
    free = _run((KINDS, PLACES, LABELS), config=GroupingConfig(cut=0.0))
    assert free.member.tolist() == [[0, 1, 0, 3, 3, 1, 1, 1]]


def test_a_merge_that_the_macro_discriminator_would_reject_is_not_made() -> None:
    """Doubler's logit of a union is twice the mean of its members' places; nothing here is below 0."""
    plain = _run((KINDS, PLACES, LABELS), labelled=False)
    assert plain.rounds[0].rejected is None
    # 0-2 has 1, 2-4 3.5, 0-4 2.5: sigmoid(1) = 0.731 is below 0.8, sigmoid(2.5) = 0.924 above.
    vetoed = _run((KINDS, PLACES, LABELS), config=GroupingConfig(veto=0.8), labelled=False)
    assert _merged(vetoed, 0) == [[1, 5], [2, 4], [6, 7]]
    rejected = vetoed.rounds[0].rejected
    assert rejected is not None
    assert vetoed.rounds[0].pairs[:, rejected].T.tolist() == [[0, 2]]
    # 0 and {2, 4} have a mean of 3.5 / 3 together, and so a logit of 2.33.
    assert [0, 2] in _merged(vetoed, 1)
    sure = _run((KINDS, PLACES, LABELS), config=GroupingConfig(veto=1.0), labelled=False)
    assert sure.member.tolist() == [[0, 1, 2, 1, 4, 1, 6, 6]]  # logits above 17 are a probability of 1
    trained = _run((KINDS, PLACES, LABELS), config=GroupingConfig(veto=0.8))
    assert trained.rounds[0].rejected is None
    assert trained.member.equal(plain.member)


def test_the_spread_of_the_members_is_their_standard_deviation() -> None:
    embedding = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 9.0]], requires_grad=True)
    members = torch.tensor([[1.0, 0, 1], [0, 1, 0]])
    parts = (members @ embedding, members @ embedding.square(), members.sum(dim=1, keepdim=True))
    feature = macro_features(torch.cat(parts, dim=1), torch.Size((1, 2)), spread=True)
    deviation = embedding.detach()[[0, 2]].std(dim=0, correction=0).tolist()
    least = LEAST_VARIANCE**0.5  # of a candidate alone
    torch.testing.assert_close(feature, torch.tensor([[3.0, 5.5, *deviation], [3.0, 4.0, least, least]]))
    feature.sum().backward()
    assert embedding.grad is not None
    assert embedding.grad.isfinite().all()
    assert macro_features(torch.cat(parts, dim=1), torch.Size((1, 2)), spread=False).shape == (2, 2)


@pytest.mark.parametrize("views", [1, 2])
def test_with_spread_the_discriminator_sees_means_and_deviations_of_each_view(views: int) -> None:
    torch.manual_seed(0)
    config = GroupingConfig(macro_input="spread", cut=0.0, hidden=8)
    candidates = make_candidates([(kind, 0.5, 0.0, 0, 0) for kind in (NOSE, HIP, KNEE)])
    embedding = torch.randn(1, 3, views, 8)
    edge, macro = EdgeDiscriminator(config).eval(), MacroDiscriminator(config).eval()
    found = cluster(embedding, keypoint_graph(candidates, FULL), candidates, edge, macro, FULL, config)
    assert found.member.tolist() == [[0, 0, 0]]
    whole = torch.cat((embedding[0].mean(dim=0), embedding[0].std(dim=0, correction=0)), dim=-1)
    torch.testing.assert_close(found.final.logit[0], macro(whole).mean(), rtol=1e-4, atol=1e-5)


def test_no_edge_is_one_round_without_verdicts() -> None:
    for kinds in ([], [NOSE], [NOSE, NOSE]):
        alone = _run((kinds, PLACES[: len(kinds)], LABELS[: len(kinds)]))
        assert len(alone.rounds) == 1
        assert _said(alone.rounds[0].edges) == _said(_formed(alone, 0)) == _said(_final(alone)) == []
        assert alone.member.tolist() == [list(range(len(kinds))) or [-1]]


def test_aggregation_is_the_mean_of_the_members() -> None:
    embedding = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 9.0], [7.0, 1.0]], requires_grad=True)
    # Sums of a macro-node of candidates 0, 2 and 3, of one of candidate 1, and of an empty row.
    members = torch.tensor([[1.0, 0, 1, 1], [0, 1, 0, 0], [0, 0, 0, 0]])
    sums = torch.cat((members @ embedding, members.sum(dim=1, keepdim=True)), dim=1)
    feature = aggregate(sums, torch.Size((1, 2)))
    torch.testing.assert_close(feature, torch.tensor([[13 / 3, 4.0], [3.0, 4.0], [0.0, 0.0]]))
    assert aggregate(torch.cat((sums[:, :2], sums), dim=1), torch.Size((2, 2))).shape == (3, 2, 2)
    feature[0].sum().backward()
    torch.testing.assert_close(
        embedding.grad, torch.tensor([[1 / 3] * 2, [0.0] * 2, [1 / 3] * 2, [1 / 3] * 2])
    )


def test_what_is_no_number_ends_all_the_same() -> None:
    broken = [float("nan"), 0.0, float("inf"), 1.0, 2.5, 10.5, 20.0, -float("inf")]
    for teacher in ([False], [True]):
        hierarchy = _run((KINDS, broken, LABELS), teacher=teacher)
        assert not hierarchy.rounds[0].edges.logit.isfinite().all()
        assert (hierarchy.member >= 0).all()


def test_logits_are_averaged_over_views_before_each_matching() -> None:
    # Places in the photograph, and in its mirror image: 0-1 are near in the one and far in the other, mean
    # logit (1 - 3) / 2; 1-2 and 0-2 the other way round.
    candidates = make_candidates([(NOSE, 0.5, 0.0, 0, 0), (HIP, 0.5, 0.0, 0, 0), (KNEE, 0.5, 0.0, 0, 0)])
    places = torch.tensor([[[0.0, 0.0], [1.0, 5.0], [2.5, 3.5]]])[..., None]
    graph = keypoint_graph(candidates, FULL)
    hierarchy = cluster(places, graph, candidates, Ruler(), Doubler(), FULL, GroupingConfig())
    assert _edges(hierarchy, 0) == {(0, 1): (-1.0, None), (0, 2): (-1.0, None), (1, 2): (0.5, None)}
    assert hierarchy.member.tolist() == [[0, 1, 1]]
    # The pair is at 1.75 in one view and 4.25 in the other; its logit is the mean of 3.5 and 8.5.
    assert _said(_final(hierarchy)) == [(6.0, None)]
    assert _edges(hierarchy, 1) == {(0, 1): (2 - (1.75 + 4.25) / 2, None)}
