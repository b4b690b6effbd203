"""Settings of a run: data, training, evaluation, tracking.

One `RunConfig` holds every setting of every job (those of the data are in `pipeline.settings.data`, of
prediction and the endpoint in `pipeline.settings.using`). `pipeline.settings.load` reads it from YAML and
`key.sub=value` overrides; `conf/*.yaml` hold only what differs from the defaults here. Each setting bears a
mark of what it decides (`hgg.settings`).
"""

from pathlib import Path
from typing import Annotated, Literal, cast

from pydantic import BeforeValidator, model_validator

from hgg.config import (
    CandidateConfig,
    GroupingConfig,
    InferenceConfig,
    LossConfig,
    ModelConfig,
    NetworkConfig,
)
from hgg.settings import GROUPING, MOST_INTEGER, NOTHING, WEIGHTS, Decides, Settings, setting
from hgg.skeleton import Skeleton, SkeletonName, skeleton_of
from hgg.skeleton_file import SkeletonFile
from pipeline.settings.data import DataConfig, SyntheticConfig
from pipeline.settings.formats import FORMATS
from pipeline.settings.skeletons import as_given
from pipeline.settings.studies import AblationConfig, TuneConfig
from pipeline.settings.using import PredictConfig, ServeConfig


class StageConfig(Settings):
    """One training stage."""

    steps: int = setting(200_000, WEIGHTS, ge=1)
    """Optimiser steps (AE: 200,000 at the first rate)."""
    batch_size: int = setting(32, WEIGHTS, ge=1)
    """Images per step over all workers (AE: 32)."""
    lr: float = setting(2e-4, WEIGHTS, gt=0.0)
    """Adam's learning rate of the proposal network (implementation details: 2e-4)."""
    backbone_lr: float | None = setting(None, WEIGHTS, since="2026-11-28", before=None, gt=0.0)
    """That of an encoder in the proposal network, where network.backbone is one; by default `lr`."""
    grouping_lr: float = setting(2e-4, WEIGHTS, gt=0.0)
    """Adam's learning rate of interaction network and discriminators."""
    final_lr_ratio: float = setting(0.05, WEIGHTS, ge=0.0, le=1.0)
    """Last learning rate as a share of the first (AE: 1e-5 after 2e-4)."""
    schedule: Literal["step", "cosine"] = setting("step", WEIGHTS)
    """One drop at `drop_at`, or a cosine from the first rate to the last."""
    drop_at: float = setting(0.8, WEIGHTS, ge=0.0, le=1.0)
    """Share of the steps after which schedule `step` drops."""
    warmup_steps: int = setting(500, WEIGHTS, ge=0)
    """Steps over which the rate rises from zero."""
    clip_norm: float = setting(0.0, WEIGHTS, ge=0.0)
    """Largest gradient norm; 0 does not clip."""
    teacher_steps: int = setting(5_000, WEIGHTS, ge=0)
    """Joint stage: steps over which the share of ground-truth merges falls from 1 to 0."""
    log_every: int = setting(50, NOTHING, ge=1)
    """Steps between two log lines."""
    validate_every: int = setting(5_000, NOTHING, ge=1)
    """Steps between two validations."""
    checkpoint_every: int = setting(1_000, NOTHING, ge=1)
    """Steps between two checkpoints; what a killed job repeats at the most."""


class TrainConfig(Settings):
    """How both stages are run."""

    num_workers: int = setting(2, NOTHING, ge=0)
    """DDP workers of Ray Train; 0 runs the loop in the process itself, without Ray."""
    use_gpu: bool = setting(False, Decides.EVALUATION)
    """One GPU per worker; without Ray, the first GPU."""
    cpus_per_worker: float = setting(1.0, NOTHING, gt=0.0)
    """CPUs that Ray reserves per worker."""
    loader_workers: int = setting(0, NOTHING, ge=0)
    """Threads per worker that decode the next batches during a step, no more than there are processors;
    0 decodes in the training thread."""
    max_failures: int = setting(3, NOTHING, ge=0)
    """How often Ray restarts the workers before the run fails."""
    pretrained: Path | None = setting(None, NOTHING)
    """Model that joint training starts from; by default the best one of pretrain in the run root. Of one of
    other joints all is taken over but what is made for joints."""
    seed: int = setting(0, WEIGHTS, ge=0, le=MOST_INTEGER)
    """Seed of weights, order, flips, colours and dropout."""
    held_out: float = setting(0.0, WEIGHTS, since="2026-11-26", before=0.0, ge=0.0, lt=1.0)
    """Share of the training images, in whole shards, that is not trained on but validated on, in place of the
    validation split, which so stays clean of what is chosen by it; 0 trains on all."""
    bf16: bool = setting(False, WEIGHTS)
    """bfloat16 autocast in the network, for GPUs; grouping stays in float32."""
    tf32: bool = setting(True, WEIGHTS, since="2026-11-28", before=True)
    """Whether a GPU may round what stays in float32 to TF32 (10 bits of mantissa) before it multiplies. CPUs
    do not."""
    compile: bool = setting(False, WEIGHTS, since="2026-11-28", before=False)
    """Compile the proposal network with torch.compile when training begins: about a minute, after which a GPU
    makes shorter steps. Validation and the kept model are not compiled. A CPU needs a C++ compiler for it."""
    sync_batchnorm: bool = setting(False, WEIGHTS, since="2026-11-28", before=False)
    """Normalise by the images of all workers together in place of each worker's own (network.norm=batch), for
    workers with few images a step."""
    ema: float = setting(0.0, WEIGHTS, ge=0.0, lt=1.0)
    """Decay of the moving average of the weights that is validated and kept; 0 is off."""
    flip: float = setting(0.5, WEIGHTS, ge=0.0, le=1.0)
    """Share of the samples that are mirrored."""
    colour: float = setting(0.2, WEIGHTS, ge=0.0, lt=1.0)
    """Strength of the random brightness, contrast and saturation."""
    validation_images: int = setting(500, NOTHING, ge=0)
    """Images of the validation split that are scored as training goes; 0 is none."""
    keep_checkpoints: int = setting(2, NOTHING, ge=1)
    """Checkpoints kept: the best and the latest ones."""


class EvaluateConfig(Settings):
    """Evaluation of a trained model."""

    num_workers: int = setting(0, NOTHING, since="2026-11-26", before=0, ge=0)
    """Ray workers that share the shards of records, as large as those of train; 0 evaluates in the process
    itself. The figures are the same."""
    batch_size: int = setting(8, Decides.EVALUATION, ge=1)
    """Images per forward pass; none holds images of two shards."""
    images: int = setting(0, Decides.EVALUATION, ge=0)
    """Images of the split that are evaluated; 0 is all of them."""
    pictures: int = setting(8, NOTHING, ge=0)
    """Images that are drawn beside the figures."""
    report_pictures: int = setting(6, NOTHING, since="2026-11-30", before=6, ge=0, le=12)
    """Best pictures in report.html, and as many of the worst, each with a page that explains its grouping; 0
    shows none."""
    runtime_images: int = setting(50, NOTHING, ge=0)
    """Images that are timed one by one on one thread, step by step (Fig. 4b); 0 times none."""
    checkpoint: Path | None = setting(None, NOTHING)
    """Checkpoint file; by default the best one of train_joint in the run root."""
    seed: int = setting(0, Decides.EVALUATION, ge=0, le=MOST_INTEGER)
    """Seed of grouping.matching=graclus, which is random."""


class TrackingConfig(Settings):
    """MLflow."""

    uri: str = setting("", NOTHING)
    """Tracking server; by default MLFLOW_TRACKING_URI, or else one SQLite file under the run root."""
    experiment: str = setting("hgg", NOTHING)
    """Experiment that the runs belong to."""
    model: str = setting(
        "hgg", NOTHING, since="2026-11-26", before="hgg", min_length=1, pattern=r"^[^/:@']+$"
    )
    """Registered model that jobs/register.py makes versions of."""


GivenSkeleton = Annotated[Literal["auto"] | SkeletonName | SkeletonFile | Path, BeforeValidator(as_given)]


class RunConfig(Settings):
    """Every setting of every job."""

    run_root: Path = setting(Path("runs/coco"), NOTHING)
    """Folder that everything is written under."""
    trial: str = setting("", NOTHING, pattern=r"^([\w-]+(/[\w-]+)*)?$", max_length=255)
    """Folder below the run root that joint training and evaluation write to, so that several of them share
    one run root's data and pretrained network; empty is the run root itself."""
    skeleton: GivenSkeleton = setting("auto", Decides.SAMPLES | GROUPING, since="2026-11-26", before="coco")
    """Joint types of data and model: coco (17, OCHuman too), crowdpose (14), or a YAML file of others
    (docs/skeletons.md). auto goes by the joints that the annotation file names; later jobs go by the
    records."""
    data: DataConfig = DataConfig()
    network: NetworkConfig = NetworkConfig()
    candidates: CandidateConfig = CandidateConfig()
    grouping: GroupingConfig = GroupingConfig()
    loss: LossConfig = LossConfig()
    train: TrainConfig = TrainConfig()
    pretrain: StageConfig = StageConfig()
    joint: StageConfig = StageConfig(steps=50_000)
    inference: InferenceConfig = InferenceConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    predict: PredictConfig = PredictConfig()
    serve: ServeConfig = ServeConfig()
    tracking: TrackingConfig = TrackingConfig()
    synthetic: SyntheticConfig = SyntheticConfig()
    ablation: AblationConfig = AblationConfig()
    tune: TuneConfig = setting(
        TuneConfig(), Decides.SEARCH, since="2026-11-26", before=TuneConfig().model_dump(mode="json")
    )

    @property
    def outputs(self) -> Path:
        """Folder of the trial, or the run root."""
        return self.run_root / self.trial

    @property
    def model(self) -> ModelConfig:
        """The part that a saved model needs to be built again."""
        return ModelConfig(
            network=self.network.model_copy(update={"weights": ""}),  # what it began with is no part of it
            candidates=self.candidates,
            grouping=self.grouping,
            skeleton=self._skeleton,
        )

    @property
    def joints(self) -> Skeleton:
        """The skeleton that `skeleton` names or holds; where it is open, that of the data's format."""
        return skeleton_of(self._skeleton)

    @property
    def _skeleton(self) -> SkeletonName | SkeletonFile:
        given = self.skeleton
        assert not isinstance(given, Path), "pipeline.settings.load reads it"
        own = FORMATS[self.data.format].labelling.skeleton.name
        return cast(SkeletonName, own) if given == "auto" else given

    @model_validator(mode="after")
    def _skeleton_fits_data(self) -> "RunConfig":
        wanted = FORMATS[self.data.format].labelling.skeleton
        free = self.data.format == "coco" or self.skeleton == "auto" or isinstance(self.skeleton, Path)
        if not free and self.skeleton != wanted.name:
            raise ValueError(
                f"data.format={self.data.format} has people of {wanted.count} joints, "
                f"skeleton={self.skeleton} has {self.joints.count}: set skeleton={wanted.name} "
                "(a model of as many joints is needed), or another data.format"
            )
        return self

    @model_validator(mode="after")
    def _batches_divide(self) -> "RunConfig":
        for name, stage in (("pretrain", self.pretrain), ("joint", self.joint)):
            if stage.batch_size % max(1, self.train.num_workers):
                raise ValueError(
                    f"{name}.batch_size={stage.batch_size} does not divide by "
                    f"train.num_workers={self.train.num_workers}"
                )
            apart = 1 if self.train.sync_batchnorm else max(1, self.train.num_workers)
            if self.network.normalises_nothing(stage.batch_size // apart):
                raise ValueError(
                    f"{name}.batch_size={stage.batch_size}: one image a worker leaves network.norm=batch "
                    "nothing to average where the deepest map is one cell (input_size="
                    f"{self.network.input_size}, depth={self.network.depth}): set norm to group or none, or "
                    "give each worker two images, or set train.sync_batchnorm=true"
                )
        return self
