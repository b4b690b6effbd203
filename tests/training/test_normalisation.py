"""Batch normalisation over all ranks: two ranks train as one does with all images, compiled or not."""

import json
import os
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn

from pipeline.training import worker
from pipeline.training.compiling import compile_network
from pipeline.training.normalisation import SharedBatchNorm2d, share_normalisation
from tests.cases.training import MODEL, OPTIONS, STAGE, batches, make_training, part_of, run

# All images merge by ground truth, since which ones do not is drawn by rank, as is what is dropped.
# Two steps: after more, weights that start off by a ten-millionth differ as much as two ranks do (0.5 %).
TWO_STEPS = STAGE.model_copy(update={"steps": 2, "log_every": 1, "teacher_steps": 10**9})
WITH_NORM = MODEL.model_copy(
    update={
        "network": MODEL.network.model_copy(update={"norm": "batch"}),
        "grouping": MODEL.grouping.model_copy(update={"dropout": 0.0}),
    }
)
COMPARED = ("loss", "heatmap", "push", "pull", "edge", "macro", "gradient_norm")
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def train_as_rank(rank: int, world: int, folder: Path, options: dict[str, bool]) -> None:
    """One of several processes that train together; what it reports goes to a file."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=world)
    training, chosen = make_training(WITH_NORM), OPTIONS.model_copy(update=options)
    names = [*training.objective.state_dict()]
    with pytest.MonkeyPatch.context() as patch:
        # Traced and cut as for the real backend, which takes minutes here for what it makes of the pieces.
        patch.setattr(worker, "compile_network", partial(compile_network, backend="aot_eager"))
        forward = worker.forward_of(training.objective, chosen, torch.device("cpu"))
    rows, _ = run(training, part_of(batches(), rank, world), stage=TWO_STEPS, options=chosen, forward=forward)
    norms = [
        type(module).__name__ for module in training.model.modules() if isinstance(module, nn.BatchNorm2d)
    ]
    outcome = {"rows": rows, "same_names": names == [*training.objective.state_dict()], "kept": [*set(norms)]}
    torch.save(training.objective.state_dict(), folder / f"weights_{rank}.pt")
    (folder / f"rank_{rank}.json").write_text(json.dumps(outcome))
    while not all((folder / f"rank_{other}.json").exists() for other in range(world)):
        time.sleep(0.01)
    os._exit(0)  # as in test_loop.py: gloo's threads may abort the interpreter where they meet its end


def as_two_ranks(folder: Path, **options: bool) -> tuple[list[dict[str, Any]], list[dict[str, torch.Tensor]]]:
    mp.spawn(train_as_rank, args=(2, folder, options), nprocs=2)  # pyrefly: ignore  # re-exported untyped
    outcomes = [json.loads((folder / f"rank_{rank}.json").read_text()) for rank in (0, 1)]
    weights = [torch.load(folder / f"weights_{rank}.pt", weights_only=True) for rank in (0, 1)]
    return outcomes, weights


def furthest(rows: list[dict[str, Any]], others: list[dict[str, Any]]) -> float:
    """The largest relative difference of a figure of two runs."""
    pairs = [(row[name], other[name]) for row, other in zip(rows, others, strict=True) for name in COMPARED]
    return max(abs(one - other) / max(abs(one), 1e-9) for one, other in pairs)


@pytest.mark.slow
@pytest.mark.parametrize("compiled", [False, True])
def test_two_ranks_train_as_one_does_with_all_their_images(tmp_path: Path, compiled: bool) -> None:
    """Losses, gradients and statistics to float32's rounding; the average has torch's own layers."""
    alone = make_training(WITH_NORM)
    rows, _ = run(alone, batches(), stage=TWO_STEPS)
    (first, second), weights = as_two_ranks(tmp_path, sync_batchnorm=True, compile=compiled)
    assert furthest(first["rows"][:1], rows[:1]) < 1e-5
    assert furthest(first["rows"], rows) < 1e-3
    assert [row["loss"] for row in first["rows"]] == [row["loss"] for row in second["rows"]]
    assert first["same_names"]
    assert first["kept"] == ["BatchNorm2d"]
    ours, compared = alone.objective.state_dict(), 0
    for name, value in weights[0].items():
        assert torch.equal(value, weights[1][name]), name
        if name.endswith(STATISTICS):
            assert torch.allclose(value, ours[name], rtol=1e-3, atol=1e-5), name
            compared += 1
    assert compared > 10


@pytest.mark.slow
def test_without_it_each_rank_normalises_by_its_own_images(tmp_path: Path) -> None:
    """So the comparison above can fail."""
    rows, _ = run(make_training(WITH_NORM), batches(), stage=TWO_STEPS)
    (first, _), weights = as_two_ranks(tmp_path, sync_batchnorm=False)
    assert furthest(first["rows"][:1], rows[:1]) > 1e-2
    name = next(name for name in weights[0] if name.endswith("running_mean"))
    assert not torch.equal(weights[0][name], weights[1][name])


def test_a_shared_layer_is_the_same_tensors_under_the_same_names_and_torchs_own_in_evaluation() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.Sequential(nn.BatchNorm2d(4), nn.ReLU()), nn.GroupNorm(2, 4)
    )
    images = torch.rand(2, 3, 8, 8)
    module(images)
    before, names = dict(module.named_parameters()), [*module.state_dict()]
    expected = module.eval()(images)
    share_normalisation(module)
    assert [type(layer) for layer in module.modules()].count(SharedBatchNorm2d) == 1
    assert [*module.state_dict()] == names
    assert all(parameter is before[name] for name, parameter in module.named_parameters())
    assert torch.equal(module(images), expected)


def test_a_model_without_batch_normalisation_stays_as_it_is() -> None:
    training = make_training()
    kinds = [type(module) for module in training.objective.modules()]
    share_normalisation(training.objective)
    assert [type(module) for module in training.objective.modules()] == kinds


@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_alone_it_is_torchs_own_layer(monkeypatch: pytest.MonkeyPatch, offset: float) -> None:
    """Maps, gradients and statistics, also where the mean, rounded, is a thousand times the deviation."""
    monkeypatch.setattr(dist, "all_reduce", lambda _: None)
    torch.manual_seed(0)
    maps = (torch.randn(2, 4, 8, 8) + offset).contiguous(memory_format=torch.channels_last)
    shared, plain = SharedBatchNorm2d(4), nn.BatchNorm2d(4, dtype=torch.float64)
    found = []
    for layer, given in ((shared, maps.clone()), (plain, maps.double())):
        made = layer(given.requires_grad_())
        (made**3).sum().backward()
        assert made.is_contiguous(memory_format=torch.channels_last)
        assert given.grad is not None
        assert layer.weight.grad is not None
        statistics = [value for name, value in layer.state_dict().items() if name in STATISTICS]
        found.append([made, given.grad, layer.weight.grad, *statistics])
    for ours, theirs in zip(*found, strict=True):
        assert torch.allclose(ours.double(), theirs.double(), rtol=1e-3, atol=0.05 if offset else 1e-4)


def test_under_autocast_maps_stay_bfloat16_and_statistics_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dist, "all_reduce", lambda _: None)
    layer, maps = SharedBatchNorm2d(4), torch.randn(2, 4, 8, 8).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        made = layer(maps)
    assert made.dtype == torch.bfloat16
    kept = layer.state_dict()["running_mean"]
    assert kept.dtype == torch.float32
    assert torch.allclose(kept, 0.1 * maps.float().mean((0, 2, 3)), atol=1e-6)
