"""Edge and macro-node discriminators (section 3.2).

Both are three-layer perceptrons with one logit: are these two macro-nodes parts of one
person, and is this macro-node one person only. Without an edge discriminator (Table 2 #3)
the distance of two embeddings takes its place.

Embeddings may have further dimensions before the last (of several views); logits keep them.

Letters: E edges, X macro-nodes, H hidden features.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from hgg.config import GroupingConfig


def _perceptron(inputs: int, config: GroupingConfig) -> nn.Sequential:
    """inputs - hidden - hidden / 2 - 1, with dropout between (section 3.2: three layers)."""
    hidden = config.hidden
    return nn.Sequential(
        nn.Linear(inputs, hidden),
        nn.ReLU(inplace=True),
        nn.Dropout(config.dropout),
        nn.Linear(hidden, hidden // 2),
        nn.ReLU(inplace=True),
        nn.Dropout(config.dropout),
        nn.Linear(hidden // 2, 1),
    )


class EdgeDiscriminator(nn.Module):
    """Logit that two macro-nodes are one person: the proximity of Algorithm 1."""

    def __init__(self, config: GroupingConfig) -> None:
        super().__init__()
        self.perceptron = _perceptron(2 * config.hidden, config)

    def forward(self, feature_XH: Tensor, first_E: Tensor, second_E: Tensor) -> Tensor:
        """Logits (E,) of pairs of macro-nodes, by their numbers in (X, H).

        Symmetric: the input is the sum and the absolute difference of a pair.
        """
        # The first layer in two halves: that of the sum is one product a macro-node, not one a pair.
        first, rest = self.perceptron[0], self.perceptron[1:]
        assert isinstance(first, nn.Linear)
        sum_HH, difference_HH = first.weight.chunk(2, dim=1)
        half_XH = F.linear(feature_XH, sum_HH)
        hidden_EH = half_XH.index_select(0, first_E)
        hidden_EH += half_XH.index_select(0, second_E)
        apart_EH = feature_XH.index_select(0, first_E)
        apart_EH -= feature_XH.index_select(0, second_E)
        hidden_EH += F.linear(apart_EH.abs(), difference_HH, first.bias)
        return rest(hidden_EH).squeeze(-1)


class EmbeddingDistance(nn.Module):
    """Minus the squared distance of two macro-nodes' embeddings as a logit (Table 2 #3).

    The interaction network normalises embeddings to a mean square of 1. So the logit 1 - |f - g|² / H, with
    nothing to learn, is 1 for equal candidates, 0 half way to unrelated ones (a cosine of 0.5) and
    about -1 for these.
    """

    def forward(self, feature_XH: Tensor, first_E: Tensor, second_E: Tensor) -> Tensor:
        """Logits (E,), at most 1, of pairs of macro-nodes, by their numbers in (X, H)."""
        apart_EH = feature_XH.index_select(0, first_E) - feature_XH.index_select(0, second_E)
        return 1 - apart_EH.square().mean(dim=-1)


class MacroDiscriminator(nn.Module):
    """Logit that a macro-node holds candidates of one person only.

    From the mean of the members' embeddings; with `macro_input` spread from their standard deviation too.
    """

    def __init__(self, config: GroupingConfig) -> None:
        super().__init__()
        self.spread = config.macro_input == "spread"
        self.perceptron = _perceptron(config.hidden * (2 if self.spread else 1), config)

    def forward(self, feature_XF: Tensor) -> Tensor:
        """(X, F) to logits (X,); F is H, or 2H with the deviations behind the means."""
        return self.perceptron(feature_XF).squeeze(-1)
