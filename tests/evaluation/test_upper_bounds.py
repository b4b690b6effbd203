"""What the evaluation itself loses: nothing on the truth, and next to nothing on perfect maps at 512 x 512.

Measured on 39 photographs of COCO (126 people with 1,285 labelled joints, 9 crowds, 98 people without):

- The truth written as detections has AP 1.000. COCO's rules leave the 9 crowds and the 98 people out.
- Perfect maps have AP 0.9987 (AE) and 0.9989 (oracle). The rest is lost where joints of one type of two
  people fall together: 12 joints are within one sigma (2 cells) of another's, their peaks move or merge, and
  the 10 without a candidate are filled from the maps. With every person in maps of its own AP is 1.000.
- Without filling 0.975 (AE) and 0.984 (oracle).
- With AE's quarter cell instead of the fitted Gaussian 0.982: its error is 0.75 pixels in the mean, that of
  the fit 0.01, and small people's eyes and noses feel it.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hgg.config import ModelConfig
from pipeline.evaluation.evaluate import Evaluation, evaluate_model
from pipeline.metrics.coco import coco_metrics, load_annotations
from pipeline.settings.config import RunConfig
from tests.cases.evaluation import PerfectModel, make_records

Evaluate = Callable[..., Evaluation]


@pytest.fixture(scope="module")
def annotations(shared_data: Path) -> Path:
    return shared_data / "coco_dev39" / "annotations" / "person_keypoints_val2017.json"


@pytest.fixture(scope="module")
def evaluate(shared_data: Path, annotations: Path, tmp_path_factory: pytest.TempPathFactory) -> Evaluate:
    """Evaluation of perfect maps; keywords are settings of candidates and grouping."""
    root = tmp_path_factory.mktemp("bounds")
    config = RunConfig.model_validate({"run_root": root, "data": {"root": shared_data / "coco_dev39"}})
    records = make_records(config, "val2017")

    def run(**settings: Any) -> Evaluation:
        network = {"input_size": 512, "stacks": 1, "channels": 8, "increase": 0, "depth": 1, "visual_dim": 0}
        model = PerfectModel(ModelConfig.model_validate({"network": network, **settings}), records)
        return evaluate_model(model, records, batch_size=4, groupings=("ae", "oracle"))

    return run


def test_the_truth_as_detections_is_perfect(annotations: Path) -> None:
    truth = load_annotations(annotations)
    people: list[Any] = list(truth.anns.values())
    labelled = [person for person in people if person["num_keypoints"]]
    left_out = [person for person in people if not person["num_keypoints"]]
    assert len(labelled) == 126
    assert sum(person["iscrowd"] for person in left_out) == 9
    assert len(left_out) == 9 + 98
    kept = ("image_id", "category_id", "keypoints")
    detections = [{name: person[name] for name in kept} | {"score": 1.0} for person in labelled]
    found = coco_metrics(truth, detections)
    assert list(found.values()) == pytest.approx([1.0] * len(found), abs=1e-12)


def test_perfect_maps_are_nearly_perfect(evaluate: Evaluate) -> None:
    found = evaluate()
    assert found.counts["images"] == 39
    assert found.counts["people"] == 126
    assert found.counts["candidates"] == 1285 - 10
    assert found.ap["ae"]["AP"] == pytest.approx(0.9987, abs=5e-4)
    assert found.ap["oracle"]["AP"] == pytest.approx(0.9989, abs=5e-4)


def test_what_filling_and_the_place_inside_a_cell_are_worth(evaluate: Evaluate) -> None:
    unfilled = evaluate(grouping={"fill_missing": False})
    assert unfilled.ap["ae"]["AP"] == pytest.approx(0.975, abs=5e-3)
    assert unfilled.ap["oracle"]["AP"] == pytest.approx(0.984, abs=5e-3)
    quarter = evaluate(candidates={"subcell": "quarter"})
    assert quarter.ap["ae"]["AP"] == pytest.approx(0.982, abs=5e-3)
    assert quarter.ap["oracle"]["AP"] == pytest.approx(0.982, abs=5e-3)
