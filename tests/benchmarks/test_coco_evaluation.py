"""COCO's AP from detections in memory."""

from pytest_benchmark.fixture import BenchmarkFixture

from pipeline.metrics.coco import coco_metrics
from tests.benchmarks.scored import scored_crowds
from tests.benchmarks.timing import timed

IMAGES, PEOPLE = 5000, 20


def test_average_precision(benchmark: BenchmarkFixture) -> None:
    truth, detections = scored_crowds(IMAGES, PEOPLE)
    work = f"COCO's AP, {IMAGES} images of {PEOPLE} people"
    figures = timed(
        benchmark, work, lambda: coco_metrics(truth, detections), target="30000", rounds=1, warm=0
    )
    assert figures["AP"] > 0.5
