"""A photograph's grouping as files to look at: a strip of its rounds, and a page that steps through them."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hgg.explain_page import explained, why_not
from hgg.pictures import LONGEST_JPEG_SIDE, BadPicture, picture_size
from hgg.poses import MIN_SCORE
from hgg.predictor import Predictor
from pipeline.base.errors import UserError
from pipeline.base.files import write_text
from pipeline.data.picture_file import write_picture
from pipeline.prediction.sources import Source

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


def explainable(
    predictor: Predictor, sources: Sequence[Source], labels: Path | None
) -> "dict[Source, CocoImage | None]":
    """The labels of each source, None without a file of them, before anything is written.

    Args:
        labels: COCO keypoint annotation file, whose images are found by their file names.

    Raises:
        UserError: settings without rounds to show, an image that no page can hold, labels that are missing,
            or an image that is not in them.
    """
    if problem := why_not(predictor):
        raise UserError(f"--explain: {problem}")
    for path, _ in sources:
        if (size := _declared(path)) and max(size) > LONGEST_JPEG_SIDE:
            raise UserError(
                f"--explain: {path} is {size[0]} x {size[1]}, a page holds {LONGEST_JPEG_SIDE} a side at the "
                "most: leave it out, or cut it"
            )
    if labels is None:
        return dict.fromkeys(sources)
    # Imported here as nothing else of a prediction needs what reads labels: pyarrow and pycocotools.
    from pipeline.prediction.labels import read_labels

    known = read_labels(labels, predictor.model.config.joints)
    unknown = [source.path.name for source in sources if source.path.name not in known]
    if unknown:
        raise UserError(f"--labels={labels}: no image {unknown[0]} in it: give its labels, or leave them out")
    return {source: known[source.path.name] for source in sources}


def _declared(path: Path) -> tuple[int, int] | None:
    """Width and height by the header; None where the file has none, which reading it will say."""
    try:
        return picture_size(path.read_bytes())
    except (BadPicture, OSError):
        return None
