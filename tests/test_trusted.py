"""What README, the card and docs/reliability.md say of whom to trust; settings that they name exist."""

import re
from pathlib import Path
from typing import Any

import pytest

from hgg.config import ModelConfig
from hgg.model import HGG
from pipeline.base.errors import UserError
from pipeline.evaluation.card import card_text
from pipeline.settings.config import RunConfig
from pipeline.settings.keys import flat
from pipeline.settings.load import load_config

RUNS = re.compile(r"`mlflow\.pyfunc\.load_model`.*runs the code that is stored beside a model")
SMALL = {"network": {"input_size": 64, "stacks": 1, "channels": 8, "increase": 0, "depth": 1}}


def one_line(text: str) -> str:
    return " ".join(text.split())


def test_readme_says_what_runs_code_and_what_does_not(repository: Path) -> None:
    text = one_line((repository / "README.md").read_text(encoding="utf-8"))
    said = text.partition("**The best model**")[2].partition("- **")[0].partition("## ")[0]
    assert "`mlflow.pyfunc.load_model`" in said
    assert "It runs the code that is stored beside a model, as MLflow's models do;" in said
    assert "`jobs/predict.py --model` does not: it fetches and reads the weights alone." in said


@pytest.mark.parametrize("half", [False, True])
def test_the_card_says_what_runs_code_and_what_does_not(half: bool) -> None:
    results: dict[str, Any] = {
        **dict.fromkeys(("split", "data", "command", "commit", "configuration", "torch"), ""),
        **{"model_sha256": "", "counts": {"images": 1}, "ap": {}, "diagnosis": []},
    }
    model = HGG(ModelConfig.model_validate(SMALL))
    text = one_line(card_text("small", "small.pt", model, results, half=half))
    assert "`jobs/predict.py` and `hgg.weights.load_model` read settings and weights, and run nothing" in text
    assert RUNS.search(text)


def test_each_kind_of_file_is_in_the_section_and_its_settings_exist(repository: Path) -> None:
    text = (repository / "docs" / "reliability.md").read_text(encoding="utf-8")
    section = text.partition("## What is trusted")[2]
    for kind in ("photographs", "model files", "checkpoints", "annotation files", "records and samples"):
        assert f"| {kind}" in section, kind
    for word in (
        "configuration",
        "${oc.env:",
        "registry",
        "Ray Tune",
        "mlflow.pyfunc.load_model",
        "RAY_ADDRESS",
    ):
        assert word in section, word
    groups = "|".join(RunConfig.model_fields)
    named = set(re.findall(rf"`((?:{groups})\.[a-z_]+)`", section))
    assert "predict.max_pixels" in named
    assert named <= flat(RunConfig().model_dump()).keys()


def test_a_configuration_makes_no_objects(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(
        f'run_root: !!python/object/apply:os.system ["touch {tmp_path}/harm"]\n', encoding="utf-8"
    )
    with pytest.raises(UserError, match=r"run\.yaml: not YAML: line 1: could not determine a constructor"):
        load_config([tmp_path / "run.yaml"])
    assert not (tmp_path / "harm").exists()
