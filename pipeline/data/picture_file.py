"""Pictures as files that are whole or absent."""

from pathlib import Path

import numpy as np

from hgg.pictures import encode_png
from pipeline.base.files import atomic_path


def write_picture(path: Path, picture: np.ndarray) -> None:
    """Write an RGB image as PNG, whole or not at all."""
    data = encode_png(picture)
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)
