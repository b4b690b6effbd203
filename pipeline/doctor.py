"""What a job will need, looked at before it costs hours: packages, cluster, storage, MLflow, data, model.

`doctor_cluster` is the part that needs Ray. Every check gives findings: ok, warn (it will run, though not as
one may think) or fail, each with what to do.
"""

import importlib.metadata
import logging
import platform
import re
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from pipeline.config import RunConfig
from pipeline.errors import UserError, first_line
from pipeline.layout import check_layout
from pipeline.provenance import REPOSITORY
from pipeline.samples import plan_samples
from pipeline.shards import MANIFEST, samples_manifest, stage_folder
from pipeline.store import in_store

if TYPE_CHECKING:
    from torch import Tensor

    from hgg.targets import Targets

Level = Literal["ok", "warn", "fail"]
PYTHON = (3, 11)
# Packages whose versions decide whether results repeat; what `ray[default]` brings stands for that extra.
PACKAGES = ("torch", "ray", "torch-geometric", "mlflow", "pyarrow", "pycocotools", "numpy", "pydantic")
RAY_DEFAULT = ("aiohttp-cors", "virtualenv", "opencensus")
GIB = 1 << 30
# A checkpoint holds the weights and Adam's two moments; a moving average adds one more copy.
COPIES = 4
SPARE_GIB = 1.0

log = logging.getLogger(__name__)


class Finding(NamedTuple):
    """One line: how grave, what was looked at, what was found and what to do."""

    level: Level
    check: str
    text: str


def check_packages() -> Iterator[Finding]:
    """Python and package versions against the pinned set of constraints.txt."""
    version = platform.python_version()
    wanted = ".".join(map(str, PYTHON))
    if version.split(".")[:2] != wanted.split("."):
        yield Finding("fail", "python", f"{version}: Python {wanted} is needed")
    else:
        yield Finding("ok", "python", version)
    pins = pinned_versions(REPOSITORY / "constraints.txt")
    missing = [name for name in (*PACKAGES, *RAY_DEFAULT) if _version(name) is None]
    for name in missing:
        package = "ray[default,data,train,tune]" if name in RAY_DEFAULT else name
        yield Finding("fail", "packages", f"{name} is missing: pip install -c constraints.txt '{package}'")
    others = {
        name: found for name in PACKAGES if (found := _version(name)) and found != pins.get(name, found)
    }
    for name, found in others.items():
        yield Finding(
            "warn", "packages", f"{name} {found}: tested with {pins[name]}; make setup installs that"
        )
    if not missing and not others:
        yield Finding("ok", "packages", ", ".join(f"{name} {_version(name)}" for name in PACKAGES[:4]))


def check_disk(config: RunConfig, training: bool = True) -> Iterator[Finding]:
    """Whether the run root can be written and, for training, has room for the checkpoints of both stages."""
    root = existing_parent(config.run_root)
    try:
        write_probe(root, "driver").unlink()
    except OSError as error:
        yield Finding(
            "fail",
            "storage",
            f"run_root={config.run_root}: cannot write to {root}: {error.strerror or first_line(error)}",
        )
        return
    if in_store(root):
        yield Finding("ok", "storage", f"{root}: written")
        return
    free, needed = shutil.disk_usage(root).free / GIB, checkpoint_gib(config) if training else 0.0
    text = f"{root}: {free:.1f} GiB free, checkpoints take up to {needed:.1f}"
    if free < needed:
        yield Finding("fail", "storage", f"{text}: make room, or set run_root to a larger disk")
    elif free < needed + SPARE_GIB:
        yield Finding("warn", "storage", f"{text}: pictures, logs and MLflow's copies come on top")
    else:
        yield Finding("ok", "storage", text)


def check_data(config: RunConfig) -> Iterator[Finding]:
    """Whether annotations and pictures are there, and samples that fit the configuration."""
    for split in dict.fromkeys([config.data.train_split, config.data.val_split]):
        try:
            check_layout(config.data, split)
        except UserError as error:
            synthetic = config.data.root.is_relative_to(config.run_root)
            hint = "; for drawn people run jobs/synthesize.py first" if synthetic else ""
            yield Finding("fail", "data", f"{error}{hint}")
        else:
            yield Finding("ok", "data", f"{split}: annotations and pictures in {config.data.root}")
        yield _samples_finding(config, split)


def check_mlflow(config: RunConfig) -> Iterator[Finding]:
    """Whether the store answers and its tables are this version's; a missing file will be made."""
    from pipeline.tracking_store import store_problem, store_uri

    uri = store_uri(config)
    if uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).exists():
        yield Finding("ok", "mlflow", f"{uri} will be made by the first job")
        return
    problem = store_problem(config)
    advice = (
        "run mlflow db upgrade" if problem and "out-of-date" in problem else "start that server or correct it"
    )
    yield (
        Finding("fail", "mlflow", f"tracking.uri={uri}: {problem}; {advice}")
        if problem
        else Finding("ok", "mlflow", f"{uri} answers")
    )


def check_model(config: RunConfig) -> Iterator[Finding]:
    """One image through the model, forward and backward, on this process's processor."""
    import torch

    from hgg.model import HGG
    from hgg.objective import Objective
    from pipeline.task import check_bf16

    if config.train.bf16 and not config.train.use_gpu:
        try:
            check_bf16()
        except UserError as error:
            yield Finding("fail", "model", str(error))
            return
    torch.manual_seed(config.train.seed)
    model = HGG(config.model)
    loss = Objective(model, config.loss, joint=True)(*_one_image(config)).total
    loss.backward()
    parameters = sum(parameter.numel() for parameter in model.parameters())
    size = config.network.input_size
    if not torch.isfinite(loss):
        yield Finding(
            "fail", "model", f"the loss of one image is {loss.item()}: look at loss.* and network.*"
        )
    else:
        yield Finding(
            "ok",
            "model",
            f"{parameters / 1e6:.1f} million parameters; one image of {size} x {size} has a loss",
        )


def check_start(config: RunConfig, training: bool = True) -> None:
    """What a job looks at when it starts, in milliseconds: packages and disk.

    Args:
        config: settings.
        training: whether the job writes checkpoints.

    Raises `UserError` where one of them fails; what only warns is logged.
    """
    findings = [*check_packages(), *check_disk(config, training)]
    failed = [f"{finding.check}: {finding.text}" for finding in findings if finding.level == "fail"]
    if failed:
        raise UserError("; ".join(failed))
    for finding in findings:
        if finding.level == "warn":
            log.warning("%s: %s", finding.check, finding.text)


def all_checks(config: RunConfig) -> list[Callable[[], Iterator[Finding]]]:
    """Every check, in the order in which they are printed; that of the cluster where training uses Ray."""
    cluster = []
    if config.train.num_workers and _version("ray"):
        from pipeline.doctor_cluster import check_cluster

        cluster = [partial(check_cluster, config)]
    return [
        check_packages,
        *cluster,
        partial(check_disk, config),
        partial(check_mlflow, config),
        partial(check_data, config),
        partial(check_model, config),
    ]


def pinned_versions(path: Path) -> dict[str, str]:
    """The versions of a constraints file by package, empty where there is none."""
    if not path.is_file():
        return {}
    return dict(re.findall(r"^([\w.-]+)==(\S+)$", path.read_text(encoding="utf-8"), re.MULTILINE))


def existing_parent(path: Path) -> Path:
    """The folder itself, or the nearest one above it that exists; in a store all are there."""
    if in_store(path):
        return path
    return next(folder for folder in (path, *path.parents) if folder.exists())


def write_probe(folder: Path, name: str) -> Path:
    """A small file in `folder`, which whoever calls this removes."""
    path = folder / f".doctor-{name}"
    path.write_text(name, encoding="utf-8")
    return path


def checkpoint_gib(config: RunConfig) -> float:
    """Most that the checkpoints of both stages take, one that is being written included."""
    import torch

    from hgg.model import HGG

    with torch.device("meta"):
        weights = sum(parameter.numel() * 4 for parameter in HGG(config.model).parameters())
    return 2 * (config.train.keep_checkpoints + 1) * COPIES * weights / GIB


def _samples_finding(config: RunConfig, split: str) -> Finding:
    """Samples are made from records, so that they fit says that the records stand too."""
    folder = stage_folder(config.run_root, "samples", split)
    if not (folder / MANIFEST).exists():
        return Finding(
            "warn", "samples", f"{folder}: none yet: run jobs/preprocess.py with this configuration"
        )
    try:
        manifest, planned = samples_manifest(folder), plan_samples(config, split)
    except UserError as error:
        return Finding("fail", "samples", str(error))
    wanted = {task.made_from for task in planned.tasks}
    if {shard["made_from"] for shard in manifest.shards} == wanted:
        rows = f"{manifest.counts['rows']} samples, fingerprint {manifest.fingerprint}"
        return Finding("ok", "samples", f"{split}: {rows}")
    differ = [
        f"{key} is {manifest.settings.get(key)}, here {value}"
        for key, value in planned.settings.items()
        if manifest.settings.get(key) != value
    ]
    why = ", ".join(differ) or "the records have changed"
    return Finding(
        "fail", "samples", f"{folder}: stale ({why}): run jobs/preprocess.py with this configuration"
    )


def _one_image(config: RunConfig) -> "tuple[Tensor, Targets]":
    """A sample as training reads it; grey and without people where there are no samples yet."""
    import torch

    from hgg.targets import Targets
    from pipeline.augment import augment
    from pipeline.batches import SampleReader

    folder = stage_folder(config.run_root, "samples", config.data.train_split)
    if (folder / MANIFEST).exists():
        batch = next(iter(SampleReader(folder, 1, 0, 1, config.train.seed)))
        return augment(batch, config.train.flip, config.train.colour, config.joints)
    size, side, joints = config.network.input_size, config.network.output_size, config.joints.count
    nobody = Targets(
        torch.zeros(1, joints, side, side),
        torch.ones(1, side, side),
        torch.zeros(1, 0, joints, 3),
        torch.zeros(1, 0),
    )
    return torch.full((1, 3, size, size), 0.5), nobody


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package).partition("+")[0]  # without +cpu
    except importlib.metadata.PackageNotFoundError:
        return None
