"""Where the time goes, photograph by photograph (Fig. 4b): batches of one, on one thread.

Letters: I images, S steps.
"""

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar, get_args

import cv2
import numpy as np
import torch

from hgg.predictor import Detections, Predictor, Step
from pipeline.base.files import atomic_path

STEPS: tuple[Step, ...] = get_args(Step)

WARM_UP = 3  # the first passes set up what later ones find
TAIL = 90  # percent
INCHES = (6.0, 2.4)

T = TypeVar("T")


def measure_runtime(predictor: Predictor, images: Iterable[np.ndarray]) -> dict[str, Any]:
    """Milliseconds of each of `STEPS` and of all together, median and 90th percentile over the images.

    The threads of torch and OpenCV are one meanwhile and what they were before afterwards.

    Args:
        predictor: on the device that is timed, with the settings that it is used by.
        images: RGB uint8 (H, W, 3); the first few are shown once more before, untimed.

    Returns:
        `images`, `candidates` (median of an image), `device`, and by step `median_ms` and `p90_ms`;
        empty without images.
    """
    rows, candidates = [], []
    with _one_thread():
        for place, image in enumerate(images):
            for _ in range(WARM_UP if place == 0 else 0):
                _timed(predictor, image)
            seconds, number = _timed(predictor, image)
            rows.append([seconds[step] for step in STEPS])
            candidates.append(number)
    if not rows:
        return {}
    milliseconds_IS = 1000 * np.array(rows)
    columns: dict[str, np.ndarray] = {name: milliseconds_IS[:, place] for place, name in enumerate(STEPS)}
    columns["all"] = milliseconds_IS.sum(axis=1)
    return {
        "images": len(rows),
        "candidates": float(np.median(candidates)),
        "device": next(predictor.model.parameters()).device.type,
        "median_ms": {name: round(float(np.median(values)), 3) for name, values in columns.items()},
        "p90_ms": {name: round(float(np.percentile(values, TAIL)), 3) for name, values in columns.items()},
    }


def runtime_table(runtime: Mapping[str, Any]) -> str:
    """Median and 90th percentile of each step under each other."""
    lines = [f"{'ms per image':16}{'median':>9}{'90 %':>9}"]
    for name, median in runtime["median_ms"].items():
        lines.append(f"{name:16}{median:9.2f}{runtime['p90_ms'][name]:9.2f}")
    return "\n".join(lines)


def draw_runtime(runtime: Mapping[str, Any], path: Path) -> None:
    """Fig. 4b as PNG: a bar of the median for each step, a thin line on to the 90th percentile."""
    from matplotlib.figure import Figure  # here because it takes a second

    figure = Figure(figsize=INCHES, layout="constrained")
    panel = figure.subplots()
    medians = [runtime["median_ms"][name] for name in STEPS]
    tails = [runtime["p90_ms"][name] for name in STEPS]
    places = range(len(STEPS))
    panel.barh(places, medians, color="#0072b2", height=0.6)
    panel.hlines(places, medians, tails, color="#222222", linewidth=1)
    for place, median, tail in zip(places, medians, tails, strict=True):
        panel.annotate(
            f"{median:.1f}", (tail, place), (4, 0), textcoords="offset points", va="center", fontsize=8
        )
    panel.set_yticks(places, STEPS)
    panel.invert_yaxis()
    panel.margins(x=0.12)
    panel.set_xlabel("milliseconds per image: median, and line to the 90th percentile")
    panel.set_title(
        f"{runtime['images']} images one by one, one thread of the {runtime['device']}, "
        f"{runtime['candidates']:.0f} candidates",
        fontsize=9,
    )
    panel.grid(axis="x", alpha=0.3)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=150)


def _timed(predictor: Predictor, image: np.ndarray) -> tuple[dict[Step, float], int]:
    """Seconds of each step of the predictor on one image, and how many candidates it found."""
    seconds: dict[Step, float] = {}
    candidates, mark = 0, _now(predictor)

    def watch(step: Step, made: T) -> T:
        nonlocal candidates, mark
        now = _now(predictor)
        seconds[step] = now - mark
        if isinstance(made, Detections):
            candidates = int(made.candidates.valid.sum())
        mark = _now(predictor)
        return made

    predictor.predict([image], watch)
    return seconds, candidates


def _now(predictor: Predictor) -> float:
    """Seconds, after a GPU has done what it was given."""
    if next(predictor.model.parameters()).is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter()


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads[0])
        cv2.setNumThreads(threads[1])
