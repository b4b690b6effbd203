"""What a job will need, looked at before it costs hours: packages, cluster, storage, MLflow, data, model.

`doctor_cluster` is the part that needs Ray. Every check gives findings: ok, warn (it will run, though not as
one may think) or fail, each with what to do.
"""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.base.errors import UserError
from pipeline.base.findings import Finding
from pipeline.base.secrets import masked
from pipeline.commands.start import check_disk, check_packages, installed_version
from pipeline.data.formats import check_layout
from pipeline.data.samples import plan_samples
from pipeline.data.shards import MANIFEST, samples_manifest, stage_folder
from pipeline.settings.config import RunConfig

if TYPE_CHECKING:
    from torch import Tensor

    from hgg.targets import Targets


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
        yield from _truth_finding(config, split)


def check_mlflow(config: RunConfig) -> Iterator[Finding]:
    """Whether the store takes runs and artifacts, and its tables are this version's; a missing file will be
    made."""
    from pipeline.tracking.store import store_problem, store_uri

    try:
        uri = store_uri(config)
    except UserError as error:
        yield Finding("fail", "mlflow", str(error))
        return
    shown = masked(uri)
    if uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).exists():
        yield Finding("ok", "mlflow", f"{shown} will be made by the first job")
        return
    problem = store_problem(config)
    yield Finding("fail", "mlflow", problem) if problem else Finding("ok", "mlflow", f"{shown} answers")


def check_model(config: RunConfig) -> Iterator[Finding]:
    """One image through the model, forward and backward, on this process's processor."""
    import torch

    from hgg.model import HGG
    from hgg.objective import Objective
    from pipeline.training.stage import check_bf16

    if config.train.bf16 and not config.train.use_gpu:
        try:
            check_bf16()
        except UserError as error:
            yield Finding("fail", "model", str(error))
            return
    torch.manual_seed(config.train.seed)
    try:
        model = HGG(config.model)
    except ValueError as error:
        yield Finding("fail", "model", str(error))
        return
    images, targets = _one_image(config)
    if config.network.normalises_nothing(1):  # twice the same then
        images, targets = torch.cat([images] * 2), targets._make(torch.cat([part] * 2) for part in targets)
    loss = Objective(model, config.loss, joint=True)(images, targets).total
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


def all_checks(config: RunConfig) -> list[Callable[[], Iterator[Finding]]]:
    """Every check, in the order in which they are printed; that of the cluster where training uses Ray."""
    cluster = []
    if config.train.num_workers and installed_version("ray"):
        from pipeline.cluster.check import check_cluster

        cluster = [partial(check_cluster, config)]
    return [
        check_packages,
        *cluster,
        partial(check_disk, config),
        partial(check_mlflow, config),
        partial(check_data, config),
        partial(check_model, config),
    ]


def _truth_finding(config: RunConfig, split: str) -> Iterator[Finding]:
    """Whether a split's people are found again by the truth that a model is scored by."""
    from pipeline.evaluation.self_check import truth_problem

    records = stage_folder(config.run_root, "records", split)
    if not (records / MANIFEST).exists():
        return
    try:
        problem = truth_problem(records, config.joints, config.network)
    except UserError as error:
        yield Finding("fail", "truth", str(error))
        return
    fine = f"{split}: the labels of ten images are found again by their own truth"
    yield Finding("warn", "truth", problem) if problem else Finding("ok", "truth", fine)


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
    wanted = {shard.made_from for shard in planned.shards}
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
    from pipeline.batches.augment import augment
    from pipeline.batches.reader import SampleReader

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
