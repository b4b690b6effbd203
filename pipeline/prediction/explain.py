"""A photograph's grouping as files to look at: a strip of its rounds, and a page that steps through them."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hgg.explain_page import explained
from hgg.poses import MIN_SCORE
from hgg.predictor import Predictor
from pipeline.base.files import write_text
from pipeline.data.picture_file import write_picture

if TYPE_CHECKING:
    from pipeline.data.coco_file import CocoImage


def explain(
    predictor: Predictor,
    picture: np.ndarray,
    name: str,
    out: Path,
    label: "CocoImage | None" = None,
    min_score: float = MIN_SCORE,
) -> None:
    """Write {out}/{name}.rounds.png and {out}/{name}.html.

    Args:
        predictor: with one plain view.
        picture: RGB uint8 (H, W, 3).
        name: of the photograph, without its suffix.
        out: folder.
        label: its true people, for the oracle.
        min_score: people of a lower score are not drawn on the strip; the page has them.

    Raises:
        UserError: labels of a picture of another size, or that contradict themselves.
    """
    truth = None
    if label is not None:
        # Imported here as nothing else of a prediction needs what reads labels: pyarrow and pycocotools.
        from pipeline.prediction.labels import label_targets

        joints = predictor.model.config.joints
        truth = partial(label_targets, picture=picture, label=label, joints=joints)
    shown = explained(predictor, picture, truth)
    write_picture(out / f"{name}.rounds.png", shown.strip(min_score))
    write_text(out / f"{name}.html", shown.html(name))
