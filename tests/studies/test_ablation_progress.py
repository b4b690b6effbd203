"""What an ablation's log says of the time left."""

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pipeline.settings.config import RunConfig
from pipeline.studies.ablation.on_ray import Unit, _Progress


def _step(unit: Any, step: int) -> None:
    folder = unit.training.outputs / "joint"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metrics.csv").write_text(f"step,loss\n{step},1.0\n")


def test_a_training_that_goes_back_to_its_checkpoint_leaves_no_negative_time(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = RunConfig.model_validate({"run_root": tmp_path, "joint": {"steps": 100}})
    unit = SimpleNamespace(training=config, name="row 9 seed 0")
    _step(unit, 50)
    progress = _Progress(cast("list[Unit]", [unit]))
    with caplog.at_level(logging.INFO, "pipeline"):
        _step(unit, 20)  # killed at 50, and its last checkpoint was at 20
        progress.log([])
        assert "left" not in caplog.text
        _step(unit, 60)
        progress.begun -= 80  # seconds, for 40 steps: as many again are left
        progress.log([])
    assert "about 0:01:20 left" in caplog.text
