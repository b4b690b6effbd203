"""Edge and macro-node discriminators (section 3.2).

Both are three-layer perceptrons with one logit: are these two macro-nodes parts of one
person, and is this macro-node one person only. Without an edge discriminator (Table 2 #3)
the distance of two embeddings takes its place.

Embeddings may have further dimensions before the last (of several views); logits keep them.

Letters: E edges, M macro-nodes, H hidden features.
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

    def forward(self, first_EH: Tensor, second_EH: Tensor) -> Tensor:
        """(E, H) twice to logits (E,); symmetric: the input is the sum and the absolute difference."""
        # The first layer in two halves: the 2 H inputs of a pair side by side would be a copy of both.
        first, rest = self.perceptron[0], self.perceptron[1:]
        assert isinstance(first, nn.Linear)
        sum_HH, difference_HH = first.weight.chunk(2, dim=1)
        hidden_EH = F.linear(first_EH + second_EH, sum_HH, first.bias)
        hidden_EH += F.linear((first_EH - second_EH).abs(), difference_HH)
        return rest(hidden_EH).squeeze(-1)


class EmbeddingDistance(nn.Module):
    """Minus the squared distance of two macro-nodes' embeddings as a logit (Table 2 #3).

    The interaction network normalises embeddings to a mean square of 1. So the logit 1 - |f - g|² / H, with
    nothing to learn, is 1 for equal candidates, 0 half way to unrelated ones (a cosine of 0.5) and
    about -1 for these.
    """

    def forward(self, first_EH: Tensor, second_EH: Tensor) -> Tensor:
        """(E, H) twice to logits (E,), at most 1."""
        return 1 - (first_EH - second_EH).square().mean(dim=-1)


class MacroDiscriminator(nn.Module):
    """Logit that a macro-node holds candidates of one person only."""

    def __init__(self, config: GroupingConfig) -> None:
        super().__init__()
        self.perceptron = _perceptron(config.hidden, config)

    def forward(self, feature_MH: Tensor) -> Tensor:
        """(M, H) to logits (M,)."""
        return self.perceptron(feature_MH).squeeze(-1)
