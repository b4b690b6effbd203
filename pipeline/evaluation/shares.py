"""An evaluation shared out batch by batch among processes that begin together, as those that train.

Which images are a batch does not depend on how many share them, so neither does what is found, to the bit.
"""

from collections.abc import Iterable, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

import torch

from hgg.groupings import GroupingName
from hgg.predictor import Predictor
from pipeline.base.progress import Progress
from pipeline.base.seeds import step_seed
from pipeline.evaluation.found import Found, Portion
from pipeline.evaluation.gallery import Gallery
from pipeline.evaluation.people import batches_of, find_in_batch


class Share(NamedTuple):
    """Which of an evaluation's batches somebody looks at: `first`, `first` + `of`, ..., counted from 0."""

    first: int
    of: int


def find_share(
    predictor: Predictor,
    records: Path,
    portions: Sequence[Portion],
    share: Share,
    *,
    batch_size: int,
    groupings: Sequence[GroupingName],
    seed: int,
    gallery: Gallery,
) -> dict[int, Found]:
    """What is found in a share of the batches, by their numbers; the other batches are read past.

    Args:
        predictor: of the model.
        records: of a split.
        portions: of the records, all that are evaluated.
        share: of the batches.
        batch_size: images per forward pass.
        groupings: as of `evaluate_model`.
        seed: of `grouping.matching=graclus`, which is random: each batch draws from a seed of its own.
        gallery: is offered the images of this share.
    """
    batches = chain.from_iterable(batches_of(records, portion, batch_size) for portion in portions)
    progress = Progress("evaluate", sum(_sizes(portions, batch_size)[share.first :: share.of]))
    found = {}
    for number, batch in islice(enumerate(batches), share.first, None, share.of):
        torch.manual_seed(step_seed(seed, number, 0))
        found[number] = find_in_batch(predictor, batch, groupings, gallery)
        progress.add(len(batch))
    return found


def in_order(shares: Iterable[dict[int, Found]]) -> Found:
    """What was found in all batches, whoever looked at them."""
    whole = Found()
    found = {number: part for share in shares for number, part in share.items()}
    for number in sorted(found):
        whole.add(found[number])
    return whole


def _sizes(portions: Sequence[Portion], batch_size: int) -> list[int]:
    """Images of each batch."""
    return [
        min(batch_size, portion.images - first)
        for portion in portions
        for first in range(0, portion.images, batch_size)
    ]
