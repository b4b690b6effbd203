"""What every job looks at first, in milliseconds: packages, disk, and where MLflow keeps its runs."""

import importlib.metadata
import logging
import platform
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from pipeline.base.errors import UserError, first_line
from pipeline.base.findings import Finding, existing_parent, write_probe
from pipeline.base.provenance import REPOSITORY
from pipeline.base.s3 import in_store
from pipeline.settings.config import RunConfig
from pipeline.tracking.store import store_uri

PYTHONS = ("3.11", "3.12", "3.13")
# Packages whose versions decide whether results repeat; what `ray[default]` brings stands for that extra.
PACKAGES = ("torch", "ray", "torch-geometric", "mlflow", "pyarrow", "pycocotools", "numpy", "pydantic")
RAY_DEFAULT = ("aiohttp-cors", "virtualenv", "opencensus")
GIB = 1 << 30
# A checkpoint holds the weights and Adam's two moments; a moving average adds one more copy.
COPIES = 4
SPARE_GIB = 1.0

log = logging.getLogger(__name__)


def check_packages() -> Iterator[Finding]:
    """Python and package versions against the pinned set of constraints.txt."""
    version = platform.python_version()
    if version.rpartition(".")[0] not in PYTHONS:
        yield Finding("fail", "python", f"{version}: one of these is needed: {', '.join(PYTHONS)}")
    else:
        yield Finding("ok", "python", version)
    pins = pinned_versions(REPOSITORY / "constraints.txt")
    there = {name: installed_version(name) for name in (*PACKAGES, *RAY_DEFAULT)}
    missing = [name for name, found in there.items() if found is None]
    for name in missing:
        package = "ray[default,data,train,tune]" if name in RAY_DEFAULT else name
        yield Finding("fail", "packages", f"{name} is missing: pip install -c constraints.txt '{package}'")
    others = {
        name: there[name] for name in PACKAGES if there[name] not in (None, pins.get(name, there[name]))
    }
    for name, found in others.items():
        yield Finding(
            "warn", "packages", f"{name} {found}: tested with {pins[name]}; make setup installs that"
        )
    if not missing and not others:
        yield Finding("ok", "packages", ", ".join(f"{name} {there[name]}" for name in PACKAGES[:4]))


def check_disk(config: RunConfig, training: bool = True) -> Iterator[Finding]:
    """Whether the run root can be written and, for training, has room for the checkpoints of both stages."""
    root = existing_parent(config.run_root)
    try:
        write_probe(root, "driver").unlink(missing_ok=True)  # another job may look at the same moment
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
    try:
        needed = checkpoint_gib(config) if training else 0.0
    except ValueError as error:  # an encoder that is not to be had
        yield Finding("fail", "model", str(error))
        return
    free = shutil.disk_usage(root).free / GIB
    text = f"{root}: {free:.1f} GiB free, checkpoints take up to {needed:.1f}"
    if free < needed:
        yield Finding("fail", "storage", f"{text}: make room, or set run_root to a larger disk")
    elif free < needed + SPARE_GIB:
        yield Finding("warn", "storage", f"{text}: pictures, logs and MLflow's copies come on top")
    else:
        yield Finding("ok", "storage", text)


def check_start(config: RunConfig, training: bool = True) -> None:
    """What a job looks at when it starts, in milliseconds: packages, disk, and where MLflow keeps its runs.

    Args:
        config: settings.
        training: whether the job writes checkpoints.

    Raises `UserError` where one of them fails. What only warns is logged, but for versions of packages: any
    that pyproject.toml admits is normal use, and `doctor` names those that are not the tested ones.
    """
    store_uri(config)
    findings = [*check_packages(), *check_disk(config, training)]
    failed = [f"{finding.check}: {finding.text}" for finding in findings if finding.level == "fail"]
    if failed:
        raise UserError("; ".join(failed))
    for finding in findings:
        if finding.level == "warn" and finding.check != "packages":
            log.warning("%s: %s", finding.check, finding.text)


def pinned_versions(path: Path) -> dict[str, str]:
    """The versions of a constraints file by package, empty where there is none."""
    if not path.is_file():
        return {}
    return dict(re.findall(r"^([\w.-]+)==(\S+)$", path.read_text(encoding="utf-8"), re.MULTILINE))


def checkpoint_gib(config: RunConfig) -> float:
    """Most that the checkpoints of both stages take, one that is being written included.

    Raises `ValueError` where the model needs what is not here.
    """
    import torch

    from hgg.model import HGG

    with torch.device("meta"):
        weights = sum(parameter.numel() * 4 for parameter in HGG(config.model).parameters())
    return 2 * (config.train.keep_checkpoints + 1) * COPIES * weights / GIB


def installed_version(package: str) -> str | None:
    """The version of a package that is installed, without what follows a plus sign; None where it is not."""
    try:
        return importlib.metadata.version(package).partition("+")[0]  # without +cpu
    except importlib.metadata.PackageNotFoundError:
        return None
