"""The model as MLflow serves it: this file and `hgg` are stored with the weights ("models from code").

MLflow runs this file when it loads the model, where neither Ray nor this project need be installed.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel, PythonModelContext

from hgg.predictor import Predictor
from hgg.weights import load_model


class ServedModel(PythonModel):
    """One image in, its people out."""

    def load_context(self, context: PythonModelContext) -> None:
        """Read the weights, onto the first GPU where there is one."""
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self.predictor = Predictor(load_model(Path(context.artifacts["weights"])).to(device))

    def predict(  # pyrefly: ignore[bad-override]  # MLflow's own returns nothing
        self,
        context: PythonModelContext,  # noqa: ARG002  # MLflow's signature
        model_input: np.ndarray,
        params: dict[str, Any] | None = None,  # noqa: ARG002
    ) -> list[dict[str, Any]]:
        """People of an image, as rows of a COCO result file without the image's number.

        Args:
            context: MLflow's.
            model_input: RGB uint8 (H, W, 3).
            params: none are known.

        Returns:
            A dict a person: category_id 1, keypoints [x, y, score] * 17 in pixels (zeros where a joint is
            missing), and the person's score.
        """
        people = self.predictor.predict([model_input])[0]
        return [
            {"category_id": 1, "keypoints": keypoints.flatten().tolist(), "score": float(score)}
            for keypoints, score in zip(people.keypoints, people.score, strict=True)
        ]


set_model(ServedModel())
