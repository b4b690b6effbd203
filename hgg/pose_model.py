"""The three lines: a trained model as a function from pictures to people.

    import hgg
    model = hgg.load("model.pt")
    people = model("photo.jpg")

Letters: P people, J joint types.
"""

import importlib.metadata
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, overload

import cv2
import numpy as np
import torch

from hgg.coco import annotations, category, image_entry
from hgg.config import InferenceConfig
from hgg.draw import draw_poses
from hgg.explain_page import Explained, explained, why_not
from hgg.groupings import BlindName
from hgg.onnx_model import is_onnx, read_model
from hgg.pictures import BadPicture, decode_picture
from hgg.poses import MIN_SCORE, Poses, likely
from hgg.predictor import Predictor

if TYPE_CHECKING:
    from PIL.Image import Image

Picture: TypeAlias = "str | Path | np.ndarray | Image"
"""A file, an array of RGB or grey values (uint8), or a PIL image."""

SOURCES = "hgg.sources"
"""Entry points by which packages fetch models: one called `models` gets what begins with models:/."""

MOST_PIXELS = 100_000_000  # of a file: as `predict.max_pixels`
BATCH = 8


class People:
    """The people of one picture, the best first.

    Attributes:
        keypoints: (P, J, 3) float32: x and y in the picture's pixels, and a value in (0, 1] or so; 0, 0, 0
            where a joint is missing.
        scores: (P,) float32.
        picture: RGB uint8 (H, W, 3), upright.
        name: the file's name, or "picture".
    """

    def __init__(self, picture: np.ndarray, name: str, poses: Poses, predictor: Predictor) -> None:
        self.picture, self.name = picture, name
        self.keypoints, self.scores = poses.keypoints, poses.score
        self._predictor = predictor
        self._skeleton = predictor.model.config.joints

    def __len__(self) -> int:
        """P."""
        return len(self.scores)

    def __repr__(self) -> str:
        height, width = self.picture.shape[:2]
        return f"People({self.name}, {width} x {height}: {len(self)})"

    @property
    def names(self) -> tuple[str, ...]:
        """The J joint types in the order of `keypoints`."""
        return self._skeleton.names

    @property
    def boxes(self) -> np.ndarray:
        """(P, 4) float32: left, top, right and bottom of the joints that are there."""
        found_PJ1 = self.keypoints[..., 2:] > 0
        low_P2 = np.where(found_PJ1, self.keypoints[..., :2], np.inf).min(axis=1)
        high_P2 = np.where(found_PJ1, self.keypoints[..., :2], -np.inf).max(axis=1)
        return np.concatenate([low_P2, high_P2], axis=1).astype(np.float32)

    def draw(self, file: str | Path | None = None) -> np.ndarray:
        """The picture with its people: RGB uint8, enlarged where it is small; also written where asked for.

        Args:
            file: .png, .jpg or what else OpenCV writes.
        """
        drawn = draw_poses(self.picture, self._poses, skeleton=self._skeleton, min_score=0.0)
        if file is not None:
            _write(Path(file), drawn)
        return drawn

    def to_coco(self, image_id: int = 1) -> dict[str, Any]:
        """A COCO annotation file of this picture: `images`, `annotations`, `categories`."""
        return {
            "images": [image_entry(image_id, self.name, self.picture)],
            "annotations": [*annotations(image_id, 1, self._poses)],
            "categories": [category(self._skeleton)],
        }

    def explain(self, file: str | Path | None = None) -> Explained:
        """How the candidates became people, round by round; the picture is looked at once more for it.

        Args:
            file: .html, where the page is to be written.

        Raises:
            ValueError: a model or a way of looking that has no rounds to show.
        """
        if problem := why_not(self._predictor):
            raise ValueError(problem)
        found = explained(self._predictor, self.picture)
        if file is not None:
            Path(file).write_text(found.html(Path(self.name).stem), encoding="utf-8")
        return found

    @property
    def _poses(self) -> Poses:
        return Poses(self.keypoints, self.scores)


class PoseModel:
    """A trained model: called with pictures, it gives their people.

    Args:
        predictor: the model on its device, with how it groups and looks.
    """

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor

    def __repr__(self) -> str:
        config = self.predictor.model.config
        network = f"{config.network.backbone}, {config.network.input_size} pixels"
        return f"PoseModel({network}, {config.joints.count} joints of {config.joints.name})"

    @overload
    def __call__(self, source: Picture, *, min_score: float = ...) -> People: ...
    @overload
    def __call__(self, source: Sequence[Picture], *, min_score: float = ...) -> list[People]: ...
    def __call__(
        self, source: "Picture | Sequence[Picture]", *, min_score: float = MIN_SCORE
    ) -> People | list[People]:
        """People of a picture, or of each picture of a list.

        Args:
            source: a file, an RGB or grey uint8 array (OpenCV reads BGR: turn it round), a PIL image, or a
                list of them, of any sizes. A file is read upright, as its orientation tag says.
            min_score: people of a lower score are left out; 0 keeps everybody.

        Raises:
            ValueError: a file that is no whole picture, or an array that is none.
            OSError: no such file.
        """
        if isinstance(source, Sequence) and not isinstance(source, str):
            chunks = (source[start : start + BATCH] for start in range(0, len(source), BATCH))
            return [people for chunk in chunks for people in self._people(chunk, min_score)]
        return self._people([source], min_score)[0]  # pyrefly: ignore[bad-argument-type]  # no sequence here

    def _people(self, sources: Sequence[Picture], min_score: float) -> list[People]:
        pictures = [read_picture(source) for source in sources]
        found = self.predictor.predict(pictures)
        return [
            People(picture, _name(source), likely(poses, min_score), self.predictor)
            for source, picture, poses in zip(sources, pictures, found, strict=True)
        ]


def load(
    source: str | Path,
    *,
    device: str | torch.device | None = None,
    grouping: BlindName = "hgg",
    inference: InferenceConfig | None = None,
) -> PoseModel:
    """A trained model.

    Args:
        source: a file (.pt, or .onnx, whose network ONNX Runtime runs), or a registered model as
            models:/hgg@champion (with the extra `pipeline`).
        device: by default the first GPU, or the CPU where there is none; of an .onnx file the CPU.
        grouping: "hgg", or "ae" for greedy associative embedding.
        inference: how a picture is shown; by default once, its longer side as long as the network's input.

    Raises:
        ValueError: no such file, or not one of a model.
    """
    path = _fetched(source)
    model = read_model(path)
    device = torch.device(device or ("cuda" if torch.cuda.is_available() and not is_onnx(path) else "cpu"))
    # Convolutions on CPUs are 5 to 10 % faster with the channels last.
    model = model.to(device, memory_format=torch.channels_last)  # pyrefly: ignore[no-matching-overload]  # untyped
    return PoseModel(Predictor(model, grouping, inference))


def read_picture(source: Picture) -> np.ndarray:
    """A picture as RGB uint8 (H, W, 3); raises as `PoseModel` says."""
    if isinstance(source, str | Path):
        try:
            return decode_picture(Path(source).read_bytes(), upright=True, max_pixels=MOST_PIXELS)
        except BadPicture as error:
            raise ValueError(f"{source}: not a whole picture: {error}") from error
    if not isinstance(source, np.ndarray):
        from PIL import Image, ImageOps

        if not isinstance(source, Image.Image):
            raise ValueError(f"a {type(source).__name__} is no picture: give a file, an array or a PIL image")
        source = np.asarray(ImageOps.exif_transpose(source).convert("RGB"))
    if source.dtype != np.uint8 or source.ndim not in (2, 3) or source.shape[2:] not in ((), (1,), (3,)):
        raise ValueError(
            f"a picture is {source.dtype} {source.shape}: give uint8 (H, W, 3) in RGB, or (H, W) in grey"
        )
    grey = source.ndim == 2 or source.shape[2] == 1
    return np.repeat(source.reshape(*source.shape[:2], 1), 3, axis=2) if grey else source


def _fetched(source: str | Path) -> Path:
    """A file of this machine."""
    scheme = str(source).partition(":/")[0]
    if f"{scheme}:/" not in str(source) or len(scheme) < 2:  # C:/ is a disk
        return Path(source)
    for entry in importlib.metadata.entry_points(group=SOURCES, name=scheme):
        return entry.load()(str(source))
    raise ValueError(
        f"{source}: nothing fetches {scheme}:/ here: pip install 'hgg[pipeline]', or name a file"
    )


def _name(source: Picture) -> str:
    return Path(source).name if isinstance(source, str | Path) else "picture"


def _write(file: Path, picture: np.ndarray) -> None:
    if not cv2.imwrite(str(file), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)):
        raise OSError(f"{file}: not written: name a folder that is there, and .png or .jpg")
