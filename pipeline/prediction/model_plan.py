"""The model of a prediction as plain values, by which each process makes its own."""

from pathlib import Path
from typing import Any, NamedTuple

from hgg.config import InferenceConfig, ModelConfig
from hgg.predictor import Predictor
from hgg.settings import Decides
from pipeline.base.files import sha256_file
from pipeline.evaluation.trained import trained_model
from pipeline.settings.config import TrainConfig
from pipeline.settings.fingerprint import described


class ModelPlan(NamedTuple):
    """A model file and how it is run."""

    file: Path
    settings: ModelConfig
    inference: InferenceConfig
    train: TrainConfig
    """Where it runs."""

    def predictor(self) -> Predictor:
        """Read it; `UserError` where it does not fit the settings."""
        model = trained_model(self.file, self.settings, self.train.use_gpu)
        return Predictor(model, inference=self.inference)

    def identity(self) -> dict[str, Any]:
        """What its people depend on, for a fingerprint."""
        return {
            "model": sha256_file(self.file),
            "settings": described(self.settings, Decides.EVALUATION),
            "inference": described(self.inference, Decides.EVALUATION),
            **described(self.train, Decides.EVALUATION),
        }
