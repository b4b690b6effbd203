"""The whole objective: what reaches what, batches against single images, empty cases, determinism.

Letters: B images, N candidates.
"""

from typing import Any

import pytest
import torch
from torch import Tensor

from hgg.candidates import find_candidates
from hgg.config import CandidateConfig, LossConfig
from hgg.hierarchy import Hierarchy
from hgg.hourglass import Hourglass
from hgg.losses import verdict_loss
from hgg.maps import Maps
from hgg.model import HGG
from hgg.objective import Objective, Terms
from hgg.predictor import Predictor
from hgg.skeleton import NUM_JOINTS, graph_links
from hgg.targets import Targets
from tests.cases.core import EQUAL, make_images, make_targets, tiny_model

PEOPLE = [0, 1, 3, 4]
ONLY = {
    name: LossConfig.model_validate({n: float(n == name) for n in Terms._fields[1:]})
    for name in Terms._fields
}


def _seen(module: torch.nn.Module) -> list[Any]:
    """Outputs of a module, as they come."""
    outputs: list[Any] = []
    module.register_forward_hook(lambda _, __, output: outputs.append(output))
    return outputs


def _gradients(module: torch.nn.Module) -> list[Tensor | None]:
    return [parameter.grad for parameter in module.parameters()]


def _image(targets: Targets, image: int) -> Targets:
    return Targets(*(part[image : image + 1] for part in targets))


def test_total_is_the_weighted_sum() -> None:
    loss = LossConfig(heatmap=2.0, push=3.0, pull=5.0, edge=7.0, macro=11.0)
    terms = Objective(tiny_model(), loss, joint=True).eval()(make_images(4), make_targets(PEOPLE))
    assert min(terms) > 0
    weighted = 2 * terms.heatmap + 3 * terms.push + 5 * terms.pull + 7 * terms.edge + 11 * terms.macro
    torch.testing.assert_close(terms.total, weighted)


def test_macro_nodes_are_judged_as_they_form_and_at_the_end() -> None:
    model = tiny_model()
    hierarchies = _seen(model.grouping)
    terms = Objective(model, EQUAL, joint=True).eval()(make_images(4), make_targets(PEOPLE))
    (hierarchy,) = hierarchies
    intermediate = verdict_loss([r.macros for r in hierarchy.rounds], 4)
    final = verdict_loss([hierarchy.final], 4)
    assert min(intermediate, final) > 0
    torch.testing.assert_close(terms.macro, intermediate + final)
    torch.testing.assert_close(terms.edge, verdict_loss([r.edges for r in hierarchy.rounds], 4))
    at_the_end = EQUAL.model_copy(update={"macro_intermediate": False})
    terms = Objective(model, at_the_end, joint=True).eval()(make_images(4), make_targets(PEOPLE))
    torch.testing.assert_close(terms.macro, final)


@pytest.mark.parametrize("term", ["edge", "macro"])
def test_a_discriminators_loss_alone_trains_the_whole_network(term: str) -> None:
    model = tiny_model()
    outputs = _seen(model.network)
    terms = Objective(model, ONLY[term], joint=True).eval()(make_images(4), make_targets(PEOPLE))
    (maps,) = outputs
    assert isinstance(maps, Maps)
    maps.tags.retain_grad()
    maps.visual.retain_grad()
    terms.total.backward()
    assert maps.tags.grad is not None
    assert maps.tags.grad[-1].any()
    assert not maps.tags.grad[:-1].any()  # candidates come from the last stack
    assert maps.visual.grad is not None
    assert maps.visual.grad.any()
    first_convolution = next(model.network.parameters()).grad
    assert first_convolution is not None
    assert first_convolution.any()
    trained, other = (model.grouping.edge, model.grouping.macro)[:: 1 if term == "edge" else -1]
    for module in (model.grouping.interaction, trained):
        assert all(gradient is not None and gradient.any() for gradient in _gradients(module))
    assert not any(gradient is not None and gradient.any() for gradient in _gradients(other))


@pytest.mark.parametrize(
    "grouping",
    [
        {"interaction": "fc"},
        {"interaction": "gat"},
        {"graph": "extended"},
        {"graph": "tree"},
        {"proximity": "distance"},
        {"decoder": "associative"},
        {"score_feature": True},
    ],
    ids=lambda grouping: "-".join(map(str, *grouping.items())),
)
def test_every_variant_of_the_grouping_trains_whole(grouping: dict[str, Any]) -> None:
    model = tiny_model(grouping=grouping)
    hierarchies = _seen(model.grouping)
    kinds = _seen_candidates(model)
    Objective(model, EQUAL, joint=True)(make_images(4), make_targets(PEOPLE)).total.backward()
    assert all(gradient is not None and gradient.any() for gradient in _gradients(model.grouping))
    links = graph_links(model.config.grouping.graph)
    pairs = kinds[0].flatten()[hierarchies[0].rounds[0].pairs].T.tolist()
    assert pairs
    assert {(min(pair), max(pair)) for pair in pairs} <= links


def _seen_candidates(model: HGG) -> list[Tensor]:
    """Joint types (B, N) of the candidates that the grouping gets."""
    kinds: list[Tensor] = []
    model.grouping.register_forward_pre_hook(lambda _, inputs: kinds.append(inputs[0].kind))
    return kinds


@pytest.mark.parametrize("term", ["heatmap", "push", "pull"])
def test_detection_and_tag_losses_leave_the_grouping_alone(term: str) -> None:
    model = tiny_model()
    Objective(model, ONLY[term], joint=True)(make_images(4), make_targets(PEOPLE)).total.backward()
    assert not any(gradient is not None and gradient.any() for gradient in _gradients(model.grouping))
    assert isinstance(model.network, Hourglass)
    assert any(gradient is not None and gradient.any() for gradient in _gradients(model.network.stem))


def test_pretraining_freezes_what_it_does_not_train_and_joint_training_frees_it() -> None:
    model = tiny_model()
    terms = Objective(model, EQUAL, joint=False)(make_images(4), make_targets(PEOPLE))
    terms.total.backward()
    assert terms.edge == terms.macro == 0
    assert model.network.visual is not None
    frozen = [*model.grouping.parameters(), *model.network.visual.parameters()]
    assert all(not parameter.requires_grad and parameter.grad is None for parameter in frozen)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    assert len(trained) + len(frozen) == len(list(model.parameters()))
    assert all(parameter.grad is not None for parameter in trained)
    Objective(model, EQUAL, joint=True)
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_joint_training_whose_grouping_terms_weigh_nothing_leaves_grouping_out() -> None:
    model = tiny_model()
    loss = EQUAL.model_copy(update={"edge": 0.0, "macro": 0.0})
    terms = Objective(model, loss, joint=True)(make_images(4), make_targets(PEOPLE))
    assert terms.edge == terms.macro == 0
    assert not any(parameter.requires_grad for parameter in model.grouping.parameters())


def test_a_batch_equals_its_images_one_at_a_time() -> None:
    model = tiny_model()
    objective = Objective(model, EQUAL, joint=True).eval()
    hierarchies = _seen(model.grouping)
    images, targets = make_images(4), make_targets(PEOPLE)
    together = objective(images, targets)
    together.total.backward()
    gradients = [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]
    model.zero_grad()
    alone = [objective(images[i : i + 1], _image(targets, i)) for i in range(4)]
    torch.stack([terms.total for terms in alone]).mean().backward()
    for found, each in zip(together, zip(*alone, strict=True), strict=True):
        torch.testing.assert_close(found, torch.stack(each).mean())
    for found, parameter in zip(gradients, model.parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, found, atol=1e-6, rtol=1e-4)

    batch, *singles = hierarchies
    assert isinstance(batch, Hierarchy)
    counts = [int((hierarchy.member >= 0).sum()) for hierarchy in singles]
    assert len(set(counts)) > 1
    assert len({len(hierarchy.rounds) for hierarchy in singles}) > 1
    for image, hierarchy in enumerate(singles):
        assert batch.member[image, : counts[image]].tolist() == hierarchy.member[0].tolist()
        assert (batch.member[image, counts[image] :] == -1).all()


def test_grouping_of_a_batch_equals_its_images_one_at_a_time() -> None:
    model = tiny_model().eval()
    maps = model(make_images(4))
    whole = find_candidates(maps.heatmaps[-1], maps.tags[-1], maps.visual, model.config.candidates)
    predictor = Predictor(model)
    together = predictor.clusters_of(whole, "hgg")
    for image in range(4):
        heatmaps, tags, visual = (
            p[image : image + 1] for p in (maps.heatmaps[-1], maps.tags[-1], maps.visual)
        )
        alone = find_candidates(heatmaps, tags, visual, model.config.candidates)
        clusters = predictor.clusters_of(alone, "hgg")
        count = alone.kind.shape[1]
        assert together.member[image, :count].tolist() == clusters.member[0].tolist()
        torch.testing.assert_close(together.confidence[image, :count], clusters.confidence[0])
        assert (clusters.confidence < 1).any()


def test_confidence_is_the_macro_nodes_probability_at_the_persons_id() -> None:
    model = tiny_model().eval()
    maps = model(make_images(2))
    candidates = find_candidates(maps.heatmaps[-1], maps.tags[-1], maps.visual, model.config.candidates)
    clusters = Predictor(model).clusters_of(candidates, "hgg")
    final = model.grouping(candidates)
    people = zip(
        final.node[final.of_at_least(2)].tolist(), final.final.logit[final.of_at_least(2)], strict=True
    )
    for node, logit in people:
        image, person = divmod(node, candidates.kind.shape[1])
        assert (clusters.member[image] == person).sum() >= 2
        assert clusters.confidence[image, person] == torch.sigmoid(logit)
    single = torch.ones_like(clusters.confidence, dtype=torch.bool).flatten()
    single[final.node[final.of_at_least(2)]] = False
    assert (clusters.confidence.flatten()[single] == 1).all()
    plain = Predictor(tiny_model(grouping={"macro_score": False})).clusters_of(candidates, "hgg")
    assert plain.member.equal(clusters.member)
    assert (plain.confidence == 1).all()


def test_a_macro_node_of_few_candidates_may_be_left_unjudged() -> None:
    maps = tiny_model().eval()(make_images(2))
    candidates = find_candidates(maps.heatmaps[-1], maps.tags[-1], maps.visual, CandidateConfig())
    every = Predictor(tiny_model(grouping={"cut": 0.3})).clusters_of(candidates, "hgg")
    sizes = torch.stack([row[row >= 0].bincount(minlength=len(row)) for row in every.member])
    most = int(sizes.max())
    assert most > 2
    limited = tiny_model(grouping={"cut": 0.3, "macro_score_from": most})
    large = Predictor(limited).clusters_of(candidates, "hgg")
    assert large.member.equal(every.member)
    expected = torch.where(sizes >= most, every.confidence, 1.0)
    assert torch.equal(large.confidence[sizes > 0], expected[sizes > 0])
    assert (large.confidence < 1).sum() < (every.confidence < 1).sum()
    assert (large.confidence < 1).any()


def test_macro_classes_are_balanced_where_asked_for() -> None:
    targets, losses = make_targets([2, 3]), []
    for balance in (False, True):
        loss = EQUAL.model_copy(update={"macro_balance": balance})
        losses.append(Objective(tiny_model(), loss, joint=True).eval()(make_images(2), targets))
    assert losses[0].edge == losses[1].edge
    assert losses[0].macro != losses[1].macro


def test_the_order_of_the_people_does_not_matter() -> None:
    objective = Objective(tiny_model(), EQUAL, joint=True).eval()
    targets = make_targets([4, 4])
    turned = targets._replace(joints=targets.joints.flip(1), areas=targets.areas.flip(1))
    for found, other in zip(
        objective(make_images(2), targets), objective(make_images(2), turned), strict=True
    ):
        torch.testing.assert_close(found, other)


def _with_candidates(kinds: int, **candidates: Any) -> HGG:
    """A model whose heatmaps are above the threshold for the first `kinds` joint types alone."""
    model = tiny_model(candidates=candidates)
    head = model.network.get_parameter("stacks.1.head.bias")
    with torch.no_grad():
        head[:NUM_JOINTS] = -50.0
        head[:kinds] = 50.0
    return model


@pytest.mark.parametrize("people", [[0, 0], [0, 3], [2, 2]], ids=["nobody", "one empty image", "people"])
@pytest.mark.parametrize(
    ("kinds", "candidates", "count"),
    [(0, {}, 0), (1, {"per_type": 1}, 1), (1, {"per_type": 3}, 3), (NUM_JOINTS, {}, 40)],
    ids=["no candidate", "one candidate", "no edge", "many candidates"],
)
def test_nothing_there_leaves_losses_finite_and_all_parameters_connected(
    kinds: int, candidates: dict[str, int], count: int, people: list[int]
) -> None:
    model = _with_candidates(kinds, **candidates)
    hierarchies = _seen(model.grouping)
    terms = Objective(model, EQUAL, joint=True)(make_images(2), make_targets(people))
    assert (hierarchies[0].member >= 0).sum(1).tolist() == [count] * 2
    assert torch.stack(terms).isfinite().all()
    # With edges, candidates that are nobody's are examples too.
    assert bool(terms.edge > 0) == bool(terms.macro > 0) == (kinds > 1)
    terms.total.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_taught_images_merge_by_the_truth() -> None:
    model = tiny_model()
    hierarchies = _seen(model.grouping)
    objective = Objective(model, EQUAL, joint=True)
    torch.manual_seed(3)
    for share in (1.0, 0.5, 0.0):
        objective(make_images(16), make_targets([4] * 16), teacher_share=share)
    right = [
        [bool(r.edges.target[r.merged & (r.edges.image == image)].all()) for image in range(16)]
        for r in (hierarchy.rounds[0] for hierarchy in hierarchies)
    ]
    assert all(right[0])
    assert 2 < sum(right[1]) < 14
    assert not any(right[2])


def test_training_keeps_the_highest_candidates_only() -> None:
    model = tiny_model(candidates={"max_total": 5})
    hierarchies = _seen(model.grouping)
    Objective(model, EQUAL, joint=True)(make_images(2), make_targets([2, 2]))
    assert hierarchies[0].member.shape == (2, 5)


def test_bfloat16_stops_at_the_maps() -> None:
    model = tiny_model()
    hierarchies = _seen(model.grouping)
    assert isinstance(model.network, Hourglass)
    stem = _seen(model.network.stem)
    terms = Objective(model, EQUAL, joint=True)(make_images(2), make_targets([2, 2]), bf16=True)
    assert stem[0].dtype == torch.bfloat16
    assert hierarchies[0].rounds[0].edges.logit.dtype == torch.float32
    assert {term.dtype for term in terms} == {torch.float32}
    assert torch.stack(terms).isfinite().all()


def _step(seed: int) -> list[Tensor]:
    """Losses and gradients of one training step with dropout and half the images taught."""
    model = tiny_model()
    torch.manual_seed(seed)
    terms = Objective(model, EQUAL, joint=True)(make_images(4), make_targets(PEOPLE), teacher_share=0.5)
    terms.total.backward()
    return [*terms, *(p.grad for p in model.parameters() if p.grad is not None)]


def test_the_same_seed_gives_the_same_bits() -> None:
    first, again, other = _step(7), _step(7), _step(8)
    assert len(first) > 50
    assert all(a.equal(b) for a, b in zip(first, again, strict=True))
    assert not first[0].equal(other[0])
