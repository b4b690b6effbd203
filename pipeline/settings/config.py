"""Settings of a run: data, training, evaluation, tracking.

One `RunConfig` holds every setting of every job. `pipeline.settings.load` reads it from YAML
and `key.sub=value` overrides; `conf/*.yaml` hold only what differs from the defaults here.
"""

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from hgg.config import (
    CandidateConfig,
    GroupingConfig,
    InferenceConfig,
    LossConfig,
    ModelConfig,
    NetworkConfig,
    Settings,
)
from hgg.skeleton import Skeleton, SkeletonName, skeleton_named
from pipeline.settings.studies import AblationConfig, TuneConfig

DataFormat = Literal["coco", "ochuman", "crowdpose"]
"""The layouts of data sets that are read."""


class DataConfig(Settings):
    """Where the data are, and how records become samples."""

    root: Path = Path("data/coco")
    """Folder of the data set, as its archives unpack; `pipeline/data/formats.py` says where its files are."""
    format: DataFormat = "coco"
    """Layout of the data set and meaning of its annotations; crowdpose needs skeleton=crowdpose."""
    annotations: str = ""
    """Annotation file below the root, {split} in it the split's name; empty is the format's own."""
    pictures: str = ""
    """Folder of pictures below the root, {split} in it the split's name; empty is the format's own."""
    train_split: str = "train2017"
    """Split that is trained on."""
    val_split: str = "val2017"
    """Split that is validated and evaluated on."""
    sigma: float = Field(2.0, gt=0.0)
    """Standard deviation of a target peak in output cells (AE: output size / 64)."""
    views: int = Field(4, ge=0)
    """Augmented views per training image beside the un-augmented view 0."""
    rotation: float = Field(30.0, ge=0.0, le=180.0)
    """Largest rotation of an augmented view in degrees, either way (AE: 30)."""
    scale_min: float = Field(0.75, gt=0.0)
    """Smallest scale of an augmented view (AE: 0.75)."""
    scale_max: float = Field(1.25, gt=0.0)
    """Largest scale of an augmented view (AE: 1.25)."""
    shift: float = Field(0.2, ge=0.0, le=1.0)
    """Largest shift of an augmented view as a share of the image's longer side (AE: 0.2)."""
    jpeg_quality: int = Field(95, ge=1, le=100)
    """JPEG quality of the stored network inputs."""
    shard_images: int = Field(256, ge=1)
    """Images per shard; a shard is what a killed job repeats at the most."""
    row_group: int = Field(32, ge=1)
    """Rows per Parquet row group: what a training rank reads at once."""
    max_rejected: int = Field(100, ge=0)
    """Images of a split left out for bad data before the job stops."""
    workers: int = Field(0, ge=0)
    """Ray Data tasks at a time; 0 is as many as the cluster has CPUs."""
    seed: int = 0
    """Seed of the augmented views."""

    @model_validator(mode="after")
    def _scales_ordered(self) -> "DataConfig":
        if self.scale_min > self.scale_max:
            raise ValueError(f"scale_min={self.scale_min} is above scale_max={self.scale_max}")
        return self


class StageConfig(Settings):
    """One training stage."""

    steps: int = Field(200_000, ge=1)
    """Optimiser steps (AE: 200,000 at the first rate)."""
    batch_size: int = Field(32, ge=1)
    """Images per step over all workers (AE: 32)."""
    lr: float = Field(2e-4, gt=0.0)
    """Adam's learning rate of the proposal network (implementation details: 2e-4)."""
    grouping_lr: float = Field(2e-4, gt=0.0)
    """Adam's learning rate of interaction network and discriminators."""
    final_lr_ratio: float = Field(0.05, ge=0.0, le=1.0)
    """Last learning rate as a share of the first (AE: 1e-5 after 2e-4)."""
    schedule: Literal["step", "cosine"] = "step"
    """One drop at `drop_at`, or a cosine from the first rate to the last."""
    drop_at: float = Field(0.8, ge=0.0, le=1.0)
    """Share of the steps after which schedule `step` drops."""
    warmup_steps: int = Field(500, ge=0)
    """Steps over which the rate rises from zero."""
    clip_norm: float = Field(0.0, ge=0.0)
    """Largest gradient norm; 0 does not clip."""
    teacher_steps: int = Field(5_000, ge=0)
    """Joint stage: steps over which the share of ground-truth merges falls from 1 to 0."""
    log_every: int = Field(50, ge=1)
    """Steps between two log lines."""
    validate_every: int = Field(5_000, ge=1)
    """Steps between two validations."""
    checkpoint_every: int = Field(1_000, ge=1)
    """Steps between two checkpoints; what a killed job repeats at the most."""


class TrainConfig(Settings):
    """How both stages are run."""

    num_workers: int = Field(2, ge=0)
    """DDP workers of Ray Train; 0 runs the loop in the process itself, without Ray."""
    use_gpu: bool = False
    """One GPU per worker; without Ray, the first GPU."""
    cpus_per_worker: float = Field(1.0, gt=0.0)
    """CPUs that Ray reserves per worker."""
    loader_workers: int = Field(0, ge=0)
    """Processes per worker that decode samples; 0 decodes in the worker."""
    max_failures: int = Field(3, ge=0)
    """How often Ray restarts the workers before the run fails."""
    pretrained: Path | None = None
    """Model that joint training starts from; by default the best one of pretrain in the run root."""
    seed: int = Field(0, ge=0)
    """Seed of weights, order, flips, colours and dropout."""
    held_out: float = Field(0.0, ge=0.0, lt=1.0)
    """Share of the training images, in whole shards, that is not trained on but validated on, in place of the
    validation split, which so stays clean of what is chosen by it; 0 trains on all."""
    bf16: bool = False
    """bfloat16 autocast in the network, for GPUs; grouping stays in float32."""
    ema: float = Field(0.0, ge=0.0, lt=1.0)
    """Decay of the moving average of the weights that is validated and kept; 0 is off."""
    flip: float = Field(0.5, ge=0.0, le=1.0)
    """Share of the samples that are mirrored."""
    colour: float = Field(0.2, ge=0.0, lt=1.0)
    """Strength of the random brightness, contrast and saturation."""
    validation_images: int = Field(500, ge=0)
    """Images of the validation split that are scored as training goes; 0 is none."""
    keep_checkpoints: int = Field(2, ge=1)
    """Checkpoints kept: the best and the latest ones."""


class EvaluateConfig(Settings):
    """Evaluation of a trained model."""

    num_workers: int = Field(0, ge=0)
    """Ray workers that share the shards of records, as large as those of train; 0 evaluates in the process
    itself. The figures are the same."""
    batch_size: int = Field(8, ge=1)
    """Images per forward pass; none holds images of two shards."""
    images: int = Field(0, ge=0)
    """Images of the split that are evaluated; 0 is all of them."""
    pictures: int = Field(8, ge=0)
    """Images that are drawn beside the figures."""
    runtime_images: int = Field(50, ge=0)
    """Images that are timed one by one on one thread, step by step (Fig. 4b); 0 times none."""
    checkpoint: Path | None = None
    """Checkpoint file; by default the best one of train_joint in the run root."""
    seed: int = Field(0, ge=0)
    """Seed of grouping.matching=graclus, which is random."""


class SyntheticConfig(Settings):
    """The drawn data set that the demo trains on."""

    train_images: int = Field(1200, ge=1)
    """Pictures of the training split."""
    val_images: int = Field(150, ge=1)
    """Pictures of the validation split."""
    seed: int = Field(0, ge=0)
    """Seed; a picture depends on it, the split's name and its number alone."""
    size_min: int = Field(256, ge=128)
    """Longer side of the smallest picture in pixels; the shorter is three quarters of it."""
    size_max: int = Field(304, ge=128)
    """Longer side of the largest picture in pixels."""
    height_min: float = Field(95.0, ge=50.0)
    """Standing height of the smallest annotated person in pixels."""
    height_max: float = Field(260.0, ge=50.0)
    """Standing height of the tallest annotated person in pixels; never above 1.1 picture heights."""
    max_people: int = Field(5, ge=1)
    """Annotated people per picture at the most."""
    facing_share: float = Field(0.55, ge=0.0, le=1.0)
    """Share of the people who face the viewer; the others are seen from behind or from the side."""
    similar_clothes: float = Field(0.35, ge=0.0, le=1.0)
    """How often a person wears the clothes of the group's first one."""
    crowd_share: float = Field(0.08, ge=0.0, le=1.0)
    """Share of the pictures with a crowd (one region, no keypoints)."""
    far_share: float = Field(0.15, ge=0.0, le=1.0)
    """Share of the pictures with people too small for keypoints."""
    empty_share: float = Field(0.04, ge=0.0, le=1.0)
    """Share of the pictures without annotated people."""
    occluder_share: float = Field(0.15, ge=0.0, le=1.0)
    """Share of the pictures with a box in front of the people."""

    @model_validator(mode="after")
    def _ranges_ordered(self) -> "SyntheticConfig":
        for low, high in (("size_min", "size_max"), ("height_min", "height_max")):
            if getattr(self, low) > getattr(self, high):
                raise ValueError(f"{low}={getattr(self, low)} is above {high}={getattr(self, high)}")
        return self


class TrackingConfig(Settings):
    """MLflow."""

    uri: str = ""
    """Tracking server; by default MLFLOW_TRACKING_URI, or else one SQLite file under the run root."""
    experiment: str = "hgg"
    """Experiment that the runs belong to."""
    model: str = Field("hgg", min_length=1, pattern=r"^[^/:@']+$")
    """Registered model that jobs/register.py makes versions of."""


class RunConfig(Settings):
    """Every setting of every job."""

    run_root: Path = Path("runs/coco")
    """Folder that everything is written under."""
    trial: str = Field("", pattern=r"^([\w-]+(/[\w-]+)*)?$")
    """Folder below the run root that joint training and evaluation write to, so that several of them share
    one run root's data and pretrained network; empty is the run root itself."""
    skeleton: SkeletonName = "coco"
    """Joint types of data and model: coco (17, OCHuman too), crowdpose (14)."""
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
    tracking: TrackingConfig = TrackingConfig()
    synthetic: SyntheticConfig = SyntheticConfig()
    ablation: AblationConfig = AblationConfig()
    tune: TuneConfig = TuneConfig()

    @property
    def outputs(self) -> Path:
        """Folder of the trial, or the run root."""
        return self.run_root / self.trial

    @property
    def model(self) -> ModelConfig:
        """The part that a saved model needs to be built again."""
        return ModelConfig(
            network=self.network,
            candidates=self.candidates,
            grouping=self.grouping,
            skeleton=self.skeleton,
        )

    @property
    def joints(self) -> Skeleton:
        """The skeleton that `skeleton` names."""
        return skeleton_named(self.skeleton)

    @model_validator(mode="after")
    def _skeleton_fits_data(self) -> "RunConfig":
        if (self.data.format == "crowdpose") != (self.skeleton == "crowdpose"):
            people, wanted = (14, "crowdpose") if self.data.format == "crowdpose" else (17, "coco")
            raise ValueError(
                f"data.format={self.data.format} has people of {people} joints, skeleton={self.skeleton} has "
                f"{self.joints.count}: set skeleton={wanted} (a model of as many joints is needed), or "
                "another data.format"
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
        return self
