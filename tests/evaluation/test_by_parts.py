"""Evaluation by shards: the figures of one go, whoever does which shard when; a killed one goes on."""

import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hgg.pictures import encode_jpeg
from hgg.weights import load_model, save_model
from pipeline.base.files import sha256_file
from pipeline.data.formats import annotation_file
from pipeline.evaluation import parts
from pipeline.evaluation.by_parts import evaluate_by_parts, gallery_of
from pipeline.evaluation.evaluate import Evaluation, evaluate_model
from pipeline.evaluation.found import Portion
from pipeline.evaluation.parts import Plan, plan_evaluation
from pipeline.settings.config import RunConfig
from tests.cases.core import tiny_model
from tests.cases.evaluation import HEIGHT, WIDTH, make_records, write_coco

PEOPLE = [[(20.0, 20.0)], [], [(30.0, 40.0), (120.0, 30.0)], [(50.0, 30.0), (75.0, 40.0)], [(90.0, 50.0)]]


@pytest.fixture
def config(tmp_path: Path) -> RunConfig:
    """Five noisy images in three shards, and an untrained model that finds much in them."""
    write_coco(tmp_path / "data", "val2017", PEOPLE)
    for number, path in enumerate(sorted((tmp_path / "data" / "val2017").iterdir())):
        noise = np.random.default_rng(number).integers(0, 256, (HEIGHT // 16, WIDTH // 16, 3), np.uint8)
        path.write_bytes(encode_jpeg(noise.repeat(16, axis=0).repeat(16, axis=1), 90))
    model = tiny_model(candidates={"threshold": 0.02})
    with torch.no_grad():
        for name, weight in model.network.named_parameters():
            if name.endswith("head.weight"):
                weight *= 3  # else tags are so alike that all is one person
    values: dict[str, Any] = {
        "run_root": tmp_path / "run",
        "data": {"root": tmp_path / "data", "shard_images": 2},
        "evaluate": {"batch_size": 3, "pictures": 2},
        "train": {"cpus_per_worker": 0.5},
        **model.config.model_dump(),
    }
    made = RunConfig.model_validate(values)
    make_records(made, "val2017")
    (made.run_root / "joint").mkdir()
    save_model(made.run_root / "joint" / "best.pt", model)
    return made


def _plan(config: RunConfig) -> Plan:
    checkpoint = config.run_root / "joint" / "best.pt"
    records = config.run_root / "records" / "val2017"
    return plan_evaluation(config, checkpoint, sha256_file(checkpoint), records)


def _evaluate(config: RunConfig) -> Evaluation:
    plan = _plan(config)
    return evaluate_by_parts(plan, parts.load_predictor(plan))


def _with(config: RunConfig, **evaluate: Any) -> RunConfig:
    return config.model_copy(update={"evaluate": config.evaluate.model_copy(update=evaluate)})


def _assert_equal(one: Evaluation, other: Evaluation) -> None:
    assert one.ap == other.ap
    assert one.image_ids == other.image_ids
    assert one.fates == other.fates
    assert dict(one.crowding) == dict(other.crowding)
    assert one.detections.keys() == other.detections.keys()
    for grouping, rows in one.detections.items():
        theirs = other.detections[grouping]
        assert len(rows) == len(theirs)
        for mine, yours in zip(rows, theirs, strict=True):
            assert mine["score"] == yours["score"]
            assert np.array_equal(mine["keypoints"], yours["keypoints"])
    assert len(one.detections["ae"]) > 20
    assert len(one.detections["hgg"]) > 20
    for name in ("images", "images_missing", "people", "candidates"):
        assert one.counts[name] == other.counts[name]


def test_shards_give_what_one_go_gives(config: RunConfig) -> None:
    plan = _plan(config)
    model = load_model(plan.checkpoint, config.model)
    whole = evaluate_model(model, plan.records, batch_size=config.evaluate.batch_size)
    _assert_equal(_evaluate(config), whole)
    assert sorted(path.name for path in plan.folder.iterdir()) == [f"part-0000{k}.json" for k in range(3)]
    parts.remove_parts(plan)
    assert not plan.folder.exists()


def test_the_order_of_shards_does_not_matter(config: RunConfig) -> None:
    first = _evaluate(config)
    plan = _plan(config)
    shutil.rmtree(plan.folder)
    predictor = parts.load_predictor(plan)
    for shard, images in ((2, 1), (0, 2), (1, 2)):
        parts.find_part(plan, predictor, Portion(shard, images))
    _assert_equal(_evaluate(config), first)


def test_what_is_done_is_not_done_again(
    config: RunConfig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    undisturbed = _evaluate(config)
    shutil.rmtree(_plan(config).folder)
    honest, looked_at = parts.find_people, []

    def find_people(predictor: Any, records: Path, portion: Portion, *rest: Any, **more: Any) -> Any:
        if len(looked_at) == 2:
            raise KeyboardInterrupt
        looked_at.append(portion.shard)
        return honest(predictor, records, portion, *rest, **more)

    monkeypatch.setattr(parts, "find_people", find_people)
    with pytest.raises(KeyboardInterrupt):
        _evaluate(config)
    looked_at.clear()
    with caplog.at_level(logging.INFO):
        _assert_equal(_evaluate(config), undisturbed)
    assert looked_at == [2]
    assert "going on: 2 of 3 shards are done" in caplog.text


def test_what_other_settings_found_does_not_count(config: RunConfig) -> None:
    plan = _plan(config)
    cut = config.model_copy(update={"grouping": config.grouping.model_copy(update={"cut": 0.7})})
    flip = config.model_copy(update={"inference": config.inference.model_copy(update={"flip": True})})
    others = {_plan(each).folder for each in (cut, flip, _with(config, images=3), _with(config, seed=1))}
    assert len(others | {plan.folder}) == 5
    assert _plan(_with(config, num_workers=4, pictures=0)).folder == plan.folder


def test_fewer_images_are_the_first_ones(config: RunConfig) -> None:
    found = _evaluate(_with(config, images=3))
    assert found.image_ids == [10, 20, 30]
    assert found.counts["images_missing"] == 0


def test_pictures_are_of_the_most_crowded_images(config: RunConfig) -> None:
    plan = _plan(config)
    gallery = gallery_of(plan, parts.load_predictor(plan), _evaluate(config))
    assert [shown.image_id for shown in gallery.shown] == [40, 10]
    assert set(gallery.shown[0].people) == {"ae", "hgg"}


def test_the_annotation_file_is_read_for_nothing(config: RunConfig) -> None:
    annotation_file(config.data, "val2017").unlink()
    assert _evaluate(config).counts["people"] > 0


@pytest.mark.slow
def test_workers_of_ray_give_the_same_to_the_last_bit(config: RunConfig) -> None:
    alone = _evaluate(config)
    shutil.rmtree(_plan(config).folder)
    _assert_equal(_evaluate(_with(config, num_workers=2)), alone)
