"""Checkpoints: a killed run goes on as if nothing had happened, and what does not fit is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.base.errors import UserError
from pipeline.training.checkpoint import FolderCheckpoints, restore_checkpoint, write_checkpoint
from tests.cases.training import MODEL, batches, make_training, run, same_weights

HALF = 3  # of the six steps, and one step into a log line


def killed_after(step: int, path: Path) -> None:
    """A run that is killed right after its checkpoint of a step."""
    training = make_training()

    class KilledError(Exception):
        pass

    def stream():  # noqa: ANN202
        for number, batch in enumerate(batches()):
            if number == step:
                write_checkpoint(path, training)
                raise KilledError
            yield batch

    with pytest.raises(KilledError):
        run(training, stream())


def test_a_resumed_run_equals_the_undisturbed_one_to_the_last_bit(tmp_path: Path) -> None:
    undisturbed, resumed = make_training(), make_training()
    rows, _ = run(undisturbed, batches())
    killed_after(HALF, tmp_path / "state.pt")
    restore_checkpoint(tmp_path / "state.pt", resumed)
    assert resumed.progress.step == HALF
    assert not same_weights(resumed.objective, undisturbed.objective)
    rows_after, _ = run(resumed, batches(HALF))
    assert same_weights(resumed.objective, undisturbed.objective)
    assert same_weights(resumed.model, undisturbed.model)
    ours, theirs = resumed.optimiser.state_dict(), undisturbed.optimiser.state_dict()
    assert all(
        torch.equal(value, theirs["state"][key][name])
        for key, state in ours["state"].items()
        for name, value in state.items()
    )
    for row, undisturbed_row in zip(rows_after, rows[1:], strict=True):
        for name in ("step", "loss", "heatmap", "push", "pull", "edge", "macro", "gradient_norm", "lr"):
            assert row[name] == undisturbed_row[name], name


def test_best_score_and_time_survive(tmp_path: Path) -> None:
    training, restored = make_training(), make_training()
    training.progress.best_ap, training.progress.best_step, training.progress.seconds = 0.5, 4, 12.5
    write_checkpoint(tmp_path / "state.pt", training)
    restore_checkpoint(tmp_path / "state.pt", restored)
    assert restored.progress == training.progress


def test_another_architecture_is_named(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "state.pt", make_training())
    wider = MODEL.model_copy(update={"network": MODEL.network.model_copy(update={"channels": 64})})
    with pytest.raises(UserError, match=r"network\.channels is 32 in the file and 64 here"):
        restore_checkpoint(tmp_path / "state.pt", make_training(wider))


def test_another_stage_is_named(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "state.pt", make_training(joint=False))
    with pytest.raises(UserError, match="a checkpoint of another stage"):
        restore_checkpoint(tmp_path / "state.pt", make_training(joint=True))


def test_the_moving_average_must_be_used_alike(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "state.pt", make_training(ema=0.0))
    with pytest.raises(UserError, match=r"made with train\.ema off: set it likewise"):
        restore_checkpoint(tmp_path / "state.pt", make_training())


def test_foreign_cut_off_and_malicious_files_are_refused(tmp_path: Path) -> None:
    class Malicious:
        def __reduce__(self) -> tuple:
            return (Path.touch, (tmp_path / "harm",))

    torch.save({"format": 1, "model": Malicious()}, tmp_path / "malicious.pt")
    torch.save({"format": 1}, tmp_path / "foreign.pt")
    write_checkpoint(tmp_path / "whole.pt", make_training())
    whole = (tmp_path / "whole.pt").read_bytes()
    (tmp_path / "cut.pt").write_bytes(whole[: len(whole) // 2])
    for name, words in {
        "malicious": "holds code, which is never run",
        "foreign": "not a training checkpoint: average, config, model, optimiser, progress, versions missing",
        "cut": "cut off",
        "absent": "no such file",
    }.items():
        with pytest.raises(UserError, match=words):
            restore_checkpoint(tmp_path / f"{name}.pt", make_training())
    assert not (tmp_path / "harm").exists()


def kept(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.pt"))


def test_the_latest_and_the_best_are_kept(tmp_path: Path) -> None:
    checkpoints, training = FolderCheckpoints(tmp_path, keep=2), make_training()
    assert checkpoints.latest() is None
    for step, ap in ((1, 0.2), (2, 0.6), (3, None), (4, 0.4), (5, None)):
        training.progress.step = step
        checkpoints.save(training, ap)
    assert kept(tmp_path) == ["step_00000002.pt", "step_00000005.pt"]
    assert checkpoints.latest() == tmp_path / "step_00000005.pt"


def test_with_one_kept_it_is_the_latest(tmp_path: Path) -> None:
    checkpoints, training = FolderCheckpoints(tmp_path, keep=1), make_training()
    for step, ap in ((1, 0.9), (2, None)):
        training.progress.step = step
        checkpoints.save(training, ap)
    assert kept(tmp_path) == ["step_00000002.pt"]


def test_a_file_that_the_index_does_not_name_does_not_count(tmp_path: Path) -> None:
    checkpoints, training = FolderCheckpoints(tmp_path, keep=2), make_training()
    training.progress.step = 1
    checkpoints.save(training, None)
    (tmp_path / "step_00000002.pt").write_bytes(b"killed before the index was written")
    assert checkpoints.latest() == tmp_path / "step_00000001.pt"
    training.progress.step = 3
    checkpoints.save(training, None)
    assert kept(tmp_path) == ["step_00000001.pt", "step_00000003.pt"]
    assert [entry["step"] for entry in json.loads((tmp_path / "index.json").read_text())] == [1, 3]


def test_steps_made_again_after_a_kill_are_kept_once(tmp_path: Path) -> None:
    checkpoints, training = FolderCheckpoints(tmp_path, keep=3), make_training()
    for step in (2, 4, 2, 4):
        training.progress.step = step
        checkpoints.save(training, None)
    assert kept(tmp_path) == ["step_00000002.pt", "step_00000004.pt"]


def altered(path: Path, change: Callable[[dict[str, Any]], object]) -> str:
    """What is said of a checkpoint after a change in what it holds."""
    killed_after(1, path)
    content = torch.load(path, weights_only=True)
    change(content)
    torch.save(content, path)
    with pytest.raises(UserError) as caught:
        restore_checkpoint(path, make_training())
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_numbers_that_are_not_finite_and_parts_of_another_shape_are_named(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"

    def moment(content: dict[str, Any]) -> dict[str, Any]:
        return next(iter(content["optimiser"]["state"].values()))

    assert "head.bias holds values that are not finite" in altered(
        path, lambda content: content["model"]["network.stacks.0.head.bias"].fill_(torch.nan)
    )
    assert "head.bias holds values that are not finite" in altered(
        path, lambda content: content["average"]["network.stacks.0.head.bias"].fill_(torch.inf)
    )
    assert "head.bias is (1,) in the file" in altered(
        path, lambda content: content["average"].update({"network.stacks.0.head.bias": torch.zeros(1)})
    )
    assert "exp_avg of a weight" in altered(path, lambda c: moment(c)["exp_avg"].fill_(torch.nan))
    assert "exp_avg of a weight" in altered(path, lambda c: moment(c).update({"exp_avg": torch.zeros(2)}))
    assert "network.stacks=10000000" in altered(
        path, lambda content: content["config"]["network"].update({"stacks": 10**7})
    )
    for part, other in (("progress", {"steps gone": 1}), ("progress", [1]), ("optimiser", {"state": {}})):
        assert "its optimiser or progress was altered" in altered(
            path, lambda content, part=part, other=other: content.update({part: other})
        )


def test_a_flipped_bit_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    write_checkpoint(path, make_training())
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 4
    path.write_bytes(whole)
    with pytest.raises(UserError, match="Bad CRC-32"):
        restore_checkpoint(path, make_training())
