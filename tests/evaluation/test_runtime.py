"""Fig. 4b: every step is timed, on one thread, and what was set before is set again."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from hgg.config import InferenceConfig
from hgg.poses import Poses
from hgg.predictor import Predictor, Watch, unwatched
from pipeline.evaluation.runtime import STEPS, draw_runtime, measure_runtime, runtime_table
from tests.cases.core import INPUT, tiny_model


def _images(number: int) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [generator.integers(0, 255, (INPUT, INPUT, 3), dtype=np.uint8) for _ in range(number)]


def _slow(predictor: Predictor, step: str, seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let one step take longer."""
    places: dict[str, tuple[Any, str]] = {
        "network": (predictor, "look"),
        "candidates": (predictor, "find"),
        "GNN": (predictor.model.grouping, "embed"),
        "clustering": (predictor.model.grouping, "cluster"),
        "back-projection": (predictor, "people"),
    }
    owner, name = places[step]
    work = getattr(owner, name)

    def slower(*arguments: Any) -> Any:
        assert torch.get_num_threads() == cv2.getNumThreads() == 1
        time.sleep(seconds)
        return work(*arguments)

    monkeypatch.setattr(owner, name, slower)


@pytest.mark.parametrize("step", STEPS)
def test_time_counts_in_the_step_that_took_it(step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = Predictor(tiny_model())
    _slow(predictor, step, 0.2, monkeypatch)
    threads = torch.get_num_threads(), cv2.getNumThreads()
    runtime = measure_runtime(predictor, _images(3))
    assert (torch.get_num_threads(), cv2.getNumThreads()) == threads
    assert predictor.model.training  # as it was before
    median = runtime["median_ms"]
    assert [*median] == [*STEPS, "all"]
    assert median[step] >= 200
    assert all(median[other] < 200 for other in STEPS if other != step)
    assert runtime["p90_ms"]["all"] >= median["all"] >= median[step]
    assert (runtime["images"], runtime["device"]) == (3, "cpu")
    assert runtime["candidates"] > 0


def test_what_is_timed_is_the_predictor_s_own_way() -> None:
    """Not a copy of its steps, which would go on timing the old way if that changed."""

    class Other(Predictor):
        def predict(self, images: Sequence[np.ndarray], watch: Watch = unwatched) -> list[Poses]:
            time.sleep(0.2)
            return super().predict(images, watch)

    median = measure_runtime(Other(tiny_model()), _images(2))["median_ms"]
    assert median["network"] >= 200
    assert all(median[step] < 200 for step in STEPS[1:])


def test_greedy_grouping_has_no_gnn_and_views_count_as_network() -> None:
    model = tiny_model(grouping={"decoder": "associative"})
    runtime = measure_runtime(Predictor(model, inference=InferenceConfig(flip=True)), _images(2))
    assert runtime["median_ms"]["GNN"] < runtime["median_ms"]["clustering"]


def test_no_image_has_no_runtime() -> None:
    assert measure_runtime(Predictor(tiny_model()), []) == {}


def test_table_and_picture(tmp_path: Path) -> None:
    median = dict.fromkeys((*STEPS, "all"), 2.0)
    runtime = {"images": 5, "candidates": 40.0, "device": "cpu", "median_ms": median, "p90_ms": median}
    lines = runtime_table(runtime).splitlines()
    assert [line.split()[0] for line in lines[1:]] == [*STEPS, "all"]
    assert lines[1].split()[1:] == ["2.00", "2.00"]
    draw_runtime(runtime, tmp_path / "runtime.png")
    picture = cv2.imread(str(tmp_path / "runtime.png"))
    assert picture is not None
    assert (picture < 128).any()
