"""The training loop alone and as two ranks, on batches made up here."""

import json
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from hgg.config import ModelConfig
from hgg.objective import Terms
from hgg.targets import Targets
from pipeline.base.seeds import step_seed
from pipeline.training.loop import NotFiniteError, teacher_share
from tests.cases.host_reads import HostReads
from tests.cases.training import MODEL, OPTIONS, STAGE, batches, make_training, part_of, run, same_weights

# All images merge by ground truth: which ones do is drawn by rank as soon as not all do.
EVERY_STEP = STAGE.model_copy(update={"log_every": 1, "teacher_steps": 10**9})
COMPARED = ("loss", "heatmap", "push", "pull", "edge", "macro", "gradient_norm")


def test_a_row_is_the_mean_of_the_steps_since_the_last_one() -> None:
    single, _ = run(make_training(), batches(), stage=STAGE.model_copy(update={"log_every": 1}))
    rows, _ = run(make_training(), batches(), stage=STAGE.model_copy(update={"log_every": 4}))
    assert [row["step"] for row in rows] == [4, 6]
    for name in COMPARED:
        by_step = [row[name] or 0.0 for row in single]
        assert rows[0][name] == pytest.approx(sum(by_step[:4]) / 4)
        assert rows[1][name] == pytest.approx(sum(by_step[4:]) / 2)
    assert all(0 <= (row["waiting"] or 0.0) <= 1 for row in rows)


def test_the_loss_falls() -> None:
    stage = STAGE.model_copy(update={"steps": 30, "log_every": 5})
    repeated = next(batches())
    rows, _ = run(make_training(), iter([repeated] * 30), stage=stage)
    losses = [row["loss"] or 0.0 for row in rows]
    assert losses[-1] < 0.5 * losses[0]


def test_validations_and_checkpoints_come_when_they_are_due() -> None:
    stage = STAGE.model_copy(update={"log_every": 100, "validate_every": 4})
    rows, saved = run(make_training(), batches(), stage=stage, scores={"ap": 0.25, "ap_ae": 0.5})
    assert [(row["step"], row["ap"], row["ap_ae"]) for row in rows] == [(4, 0.25, 0.5), (6, 0.25, 0.5)]
    assert saved == [(3, None), (4, 0.25), (6, 0.25)]


def test_the_same_seed_gives_the_same_weights_and_another_seed_others() -> None:
    first, second, other = make_training(), make_training(), make_training()
    run(first, batches())
    run(second, batches())
    run(other, batches(), options=OPTIONS.model_copy(update={"seed": 4}))
    assert same_weights(first.objective, second.objective)
    assert same_weights(first.model, second.model)
    assert not same_weights(first.objective, other.objective)


def test_teacher_share_falls_from_one_to_zero() -> None:
    stage = STAGE.model_copy(update={"teacher_steps": 4})
    assert [teacher_share(step, stage) for step in (1, 2, 3, 4, 5, 6)] == [1.0, 0.75, 0.5, 0.25, 0.0, 0.0]
    assert teacher_share(1, STAGE.model_copy(update={"teacher_steps": 0})) == 0.0


def test_every_step_and_rank_draws_from_a_seed_of_its_own() -> None:
    seeds = {step_seed(seed, step, rank) for seed in (0, 1) for step in (1, 2, 3) for rank in (0, 1)}
    assert len(seeds) == 12
    assert step_seed(0, 1, 0) == step_seed(0, 1, 0)


def test_a_loss_that_is_not_finite_stops_before_the_weights_and_names_step_terms_and_images() -> None:
    undisturbed, training = make_training(), make_training()
    run(undisturbed, batches(), stage=STAGE.model_copy(update={"steps": 2, "warmup_steps": 2}))
    stream = [batch for batch, _ in zip(batches(), range(3), strict=False)]
    joints = stream[2].targets.joints.clone()
    heatmaps = stream[2].targets.heatmaps.float() * math.nan
    stream[2] = stream[2]._replace(targets=stream[2].targets._replace(heatmaps=heatmaps, joints=joints))
    with pytest.raises(NotFiniteError) as caught:
        run(training, iter(stream))
    message = str(caught.value)
    assert message.startswith("step 3: the loss is not finite: total=nan, heatmap=nan, push=")
    assert "on images 8, 9, 10, 11; a lower rate" in message
    assert "push=nan" not in message
    assert same_weights(training.objective, undisturbed.objective)


class SteepObjective(nn.Module):
    """Loss 0 with an infinite gradient: the root at zero."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor, targets: Targets, teacher_share: float, bf16: bool) -> Terms:
        zero = sum(p.sum() * 0 for p in self.model.parameters() if p.requires_grad)
        assert isinstance(zero, Tensor)
        return Terms(zero.sqrt(), *[torch.zeros(())] * 5)


def test_a_gradient_that_is_not_finite_stops_too() -> None:
    untouched, training = make_training(), make_training()
    with pytest.raises(NotFiniteError, match="step 1: the gradient is not finite although the loss is"):
        run(training, batches(), forward=SteepObjective(training.objective.model))
    assert same_weights(training.objective, untouched.objective)
    assert same_weights(training.model, untouched.model)


class UncountedObjective(nn.Module):
    """The objective, at which the counter does not look."""

    def __init__(self, objective: nn.Module, reads: HostReads) -> None:
        super().__init__()
        self.objective = objective
        self.reads = reads

    def forward(self, *arguments: Any) -> Terms:
        with self.reads.pausing():
            return self.objective(*arguments)


@pytest.mark.parametrize("joint", [False, True])
def test_a_step_reads_once_what_a_tensor_holds_beside_what_the_model_does(joint: bool) -> None:
    """Augmentation, backward pass, clipping, Adam with a changing rate and the moving average too."""
    training, reads = make_training(joint=joint), HostReads()
    stage = STAGE.model_copy(update={"clip_norm": 1e-3, "schedule": "cosine"})
    stream = [batch for batch, _ in zip(batches(), range(stage.steps), strict=False)]
    with reads.counting():
        run(training, iter(stream), stage=stage, forward=UncountedObjective(training.objective, reads))
    assert reads.found == {"tolist": stage.steps}
    assert reads.operations["_fused_adam_"] >= stage.steps  # so it was seen


@pytest.mark.parametrize(
    ("read", "name"),
    [
        (lambda tensor: tensor.sum().item(), "_local_scalar_dense"),
        (lambda tensor: bool(tensor.any()), "_local_scalar_dense"),
        (lambda tensor: float(tensor[0]), "_local_scalar_dense"),
        (lambda tensor: tensor.tolist(), "tolist"),
        (lambda tensor: tensor.numpy(), "numpy"),
        (lambda tensor: tensor.nonzero(), "nonzero"),
        (lambda tensor: tensor[tensor > 0], "index"),
        (lambda tensor: torch.equal(tensor, tensor), "equal"),
    ],
)
def test_the_counter_of_reads_sees_each_kind(read: Callable[[Tensor], object], name: str) -> None:
    tensor, reads = torch.arange(3.0), HostReads()
    with reads.counting():
        read(tensor)
        with reads.pausing():
            read(tensor)
    assert reads.found == {name: 1}


def with_dropout(share: float) -> ModelConfig:
    return MODEL.model_copy(update={"grouping": MODEL.grouping.model_copy(update={"dropout": share})})


def train_as_rank(rank: int, world: int, folder: Path, poison: bool) -> None:
    """One of several processes that train together; what it reports goes to a file."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=world)
    training = make_training(with_dropout(0.0))
    forward = DistributedDataParallel(
        training.objective, forward_sync_buffers=False, gradient_as_bucket_view=True
    )
    stream = [batch for batch, _ in zip(part_of(batches(), rank, world), range(6), strict=False)]
    if poison and rank == 1:
        stream[1] = stream[1]._replace(
            targets=stream[1].targets._replace(heatmaps=stream[1].targets.heatmaps.float() * math.nan)
        )
    outcome: dict[str, Any]
    try:
        rows, _ = run(training, iter(stream), stage=EVERY_STEP, forward=forward)
        outcome = {"rows": rows}
        torch.save(training.objective.state_dict(), folder / f"weights_{rank}.pt")
    except NotFiniteError as error:
        outcome = {"error": str(error)}
    (folder / f"rank_{rank}.json").write_text(json.dumps(outcome))
    # The other rank may still need this one; if it dies, `mp.spawn` ends this one too.
    while not all((folder / f"rank_{other}.json").exists() for other in range(world)):
        time.sleep(0.01)
    # Gloo's threads can outlive their group and abort the interpreter where they meet its end: now and then
    # they did. All that this process was for is in its files by now, so it leaves without that end.
    os._exit(0)


def as_two_ranks(folder: Path, poison: bool = False) -> list[dict[str, Any]]:
    mp.spawn(train_as_rank, args=(2, folder, poison), nprocs=2)  # pyrefly: ignore  # re-exported untyped
    return [json.loads((folder / f"rank_{rank}.json").read_text()) for rank in (0, 1)]


@pytest.mark.slow
def test_two_ranks_with_the_same_global_batch_have_the_losses_of_one(tmp_path: Path) -> None:
    """With group normalisation and without dropout, to float32's rounding.

    Batch normalisation takes its statistics from a rank's own part, and dropout and the choice of images
    that merge by ground truth draw by rank, so with any of these the losses are only alike.
    """
    alone, _ = run(make_training(with_dropout(0.0)), batches(), stage=EVERY_STEP)
    first, second = as_two_ranks(tmp_path)
    for mine, theirs, single in zip(first["rows"], second["rows"], alone, strict=True):
        for name in COMPARED:
            assert mine[name] == theirs[name]
            assert mine[name] == pytest.approx(single[name], rel=2e-5, abs=1e-9), (name, single["step"])
    weights = [torch.load(tmp_path / f"weights_{rank}.pt", weights_only=True) for rank in (0, 1)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


@pytest.mark.slow
def test_one_ranks_bad_loss_stops_all_ranks_with_the_same_words(tmp_path: Path) -> None:
    first, second = as_two_ranks(tmp_path, poison=True)
    assert first == second
    assert first["error"].startswith("step 2: the loss is not finite: total=nan")
    assert "on images 6, 7; a lower rate" in first["error"]
