"""Training compiled and not: same checkpoints and losses; where it cannot be, that is said at once."""

import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from hgg.weights import load_model
from pipeline.base.errors import UserError
from pipeline.base.provenance import REPOSITORY
from pipeline.settings.config import RunConfig
from pipeline.training import worker
from pipeline.training.checkpoint import restore_checkpoint, write_checkpoint
from pipeline.training.compiling import check_compiling, compile_network, set_float32_precision
from pipeline.training.history import read_history
from pipeline.training.stage import plan_stage
from tests.cases.training import OPTIONS, batches, make_training, run, same_weights, start, tiny_run

CPU = torch.device("cpu")
COMPILED = OPTIONS.model_copy(update={"compile": True})


class Counting:
    """A backend that runs what it is given as it is, and counts the graphs."""

    def __init__(self) -> None:
        self.graphs = 0

    def __call__(self, graph: Any, _inputs: Any) -> Any:
        self.graphs += 1
        return graph.forward


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counting]:
    """The network is traced and called as for the real backend, which takes a minute here."""
    backend = Counting()
    monkeypatch.setattr(worker, "compile_network", partial(compile_network, backend=backend))
    monkeypatch.setattr(worker, "check_compiling", lambda _: None)
    yield backend
    torch.compiler.reset()


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_a_stage_is_compiled_once_and_validated_and_kept_uncompiled(
    tmp_path: Path, counting: Counting, ema: float
) -> None:
    """Also where what is validated is the very model that is compiled. Its last batch is a smaller one."""
    plain = plan_stage(tiny_run(tmp_path / "plain", ema=ema), "pretrain")
    compiled = plan_stage(tiny_run(tmp_path / "compiled", ema=ema, compile=True), "pretrain")
    assert plain.name != compiled.name
    start(plain)
    assert counting.graphs == 0
    start(compiled)
    assert counting.graphs == 1
    for name in ("best.pt", "last.pt"):
        assert same_weights(load_model(compiled.folder / name), load_model(plain.folder / name))
    rows = [read_history(run.folder / "metrics.csv") for run in (plain, compiled)]
    assert [row["ap"] for row in rows[0]] == [row["ap"] for row in rows[1]]


def test_checkpoints_with_and_without_are_one_kind(tmp_path: Path, counting: Counting) -> None:
    training, plain = make_training(), make_training()
    forward = worker.forward_of(training.objective, COMPILED, CPU)
    run(training, batches(), options=COMPILED, forward=forward)
    assert counting.graphs == 1
    write_checkpoint(tmp_path / "compiled.pt", training)
    restore_checkpoint(tmp_path / "compiled.pt", plain)
    assert same_weights(plain.objective, training.objective)
    write_checkpoint(tmp_path / "plain.pt", plain)
    restore_checkpoint(tmp_path / "plain.pt", training)


def changed(config: RunConfig, **options: Any) -> RunConfig:
    return config.model_copy(update={"train": config.train.model_copy(update=options)})


def test_the_settings_of_a_gpu_at_their_defaults_leave_names_as_they_are(tmp_path: Path) -> None:
    config = tiny_run(tmp_path)
    name = plan_stage(config, "pretrain").name
    assert (
        plan_stage(changed(config, compile=False, sync_batchnorm=False, tf32=True), "pretrain").name == name
    )
    for option, value in (("compile", True), ("sync_batchnorm", True), ("tf32", False)):
        assert plan_stage(changed(config, **{option: value}), "pretrain").name != name, option


@pytest.mark.slow
def test_compiled_steps_have_the_losses_of_plain_ones_and_say_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """By the real backend, which for a CPU writes C++; float32 sums in another order."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # as Python does outside of tests
        try:
            check_compiling(CPU)
        except UserError as error:
            pytest.skip(str(error))
    plain = plan_stage(tiny_run(tmp_path / "plain", ema=0.9), "pretrain")
    compiled = plan_stage(tiny_run(tmp_path / "compiled", ema=0.9, compile=True), "pretrain")
    start(plain)
    capfd.readouterr()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        warnings.simplefilter("ignore", DeprecationWarning)  # as Python does outside of tests
        start(compiled)
    assert [str(warning.message) for warning in caught] == []
    assert capfd.readouterr() == ("", "")
    rows = [read_history(run.folder / "metrics.csv") for run in (plain, compiled)]
    for mine, other in zip(*rows, strict=True):
        for name in ("loss", "heatmap", "push", "pull", "gradient_norm"):
            assert mine[name] == pytest.approx(other[name], rel=1e-3), (name, mine["step"])
    ours, theirs = (load_model(run.folder / "last.pt").state_dict() for run in (plain, compiled))
    assert all(torch.allclose(value, theirs[name], atol=1e-3) for name, value in ours.items())


@pytest.mark.slow
def test_where_there_is_no_compiler_one_line_says_so(tmp_path: Path) -> None:
    code = (
        "import torch\n"
        "from pipeline.base.errors import UserError\n"
        "from pipeline.training.compiling import check_compiling\n"
        "try: check_compiling(torch.device('cpu'))\n"
        "except UserError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"CXX": "/nowhere/c++", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout.count("\n") == 1
    assert done.stdout.startswith("train.compile=true: torch cannot compile for this cpu (InvalidCxxCompiler")
    assert done.stdout.endswith("it needs a C++ compiler, or set train.compile=false\n")
    assert done.stderr == ""


def test_float32_precision_is_set_without_a_warning() -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            set_float32_precision(True)
            assert (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32) == ("high", True)
            set_float32_precision(False)
            assert (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32) == (
                "highest",
                False,
            )
    finally:  # as torch has them
        torch.set_float32_matmul_precision("highest")
        torch.backends.cudnn.allow_tf32 = True
