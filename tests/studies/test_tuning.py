"""What a sweep searches, the training of a point, what is held out of it, and what is left to look at."""

import csv
import shutil
from pathlib import Path

import pytest
import torch
import yaml

from hgg.model import HGG
from hgg.weights import save_model
from pipeline.base.errors import UserError
from pipeline.base.lock import held
from pipeline.batches.reader import SampleReader
from pipeline.data.shards import held_out_shards, samples_manifest
from pipeline.settings.config import RunConfig
from pipeline.settings.fingerprint import fingerprint
from pipeline.settings.load import load_config, print_config
from pipeline.studies.tuning import on_ray
from pipeline.studies.tuning.points import (
    SEARCHED,
    first_points,
    own_point,
    paper_point,
    point_config,
    rungs,
    sweep_folder,
    sweep_name,
    with_point,
)
from pipeline.studies.tuning.report import Compared, verdict, write_report
from pipeline.studies.tuning.run import run_tune
from pipeline.studies.tuning.trial import Trial, read_trial, run_trial
from pipeline.training.history import read_history
from pipeline.training.loop import NotFiniteError
from pipeline.training.stage import plan_stage
from tests.cases.evaluation import make_records, write_coco
from tests.cases.samples import write_samples
from tests.cases.training import tiny_run

PEOPLE = [[(20.0, 30.0)], [(100.0, 40.0), (120.0, 50.0)], [(60.0, 40.0)]]


@pytest.fixture
def base(tmp_path: Path) -> RunConfig:
    """Three shards of samples, one of them held out, and a pretrained network."""
    config = tiny_run(tmp_path)
    split = config.data.train_split
    config = config.model_copy(update={"data": config.data.model_copy(update={"shard_images": 1})})
    write_coco(config.data.root, split, PEOPLE)
    make_records(config, split)
    shutil.rmtree(config.run_root / "samples" / split)
    write_samples(config.run_root / "samples" / split, [10, 8, 6])
    (config.run_root / "pretrain").mkdir()
    save_model(config.run_root / "pretrain" / "best.pt", HGG(config.model))
    tune = config.tune.model_copy(update={"held_out": 0.3})
    joint = config.joint.model_copy(update={"validate_every": 2})
    return config.model_copy(update={"tune": tune, "joint": joint})


def _end(base: RunConfig, number: int, ap: float, point: dict[str, float], step: int = 6) -> Trial:
    state = "finished" if step == base.joint.steps else "pruned"
    return Trial(
        number, own_point(base) | point, state, f"joint-{number}", [(2, ap / 2), (step, ap)], 3.0, ""
    )


def test_the_paper_and_the_own_values_come_first(base: RunConfig) -> None:
    paper, own = first_points(base)
    assert {name: paper[name] for name in ("push", "pull", "edge", "macro")} == {
        "push": 1e-3, "pull": 1e-3, "edge": 1e-5, "macro": 1e-5,
    }  # fmt: skip
    assert own == own_point(base)
    assert {name: own[name] for name in ("lr", "grouping_lr", "cut")} == {
        name: paper[name] for name in ("lr", "grouping_lr", "cut")
    }
    as_paper = with_point(base, paper)
    assert first_points(as_paper) == [paper]
    one = base.model_copy(update={"tune": base.tune.model_copy(update={"trials": 1})})
    assert first_points(one) == [paper]


def test_a_range_must_hold_what_a_sweep_begins_with(base: RunConfig) -> None:
    narrow = base.model_copy(update={"tune": base.tune.model_copy(update={"edge": (1e-4, 1.0)})})
    with pytest.raises(UserError, match=r"tune.edge=\[0.0001, 1\]: does not hold loss.edge=1e-05"):
        first_points(narrow)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("tune.push=[1,0.1]", "the lower one first"),
        ("tune.push=[0,1]", "two numbers above 0"),
        ("tune.push=1", "tune.push=1"),
        ("tune.cut=[0.3,1.2]", "goes above 1"),
        ("tune.trials=0", "tune.trials=0"),
        ("tune.held_out=0", "tune.held_out=0"),
        ("train.held_out=1", "train.held_out=1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(text: str, complaint: str) -> None:
    with pytest.raises(UserError) as caught:
        load_config([], [text])
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_settings_of_sweeps_leave_earlier_fingerprints_as_they_were() -> None:
    # As of the commit before there were any; nobody was suppressed then, or left out of a prediction.
    own = {"grouping": {"suppression": 1.0}, "predict": {"min_score": 0.0}}
    then = RunConfig.model_validate({"run_root": "r"} | own)
    assert fingerprint(then) == "4ac330ac94b3"


def test_rungs_grow_by_the_reduction_and_end_before_the_last_step(base: RunConfig) -> None:
    def of(first: int, steps: int, reduction: float = 3.0) -> list[int]:
        joint = base.joint.model_copy(update={"steps": steps, "validate_every": first})
        tune = base.tune.model_copy(update={"reduction": reduction})
        return rungs(base.model_copy(update={"joint": joint, "tune": tune}))

    assert of(100, 1000) == [100, 300, 900]
    assert of(100, 900) == [100, 300]
    assert of(100, 100) == []
    assert of(100, 50) == []
    assert of(10, 100, reduction=2) == [10, 20, 40, 80]


def test_what_is_held_out_is_scored_and_never_trained_on(base: RunConfig) -> None:
    config = point_config(base, paper_point(base))
    run = plan_stage(config, "joint")
    assert run.validation is not None
    assert run.validation.shards == held_out_shards(samples_manifest(run.samples), 0.3) == range(2, 3)
    assert run.validation.records.name == config.data.train_split
    every = SampleReader(run.samples, 2)
    kept = SampleReader(run.samples, 2, held_out=0.3)
    assert {unit.file.name for unit in every.units} - {unit.file.name for unit in kept.units} == {
        "part-00002.parquet"
    }
    assert plan_stage(config, "joint").name != plan_stage(base, "joint").name
    with pytest.raises(UserError, match=r"train.held_out=0.9: .* has 3 shards, and none would be left"):
        held_out_shards(samples_manifest(run.samples), 0.9)
    assert not held_out_shards(samples_manifest(run.samples), 0.0)


def test_the_same_point_is_the_same_training_and_another_seed_is_not(base: RunConfig) -> None:
    paper = paper_point(base)
    config = point_config(base, paper)
    assert config.trial == point_config(base, dict(reversed(paper.items()))).trial
    assert (
        len({config.trial, point_config(base, own_point(base)).trial, point_config(base, paper, 9).trial})
        == 3
    )
    assert config.joint.checkpoint_every == config.joint.validate_every
    fewer = base.model_copy(update={"tune": base.tune.model_copy(update={"trials": 3})})
    assert sweep_name(fewer) != sweep_name(base)


def test_a_trial_tells_its_scores_stops_when_told_and_goes_on(base: RunConfig) -> None:
    point = paper_point(base)
    config = point_config(base, point)
    told: list[int] = []

    def stop_at_four(step: int, _ap: float) -> None:
        told.append(step)
        if step == 4:
            raise SystemExit

    with pytest.raises(SystemExit):
        run_trial(config, {}, stop_at_four)
    assert told == [2, 4]
    assert read_trial(base, 1, point).state == "pruned"
    assert [step for step, _ in read_trial(base, 1, point).scores] == [2, 4]

    told.clear()
    run_trial(config, {}, lambda step, _ap: told.append(step))
    assert told == [2, 4, 6]  # those of the first start are told again
    ended = read_trial(base, 1, point)
    assert (ended.state, ended.step) == ("finished", 6)
    assert ended.seconds > 0
    assert [row["step"] for row in read_history(config.outputs / "joint" / "metrics.csv")] == [2, 4, 6]
    undisturbed = point_config(base, point).model_copy(update={"trial": "undisturbed"})
    run_trial(undisturbed, {})
    one, other = (
        torch.load(each.outputs / "joint" / "last.pt", weights_only=True)["model"]
        for each in (config, undisturbed)
    )
    assert all(torch.equal(value, other[name]) for name, value in one.items())

    told.clear()
    run_trial(config, {}, lambda step, _ap: told.append(step))  # finished: only tells
    assert told == [2, 4, 6]


def test_a_loss_that_is_not_finite_is_a_score_of_zero(
    base: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def explode(*_: object) -> None:
        raise NotFiniteError("step 3: the loss is not finite: push=nan on images 1")

    monkeypatch.setattr("pipeline.studies.tuning.trial.train_stage", explode)
    told: list[tuple[int, float]] = []
    run_trial(point_config(base, own_point(base)), {}, lambda step, ap: told.append((step, ap)))
    assert told == [(6, 0.0)]
    ended = read_trial(base, 4, own_point(base))
    assert (ended.state, ended.ap) == ("diverged", 0.0)
    assert ended.error.startswith("step 3: the loss is not finite")


@pytest.fixture
def report(base: RunConfig, tmp_path: Path) -> tuple[Path, list[Trial]]:
    trials = [
        _end(base, 1, 0.10, paper_point(base)),
        _end(base, 2, 0.12, {}),
        _end(base, 3, 0.31, {"lr": 5e-4, "cut": 0.44}),
        _end(base, 4, 0.40, {"push": 0.3}, step=4),
    ]
    folder = tmp_path / "report"
    write_report(folder, base, trials, trials[2], Compared([0.3, 0.28], [0.1, 0.14]))
    return folder, trials


def test_the_best_values_are_a_configuration_by_themselves(
    base: RunConfig, report: tuple[Path, list[Trial]]
) -> None:
    folder, trials = report
    text = (folder / "best.yaml").read_text()
    assert "# The best values are 0.1700 AP above the paper's weights" in text
    loaded = load_config([folder / "best.yaml"])
    assert loaded == with_point(base, trials[2].point)
    assert (loaded.joint.lr, loaded.grouping.cut, loaded.train.held_out) == (5e-4, 0.44, 0.0)
    assert not loaded.trial
    written = yaml.safe_load(text)
    assert set(written) <= set(RunConfig.model_fields)
    # Also those that are as by default: the file may come after another one.
    assert {name: written[group][name] for name, group in SEARCHED.items()} == trials[2].point


def test_the_table_has_every_trial_best_first(report: tuple[Path, list[Trial]]) -> None:
    folder, trials = report
    lines = (folder / "trials.md").read_text().splitlines()
    rows = [line for line in lines if line[2:3].isdigit()]
    assert [row.split(" | ")[0] for row in rows] == ["| 3", "| 2", "| 1", "| 4"]
    assert "the paper's weights" in rows[2]
    assert "the configuration's own" in rows[1]
    assert "0.2800" not in lines[0]
    assert "0.2900 ± 0.0141 against 0.1200 ± 0.0283 over 2 seeds" in lines[0]
    with (folder / "trials.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [float(row["ap"]) for row in table] == [trial.ap for trial in trials]
    assert float(table[2]["grouping.cut"]) == 0.44
    assert [f"{group}.{name}" for name, group in SEARCHED.items()] == [*table[0]][4:11]
    assert (folder / "trials.png").read_bytes().startswith(b"\x89PNG")


def test_the_verdict_says_when_nothing_is_better(base: RunConfig) -> None:
    paper = _end(base, 1, 0.1, paper_point(base))
    assert verdict(base, paper, Compared([], [])).startswith("No trial was above the paper's weights")
    best = _end(base, 2, 0.2, {})
    assert "no seed was trained" in verdict(base, best, Compared([], []))
    assert "0.1000 AP below" in verdict(base, best, Compared([0.1], [0.2]))


def test_a_sweep_that_other_code_began_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / on_ray.STATE).mkdir()
    kept = b"cpipeline.tuner\nsearch\n."  # a pickle of a function by its name
    (tmp_path / on_ray.STATE / "tuner.pkl").write_bytes(kept)
    assert on_ray.begun(tmp_path)
    with pytest.raises(
        UserError, match=r"another version of the code.*No module named 'pipeline.tuner'.*anew"
    ):
        on_ray._restored(tmp_path, lambda _: None)


def test_a_second_sweep_in_the_same_run_root_is_refused(base: RunConfig) -> None:
    with held(base.run_root / "tune", "jobs/tune.py"):
        with pytest.raises(UserError, match=r"/tune: jobs/tune\.py is at work there, process "):
            run_tune(base)
        assert [path.name for path in (base.run_root / "tune").iterdir()] == [".lock"]


def test_a_sweep_is_found_where_its_run_root_is_now(base: RunConfig) -> None:
    folder = sweep_folder(base)
    assert folder == base.run_root / "tune" / sweep_name(base)
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(print_config(base))
    place = base.run_root.with_name("another place")
    base.run_root.rename(place)
    shutil.copytree(base.data.root, place / "pictures")
    moved = base.model_copy(
        update={"run_root": place, "data": base.data.model_copy(update={"root": place / "pictures"})}
    )
    assert sweep_folder(moved) == place / "tune" / folder.name
    # What differs in more than places is another sweep.
    other = moved.model_copy(update={"tune": moved.tune.model_copy(update={"trials": 3})})
    assert sweep_folder(other) == place / "tune" / sweep_name(other)
    rows = place / "samples" / base.data.train_split / "manifest.json"
    rows.write_text(rows.read_text().replace('"fingerprint": "', '"fingerprint": "f'))
    assert sweep_folder(moved) == place / "tune" / sweep_name(moved)
