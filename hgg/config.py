"""Settings of the method itself: network, candidates, grouping and losses.

Defaults are the paper's, or associative embedding's (AE, the paper's baseline) where
the paper refers to it. The text under each setting is what `--print-config` shows; its mark says what it
decides (`hgg.settings`).

Whatever says how large something is has an upper bound, far above what is in use: these settings also come
with model files, and what a file says of itself must not take a machine's memory.
"""

from math import isfinite
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from hgg.settings import GROUPING, MODEL, WEIGHTS, Decides, Settings, setting
from hgg.skeleton import GraphName, Skeleton, SkeletonName, skeleton_of
from hgg.skeleton_file import SkeletonFile, completed

NUM_STRIDE = 4  # input pixels per output cell: the stem halves twice (AE, section 3.1)
LARGEST_SCALE = 8.0  # of the sizes at which a photograph is shown

ENCODER_STRIDE = 32  # input pixels per cell of the deepest map that is taken of an encoder
HOURGLASS, TIMM = "hourglass", "timm/"

Word = Annotated[str, Field(max_length=100)]
EncoderValue = (
    bool | int | float | Word | Annotated[tuple[bool | int | float | Word, ...], Field(max_length=64)]
)
"""Of one of an encoder's own settings."""

WholeSkeleton = Annotated[SkeletonFile, AfterValidator(completed)]
"""Complete, so that a model has no need of the rules by which it was completed."""


class NetworkConfig(Settings):
    """The keypoint proposal network: a stacked hourglass (section 3.3), or an encoder and a decoder."""

    backbone: str = setting(
        HOURGLASS,
        MODEL,
        since="2026-11-28",
        before=HOURGLASS,
        pattern=r"^([a-z0-9_-]{1,50}|timm/[A-Za-z0-9_.-]{1,100})$",
    )
    """hourglass (the paper); efficientnet_lite0; a kind of encoder of transformers' AutoBackbone, as resnet,
    convnextv2 or swin, or timm/NAME (both: extra `backbones`; docs/backbones.md)."""
    encoder: dict[Word, EncoderValue] = setting({}, MODEL, since="2026-11-28", before={}, max_length=64)
    """Of an encoder, its own settings where they differ from its kind's: {depths: [2, 2, 2, 2], ...}."""
    weights: str = setting("", Decides.PRETRAIN, since="2026-11-28", before="", max_length=1000)
    """Of an encoder, what pretraining begins with: the name of a model on the Hugging Face hub, a folder or a
    file; for efficientnet_lite0 and timm/NAME also published, its own. Empty draws them by train.seed."""
    frozen_stages: int = setting(0, WEIGHTS, since="2026-11-28", before=0, ge=0, le=4)
    """Of an encoder, how many of its stages stay as they begin, from the first (with its stem) on."""
    input_size: int = setting(512, Decides.SAMPLES | MODEL, ge=32, le=2048)
    """Side of the square network input in pixels (implementation details: 512).
    At most 2048."""
    stacks: int = setting(4, MODEL, ge=1, le=16)
    """Hourglasses in a row, each with a loss of its own (implementation details: 4); at most 16. An encoder's
    network has one."""
    channels: int = setting(256, MODEL, ge=8, le=1024, multiple_of=8)
    """Feature channels at the output resolution (AE: 256), an encoder's decoder's too; a multiple of 8, at
    most 1024."""
    increase: int = setting(128, MODEL, ge=0, le=1024)
    """Channels added at every level down of an hourglass (AE: 128); at most 1024."""
    depth: int = setting(4, MODEL, ge=1, le=8)
    """Levels of each hourglass (AE: 4); at most 8."""
    norm: Literal["batch", "group", "none"] = setting("batch", MODEL)
    """Normalisation after each convolution of hourglass or decoder; none is AE's released network."""
    visual_dim: int = setting(64, MODEL, ge=0, le=1024)
    """Channels of the relational feature map; 0 leaves the tag alone (section 3.1 read literally); at most
    1024."""

    @property
    def output_size(self) -> int:
        """Side of the square output maps in cells."""
        return self.input_size // NUM_STRIDE

    @property
    def step(self) -> int:
        """What the sides of any input are multiples of, in pixels (AE: 64; encoders: 32)."""
        return NUM_STRIDE * 2**self.depth if self.backbone == HOURGLASS else ENCODER_STRIDE

    def normalises_nothing(self, images: int) -> bool:
        """Whether batch normalisation would see one value a channel: so many images, maps of one cell.

        Encoders, most of which have batch normalisation of their own, are taken to have it.
        """
        batch = self.norm == "batch" or self.backbone != HOURGLASS
        return batch and images == 1 and self.input_size == self.step

    @model_validator(mode="after")
    def _levels_fit(self) -> "NetworkConfig":
        if self.input_size % self.step and self.backbone != HOURGLASS:
            raise ValueError(
                f"input_size={self.input_size}: backbone={self.backbone} needs a multiple of {self.step}"
            )
        if self.input_size % self.step:
            raise ValueError(
                f"input_size={self.input_size} does not halve {self.depth} times: "
                f"use a multiple of {self.step}, or a smaller depth"
            )
        if self.norm == "group" and (self.channels % 32 or self.increase % 8):
            raise ValueError(
                f"norm=group has 8 groups, in the stem (channels / 4) too: channels={self.channels} "
                f"must be a multiple of 32, and increase={self.increase} one of 8"
            )
        return self

    @model_validator(mode="after")
    def _encoders_settings_have_one(self) -> "NetworkConfig":
        if self.backbone == HOURGLASS:
            for name in ("encoder", "weights", "frozen_stages"):
                if value := getattr(self, name):
                    raise ValueError(
                        f"{name}={value}: backbone={self.backbone} is no encoder: set backbone to one, as "
                        f"resnet, or leave {name} out"
                    )
        return self


class CandidateConfig(Settings):
    """From heatmaps to keypoint candidates (AE's decoding)."""

    window: int = setting(5, GROUPING, ge=1, le=63)
    """Side in cells of the max-pool window of non-maximum suppression; odd, at most 63."""
    threshold: float = setting(0.1, GROUPING, ge=0.0, lt=1.0)
    """Heatmap value that a candidate must exceed (AE: 0.1)."""
    per_type: int = setting(30, GROUPING, ge=1, le=150)
    """Candidates kept per joint type, the highest first (AE: 30); at most 150."""
    max_total: int = setting(256, GROUPING, ge=1, le=4096)
    """Candidates kept per image in training, the highest first; at most 4096."""
    subcell: Literal["gaussian", "quarter"] = setting("gaussian", GROUPING)
    """Position inside a cell: a parabola through three log values, or AE's quarter cell."""

    @model_validator(mode="after")
    def _odd_window(self) -> "CandidateConfig":
        if self.window % 2 == 0:
            raise ValueError(f"window={self.window} has no centre cell: use an odd number")
        return self


class GroupingConfig(Settings):
    """Interaction network, discriminators and online hierarchical graph clustering (sections 3.1, 3.2)."""

    hidden: int = setting(64, GROUPING, ge=8, le=1024)
    """Width of the interaction network and of the node embedding (section 3.2: 64); at most 1024."""
    interaction: Literal["edgeconv", "fc", "gat"] = setting("edgeconv", GROUPING)
    """Layer of the interaction network: EdgeConv (Table 2 #9), per node (#7) or graph attention (#8)."""
    layers: int = setting(3, GROUPING, ge=1, le=32)
    """Layers of the interaction network (Fig. 3: 3); at most 32."""
    graph: GraphName = setting("full", GROUPING)
    """Joint types that an edge may join (Fig. 4a): full, extended, bypass, tree."""
    score_feature: bool = setting(False, GROUPING)
    """Whether the heatmap's value is one of a node's features, beside the paper's; without a gradient."""
    dropout: float = setting(0.2, GROUPING, ge=0.0, lt=1.0)
    """Dropout inside the perceptrons."""
    proximity: Literal["edge", "distance"] = setting("edge", GROUPING)
    """What says that two macro-nodes are one person: the edge discriminator, or minus the distance of their
    embeddings (Table 2 #3)."""
    cut: float = setting(0.5, GROUPING, ge=0.0, le=1.0)
    """Edges whose proximity is below this are not merged."""
    max_rounds: int = setting(10, GROUPING, ge=1, le=1000)
    """Rounds of Algorithm 1 at the most, up to 1000; it ends before when no edge is left."""
    matching: Literal["dominant", "graclus"] = setting("dominant", GROUPING)
    """Locally dominant matching (deterministic), or torch-cluster's graclus (extra `graclus`)."""
    decoder: Literal["hgg", "associative"] = setting("hgg", GROUPING)
    """What groups once the model is trained: Algorithm 1, or AE's greedy grouping (Table 2 #1, #6), for which
    a saved model has no weights of grouping."""
    macro_input: Literal["mean", "spread"] = setting("mean", GROUPING, since="2026-11-29", before="mean")
    """What the macro-node discriminator sees of the members' embeddings: their mean (section 3.2), or the
    standard deviation too, which says how far they lie apart."""
    macro_score: bool = setting(True, GROUPING)
    """Whether the macro-node discriminator's probability multiplies the person's score."""
    macro_score_from: int = setting(2, Decides.EVALUATION, since="2026-11-29", before=2, ge=2, le=256)
    """Candidates from which on it does; a person of fewer has the score of its keypoints alone."""
    veto: float = setting(0.0, Decides.EVALUATION, since="2026-11-29", before=0.0, ge=0.0, le=1.0)
    """Merges whose macro-node would have a lower probability are not made, as if undone and the edge
    forbidden (section 3.2: incorrect ones are suppressed); 0 trusts the edges alone. Not in training."""
    fill_missing: bool = setting(True, GROUPING)
    """Whether a person's missing joints are filled from heatmap and tag, as AE does."""
    suppression: float = setting(0.9, Decides.EVALUATION, since="2026-11-29", before=1.0, gt=0.0, le=1.0)
    """OKS with a better person above which somebody is left out as there already, whatever grouped them; 1
    keeps everybody, as validation while training does."""
    tag_threshold: float = setting(1.0, GROUPING, gt=0.0, allow_inf_nan=False)
    """AE baseline: a candidate further than this from a person's mean tag starts a new person."""


class LossConfig(Settings):
    """Weights of the loss terms (implementation details: 1 : 1e-3 : 1e-5)."""

    heatmap: float = setting(1.0, WEIGHTS, ge=0.0)
    """Weight of the masked mean squared error of the heatmaps."""
    push: float = setting(1e-3, WEIGHTS, ge=0.0)
    """Weight of the term that separates the mean tags of two people."""
    pull: float = setting(1e-3, WEIGHTS, ge=0.0)
    """Weight of the term that draws a person's tags to their mean."""
    edge: float = setting(1e-5, Decides.JOINT, ge=0.0)
    """Weight of the edge discriminator's binary cross-entropy."""
    macro: float = setting(1e-5, Decides.JOINT, ge=0.0)
    """Weight of the macro-node discriminator's binary cross-entropy."""
    macro_balance: bool = setting(False, Decides.JOINT, since="2026-11-29", before=False)
    """Whether the macro-nodes of one person and the others weigh the same in an image, however many they
    are."""
    macro_intermediate: bool = setting(True, Decides.JOINT)
    """Whether macro-nodes are judged as they form too (Table 2 #9), or only at the end (#5)."""
    heatmap_foreground_weight: float = setting(0.0, WEIGHTS, ge=0.0)
    """Each cell's squared error is weighted by 1 + this x target (0: the paper)."""


class ModelConfig(Settings):
    """Everything that a saved model needs to be built again."""

    network: NetworkConfig = NetworkConfig()
    candidates: CandidateConfig = CandidateConfig()
    grouping: GroupingConfig = GroupingConfig()
    skeleton: SkeletonName | WholeSkeleton = setting("coco", GROUPING, since="2026-11-26", before="coco")
    """Joint types: coco (17), crowdpose (14), or any others, written out."""

    @property
    def joints(self) -> Skeleton:
        """The skeleton that `skeleton` names or holds."""
        return skeleton_of(self.skeleton)


class InferenceConfig(Settings):
    """How evaluation and prediction show a photograph; validation while training has one plain view."""

    flip: bool = setting(False, Decides.EVALUATION)
    """Whether the mirrored photograph is shown too: heatmaps are averaged, and tags, features and edge logits
    of both count."""
    scales: tuple[float, ...] = setting((1.0,), Decides.EVALUATION, max_length=16)
    """Sizes at which the photograph is shown, as multiples of network.input_size (AE multi-scale: 0.5, 1, 2);
    16 of them at the most, none above 8. Heatmaps are averaged over all; tags and features are those of scale
    1, which must be among them."""
    resize: Literal["long", "short"] = setting("long", Decides.EVALUATION)
    """Side of the photograph that is made network.input_size long: the longer one, as in training and in AE's
    released code, or the shorter one, which makes people larger (HigherHRNet)."""

    @model_validator(mode="after")
    def _scales_make_sense(self) -> "InferenceConfig":
        given = f"scales={[*self.scales]}"
        if not all(isfinite(scale) and scale > 0 for scale in self.scales):
            raise ValueError(f"{given}: each must be a number above 0, as in [0.5, 1.0, 2.0]")
        if max(self.scales, default=1.0) > LARGEST_SCALE:
            raise ValueError(f"{given}: each must be at most {LARGEST_SCALE:g}, as in [0.5, 1.0, 2.0]")
        if 1.0 not in self.scales:
            raise ValueError(f"{given}: 1.0 must be among them, as tags are read there")
        if len(set(self.scales)) < len(self.scales):
            raise ValueError(f"{given}: name each scale once")
        return self
