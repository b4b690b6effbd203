"""Where the time of a video goes: `python -m tests.benchmarks.video`; its table is docs/performance.md's.

A video is decoded, predicted, drawn and encoded by the pieces of `predict_video`, a batch at a time, and then
by `predict_video` itself.
"""

import argparse
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
import torch

import hgg
from hgg.draw import draw_poses
from hgg.pictures import decode_picture
from hgg.poses import likely
from hgg.predictor import Predictor, Step
from pipeline.base.progress import chunks
from pipeline.prediction.video import Following, predict_video
from pipeline.prediction.video_file import Drawn, opened
from pipeline.settings.data import SyntheticConfig
from pipeline.settings.using import PredictConfig
from pipeline.synthetic.scenes import draw_scene

MODEL = Path(__file__).parents[2] / "docs" / "models" / "lite0_hgg.pt"
SIZE = (640, 480)
RATE = 25.0
SHIFT = 2  # pixels that the picture moves from frame to frame
BATCH = 8

T = TypeVar("T")


class Clock:
    """Seconds by what they were spent on."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._mark = time.perf_counter()

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Count what is done within."""
        begun = time.perf_counter()
        yield
        self.seconds[name] += time.perf_counter() - begun

    def start(self) -> None:
        """Before a prediction."""
        self._mark = time.perf_counter()

    def watch(self, step: Step, made: T) -> T:
        """Count the step that ends."""
        now = time.perf_counter()
        self.seconds[step] += now - self._mark
        self._mark = now
        return made


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.video", description=__doc__)
    parser.add_argument("--frames", type=int, default=500)
    parser.add_argument("--picture", type=Path, help="what moves through the video; by default drawn people")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    predictor = hgg.load(MODEL, device="cpu").predictor
    with tempfile.TemporaryDirectory() as folder:
        path = draw_video(Path(folder) / "video.mp4", arguments.frames, arguments.picture)
        seconds = in_pieces(predictor, path, Path(folder) / "pieces")
        begun = time.perf_counter()
        told = whole(predictor, path, Path(folder))
        rate = arguments.frames / (time.perf_counter() - begun)
    size, people = f"{SIZE[0]} x {SIZE[1]}", told["people"]
    print(f"{size}, {arguments.frames} frames, {people} people, threads: {arguments.threads}")
    print("\n| | ms a frame |\n|---|---:|")
    for name, spent in seconds.items():
        print(f"| {name} | {1000 * spent / arguments.frames:.2f} |")
    print(f"| together | {1000 * sum(seconds.values()) / arguments.frames:.2f} |")
    print(f"\npredict_video with ids, everything written: {rate:.1f} frames a second")


def draw_video(path: Path, frames: int, picture: Path | None) -> Path:
    """A picture that moves sideways and begins anew at its end."""
    scene = _drawn() if picture is None else cv2.resize(decode_picture(picture.read_bytes()), SIZE)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), RATE, SIZE)
    for number in range(frames):
        writer.write(cv2.cvtColor(np.roll(scene, SHIFT * number, axis=1), cv2.COLOR_RGB2BGR))
    writer.release()
    return path


def _drawn() -> np.ndarray:
    width, height = SIZE
    settings = SyntheticConfig(size_min=width, size_max=width, height_min=height / 3, height_max=height)
    return draw_scene(settings, np.random.default_rng(0)).image


def in_pieces(predictor: Predictor, path: Path, out: Path) -> dict[str, float]:
    """Seconds of all frames, by what they were spent on."""
    clock = Clock()
    skeleton = predictor.model.config.joints
    with opened(str(path)) as video, Drawn(out, RATE) as drawn:
        batches = chunks(iter(video), BATCH)
        while True:
            with clock.of("decode"):
                batch = next(batches, None)
            if batch is None:
                return dict(clock.seconds)
            clock.start()
            found = predictor.predict([frame.picture for frame in batch], clock.watch)
            for frame, everybody in zip(batch, found, strict=True):
                with clock.of("draw"):
                    picture = draw_poses(
                        frame.picture, likely(everybody, PredictConfig().min_score), skeleton=skeleton
                    )
                with clock.of("encode"):
                    drawn.add(picture)


def whole(predictor: Predictor, path: Path, out: Path) -> dict[str, int]:
    """What `predict_video` says, with the defaults of `hgg predict --track`."""
    defaults = PredictConfig()
    following = Following(defaults.track_oks, defaults.track_frames, defaults.smooth, defaults.smooth_beta)
    (out / "whole").mkdir()
    return predict_video(
        predictor, str(path), out / "whole", "video",
        batch_size=BATCH, min_score=defaults.min_score, following=following,
    )  # fmt: skip


if __name__ == "__main__":
    main()
