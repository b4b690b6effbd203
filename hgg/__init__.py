"""HGG: differentiable hierarchical graph grouping for multi-person pose estimation (ECCV 2020).

import hgg
model = hgg.load("model.pt")
people = model("photo.jpg")
people.draw("people.png")
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hgg.pose_model import PoseModel

__all__ = ["load"]


def load(source: str | Path, **options: Any) -> "PoseModel":
    """A trained model of a file, or of a registry: a function from pictures to people.

    `hgg.pose_model.load` has the options; `PoseModel` says what may be given to a model, `People` what comes
    out.
    """
    # Imported here so that importing hgg, as every part of it does, costs nothing.
    from hgg import pose_model

    return pose_model.load(source, **options)
