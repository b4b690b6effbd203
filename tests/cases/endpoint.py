"""A model for the tests of the endpoint, without weights."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from hgg.poses import Poses
from hgg.skeleton import COCO, NUM_JOINTS
from pipeline.serving.app import Answer, Busy


class Two:
    """Finds two people in every picture: all joints on a diagonal, of scores 0.7 and 0.04."""

    def __init__(self) -> None:
        self.sizes: list[tuple[int, ...]] = []
        self.busy = self.gone = False

    async def people(self, pictures: Sequence[np.ndarray]) -> Answer:
        if self.busy:
            raise Busy
        self.sizes += [picture.shape for picture in pictures]
        joints = np.linspace((10, 10, 0.9), (40, 30, 0.5), NUM_JOINTS).astype(np.float32)
        poses = Poses(np.stack([joints, joints + (5, 5, 0)]), np.array([0.7, 0.04], np.float32))
        return Answer([poses for _ in pictures], COCO, "two.pt")

    async def explain(self, picture: np.ndarray, title: str) -> str:
        if picture.shape[0] == 41:
            raise ValueError("no rounds")
        return f"<p>{title} {picture.shape}"

    async def card(self) -> dict[str, Any]:
        if self.gone:
            raise RuntimeError("no replica")
        return {"model": "two.pt", "keypoints": list(COCO.names), "input_size": 64}
