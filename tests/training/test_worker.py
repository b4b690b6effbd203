"""A stage in one process without Ray and MLflow: what it writes, how it resumes, what it refuses."""

import threading
from pathlib import Path

import pytest
import torch

from hgg.weights import load_model
from pipeline.base.errors import UserError
from pipeline.base.provenance import write_results
from pipeline.data.truth import truth_file
from pipeline.settings.config import RunConfig
from pipeline.training.checkpoint import FolderCheckpoints
from pipeline.training.history import read_history
from pipeline.training.loop import Training
from pipeline.training.stage import StageRun, check_bf16, claim_folder, finished_results, plan_stage
from tests.cases.training import same_weights, start, tiny_run

CPU = torch.device("cpu")


class KilledError(Exception):
    """Stands for SIGKILL."""


class Killing(FolderCheckpoints):
    """Checkpoints of a run that is killed before it keeps the one of a step."""

    fatal_step = 4

    def save(self, training: Training, ap: float | None) -> None:
        if training.progress.step == self.fatal_step:
            raise KilledError
        super().save(training, ap)


def weights(run: StageRun, name: str) -> torch.nn.Module:
    return load_model(run.folder / name)


def test_a_stage_leaves_models_history_curves_and_pictures(tmp_path: Path) -> None:
    run = plan_stage(tiny_run(tmp_path), "pretrain")
    figures = start(run)
    assert figures["steps"] == 6
    assert figures["workers"] == 1
    assert figures["best_step"] == 4  # AP is 0 at both validations, and the first one counts
    assert [row["step"] for row in read_history(run.folder / "metrics.csv")] == [2, 4, 6]
    assert figures["last"]["loss"] == read_history(run.folder / "metrics.csv")[-1]["loss"]
    for name in ("best.pt", "last.pt", "curves.png", "train.log", "pictures/picture.png"):
        assert (run.folder / name).stat().st_size > 0, name
    assert not same_weights(weights(run, "best.pt"), weights(run, "last.pt"))
    lines = (run.folder / "train.log").read_text().splitlines()
    assert len(lines) == 4
    assert f"{run.name}: starting at step 0 of 6, 1 process" in lines[0]


@pytest.mark.parametrize("threads", [0, 2])
def test_a_killed_stage_goes_on_to_the_same_weights(tmp_path: Path, threads: int) -> None:
    undisturbed = plan_stage(tiny_run(tmp_path / "one"), "pretrain")
    killed = plan_stage(tiny_run(tmp_path / "two", loader_workers=threads), "pretrain")
    assert killed.name == undisturbed.name
    start(undisturbed)
    with pytest.raises(KilledError):
        start(killed, Killing)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("decode")]
    assert [row["step"] for row in read_history(killed.folder / "metrics.csv")] == [2, 4]
    start(killed)
    assert "resuming at step 3 of 6" in (killed.folder / "train.log").read_text()
    for name in ("best.pt", "last.pt"):
        assert same_weights(weights(killed, name), weights(undisturbed, name))
    ours, theirs = (read_history(run.folder / "metrics.csv") for run in (killed, undisturbed))
    for mine, other in zip(ours, theirs, strict=True):
        for name in ("step", "loss", "push", "gradient_norm", "ap"):
            assert mine[name] == other[name], name


def test_joint_training_starts_from_the_pretrained_network(tmp_path: Path) -> None:
    config = tiny_run(tmp_path, validation_images=0)
    with pytest.raises(UserError, match=r"best\.pt: no pretrained model there .* run jobs/pretrain\.py"):
        plan_stage(config, "joint")
    pretrain = plan_stage(config, "pretrain")
    figures = start(pretrain)
    assert figures["best_ap"] is None
    joint = plan_stage(config, "joint")
    slow = config.model_copy(update={"joint": config.joint.model_copy(update={"lr": 1e-12})})
    start(plan_stage(slow, "joint"))
    before, after = weights(pretrain, "best.pt").state_dict(), weights(joint, "last.pt").state_dict()
    for name, value in before.items():
        if name.startswith("network."):
            assert torch.allclose(value, after[name], atol=1e-9), name


def test_a_pretrained_network_of_another_architecture_is_named(tmp_path: Path) -> None:
    config = tiny_run(tmp_path, validation_images=0)
    start(plan_stage(config, "pretrain"))
    wider = config.model_copy(update={"network": config.network.model_copy(update={"stacks": 2})})
    with pytest.raises(UserError, match=r"network\.stacks is 1 in the file and 2 here"):
        start(plan_stage(wider, "joint"))


def changed(config: RunConfig, group: str, **values: object) -> RunConfig:
    return config.model_copy(update={group: getattr(config, group).model_copy(update=values)})


def test_the_name_follows_the_result_and_nothing_else(tmp_path: Path) -> None:
    config = tiny_run(tmp_path)
    name = plan_stage(config, "pretrain").name
    assert name.startswith("pretrain-")
    for same in (
        changed(config, "train", num_workers=2, cpus_per_worker=0.5, max_failures=0),
        changed(config, "pretrain", log_every=1, checkpoint_every=1),
        changed(config, "grouping", hidden=16),
        changed(config, "joint", lr=1.0),
        changed(config, "loss", edge=1.0),
    ):
        assert plan_stage(same, "pretrain").name == name
    for other in (
        changed(config, "train", seed=1),
        changed(config, "pretrain", lr=1.0),
        changed(config, "loss", push=1.0),
        changed(config, "network", visual_dim=8),
    ):
        assert plan_stage(other, "pretrain").name != name


def test_another_configuration_is_another_run_and_going_back_finds_the_first(tmp_path: Path) -> None:
    config = tiny_run(tmp_path, validation_images=0)
    first, second = plan_stage(config, "pretrain"), plan_stage(changed(config, "train", seed=1), "pretrain")
    for run in (first, second):
        start(run)
        write_results(run.folder, {"run": run.name})
        assert finished_results(run) == {"run": run.name}
    assert finished_results(first) is None
    moved = load_model(first.folder / "earlier" / first.name / "last.pt")
    assert not same_weights(moved, weights(second, "last.pt"))
    claim_folder(first)
    assert finished_results(first) == {"run": first.name}
    assert same_weights(moved, weights(first, "last.pt"))
    assert finished_results(second) is None


def test_missing_and_unfitting_inputs_are_named(tmp_path: Path) -> None:
    config = tiny_run(tmp_path)
    larger = changed(config, "network", input_size=64)
    with pytest.raises(UserError, match=r"made for network\.input_size=32, which is 64 here"):
        plan_stage(larger, "pretrain")
    with pytest.raises(UserError, match=r"run jobs/preprocess\.py"):
        plan_stage(changed(config, "data", train_split="other2017"), "pretrain")
    truth_file(config.run_root / "records" / "val2017", 0).unlink()
    with pytest.raises(UserError, match=r"truth-00000\.json: no such file.*jobs/preprocess\.py"):
        plan_stage(config, "pretrain")
    assert plan_stage(changed(config, "train", validation_images=0), "pretrain")


def test_bfloat16_is_refused_where_it_is_only_emulated(monkeypatch: pytest.MonkeyPatch) -> None:
    no_bfloat16 = {"avx512_f": True, "avx512_bf16": False}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: no_bfloat16, raising=False)
    with pytest.raises(UserError, match=r"train\.bf16=true: .* ten times slower"):
        check_bf16()
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True})
    check_bf16()
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    with pytest.raises(UserError, match=r"train\.bf16=true: torch .* does not tell .*newer torch"):
        check_bf16()
