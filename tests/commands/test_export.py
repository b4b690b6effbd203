"""Exported models: small, equal but for rounding, with a card, and never over something that is there."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from hgg.onnx_model import read_model
from hgg.weights import load_model
from pipeline.base.errors import UserError
from pipeline.commands.evaluate import run_evaluation
from pipeline.commands.export import Exported, Format, export_model
from pipeline.settings.config import RunConfig
from tests.cases.evaluation import make_records, save_untrained, write_coco

NETWORK = {"input_size": 64, "stacks": 1, "channels": 8, "increase": 0, "depth": 1, "visual_dim": 4}


@pytest.fixture
def config(tmp_path: Path) -> RunConfig:
    """Settings of a run root with an untrained model and records of two images, not evaluated yet."""
    write_coco(tmp_path / "data", "val2017", [[(20.0, 20.0)], [(50.0, 30.0), (75.0, 40.0)]])
    values = {"run_root": tmp_path / "run", "data": {"root": tmp_path / "data"}, "network": NETWORK}
    config = RunConfig.model_validate(values)
    make_records(config, "val2017")
    save_untrained(config)
    return config


def test_the_file_is_the_model_rounded_and_the_card_has_figures(config: RunConfig, tmp_path: Path) -> None:
    results = run_evaluation(config)
    target = tmp_path / "out" / "small.pt"
    exported = export_model(config, target)
    whole, half = (load_model(path) for path in (config.run_root / "joint" / "best.pt", target))
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(half.state_dict()[name], value, rtol=1e-3, atol=1e-6)
    assert half.config == whole.config
    weights = sum(parameter.numel() for parameter in whole.parameters())
    assert exported["bytes"] == target.stat().st_size < 2 * weights + 60_000  # names and shapes
    card = target.with_suffix(".md").read_text()
    assert card.startswith("# small.pt\n")
    assert "jobs/predict.py --checkpoint small.pt " in card  # without a configuration: the file has its own
    for stated in (f"{weights:,} parameters", "On 2 images of `val2017`", results["commit"], results["data"]):
        assert stated in card
    assert f"`report.html`, an artifact of MLflow run {results['mlflow_run']}." in card
    assert f"| HGG | {results['ap']['hgg']['AP']:.3f} |" in card
    assert sorted(path.name for path in target.parent.iterdir()) == ["small.md", "small.pt"]


def test_what_stands_there_stays(config: RunConfig, tmp_path: Path) -> None:
    run_evaluation(config)
    (tmp_path / "mine.md").write_text("mine")
    with pytest.raises(UserError, match=r"mine\.md exists"):
        export_model(config, tmp_path / "mine.pt")
    assert (tmp_path / "mine.md").read_text() == "mine"
    assert not (tmp_path / "mine.pt").exists()


def test_a_card_states_figures_of_this_very_model(config: RunConfig, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no evaluation there.*jobs/evaluate\.py"):
        export_model(config, tmp_path / "hgg.pt")
    run_evaluation(config)
    save_untrained(config, seed=1)
    with pytest.raises(UserError, match=r"another model than .*best\.pt"):
        export_model(config, tmp_path / "hgg.pt")
    assert not list(tmp_path.glob("hgg.*"))


def test_other_runtimes_get_a_file_of_their_own(config: RunConfig, tmp_path: Path) -> None:
    run_evaluation(config)
    target = tmp_path / "small.onnx"
    exported = export_model(config, target, Exported("onnx", candidates=0))
    assert (exported["format"], exported["precision"], exported["candidates"]) == ("onnx", "float32", 0)
    assert exported["bytes"] == target.stat().st_size
    whole = load_model(config.run_root / "joint" / "best.pt")
    read = read_model(target)
    assert read.config == whole.config
    picture = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for maps, expected in zip(read(picture), whole(picture), strict=True):
            torch.testing.assert_close(maps, expected, rtol=1e-4, atol=1e-4)
    card = target.with_suffix(".md").read_text()
    assert "parameters in float32" in card
    assert '`hgg.load("small.onnx")`, or any runtime of ONNX' in card
    with pytest.raises(UserError, match=r"small\.onnx exists"):
        export_model(config, target, Exported("onnx", candidates=0))


def test_a_pt_file_is_whole_where_that_is_asked_for(config: RunConfig, tmp_path: Path) -> None:
    run_evaluation(config)
    export_model(config, tmp_path / "whole.pt", Exported(precision="float32"))
    read, own = (load_model(path) for path in (tmp_path / "whole.pt", config.run_root / "joint" / "best.pt"))
    assert all(value.equal(own.state_dict()[name]) for name, value in read.state_dict().items())


@pytest.mark.parametrize(
    ("name", "how", "said"),
    [
        ("a.pt", Exported("onnx"), r"--out=.*a\.pt: a file of --format onnx is named \*\.onnx"),
        ("a.onnx", Exported("torch"), r"a file of --format torch is named \*\.pt2"),
        ("a.onnx", Exported(), "give --format onnx too"),
        ("a.pt2", Exported(), "give --format torch too"),
        ("a.pt", Exported(candidates=3), "--candidates=3: a .pt file has any number of them"),
        ("a.onnx", Exported("onnx", candidates=-1), "--candidates=-1: a whole number from 0 to 4096"),
        ("a.onnx", Exported("onnx", candidates=4097), "--candidates=4097: a whole number from 0"),
    ],
)
def test_what_does_not_go_together_is_said(
    config: RunConfig, tmp_path: Path, name: str, how: Exported, said: str
) -> None:
    with pytest.raises(UserError, match=said):
        export_model(config, tmp_path / name, how)
    assert not (tmp_path / name).exists()


def test_a_grouping_without_fixed_shapes_is_left_out_or_refused(
    config: RunConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = config.model_copy(
        update={"grouping": config.grouping.model_copy(update={"decoder": "associative"})}
    )
    save_untrained(config)
    run_evaluation(config)
    with pytest.raises(UserError, match=r"decoder=associative .* give --candidates 0"):
        export_model(config, tmp_path / "ae.onnx", Exported("onnx", candidates=9))
    assert export_model(config, tmp_path / "ae.onnx", Exported("onnx"))["candidates"] == 0
    assert "the file has the network alone, without people: grouping.decoder=associative" in caplog.text


def test_a_format_that_is_none_ends_in_one_line(repository: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(repository / "jobs" / "export.py"), "--format", "tflite", "--out", "a.tflite"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: argument --format: invalid choice: 'tflite' (choose from ")
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_an_evaluation_by_onnx_runtime_has_the_same_figures(config: RunConfig, tmp_path: Path) -> None:
    results = run_evaluation(config)
    export_model(config, tmp_path / "model.onnx", Exported("onnx", candidates=0))
    evaluate = config.evaluate.model_copy(update={"checkpoint": tmp_path / "model.onnx"})
    config = config.model_copy(update={"evaluate": evaluate})
    by_onnx = run_evaluation(config)
    assert by_onnx["model_sha256"] != results["model_sha256"]
    for name, figures in results["ap"].items():
        assert by_onnx["ap"][name]["AP"] == pytest.approx(figures["AP"], abs=1e-3)


@pytest.mark.parametrize(("suffix", "kind"), [(".onnx", "onnx"), (".pt2", "torch")])
def test_a_torch_that_makes_no_graphs_is_named(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, kind: Format
) -> None:
    run_evaluation(config)
    monkeypatch.setattr(torch, "__version__", "2.9.0+cu128")
    with pytest.raises(UserError, match=r"torch 2\.9\.0\+cu128 makes no graphs .* torch 2\.13 or newer"):
        export_model(config, tmp_path / "out" / f"small{suffix}", Exported(kind))
    assert not [*(tmp_path / "out").glob("*")]
