"""The two discriminators: sizes, symmetry, and that nothing can be judged."""

import pytest
import torch
from torch import Tensor

from hgg.config import GroupingConfig
from hgg.discriminators import EdgeDiscriminator, EmbeddingDistance, MacroDiscriminator


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def _logits(edge: EdgeDiscriminator | EmbeddingDistance, first_EH: Tensor, second_EH: Tensor) -> Tensor:
    """Of each pair."""
    number_E = torch.arange(len(first_EH))
    return edge(torch.cat((first_EH, second_EH)), number_E, number_E + len(first_EH))


def test_edge_discriminator_is_symmetric_to_the_bit() -> None:
    edge = EdgeDiscriminator(GroupingConfig()).eval()
    first, second = torch.randn(2, 50, 64)
    assert _logits(edge, first, second).equal(_logits(edge, second, first))


def test_edge_discriminator_sees_sum_and_difference() -> None:
    edge = EdgeDiscriminator(GroupingConfig()).eval()
    first, second, shift = torch.randn(3, 50, 64)
    logit = _logits(edge, first, second)
    assert not torch.isclose(logit, _logits(edge, first + shift, second + shift)).any()  # the same difference
    assert not torch.isclose(logit, _logits(edge, first + shift, second - shift)).any()  # the same sum


def test_paper_sizes() -> None:
    edge, macro = EdgeDiscriminator(GroupingConfig()), MacroDiscriminator(GroupingConfig())
    # Three layers each: 128-64-32-1 and 64-64-32-1.
    assert sum(p.numel() for p in edge.parameters()) == (128 * 64 + 64) + (64 * 32 + 32) + (32 + 1)
    assert sum(p.numel() for p in macro.parameters()) == (64 * 64 + 64) + (64 * 32 + 32) + (32 + 1)
    assert _logits(edge, torch.randn(5, 64), torch.randn(5, 64)).shape == (5,)
    assert macro(torch.randn(5, 64)).shape == (5,)


def test_dropout_only_in_training() -> None:
    feature = torch.randn(5, 64)
    for config, differs in ((GroupingConfig(), True), (GroupingConfig(dropout=0.0), False)):
        macro = MacroDiscriminator(config)
        assert macro(feature).equal(macro(feature)) is not differs
        macro.eval()
        assert macro(feature).equal(macro(feature))


def test_nothing_to_judge_keeps_the_parameters_connected() -> None:
    edge, macro = EdgeDiscriminator(GroupingConfig()), MacroDiscriminator(GroupingConfig())
    nothing = torch.zeros(0, 64)
    (_logits(edge, nothing, nothing).sum() + macro(nothing).sum()).backward()
    assert all(p.grad is not None for p in [*edge.parameters(), *macro.parameters()])


def test_distance_is_one_for_equal_embeddings_and_zero_at_a_cosine_of_one_half() -> None:
    distance = EmbeddingDistance()
    assert not list(distance.parameters())
    first = torch.zeros(3, 64)
    first[:, 0] = 8.0  # a mean square of 1
    second = torch.zeros(3, 64)
    second[0, 0], second[1, 0], second[2, 1] = 8.0, 4.0, 8.0
    second[1, 1] = 48**0.5
    torch.testing.assert_close(_logits(distance, first, second), torch.tensor([1.0, 0.0, -1.0]))
    assert _logits(distance, first, second).equal(_logits(distance, second, first))
