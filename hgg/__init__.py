"""HGG: differentiable hierarchical graph grouping for multi-person pose estimation (ECCV 2020).

    import hgg
    model = hgg.load("model.pt")
    people = model("photo.jpg")
    people.draw("people.png")

`hgg.pose_model` says what may be given to `load` and to a model, and what comes out.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hgg.pose_model import load

__all__ = ["load"]


def __getattr__(name: str) -> Any:
    """`load`, imported when it is asked for: importing hgg, as every part of it does, costs nothing."""
    if name != "load":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from hgg import pose_model

    return pose_model.load
