"""Networks on an encoder in training: what they begin with, their rate, resumed, compiled, by two ranks."""

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn

from hgg.config import LossConfig, ModelConfig
from hgg.encoder_weights import FirstWeights
from hgg.model import HGG
from hgg.objective import Objective
from hgg.weights import load_model
from pipeline.base.errors import UserError
from pipeline.settings.config import RunConfig, StageConfig
from pipeline.training import encoder, worker
from pipeline.training.checkpoint import restore_checkpoint, write_checkpoint
from pipeline.training.compiling import compile_network
from pipeline.training.normalisation import SharedBatchNorm2d, share_normalisation
from pipeline.training.optimiser import make_optimiser, set_rates
from pipeline.training.stage import plan_stage
from tests.cases.encoders import SMALL, encoder_config, encoder_of, publish
from tests.cases.training import (
    MODEL,
    OPTIONS,
    STAGE,
    batches,
    make_training,
    part_of,
    run,
    same_weights,
    start,
    tiny_run,
)

pytest.importorskip("transformers")

CPU = torch.device("cpu")
every_kind = pytest.mark.parametrize("kind", ["resnet", "convnextv2"])


def model_of(kind: str, dropout: float = 0.2, **changes: Any) -> ModelConfig:
    return MODEL.model_copy(
        update={
            "network": encoder_config(kind, input_size=32, **changes),
            "grouping": MODEL.grouping.model_copy(update={"dropout": dropout}),
        }
    )


def with_encoder(root: Path, kind: str = "resnet", **changes: Any) -> RunConfig:
    """A run whose samples are there, without validation."""
    config = tiny_run(root, validation_images=0)
    return config.model_copy(update={"network": encoder_config(kind, input_size=32, **changes)})


@every_kind
def test_a_resumed_run_equals_the_undisturbed_one_to_the_last_bit(kind: str, tmp_path: Path) -> None:
    """With what is dropped by chance in encoder and grouping, and the statistics of normalisation."""
    model = model_of(kind)
    undisturbed, resumed = make_training(model), make_training(model)
    rows, _ = run(undisturbed, batches())
    first = make_training(model)
    run(first, batches(), stage=STAGE.model_copy(update={"steps": 3}))
    write_checkpoint(tmp_path / "half.pt", first)
    restore_checkpoint(tmp_path / "half.pt", resumed)
    assert resumed.progress.step == 3
    rows_after, _ = run(resumed, batches(3))
    assert same_weights(resumed.objective, undisturbed.objective)
    assert same_weights(resumed.model, undisturbed.model)
    assert rows_after[-1]["loss"] == rows[-1]["loss"]


@every_kind
def test_compiled_in_one_piece_it_makes_the_same_steps(kind: str) -> None:
    plain, compiled, graphs = make_training(model_of(kind)), make_training(model_of(kind)), []

    def backend(graph: Any, _inputs: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker, "compile_network", lambda network: compile_network(network, backend=backend))
        options = OPTIONS.model_copy(update={"compile": True})
        forward = worker.forward_of(compiled.objective, options, CPU)
    try:
        run(plain, batches())
        run(compiled, batches(), options=options, forward=forward)
    finally:
        torch.compiler.reset()
    assert len(graphs) == 1
    assert same_weights(compiled.objective, plain.objective)


def train_as_rank(rank: int, world: int, folder: Path, kind: str, options: dict[str, bool]) -> None:
    """One of several processes that train together; what it reports goes to a file."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=world)
    training = make_training(_alike(kind))
    chosen = OPTIONS.model_copy(update=options)
    forward = worker.forward_of(training.objective, chosen, CPU)
    rows, _ = run(training, part_of(batches(), rank, world), stage=TWO_STEPS, options=chosen, forward=forward)
    (folder / f"rank_{rank}.json").write_text(json.dumps(rows))
    while not all((folder / f"rank_{other}.json").exists() for other in range(world)):
        time.sleep(0.01)
    os._exit(0)  # as in test_loop.py: gloo's threads may abort the interpreter where they meet its end


TWO_STEPS = STAGE.model_copy(update={"steps": 2, "log_every": 1, "teacher_steps": 10**9})


def _alike(kind: str) -> ModelConfig:
    """Without what ranks draw for themselves."""
    own = SMALL[kind] | ({"drop_path_rate": 0.0} if kind == "convnextv2" else {})
    return model_of(kind, dropout=0.0, norm="none", encoder=own)


@pytest.mark.slow
@every_kind
def test_two_ranks_have_the_losses_of_one(kind: str, tmp_path: Path) -> None:
    """With ResNet's batch normalisation shared; ConvNeXt has none."""
    alone, _ = run(make_training(_alike(kind)), batches(), stage=TWO_STEPS)
    mp.spawn(train_as_rank, args=(2, tmp_path, kind, {"sync_batchnorm": True}), nprocs=2)  # pyrefly: ignore
    first, second = (json.loads((tmp_path / f"rank_{rank}.json").read_text()) for rank in (0, 1))
    for mine, theirs, single in zip(first, second, alone, strict=True):
        for name in ("loss", "heatmap", "push", "pull"):
            assert mine[name] == theirs[name]
            assert mine[name] == pytest.approx(single[name], rel=1e-3), (name, single["step"])


def test_the_encoder_has_a_rate_of_its_own() -> None:
    model = HGG(model_of("resnet", frozen_stages=1))
    Objective(model, LossConfig(), joint=True)
    for rate, expected in ((1e-5, 1e-5), (None, 2e-4)):
        stage = StageConfig(lr=2e-4, grouping_lr=1e-3, backbone_lr=rate, warmup_steps=0, drop_at=1.0)
        optimiser = make_optimiser(model, stage)
        assert set_rates(optimiser, 1, stage) == pytest.approx(2e-4)
        assert [group["lr"] for group in optimiser.param_groups] == pytest.approx([2e-4, 1e-3, expected])
    encoders = {id(each) for each in encoder_of(model).encoder.parameters() if each.requires_grad}
    assert {id(each) for each in optimiser.param_groups[2]["params"]} == encoders
    trained = sum(len(group["params"]) for group in optimiser.param_groups)
    assert trained == sum(each.requires_grad for each in model.parameters())


def test_pretraining_begins_with_what_is_published_and_keeps_it(tmp_path: Path) -> None:
    weights = publish(tmp_path / "published")
    config = with_encoder(tmp_path, weights=str(tmp_path / "published"))
    slow = config.model_copy(update={"pretrain": config.pretrain.model_copy(update={"lr": 1e-12})})
    planned = plan_stage(slow, "pretrain")
    start(planned)
    stem = "embedder.embedder.convolution.weight"
    trained = load_model(planned.folder / "last.pt")
    assert torch.allclose(
        trained.state_dict()[f"network.encoder.{stem}"], weights[f"resnet.{stem}"], atol=1e-9
    )
    assert encoder_of(trained).mean_3.tolist() == pytest.approx([0.4, 0.5, 0.6])
    assert trained.config.network.weights == ""  # where they came from is nobody's who has the model
    assert "encoder: 74 weights of " in (planned.folder / "train.log").read_text()


def test_a_run_is_named_by_what_the_weights_are_and_not_by_where_they_lie(tmp_path: Path) -> None:
    publish(tmp_path / "published")
    config = with_encoder(tmp_path)
    drawn = plan_stage(config, "pretrain").name

    def name(folder: str) -> str:
        network = config.network.model_copy(update={"weights": str(tmp_path / folder)})
        return plan_stage(config.model_copy(update={"network": network}), "pretrain").name

    first = name("published")
    assert first != drawn
    shutil.copytree(tmp_path / "published", tmp_path / "moved")
    assert name("moved") == first
    publish(tmp_path / "moved", colours=False)
    (tmp_path / "moved" / "preprocessor_config.json").unlink()
    assert name("moved") != first


def test_what_was_fetched_is_not_fetched_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched = []

    def fetch(network: Any) -> FirstWeights:
        fetched.append(network.weights)
        return FirstWeights({"encoder.made.up": torch.ones(2)}, [])

    monkeypatch.setattr(encoder, "first_weights", fetch)
    config = with_encoder(tmp_path, weights="made-up/tiny")
    assert plan_stage(config, "pretrain").name == plan_stage(config, "pretrain").name
    assert fetched == ["made-up/tiny"]


def test_weights_that_cannot_be_had_and_a_file_that_was_altered_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"network\.weights=none\.pt: no such file or folder"):
        plan_stage(with_encoder(tmp_path, weights="none.pt"), "pretrain")
    publish(tmp_path / "published")
    planned = plan_stage(with_encoder(tmp_path, weights=str(tmp_path / "published")), "pretrain")
    assert planned.encoder is not None
    content = torch.load(planned.encoder, weights_only=True)
    content["network"]["mean_3"] += 1
    torch.save(content, planned.encoder)
    with pytest.raises(UserError, match=r"\.pt: its weights are not those of its checksum: move .* away"):
        start(planned)


class NormAndActivation(nn.BatchNorm2d):
    """As timm's: in one layer."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.drop, self.act = nn.Identity(), nn.ReLU()

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return self.act(self.drop(super().forward(input)))


def test_a_layer_that_normalises_and_activates_still_activates_when_it_is_shared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dist, "all_reduce", lambda _: None)
    torch.manual_seed(0)
    module, images = nn.Sequential(NormAndActivation(3)), torch.randn(2, 3, 8, 8)
    names, expected = [*module.state_dict()], module(images)
    share_normalisation(module)
    assert isinstance(module[0], SharedBatchNorm2d)
    assert [*module.state_dict()] == names
    assert torch.allclose(module(images), expected, atol=1e-5)
    assert (module.eval()(images) >= 0).all()
