"""Which settings a model is run with."""

from pathlib import Path

import pytest

from hgg.config import CandidateConfig, ModelConfig, NetworkConfig
from hgg.model import HGG
from hgg.weights import save_model
from pipeline.base.errors import UserError
from pipeline.evaluation.trained import saved_model_settings

SAVED = ModelConfig(
    network=NetworkConfig(input_size=32, stacks=1, channels=32, increase=0, depth=1, visual_dim=4),
    candidates=CandidateConfig(threshold=0.6),
)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "model.pt"
    save_model(path, HGG(SAVED))
    return path


def test_what_is_said_beside_a_model_counts_and_the_rest_is_its_own(file: Path) -> None:
    given = ModelConfig.model_validate({"grouping": {"cut": 0.3}, "candidates": {"threshold": 0.2}})
    settings = saved_model_settings(file, given, ["grouping.cut", "evaluate.batch_size"])
    assert settings.grouping.cut == 0.3
    assert settings.candidates.threshold == 0.6
    assert settings.network == SAVED.network
    assert saved_model_settings(file, given, []) == SAVED


def test_a_skeleton_given_beside_a_model_is_not_passed_over(file: Path) -> None:
    assert saved_model_settings(file, ModelConfig(skeleton="crowdpose"), ["skeleton"]).skeleton == "crowdpose"


def test_what_contradicts_the_model_is_named(file: Path) -> None:
    with pytest.raises(UserError, match=r"network\.depth: with the other settings of .*model\.pt"):
        given = ModelConfig.model_validate({"network": {"input_size": 512, "depth": 6}})
        saved_model_settings(file, given, ["network.depth"])
    with pytest.raises(UserError, match="no such file"):
        saved_model_settings(file.with_name("none.pt"), ModelConfig(), [])
