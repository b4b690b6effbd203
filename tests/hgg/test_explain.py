"""The grouping as plain values and as a strip, on rounds written out by hand."""

import numpy as np
import pytest
import torch

from hgg.draw import COLOURS, TITLE_HEIGHT
from hgg.draw_rounds import GREY, draw_strip
from hgg.explain import Edge, Node, Step, explain_rounds, sources
from hgg.explain_page import OWN, Explained
from hgg.hierarchy import Hierarchy, MacroNodes, Round, Verdicts
from hgg.poses import Poses
from hgg.skeleton import COCO, NUM_JOINTS

# Nose, left eye, right eye of one person; nose of another.
NODES = [Node(0, 40.0, 30.0, 0.9, 0.1), Node(1, 60.0, 30.0, 0.8, 0.2), Node(2, 20.0, 50.0, 0.7, 0.3)]
NODES += [Node(0, 90.0, 90.0, 0.6, 5.0)]


def _logit(probability: float) -> float:
    return float(np.log(probability / (1 - probability)))


def _verdicts(*probabilities: float) -> Verdicts:
    logit = torch.tensor([_logit(p) for p in probabilities])
    zeros = torch.zeros(len(probabilities))
    return Verdicts(zeros.long(), logit, zeros, zeros.bool())


def _nodes(*members: int) -> MacroNodes:
    """So many members of the macro-node in each row, which is that of its first candidate."""
    rows = torch.arange(len(members))
    marks = torch.stack((*torch.zeros(3, len(members), dtype=torch.int64), rows), dim=1)
    nobody = torch.zeros(1, len(members), len(members), dtype=torch.bool)
    return MacroNodes(torch.tensor(members)[None, :, None], marks[None], rows[None], nobody, 0, len(members))


def _round(
    before: MacroNodes, pairs: dict[tuple[int, int], float], into: list[int], after: MacroNodes, macro: float
) -> Round:
    """Probabilities of the pairs, and of whatever macro-node was formed."""
    first, second = torch.tensor([*pairs], dtype=torch.int64).reshape(-1, 2).unbind(dim=1)
    macros = _verdicts(*[macro] * len(into))
    return Round(
        before, (first, second), _verdicts(*pairs.values()), None, torch.tensor([into]), after, macros
    )


@pytest.fixture
def hierarchy() -> Hierarchy:
    """Nose and left eye merge, then the right eye joins them; a third round merges nothing."""
    alone, two, three = _nodes(1, 1, 1, 1), _nodes(2, 0, 1, 1), _nodes(3, 0, 0, 1)
    first = {(0, 1): 0.9, (0, 2): 0.8, (1, 2): 0.3, (1, 3): 0.25}
    rounds = [
        _round(alone, first, [0, 0, 2, 3], two, 0.75),
        _round(two, {(0, 2): 0.7, (2, 3): 0.1}, [0, 1, 0, 3], three, 0.6),
        _round(three, {}, [0, 1, 2, 3], three, 0.5),
    ]
    return Hierarchy(rounds, torch.tensor([[0, 0, 0, 3]]), rounds[-1].macros)


def test_rounds_say_what_merged_and_why_the_others_did_not(hierarchy: Hierarchy) -> None:
    first, second = explain_rounds(hierarchy, 4, 0.5)
    assert [(edge.first, edge.second, edge.outcome) for edge in first.edges] == [
        (0, 1, "merged"),
        (0, 2, "matched elsewhere"),
        (1, 2, "below the cut"),
        (1, 3, "below the cut"),
    ]
    assert [edge.probability for edge in first.edges] == pytest.approx([0.9, 0.8, 0.3, 0.25])
    assert first.member == [0, 0, 2, 3]
    assert first.verdicts == pytest.approx({0: 0.75})
    assert second.member == [0, 0, 0, 3]
    assert second.verdicts == pytest.approx({0: 0.6})


def test_without_candidates_or_edges_there_is_no_round() -> None:
    alone = _round(_nodes(1), {}, [0], _nodes(1), 0.5)
    assert explain_rounds(Hierarchy([alone], torch.zeros(1, 1), alone.macros), 1, 0.5) == []


def test_keypoints_name_the_candidate_that_they_are() -> None:
    keypoints = np.zeros((2, NUM_JOINTS, 3), np.float32)
    keypoints[0, 0] = 40.0, 30.0, 0.9
    keypoints[0, 1] = 60.0, 30.0, 0.2  # filled in where a candidate is that is the other's
    keypoints[1, :2] = [[90.0, 90.0, 0.6], [60.0, 30.0, 0.8]]
    poses = Poses(keypoints, np.ones(2, np.float32), np.array([0, 1]))
    found = sources(poses, [0, 1, -1, 1], NODES)
    assert (found[0, 0], found[1, 0], found[1, 1]) == (0, 3, 1)
    assert (found >= 0).sum() == 3
    assert (sources(poses.only(np.array([False, True])), [0, 1, -1, 1], NODES) == found[1:]).all()


def test_strip_has_a_panel_a_round_and_draws_its_merges_dashed() -> None:
    steps = [
        Step([Edge(0, 1, 0.9, "merged"), Edge(1, 2, 0.3, "below the cut")], [0, 0, 2, 3], {0: 0.75}),
        Step([Edge(0, 2, 0.7, "merged")], [0, 0, 0, 3], {0: 0.6}),
    ]
    nobody = Poses(np.zeros((0, NUM_JOINTS, 3), np.float32), np.zeros(0, np.float32))
    strip = draw_strip(np.zeros((50, 100, 3), np.uint8), NODES[:3] + NODES[3:], steps, nobody, long_side=400)
    assert strip.shape == (200 + TITLE_HEIGHT, 4 * 400, 3)
    panels = np.split(strip[TITLE_HEIGHT:], 4, axis=1)
    row = 121  # of the nose and the left eye, four times as large
    between = slice(175, 230)

    def coloured(panel: np.ndarray) -> float:
        return float((panel[row, between] == COLOURS[0]).all(axis=-1).mean())

    assert coloured(panels[0]) == 0
    assert 0.2 < coloured(panels[1]) < 0.8  # dashes
    assert coloured(panels[2]) == 1  # merged before
    assert coloured(panels[3]) == 0
    # The right eye is grey until it merges, in the second round.
    eye = slice(190, 200), slice(76, 88)
    assert (panels[1][eye] == GREY).all(axis=-1).any()
    assert not (panels[2][eye] == GREY).all(axis=-1).any()


def test_the_strip_shows_whoever_comes_out() -> None:
    """Those of a network that is unsure score low: who is shown is chosen before, as `predict` chooses."""
    joints = np.zeros((1, NUM_JOINTS, 3), np.float32)
    joints[0, :3] = [[40, 30, 0.9], [60, 30, 0.8], [20, 40, 0.7]]
    image = np.zeros((50, 100, 3), np.uint8)
    shown, hidden = (
        draw_strip(image, NODES[:3], [], Poses(joints[:count], np.full(count, 0.06, np.float32)))
        for count in (1, 0)
    )
    assert (shown != hidden).any()


def test_the_strip_leaves_out_who_is_not_likely() -> None:
    joints = np.zeros((1, NUM_JOINTS, 3), np.float32)
    joints[0, :3] = [[40, 30, 0.9], [60, 30, 0.8], [20, 40, 0.7]]
    image = np.zeros((50, 100, 3), np.uint8)
    people, by = Poses(joints, np.array([0.06], np.float32)), np.array([-1])
    found = Explained(image, COCO, NODES[:3], [], {}, {OWN: people}, {OWN: by}, 1.0)
    assert (found.strip() != found.strip(min_score=0.07)).any()


def test_a_person_has_the_colour_of_its_macro_node() -> None:
    """Whatever candidates its filled joints happen to lie on."""
    joints = np.zeros((1, NUM_JOINTS, 3), np.float32)
    joints[0, :3] = [[40, 30, 0.9], [60, 30, 0.8], [20, 40, 0.7]]
    image = np.zeros((50, 100, 3), np.uint8)
    step = Step([Edge(1, 2, 0.9, "merged")], [0, 1, 1], {1: 0.75})

    def panel(first: int) -> np.ndarray:
        poses = Poses(joints, np.array([0.5], np.float32), np.array([first]))
        return draw_strip(image, NODES[:3], [step], poses)[:, -480:]

    merged, alone = COLOURS[0], COLOURS[1]
    assert (panel(1) == merged).all(axis=-1).any()
    assert not (panel(0) == merged).all(axis=-1).any()
    assert (panel(0) == alone).all(axis=-1).any()
