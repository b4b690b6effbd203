"""What suppression and a least score do to a model: AP and people by OKS, and the score with the best F.

    python -m tests.benchmarks.suppression --config FILE [--checkpoint FILE] [--split NAME] [--images N]

Records are those of the run root. Choose on training images: validation images are for reporting.
"""

import argparse
from collections.abc import Sequence
from contextlib import redirect_stdout
from io import StringIO
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from hgg.groupings import GROUPINGS, TITLES
from hgg.pictures import decode_picture
from hgg.poses import Poses
from hgg.predictor import Predictor
from hgg.suppression import OFF, suppressors, without
from hgg.targets import Targets
from pipeline.data.shards import read_records, records_manifest, stage_folder
from pipeline.data.truth import read_truth
from pipeline.evaluation.trained import model_file, trained_model
from pipeline.evaluation.truth import true_people
from pipeline.metrics.ap import score, to_truth
from pipeline.metrics.detections import Detection, coco_rows
from pipeline.settings.load import load_config

VALUES = (OFF, 0.95, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5)
LEAST = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3)
ENOUGH = 0.5  # OKS at which somebody is found, for F
MOST = 20  # people an image that COCO counts


class Everybody(NamedTuple):
    """The people of an image by one grouping."""

    image: int
    poses: Poses


def find(predictor: Predictor, records: Path, images: int) -> tuple[list[int], dict[str, list[Everybody]]]:
    """Everybody, before anyone is suppressed, by grouping; and which images were looked at."""
    found: dict[str, list[Everybody]] = {name: [] for name in GROUPINGS}
    ids = []
    for record in islice(read_records(records), images):
        ids.append(record["image_id"])
        detections = predictor.detect([decode_picture(record["jpeg"])])
        sizes = detections.candidates.size.tolist()
        targets = true_people([record], detections.transforms, sizes, predictor.model.config.joints)
        for name in GROUPINGS:
            clusters = predictor.clusters_of(detections.candidates, name, Targets(*targets))
            found[name].append(Everybody(ids[-1], predictor.everybody(detections, clusters)[0]))
    return ids, found


def rows_of(everybody: Sequence[Everybody], above: float, predictor: Predictor) -> list[Detection]:
    """Who is left, as rows of a COCO result file."""
    rows: list[Detection] = []
    for image, poses in everybody:
        by_P = suppressors(poses, above, predictor.model.config.joints)
        rows += coco_rows(image, without(poses, by_P))
    return rows


def by_least_score(truth: COCO, rows: Sequence[Detection], ids: Sequence[int]) -> str:
    """The least score at which F, of people found at an OKS of 0.5, is highest, and F from `LEAST` on."""
    plain = [row | {"keypoints": [*map(float, row["keypoints"])]} for row in rows]
    with redirect_stdout(StringIO()):
        found: Any = truth.loadRes(plain)  # pyrefly: ignore[bad-argument-type]  # takes rows too
        evaluation = COCOeval(truth, found, "keypoints")
    evaluation.params.imgIds, evaluation.params.iouThrs = [*ids], np.array([ENOUGH])
    evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
    evaluation.params.maxDets = [MOST]
    with redirect_stdout(StringIO()):
        evaluation.evaluate()
    images = [image for image in evaluation.evalImgs if image is not None]
    people = sum(int((np.array(image["gtIgnore"]) == 0).sum()) for image in images)
    scores = np.concatenate([image["dtScores"] for image in images])
    right = np.concatenate([image["dtMatches"][0] > 0 for image in images])
    counts = np.concatenate([image["dtIgnore"][0] == 0 for image in images])
    order = np.argsort(-scores, kind="stable")
    scores, right, counts = scores[order], (right & counts)[order], counts[order]
    f = 2 * right.cumsum() / (counts.cumsum() + people)
    best = int(f.argmax())
    others = (int((scores >= least).sum()) - 1 for least in LEAST)
    shown = (
        f"{least:g}: {f[last]:.3f} ({counts.cumsum()[last]})"
        for least, last in zip(LEAST, others, strict=True)
    )
    return f"best F {f[best]:.3f} from a score of {scores[best]:.3f}; from {', '.join(shown)}"


@torch.no_grad()
def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--split", default="")
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("settings", nargs="*")
    arguments = parser.parse_args()
    config = load_config([arguments.config], arguments.settings)
    model = trained_model(arguments.checkpoint or model_file(config), None, use_gpu=False)
    records = stage_folder(config.run_root, "records", arguments.split or config.data.train_split)
    predictor, joints = Predictor(model), model.config.joints
    ids, found = find(predictor, records, arguments.images)
    truth = to_truth(read_truth(records, range(len(records_manifest(records).shards))), joints)
    annotations: Any = truth.loadAnns(truth.getAnnIds(imgIds=ids))
    labelled = sum(each["num_keypoints"] > 0 and not each["iscrowd"] for each in annotations)
    print(f"{len(ids)} images of {records}, {labelled} people; AP in percent (people that come out)")
    for above in VALUES:
        cells = []
        for name in GROUPINGS:
            rows = rows_of(found[name], above, predictor)
            cells.append(f"{TITLES[name]} {100 * score(truth, rows, joints, ids)['AP']:.2f} ({len(rows)})")
        print(f"OKS {above:g}: {', '.join(cells)}", flush=True)
    for name in GROUPINGS:
        for above in (OFF, 0.9, 0.7):
            told = by_least_score(truth, rows_of(found[name], above, predictor), ids)
            print(f"{TITLES[name]} at {above:g}: {told}", flush=True)


if __name__ == "__main__":
    main()
