"""Videos as frames with their times, and frames as a video; memory holds a few of them at a time."""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from cv2.typing import MatLike

from hgg.pictures import Unusable, stderr_to_file
from pipeline.base.files import atomic_path

CODECS = {".mp4": "mp4v", ".avi": "MJPG"}
"""MPEG-4 part 2, as OpenCV's own build encodes no H.264; motion JPEG needs nothing but OpenCV itself."""
USUAL_RATE = 25.0  # frames a second, where a video does not say
RATES = (1.0, 240.0)  # what is believed
LONGEST_STILL = 10.0  # seconds that one frame is drawn for; the times of a broken file may jump by days


class BadVideo(Unusable):
    """A video that cannot be read: `not_decodable` or `no_frames`."""


class Frame(NamedTuple):
    """One picture of a video."""

    number: int
    """From 0."""
    seconds: float
    """When it is shown, from the first frame on; never less than the frame before, whatever the file says."""
    picture: np.ndarray
    """RGB uint8 (H, W, 3), upright."""


class Video:
    """An open video, camera or stream.

    Attributes:
        frames: how many it says that it has, 0 where it does not. Of Matroska and WebM it is what their
            length makes at `rate`, which is too many where the rate is uneven.
        rate: frames a second, on the average or at the most.
    """

    def __init__(self, capture: cv2.VideoCapture) -> None:
        self._capture = capture
        self.frames = max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))
        rate = capture.get(cv2.CAP_PROP_FPS)
        self.rate = float(np.clip(rate, *RATES)) if np.isfinite(rate) and rate > 0 else USUAL_RATE

    def __iter__(self) -> Iterator[Frame]:
        """The frames, each read once; the last one is the last that decodes."""
        number, began, before = 0, None, 0.0
        while True:
            there, picture = self._capture.read()
            if not there:
                return
            time = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            # A stream has no times or odd ones.
            time = time if np.isfinite(time) and (time > 0 or number == 0) else before + 1 / self.rate
            began = time if began is None else began
            before = max(time - began, before)
            yield Frame(number, before, cv2.cvtColor(picture, cv2.COLOR_BGR2RGB))
            number += 1

    def missing(self, total: int, read: int, seconds: float) -> int:
        """How many frames do not decode: 0 where the last one is shown when the video ends.

        Args:
            total: frames that it says it has, or of these those that were asked for.
            read: frames that did decode.
            seconds: when the last of them is shown.
        """
        by_time = round(total - seconds * self.rate) - 1
        return max(0, min(total - read, by_time))


@contextmanager
def opened(place: str) -> Iterator[Video]:
    """A video file, a camera by its number, or the address of a stream.

    Turned as the file's rotation tag says, as players do.

    Raises:
        BadVideo: nothing there that OpenCV decodes.
    """
    if "://" not in place and Path(place).is_file() and not Path(place).stat().st_size:
        raise BadVideo("not_decodable", "the file is empty")
    with stderr_to_file() as said:  # FFmpeg writes there what is wrong
        capture = cv2.VideoCapture(int(place) if place.isdigit() else place)
        said.seek(0)
        complaint = " ".join(said.read().decode(errors="replace").split())
    try:
        if not capture.isOpened():
            raise BadVideo("not_decodable", complaint or "OpenCV opens nothing there")
        capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)
        yield Video(capture)
    finally:
        capture.release()


class Drawn:
    """Frames to be shown as a video: {stem}.mp4, or {stem}.avi where no encoder for that is there.

    Whole or absent, as a context: what an error ends is removed.

    Attributes:
        path: of the file, once there is a frame.
    """

    def __init__(self, stem: Path, rate: float) -> None:
        self.stem, self.rate = stem, rate
        self.path: Path | None = None
        self._stack = ExitStack()
        self._writer: cv2.VideoWriter | None = None
        self._size = (0, 0)
        self._last: MatLike = np.empty(0, np.uint8)  # BGR, as it was written
        self._number = 0  # frames until now, and those that the longest still left out

    def __enter__(self) -> "Drawn":
        return self

    def add(self, picture: np.ndarray, seconds: float = 0.0) -> None:
        """A frame, RGB uint8, to be shown `seconds` after the first one; of another size, it is fitted.

        The one before is repeated until then, so that what was filmed at an uneven rate plays as it was. None
        is left out: one that comes before its time is the next.
        """
        if self._writer is None:
            # Even sides, as most decoders want.
            self._size = (max(2, picture.shape[1] // 2 * 2), max(2, picture.shape[0] // 2 * 2))
            self._writer = self._opened()
        if picture.shape[1::-1] != self._size:
            picture = cv2.resize(picture, self._size, interpolation=cv2.INTER_AREA)
        late = max(0, round(seconds * self.rate) - self._number) if self._number else 0
        for _ in range(min(late, round(LONGEST_STILL * self.rate))):
            self._writer.write(self._last)
        self._last = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
        self._writer.write(self._last)
        self._number += late + 1

    def _opened(self) -> cv2.VideoWriter:
        suffix = next((suffix for suffix in CODECS if _encodes(suffix, self.rate, self._size)), None)
        if suffix is None:
            raise OSError(f"{self.stem}: OpenCV encodes neither of {', '.join(CODECS.values())} here")
        self.path = self.stem.with_name(self.stem.name + suffix)
        return _writer(self._stack.enter_context(atomic_path(self.path)), self.rate, self._size)

    def __exit__(self, *error: object) -> None:
        if self._writer is not None:
            self._writer.release()
        self._stack.__exit__(*error)  # pyrefly: ignore[bad-argument-type]  # as they come


def _writer(path: Path, rate: float, size: tuple[int, int]) -> cv2.VideoWriter:
    with stderr_to_file():  # FFmpeg says there what it tries
        return cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*CODECS[path.suffix]), rate, size)


def _encodes(suffix: str, rate: float, size: tuple[int, int]) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        writer = _writer(Path(folder) / f"probe{suffix}", rate, size)
        opened = writer.isOpened()
        writer.release()
    return opened
