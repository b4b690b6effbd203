"""Names by which what was made before is known again, as the code gives them now.

`tests/make_names.py` keeps them in tests/golden/names/, and `tests/test_names_stay.py` compares. Some
fingerprints hold absolute paths, so all of it happens in one fixed folder.
"""

import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from pipeline.base.provenance import REPOSITORY
from pipeline.base.seeds import sample_key, step_seed, view_rng
from pipeline.data.formats import annotation_file
from pipeline.data.records import plan_records
from pipeline.data.rows import RECORD_SCHEMA, SAMPLE_SCHEMA, open_parquet, read_metadata
from pipeline.data.samples import plan_samples
from pipeline.data.shard_writer import ShardPlan
from pipeline.data.shards import row_file, stage_folder, write_manifest
from pipeline.data.skeletons import settled
from pipeline.evaluation.found import Found, write_found
from pipeline.evaluation.parts import plan_evaluation
from pipeline.metrics.fates import Fates
from pipeline.settings.config import RunConfig
from pipeline.settings.fingerprint import fingerprint
from pipeline.settings.load import changed, load_config
from pipeline.studies.ablation.rows import find_rows, plan_trials, read_row
from pipeline.studies.tuning.points import paper_point, point_run, sweep_name
from pipeline.training.checkpoint import write_checkpoint
from pipeline.training.history import COLUMNS
from pipeline.training.stage import claim_folder, plan_stage
from tests.cases.evaluation import coco_person
from tests.cases.training import make_training

GOLDEN = REPOSITORY / "tests" / "golden" / "names"
PLACE = Path("/tmp/hgg_names_stay")
CODE_FILE = re.compile(r"pipeline/[\w/]+\.py")  # the one text of --print-config that may change
JOBS = sorted(path.stem for path in (REPOSITORY / "jobs").glob("*.py"))
SIZE = 24  # pixels of the tiny data set's pictures


def all_names() -> dict[str, Any]:
    """Everything but what jobs leave, as JSON keeps it."""
    with _in_the_fixed_folder():
        found = {
            "configurations": _of_configurations(),
            "ablation": _of_ablation(),
            "shards": _of_shards(),
            "seeds": _seeds(),
            "files": _of_files(),
        }
        return json.loads(json.dumps(found))


def print_config_text() -> str:
    """The text of `--print-config`, paths below a fixed root, without the name of a file of the code."""
    root = {"HGG_ROOT": "/hgg"}
    return CODE_FILE.sub("pipeline/*.py", _output("preprocess", "--print-config", environment=root))


def help_texts() -> dict[str, str]:
    """The text of each job's `--help`, by job."""
    with ThreadPoolExecutor(2) as pool:
        texts = pool.map(lambda job: _output(job, "--help", environment={"COLUMNS": "100"}), JOBS)
        return dict(zip(JOBS, texts, strict=True))


def keys_of(value: Any) -> Any:
    """Nested keys of a JSON value, in place of each value its type; a list by its first entry."""
    if isinstance(value, dict):
        return {key: keys_of(each) for key, each in value.items()}
    if isinstance(value, list):
        return [keys_of(value[0])] if value else []
    return (
        "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__
    )


def _output(job: str, *arguments: str, environment: dict[str, str]) -> str:
    done = subprocess.run(
        [sys.executable, str(REPOSITORY / "jobs" / f"{job}.py"), *arguments],
        env={name: value for name, value in os.environ.items() if name != "HGG_ROOT"} | environment,
        cwd=PLACE.parent,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout


@contextmanager
def _in_the_fixed_folder() -> Iterator[None]:
    """The current folder, empty at first, of one process at a time."""
    with PLACE.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        shutil.rmtree(PLACE, ignore_errors=True)
        PLACE.mkdir()
        before, root = Path.cwd(), os.environ.pop("HGG_ROOT", None)
        os.chdir(PLACE)
        try:
            yield
        finally:
            os.chdir(before)
            if root is not None:
                os.environ["HGG_ROOT"] = root
            shutil.rmtree(PLACE)


def _of_configurations() -> dict[str, dict[str, Any]]:
    """Each file of conf/, alone or over COCO's, with its runs by name."""
    conf = REPOSITORY / "conf"
    files = {path.name: [path] for path in sorted(conf.glob("*.yaml"))}
    files |= {name: [conf / "coco.yaml", conf / name] for name in ("crowdpose.yaml", "ochuman.yaml")}
    files |= {f"ablation/{path.name}": [path] for path in sorted((conf / "ablation").glob("*.yaml"))}
    return {name: _of_configuration(settled(load_config(paths), anew=False)) for name, paths in files.items()}


def _of_configuration(config: RunConfig) -> dict[str, Any]:
    lay_out(config)
    joint = plan_stage(config, "joint")
    claim_folder(joint)
    records = stage_folder(config.run_root, "records", config.data.val_split)
    evaluation = plan_evaluation(config, joint.folder / "best.pt", "5a" * 32, records)
    return {
        "configuration": fingerprint(config),
        "changed": [*changed(config)],
        "pretrain": plan_stage(config, "pretrain").name,
        "joint": joint.name,
        "run.json": json.loads((joint.folder / "run.json").read_text()),
        "joint in": str(joint.folder.relative_to(config.run_root)),
        "evaluation": str(evaluation.folder.relative_to(config.run_root)),
        "sweep": sweep_name(config),
        "point in": point_run(config, paper_point(config), seed=7).config.trial,
    }


def lay_out(config: RunConfig) -> None:
    """What must be there for a run to get its name: data of a fixed fingerprint, a pretrained network."""
    data = config.data
    made = {"input_size": config.network.input_size, "joints": config.joints.count}
    for split in (data.train_split, data.val_split):
        for kind in ("records", "samples"):
            folder = stage_folder(config.run_root, kind, split)
            if not folder.exists():
                write_manifest(folder, kind, split, made, [], {}, [])
        annotation_file(data, split).parent.mkdir(parents=True, exist_ok=True)
        annotation_file(data, split).touch()
    pretrained = config.run_root / "pretrain" / "best.pt"
    pretrained.parent.mkdir(parents=True, exist_ok=True)
    pretrained.write_bytes(b"weights")


def _of_ablation() -> dict[str, list[str]]:
    """Each row over conf/small.yaml: what its results are known by, and where two seeds' trials are."""
    known, base = find_rows(), [REPOSITORY / "conf" / "small.yaml"]
    lay_out(load_config(base))
    found = {}
    for name in known:
        row = read_row(name, known, base, ())
        trials = plan_trials(row, 2)
        found[name] = [row.settings, *(trial.evaluation.trial for trial in trials)]
        assert trials[0].key == {"row": name, "seed": 0, "draw": 0, "settings": row.settings}
    return found


def _of_shards() -> dict[str, Any]:
    """Records and samples of two pictures, by COCO's rules and by CrowdPose's."""
    found = {}
    for name, joints in (("coco", 17), ("crowdpose", 14)):
        config = RunConfig.model_validate(
            {
                "run_root": PLACE / name,
                "skeleton": name,
                "data": {"root": PLACE / name, "format": name, "train_split": "train", "val_split": "val"},
                "network": {"input_size": 64, "depth": 2},
            }
        )
        _write_pictures(config, joints)
        records = _written(plan_records(config, "train"))
        found[name] = {"records": records, "samples": _written(plan_samples(config, "train"), made=False)}
    return found


def _write_pictures(config: RunConfig, joints: int) -> None:
    """Two copies of one picture, with a person each; the second also has a crowd."""
    file = annotation_file(config.data, "train")
    pictures = PLACE / config.data.format / ("images" if joints == 14 else "train")
    file.parent.mkdir(parents=True)
    pictures.mkdir(parents=True)
    images = [
        {"id": n, "file_name": f"{n}.jpg", "width": SIZE, "height": SIZE, "crowdIndex": 0} for n in (1, 2)
    ]
    for image in images:
        shutil.copy(GOLDEN / "picture.jpg", pictures / image["file_name"])
    people = [_person(image["id"], joints) for image in images]
    crowd = people[1] | {"id": 9, "iscrowd": 1, "num_keypoints": 0, "keypoints": [0] * 3 * joints}
    named = [{"id": 1, "name": "person", "keypoints": list(config.joints.names)}]
    file.write_text(json.dumps({"images": images, "annotations": [*people, crowd], "categories": named}))


def _person(image_id: int, joints: int) -> dict[str, Any]:
    keypoints = [value for n in range(joints) for value in (2.0 + n, 20.0 - n, 1 + n % 2)]
    counted = {"num_keypoints": joints if joints == 17 else joints - 2, "keypoints": keypoints}
    return coco_person(image_id, image_id, 0.0, 0.0) | counted | {"bbox": [1.0, 1.0, 20.0, 20.0]}


def _written(plan: ShardPlan, made: bool = True) -> dict[str, Any]:
    """What names the shards of a plan, once they are written; without what a machine's rounding decides."""
    rows = [plan.write(planned) for planned in plan.shards]
    before = dict(plan.before.counts)
    manifest = write_manifest(
        plan.folder, plan.name, plan.split, plan.settings, rows, before, plan.before.rejected
    )
    with open_parquet(manifest.files[0]) as parquet:
        metadata = read_metadata(parquet.schema_arrow)
    kept = json.loads((plan.folder / "manifest.json").read_text())
    assert [*json.loads(row_file(plan.folder, 0).read_text())] == [*kept["shards"][0]]
    return {
        "files": [str(path.relative_to(PLACE)) for path in manifest.files],
        "made_from": [row.made_from for row in rows],
        "content": [row.sha256 for row in rows] + [manifest.fingerprint] if made else "by the machine",
        "settings": plan.settings,
        "metadata": metadata,
        "manifest": keys_of(kept),
    }


def _seeds() -> dict[str, Any]:
    return {
        "step_seed": [step_seed(seed, step, rank) for seed, step, rank in ((0, 1, 0), (3, 70_000, 5))],
        "sample_key": [sample_key(0, 0, 1, 0), sample_key(2, 9, 581_929, 4)],
        "view_rng": [float(view_rng(seed, 581_929, view).random()) for seed, view in ((0, 1), (5, 12))],
    }


def _of_files() -> dict[str, Any]:
    """Columns and keys of what is written, beside shards and results."""
    write_checkpoint(PLACE / "state.pt", make_training())
    content = torch.load(PLACE / "state.pt", weights_only=True)
    groups = content["optimiser"]["param_groups"]
    row = {"image_id": 1, "category_id": 1, "keypoints": torch.zeros(51).numpy(), "score": 0.5}
    part = Found({"hgg": [row]}, [1], 1, 17, {"hgg": {1: Fates(*range(6))}}, {1: 0.25})
    write_found(PLACE / "part.json", part)
    return {
        "metrics.csv": COLUMNS,
        "records": str(RECORD_SCHEMA.remove_metadata()).splitlines(),
        "samples": str(SAMPLE_SCHEMA.remove_metadata()).splitlines(),
        "checkpoint": [*content],
        "checkpoint format": content["format"],
        "checkpoint progress": [*content["progress"]],
        "checkpoint config": {
            name: [*group] for name, group in content["config"].items() if name != "skeleton"
        },
        "checkpoint optimiser": [sorted(group) for group in groups],
        "part": json.loads((PLACE / "part.json").read_text()),
    }
