"""An evaluation beside another one: where that is looked for, when figures compare, and what changed."""

import json
from pathlib import Path
from typing import Any

import pytest

from hgg.skeleton import COCO as SKELETON
from pipeline.base.errors import UserError
from pipeline.evaluation.evaluate import Evaluation, evaluate_model
from pipeline.metrics.detections import write_detections
from pipeline.report.compare import Change, Comparison, Other, compare, find_other
from pipeline.report.images import image_figures
from pipeline.report.matching import match
from pipeline.report.page import changed_most
from tests.cases.seeing import SeeingModel, seen_config

RESULTS = {"ap": {}, "diagnosis": [], "counts": {"images": 13}, "data": "a" * 12, "split": "val2017"}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    config = seen_config(tmp_path_factory.mktemp("seen"))
    records = config.run_root / "records" / "val2017"
    return evaluate_model(SeeingModel(config.model, records), records, batch_size=2)


def _other(folder: Path, rows: list[dict[str, Any]], **results: Any) -> Other:
    write_detections(folder / "detections_hgg.json", rows)
    (folder / "config.yaml").write_text("trial: there\ngrouping: {cut: 0.7}\nnew: 1\n")
    return Other(folder, RESULTS | results)


def _compared(found: Evaluation, other: Other) -> Comparison:
    matched = match(found.truth, found.detections["hgg"], SKELETON, found.image_ids)
    settings = {"trial": "here", "grouping.cut": 0.7, "data.sigma": 2.0}
    images = image_figures({"hgg": matched})
    return compare(RESULTS, settings, other, images, found.truth, SKELETON)


def test_the_same_people_change_nothing(found: Evaluation, tmp_path: Path) -> None:
    compared = _compared(found, _other(tmp_path, found.detections["hgg"]))
    assert compared.apart == ""
    assert (compared.better, compared.worse, len(compared.changes)) == (0, 0, 10)  # 10 of 13 have people
    assert compared.settings == [("trial", "here", "there"), ("data.sigma", 2.0, None), ("new", None, 1)]
    assert changed_most(compared, 6) == []


def test_images_are_better_and_worse(found: Evaluation, tmp_path: Path) -> None:
    """There one whole image is missing, and in another one somebody is found who is nobody."""
    rows = [row for row in found.detections["hgg"] if row["image_id"] != 50]
    rows.append(found.detections["hgg"][0] | {"image_id": 90, "score": 0.9})
    compared = _compared(found, _other(tmp_path, rows))
    assert (compared.better, compared.worse) == (2, 0)
    first, second = compared.changes[:2]
    assert (first.image_id, first.there) == (50, 0.0)
    assert second.image_id == 90
    assert second.there == pytest.approx(second.here * 2 / 3)  # one person, two found in place of one
    swapped = compared._replace(
        changes=[each._replace(here=each.there, there=each.here) for each in compared.changes]
    )
    assert (swapped.better, swapped.worse) == (0, 2)


def test_as_many_that_gained_as_that_lost(found: Evaluation, tmp_path: Path) -> None:
    gains = [0.9, 0.5, 0.2, 0.0, -0.3, -0.4]
    changes = [Change(number, 1, max(gain, 0.0), max(-gain, 0.0)) for number, gain in enumerate(gains)]
    compared = Comparison(Other(tmp_path, {}), "", [], changes, [])
    assert [each.image_id for each in changed_most(compared, 6)] == [0, 1, 2, 4, 5]
    assert [each.image_id for each in changed_most(compared, 3)] == [0, 1, 5]
    assert [each.image_id for each in changed_most(compared, 1)] == [0]
    assert changed_most(compared, 0) == []


def test_other_data_do_not_compare(found: Evaluation, tmp_path: Path) -> None:
    compared = _compared(found, _other(tmp_path, found.detections["hgg"], data="b" * 12, split="train2017"))
    assert "`train2017` with bbbbbbbbbbbb" in compared.apart
    assert "do not compare" in compared.apart
    assert compared.changes == []


def test_fewer_images_compare_where_both_looked(found: Evaluation, tmp_path: Path) -> None:
    rows = [row for row in found.detections["hgg"] if row["image_id"] <= 50]
    compared = _compared(found, _other(tmp_path, rows, counts={"images": 5}))
    assert compared.apart.startswith("Here 13 images were looked at, there 5")
    assert sorted(each.image_id for each in compared.changes) == [10, 30, 40, 50]
    assert (compared.better, compared.worse) == (0, 0)


def test_damaged_people_are_named(found: Evaluation, tmp_path: Path) -> None:
    other = _other(tmp_path, [])
    (tmp_path / "detections_hgg.json").write_text("[{")
    with pytest.raises(UserError, match=r"detections_hgg\.json: not a COCO result file"):
        _compared(found, other)


def test_the_other_one_is_found_by_folder_run_root_or_trial(tmp_path: Path) -> None:
    own, folder = tmp_path / "own" / "evaluate", tmp_path / "run" / "trial" / "evaluate"
    for place in (own, folder):
        place.mkdir(parents=True)
        (place / "results.json").write_text(json.dumps(RESULTS))
    assert find_other(folder, own).folder == folder
    assert find_other(folder.parent, own) == Other(folder, RESULTS)
    with pytest.raises(UserError, match=r"this very evaluation"):
        find_other(own.parent, own)
    (folder.parent / "joint").mkdir()
    (folder.parent / "joint" / "results.json").write_text('{"steps": 3}')
    for wrong in (folder.parent / "joint", tmp_path / "run", tmp_path / "nowhere"):
        with pytest.raises(UserError, match=r"--compare=.*no evaluation there: give a folder"):
            find_other(wrong, own)
    (folder / "results.json").write_text("{")
    with pytest.raises(UserError, match=r"results\.json is no JSON"):
        find_other(folder, own)
