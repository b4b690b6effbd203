"""Exported models: small, equal but for rounding, with a card, and never over something that is there."""

from pathlib import Path

import pytest
import torch

from hgg.weights import load_model
from pipeline.base.errors import UserError
from pipeline.commands.evaluate import run_evaluation
from pipeline.commands.export import export_model
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
