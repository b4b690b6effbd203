"""Validation by one, two and three ranks: the same people and AP, shared work, and no rank left to wait."""

import json
import os
import time
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from hgg.config import LossConfig
from hgg.objective import Objective
from pipeline.base.errors import UserError
from pipeline.data.truth import truth_file
from pipeline.evaluation import shares
from pipeline.training import validation
from pipeline.training.loop import Row, Training, TrainingProgress
from pipeline.training.optimiser import MovingAverage, make_optimiser
from pipeline.training.stage import StageRun, Validation
from pipeline.training.validation import validate
from tests.cases.seeing import IMAGES, SeeingModel, seen_config

BOUND_SECONDS = 60  # far below the half hour after which gloo would end a rank that waits


def planned(root: Path) -> StageRun:
    config = seen_config(root)
    records = config.run_root / "records" / config.data.val_split
    return StageRun(config, "joint", "joint-seen", "", None, Validation(records, None))


def seeing(run: StageRun, rank: int) -> Training:
    """The moving average sees the less, the higher the rank."""
    assert run.validation is not None
    torch.manual_seed(0)
    model = SeeingModel(run.config.model, run.validation.records, clearness=0.9 - 0.2 * rank)
    objective = Objective(model, LossConfig(), joint=True)
    return Training(
        objective, make_optimiser(model, run.settings), MovingAverage(model, 0.9), TrainingProgress()
    )


def watched(run: StageRun, rank: int, watch: pytest.MonkeyPatch) -> tuple[Row | None, dict[str, Any]]:
    """A validation, and what is seen of it: this rank's images, and the people that AP is computed from."""
    seen: dict[str, Any] = {"looked_at": [], "people": None}
    find, ap_of = shares.find_in_batch, validation.ap_of

    def find_in_batch(predictor: Any, batch: Any, *rest: Any) -> Any:
        seen["looked_at"] += [record["image_id"] for record in batch]
        return find(predictor, batch, *rest)

    def ap_of_all(found: Any, scope: Any) -> Any:
        seen["people"] = [
            [row | {"keypoints": row["keypoints"].tolist()} for row in found.rows[grouping]]
            for grouping in ("hgg", "ae")
        ]
        return ap_of(found, scope)

    watch.setattr(shares, "find_in_batch", find_in_batch)
    watch.setattr(validation, "ap_of", ap_of_all)
    training = seeing(run, rank)
    row = validate(run, training)
    assert training.average is not None
    models = (training.objective.model, training.average.model)
    return row, seen | {"statistics": [round(model.state_dict()["clearness"].item(), 3) for model in models]}


def fail_with(error: Exception) -> Any:
    def failing(*_: Any) -> Any:
        raise error

    return failing


def validate_as_rank(rank: int, world: int, root: Path, failing: str) -> None:
    """One of several processes that train together; what it has seen goes to a file."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{root}/meet", rank=rank, world_size=world)
    run = planned(root)
    assert run.validation is not None
    outcome: dict[str, Any]
    with pytest.MonkeyPatch.context() as watch:
        if failing == "rank 1" and rank == 1:
            watch.setattr("pipeline.evaluation.people.decode_picture", fail_with(OSError("the disk is gone")))
        try:
            row, seen = watched(run, rank, watch)
            outcome = {"row": row} | seen
        except (RuntimeError, OSError, UserError) as error:
            outcome = {"error": f"{type(error).__name__}: {error}"}
    (root / f"rank_{rank}.json").write_text(json.dumps(outcome))
    while not all((root / f"rank_{other}.json").exists() for other in range(world)):
        time.sleep(0.01)
    os._exit(0)  # as in test_loop.py: gloo's threads may abort the interpreter where they meet its end


def as_ranks(root: Path, world: int, failing: str = "") -> list[dict[str, Any]]:
    begun = time.monotonic()
    mp.spawn(validate_as_rank, args=(world, root, failing), nprocs=world)  # pyrefly: ignore  # untyped
    assert time.monotonic() - begun < BOUND_SECONDS
    return [json.loads((root / f"rank_{rank}.json").read_text()) for rank in range(world)]


def drawn(run: StageRun) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (run.folder / "pictures").iterdir()}


@pytest.mark.slow
@pytest.mark.parametrize("world", [2, 3])
def test_ranks_share_the_work_and_find_what_one_finds(tmp_path: Path, world: int) -> None:
    """To the last bit, with rank 0's statistics; the pictures are the same too."""
    alone = planned(tmp_path / "alone")
    with pytest.MonkeyPatch.context() as watch:
        row, seen = watched(alone, 0, watch)
    assert row is not None
    assert 0 < (row["ap_ae"] or 0) < 1
    (tmp_path / "ranks").mkdir()
    run = planned(tmp_path / "ranks")
    ranks = as_ranks(tmp_path / "ranks", world)
    assert [rank["row"] for rank in ranks] == [row] * world
    assert ranks[0]["people"] == seen["people"]
    assert [rank["people"] for rank in ranks[1:]] == [None] * (world - 1)
    looked_at = [rank["looked_at"] for rank in ranks]
    assert sorted(chain(*looked_at)) == seen["looked_at"] == [10 * (n + 1) for n in range(IMAGES)]
    for images in looked_at:
        assert 0 < len(images) <= IMAGES / world + 2  # a batch
    # The model that is trained keeps what each rank has; the one that is validated has rank 0's.
    for rank, each in enumerate(ranks):
        assert each["statistics"] == [round(0.9 - 0.2 * rank, 3), 0.9]
    assert drawn(run) == drawn(alone)


@pytest.mark.slow
def test_one_ranks_failure_ends_all_ranks(tmp_path: Path) -> None:
    planned(tmp_path)
    first, second = as_ranks(tmp_path, 2, failing="rank 1")
    assert first["error"] == "RuntimeError: rank 1: OSError: the disk is gone"
    assert second["error"] == "OSError: the disk is gone"


@pytest.mark.slow
def test_a_truth_that_is_gone_ends_all_ranks_with_the_same_words(tmp_path: Path) -> None:
    """Rank 0 alone reads it."""
    run = planned(tmp_path)
    assert run.validation is not None
    truth_file(run.validation.records, 0).unlink()
    first, second = as_ranks(tmp_path, 2)
    assert first == second
    assert first["error"].startswith("UserError: ")
    assert "truth-00000.json" in first["error"]


def test_nothing_is_validated_where_no_images_are_asked_for(tmp_path: Path) -> None:
    run = planned(tmp_path)
    assert validate(run._replace(validation=None), seeing(run, 0)) is None
