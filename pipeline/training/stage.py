"""A training stage as a piece of work: settings, name and folder, checked before anything starts."""

import json
import logging
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch

from hgg.settings import Decides
from pipeline.base.errors import UserError
from pipeline.base.files import sha256_file, write_json
from pipeline.data.shards import Manifest, held_out_shards, records_manifest, samples_manifest, stage_folder
from pipeline.data.truth import check_truth
from pipeline.evaluation.self_check import truth_problem
from pipeline.settings.config import RunConfig, StageConfig
from pipeline.settings.fingerprint import described, fingerprint
from pipeline.tracking.registry import local_model
from pipeline.training.encoder import kept_weights

StageName = Literal["pretrain", "joint"]

log = logging.getLogger(__name__)

MARKER = "run.json"
EARLIER = "earlier"
# What a run writes into its stage's folder, beside its checkpoints, which are kept by run.
OUTPUTS = (
    "config.yaml",
    "metrics.csv",
    "curves.png",
    "train.log",
    "best.pt",
    "last.pt",
    "pictures",
    "results.json",
    "mlflow.json",
)


class Validation(NamedTuple):
    """What a model is scored on as training goes."""

    records: Path
    """Folder of records."""
    shards: range | None
    """Which of the records' shards; None is all."""


class StageRun(NamedTuple):
    """One run of a stage; plain enough to be sent to workers."""

    config: RunConfig
    stage: StageName
    name: str
    """Stage and fingerprint of everything that the result depends on: the same name is the same run."""
    data: str
    """Fingerprint of the samples."""
    pretrained: Path | None
    """Model that joint training starts from."""
    validation: Validation | None = None
    """None where `train.validation_images` is 0."""
    encoder: Path | None = None
    """File of what the encoder begins with, in pretraining with `network.weights`."""

    @property
    def settings(self) -> StageConfig:
        """The stage's own settings."""
        return self.config.pretrain if self.stage == "pretrain" else self.config.joint

    @property
    def folder(self) -> Path:
        """Folder of the stage, where the run's results are."""
        root = self.config.run_root if self.stage == "pretrain" else self.config.outputs
        return root / self.stage

    @property
    def samples(self) -> Path:
        """Folder of the training samples."""
        return stage_folder(self.config.run_root, "samples", self.config.data.train_split)


def plan_stage(config: RunConfig, stage: StageName) -> StageRun:
    """Check everything that a stage needs, and name its run.

    Raises:
        UserError: samples, records or the pretrained model are missing or made for other settings, the
            network's encoder or its weights cannot be had, or the processor cannot compute in bfloat16.
    """
    if config.train.bf16 and not config.train.use_gpu:
        check_bf16()
    pretrained = _pretrained(config) if stage == "joint" else None
    run = StageRun(config, stage, "", "", pretrained)
    samples = samples_manifest(run.samples)
    _check_samples(run, samples)
    if config.train.validation_images:
        run = run._replace(validation=_validation(config, samples))
    if stage == "pretrain":
        run = run._replace(encoder=kept_weights(config))
    data = samples.fingerprint
    return run._replace(name=f"{stage}-{fingerprint(_identity(run, data))}", data=data)


def check_bf16() -> None:
    """Raise `UserError` where this processor emulates bfloat16, ten times slower than float32, or may."""
    ask = getattr(torch.cpu, "get_capabilities", None)
    if ask is None:  # as in 2.9
        raise UserError(
            f"train.bf16=true: torch {torch.__version__} does not tell whether this processor computes in "
            "bfloat16: install a newer torch, set train.bf16=false, or train.use_gpu=true"
        )
    found = ask()
    if not any(found.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16")):
        raise UserError(
            "train.bf16=true: this processor has neither AVX512-BF16 nor AMX and would be ten times slower "
            "than in float32: set train.bf16=false, or train.use_gpu=true"
        )


def claim_folder(run: StageRun) -> None:
    """Make the stage's folder this run's: what another run wrote there is moved to `earlier/{its name}`.

    Nothing is lost, and going back to the other settings brings its files back. A kill in between leaves
    files that the next start moves.
    """
    folder, marker = run.folder, run.folder / MARKER
    before = json.loads(marker.read_text(encoding="utf-8"))["run"] if marker.exists() else run.name
    if before != run.name:
        _move(folder, folder / EARLIER / before)
    write_json(marker, {"run": run.name})
    kept = folder / EARLIER / run.name
    if kept.is_dir():
        _move(kept, folder)
        kept.rmdir()


def finished_results(run: StageRun) -> dict[str, Any] | None:
    """Results of this very run, if it has been finished."""
    path = run.folder / "results.json"
    if not path.exists():
        return None
    results = json.loads(path.read_text(encoding="utf-8"))
    return results if results.get("run") == run.name else None


def _identity(run: StageRun, data: str) -> dict[str, Any]:
    """Everything that the trained weights depend on."""
    config, decides = run.config, Decides.JOINT if run.stage == "joint" else Decides.PRETRAIN
    return {
        "stage": run.stage,
        "model": described(config.model if run.stage == "joint" else config.model.network, decides),
        "loss": described(config.loss, decides),
        "settings": described(run.settings, decides),
        "train": described(config.train, decides),
        "data": data,
        **({} if isinstance(config.model.skeleton, str) else {"mirrored": config.joints.flip_index}),
        "pretrained": sha256_file(run.pretrained) if run.pretrained else None,
        **({"encoder": sha256_file(run.encoder)} if run.encoder else {}),
    }


def _pretrained(config: RunConfig) -> Path:
    path = local_model(config, config.train.pretrained or config.run_root / "pretrain" / "best.pt")
    if not path.is_file():
        raise UserError(
            f"{path}: no pretrained model there to start joint training from: run jobs/pretrain.py with this "
            "configuration first, or name one with train.pretrained=FILE"
        )
    return path


def _check_samples(run: StageRun, manifest: Manifest) -> None:
    config = run.config
    for name, key, wanted in (
        ("network.input_size", "input_size", config.network.input_size),
        ("people's number of joints", "joints", config.joints.count),
    ):
        made = manifest.settings[key]
        if made != wanted:
            raise UserError(
                f"{run.samples}: made for {name}={made}, which is {wanted} here: run jobs/preprocess.py "
                "with this configuration"
            )


def _validation(config: RunConfig, samples: Manifest) -> Validation:
    """The validation split, or what `train.held_out` leaves of the training split.

    Raises `UserError` where its records are not there.
    """
    data, held_out = config.data, config.train.held_out
    records = stage_folder(config.run_root, "records", data.train_split if held_out else data.val_split)
    check_truth(records, range(len(records_manifest(records).shards)))
    problem = truth_problem(records, config.joints, config.network)
    if problem:
        log.warning(problem)
    return Validation(records, held_out_shards(samples, held_out) if held_out else None)


def _move(source: Path, target: Path) -> None:
    """Move whatever a run wrote from one folder to another."""
    for name in OUTPUTS:
        if (source / name).exists():
            target.mkdir(parents=True, exist_ok=True)
            (source / name).replace(target / name)
