"""Settings of the data: where they are and how they become samples, and how the demo's are drawn."""

from pathlib import Path
from typing import Literal

from pydantic import model_validator

from hgg.settings import MOST_INTEGER, NOTHING, Decides, Settings, setting
from pipeline.settings.formats import DataFormat


class DataConfig(Settings):
    """Where the data are, and how records become samples."""

    root: Path = setting(Path("data/coco"), NOTHING)
    """Folder of the data set, as its archives unpack; `pipeline/data/formats.py` says where its files are."""
    format: DataFormat = setting("coco", NOTHING, since="2026-11-26", before="coco")
    """Layout of the data set and meaning of its annotations; crowdpose needs skeleton=crowdpose."""
    annotations: str = setting("", NOTHING, since="2026-11-26", before="")
    """Annotation file below the root, {split} in it the split's name; empty is the format's own."""
    pictures: str = setting("", NOTHING, since="2026-11-26", before="")
    """Folder of pictures below the root, {split} in it the split's name; empty is the format's own."""
    categories: tuple[str | int, ...] = setting((), NOTHING, since="2026-11-28", before=[])
    """Names or ids of the annotation file's categories that are people; empty is every one that names the
    skeleton's joints. Several become one."""
    train_split: str = setting("train2017", NOTHING)
    """Split that is trained on."""
    val_split: str = setting("val2017", NOTHING)
    """Split that is validated and evaluated on."""
    val_share: float = setting(0.0, NOTHING, since="2026-11-28", before=0.0, ge=0.0, lt=1.0)
    """Share of the images that are validated on, where there is one annotation file and no split; each
    image's id decides. Name the file by annotations and the folder by pictures, both without {split}. 0: each
    split has a file."""
    sigma: float = setting(2.0, Decides.SAMPLES, gt=0.0)
    """Standard deviation of a target peak in output cells (AE: output size / 64)."""
    views: int = setting(4, Decides.SAMPLES, ge=0)
    """Augmented views per training image beside the un-augmented view 0."""
    rotation: float = setting(30.0, Decides.SAMPLES, ge=0.0, le=180.0)
    """Largest rotation of an augmented view in degrees, either way (AE: 30)."""
    scale_min: float = setting(0.75, Decides.SAMPLES, gt=0.0)
    """Smallest scale of an augmented view (AE: 0.75)."""
    scale_max: float = setting(1.25, Decides.SAMPLES, gt=0.0)
    """Largest scale of an augmented view (AE: 1.25)."""
    shift: float = setting(0.2, Decides.SAMPLES, ge=0.0, le=1.0)
    """Largest shift of an augmented view as a share of the image's longer side (AE: 0.2)."""
    jpeg_quality: int = setting(95, Decides.SAMPLES, ge=1, le=100)
    """JPEG quality of the stored network inputs."""
    shard_images: int = setting(256, NOTHING, ge=1)
    """Images per shard; a shard is what a killed job repeats at the most."""
    row_group: int = setting(32, Decides.SAMPLES, ge=1)
    """Rows per Parquet row group: what a training rank reads at once."""
    max_rejected: int = setting(100, NOTHING, ge=0)
    """Images of a split left out for bad data before the job stops."""
    orientation: Literal["auto", "stored", "upright"] = setting(
        "auto", NOTHING, since="2026-11-28", before="auto"
    )
    """Whether labels were made on the pixels as they are stored, or on the picture as its orientation tag
    turns it upright; auto goes by the annotation file's width and height, by stored pixels where both fit."""
    max_pixels: int = setting(100_000_000, NOTHING, since="2026-11-28", before=100_000_000, ge=1)
    """Pixels of the largest picture that is read; of a larger one nothing is decoded. Decoding and encoding a
    picture take about 6 bytes a pixel in each task."""
    max_people: int = setting(500, NOTHING, since="2026-11-28", before=500, ge=1)
    """Annotations of people in an image that is used; the push term compares all pairs of them."""
    max_corners: int = setting(100_000, NOTHING, since="2026-11-28", before=100_000, ge=4)
    """Corners of the polygons, or runs of the RLE, of an annotation that is used."""
    workers: int = setting(0, NOTHING, ge=0)
    """Ray Data tasks at a time; 0 is as many as the cluster has CPUs."""
    seed: int = setting(0, Decides.SAMPLES, ge=0, le=MOST_INTEGER)
    """Seed of the augmented views."""

    @model_validator(mode="after")
    def _scales_ordered(self) -> "DataConfig":
        if self.scale_min > self.scale_max:
            raise ValueError(f"scale_min={self.scale_min} is above scale_max={self.scale_max}")
        return self


class SyntheticConfig(Settings):
    """The drawn data set that the demo trains on."""

    train_images: int = setting(1200, Decides.PICTURES, ge=1)
    """Pictures of the training split."""
    val_images: int = setting(150, Decides.PICTURES, ge=1)
    """Pictures of the validation split."""
    seed: int = setting(0, Decides.PICTURES, ge=0, le=MOST_INTEGER)
    """Seed; a picture depends on it, the split's name and its number alone."""
    size_min: int = setting(256, Decides.PICTURES, ge=128)
    """Longer side of the smallest picture in pixels; the shorter is three quarters of it."""
    size_max: int = setting(304, Decides.PICTURES, ge=128)
    """Longer side of the largest picture in pixels."""
    height_min: float = setting(95.0, Decides.PICTURES, ge=50.0)
    """Standing height of the smallest annotated person in pixels."""
    height_max: float = setting(260.0, Decides.PICTURES, ge=50.0)
    """Standing height of the tallest annotated person in pixels; never above 1.1 picture heights."""
    max_people: int = setting(5, Decides.PICTURES, ge=1)
    """Annotated people per picture at the most."""
    facing_share: float = setting(0.55, Decides.PICTURES, ge=0.0, le=1.0)
    """Share of the people who face the viewer; the others are seen from behind or from the side."""
    similar_clothes: float = setting(0.35, Decides.PICTURES, ge=0.0, le=1.0)
    """How often a person wears the clothes of the group's first one."""
    crowd_share: float = setting(0.08, Decides.PICTURES, ge=0.0, le=1.0)
    """Share of the pictures with a crowd (one region, no keypoints)."""
    far_share: float = setting(0.15, Decides.PICTURES, ge=0.0, le=1.0)
    """Share of the pictures with people too small for keypoints."""
    empty_share: float = setting(0.04, Decides.PICTURES, ge=0.0, le=1.0)
    """Share of the pictures without annotated people."""
    occluder_share: float = setting(0.15, Decides.PICTURES, ge=0.0, le=1.0)
    """Share of the pictures with a box in front of the people."""

    @model_validator(mode="after")
    def _ranges_ordered(self) -> "SyntheticConfig":
        for low, high in (("size_min", "size_max"), ("height_min", "height_max")):
            if getattr(self, low) > getattr(self, high):
                raise ValueError(f"{low}={getattr(self, low)} is above {high}={getattr(self, high)}")
        return self
