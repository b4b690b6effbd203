"""Where a split's files are, and what annotations mean, by the rows of `pipeline.settings.formats`."""

from pathlib import Path

from hgg.skeleton import Skeleton
from pipeline.base.errors import UserError
from pipeline.settings.data import DataConfig
from pipeline.settings.formats import FORMATS, Dialect, labelling_of


def annotation_file(data: DataConfig, split: str) -> Path:
    """The annotation file of a split: `data.annotations`, or the format's own."""
    return data.root / _filled(data.annotations or FORMATS[data.format].annotations, split)


def image_folder(data: DataConfig, split: str) -> Path:
    """The folder of a split's pictures: `data.pictures`, or the format's own."""
    return data.root / _filled(data.pictures or FORMATS[data.format].pictures, split)


def check_layout(data: DataConfig, split: str) -> None:
    """Raise `UserError` where the annotation file is missing, or the folder of pictures missing or empty."""
    file, folder = annotation_file(data, split), image_folder(data, split)
    if not file.is_file():
        raise UserError(
            f"{file}: no such annotation file; data.format={data.format}: data.root={data.root} must hold "
            f"{file.relative_to(data.root)} and the folder {folder.relative_to(data.root)} of pictures, as "
            "the data set's archives unpack; other places are named by data.annotations and data.pictures"
        )
    if not folder.is_dir() or not any(folder.iterdir()):
        state = "is empty" if folder.is_dir() else "is missing"
        raise UserError(f"{folder}: the folder of pictures {state}; unpack the pictures of {split} there")


def dialect_of(skeleton: Skeleton) -> Dialect:
    """What annotations of these joints mean."""
    return labelling_of(skeleton).dialect


def _filled(path: str, split: str) -> str:
    return path.replace("{split}", split)
