"""The groupings of the same candidates that are compared, by name; `hgg.predictor` groups by them."""

from collections.abc import Mapping
from typing import Literal

BlindName = Literal["ae", "hgg"]
GroupingName = Literal["ae", "hgg", "oracle"]

BLIND: tuple[BlindName, ...] = ("ae", "hgg")
"""Those that do not see the truth: associative embedding's greedy one, and the model's own."""
GROUPINGS: tuple[GroupingName, ...] = (*BLIND, "oracle")
"""And candidates grouped by the truth."""
TITLES: Mapping[str, str] = {"ae": "AE", "hgg": "HGG", "oracle": "oracle"}
