"""An evaluation shared out by batches: the same people for any number of shares, no batch twice."""

from pathlib import Path

import numpy as np
import pytest

from hgg.predictor import Predictor
from pipeline.evaluation.evaluate import Scope, ap_of, evaluate_model, scope_of
from pipeline.evaluation.found import Found
from pipeline.evaluation.gallery import Gallery
from pipeline.evaluation.shares import Share, find_share, in_order
from tests.cases.seeing import SeeingModel, seen_config

SIZE, GROUPINGS = 2, ("hgg", "ae")


@pytest.fixture
def scope(tmp_path: Path) -> Scope:
    config = seen_config(tmp_path)
    return scope_of(config.run_root / "records" / config.data.val_split, config.joints, limit=12)


def shared(scope: Scope, model: SeeingModel, ways: int) -> tuple[list[dict[int, Found]], Gallery]:
    whole = Gallery(3)
    shares = []
    for first in range(ways):
        gallery = Gallery(3)
        shares.append(
            find_share(
                Predictor(model),
                scope.records,
                scope.portions,
                Share(first, ways),
                batch_size=SIZE,
                groupings=GROUPINGS,
                seed=0,
                gallery=gallery,
            )
        )
        whole.add(gallery.shown)
    return shares, whole


def test_any_number_of_shares_finds_what_one_evaluation_finds(tmp_path: Path, scope: Scope) -> None:
    model = SeeingModel(seen_config(tmp_path).model, scope.records)
    gallery = Gallery(3)
    honest = evaluate_model(
        model, scope.records, batch_size=SIZE, groupings=GROUPINGS, limit=12, gallery=gallery
    )
    assert 0 < honest.ap["ae"]["AP"] < 1
    assert len(honest.detections["hgg"]) > 0
    for ways in (1, 2, 3, 20):
        shares, pictures = shared(scope, model, ways)
        found = in_order(shares)
        assert found.image_ids == honest.image_ids
        for grouping in GROUPINGS:
            for mine, theirs in zip(found.rows[grouping], honest.detections[grouping], strict=True):
                assert np.array_equal(mine.pop("keypoints"), theirs["keypoints"])
                assert mine == {name: value for name, value in theirs.items() if name != "keypoints"}
        again = in_order(shared(scope, model, ways)[0])
        assert ap_of(again, scope) == honest.ap
        assert (found.people, found.candidates) == (again.people, again.candidates)
        assert [shown.image_id for shown in pictures.shown] == [shown.image_id for shown in gallery.shown]


def test_shares_are_whole_batches_in_turn_and_nothing_is_looked_at_twice(
    tmp_path: Path, scope: Scope
) -> None:
    """12 of 13 images, 5 in a shard: batches of 2, 2, 1, then 2, 2, 1, then 2."""
    shares, _ = shared(scope, SeeingModel(seen_config(tmp_path).model, scope.records), 3)
    sizes = [{number: len(found.image_ids) for number, found in share.items()} for share in shares]
    assert sizes == [{0: 2, 3: 2, 6: 2}, {1: 2, 4: 2}, {2: 1, 5: 1}]
