"""Pictures as files that are whole or absent."""

from pathlib import Path

import cv2
import numpy as np

from pipeline.base.files import atomic_path


def write_picture(path: Path, picture: np.ndarray) -> None:
    """Write an RGB image as PNG, whole or not at all."""
    done, data = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    assert done, picture.shape
    with atomic_path(path) as temporary:
        temporary.write_bytes(data.tobytes())
