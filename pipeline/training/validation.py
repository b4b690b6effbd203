"""Validation as training goes: all ranks find people, each in some of the batches, and rank 0 computes AP."""

from contextlib import AbstractContextManager, nullcontext
from heapq import nsmallest
from itertools import chain
from typing import Any

import torch

from hgg.groupings import GroupingName
from hgg.predictor import Predictor
from hgg.suppression import OFF
from pipeline.evaluation.evaluate import ap_of, scope_of
from pipeline.evaluation.found import Found, portions
from pipeline.evaluation.gallery import Gallery
from pipeline.evaluation.shares import Share, find_share, in_order
from pipeline.training.loop import Row, Training
from pipeline.training.ranks import (
    from_all_ranks,
    from_rank_0,
    rank,
    share_statistics,
    to_rank_0,
    together,
    world_size,
)
from pipeline.training.stage import StageRun, Validation

PICTURES = 4  # of the validation images


def validate(run: StageRun, training: Training) -> Row | None:
    """`ap` and `ap_ae` on the validation subset, the same on every rank; None where nothing is validated.

    Nobody is suppressed (`grouping.suppression`), so that which weights are the best does not go by it.

    Called on every rank, each of which has rank 0's statistics of normalisation afterwards. Rank 0 draws the
    most crowded images. The figures are the same for any number of ranks, to the last bit.

    Raises on every rank alike what `pipeline.training.ranks.together` says:
        UserError: no truth beside the records.
    """
    if run.validation is None:
        return None
    validation, groupings = run.validation, _groupings(run)
    share_statistics(training.model)
    gallery = Gallery(PICTURES, run.config.joints)
    with _uncompiled(run):
        found = together(lambda: _find(run, training, validation, gallery))
    _keep_the_most_crowded(gallery)
    shares, shown = to_rank_0(found), to_rank_0(gallery.shown)

    def score() -> list[float]:
        if rank() > 0:
            return []
        whole = Gallery(PICTURES, run.config.joints)
        whole.add(chain.from_iterable(shown))
        whole.draw(run.folder / "pictures")
        limit = run.config.train.validation_images
        scope = scope_of(validation.records, run.config.joints, limit, validation.shards)
        ap = ap_of(in_order(shares), scope)
        return [ap[grouping]["AP"] for grouping in (groupings[0], "ae")]

    ap, ap_ae = from_rank_0(together(score))
    return {"ap": ap, "ap_ae": ap_ae}


def _find(run: StageRun, training: Training, validation: Validation, gallery: Gallery) -> dict[int, Found]:
    """The people of this rank's batches."""
    config = run.config
    return find_share(
        Predictor(training.model, suppression=OFF),
        validation.records,
        portions(validation.records, config.train.validation_images, validation.shards),
        Share(rank(), world_size()),
        batch_size=config.evaluate.batch_size,
        groupings=_groupings(run),
        seed=config.train.seed,
        gallery=gallery,
    )


def _uncompiled(run: StageRun) -> AbstractContextManager[Any]:
    """Without `train.compile`, which would take a minute for each size of batch that it meets here."""
    # Asked for only where it is needed: it imports the whole compiler.
    return torch.compiler.set_stance("force_eager") if run.config.train.compile else nullcontext()


def _keep_the_most_crowded(gallery: Gallery) -> None:
    """Drop the images that are not drawn, since another rank has more crowded ones: pictures are large."""
    offered = chain.from_iterable(from_all_ranks([shown.order() for shown in gallery.shown]))
    drawn = set(nsmallest(gallery.size, offered))
    gallery.shown = [shown for shown in gallery.shown if shown.order() in drawn]


def _groupings(run: StageRun) -> list[GroupingName]:
    """The stage's own first, whose AP is its score."""
    return ["ae"] if run.stage == "pretrain" else ["hgg", "ae"]
