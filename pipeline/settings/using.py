"""Settings of what is done with a trained model: prediction and the endpoint."""

from hgg.settings import NOTHING, Settings, setting


class PredictConfig(Settings):
    """Prediction on photographs of any origin."""

    max_pixels: int = setting(100_000_000, NOTHING, since="2026-11-28", before=100_000_000, ge=1)
    """Width x height, by the file's header, above which a photograph is left out before it is decoded; those
    of a batch have together no more either. A pixel takes 9 to 15 bytes while it is looked at, 1.5 GiB in all
    by default."""
    min_score: float = setting(0.05, NOTHING, since="2026-11-29", before=0.0, ge=0.0)
    """People with a lower score are neither written nor drawn; 0 writes everybody that evaluation counts. At
    0.05 F is highest on training photographs with the model that comes along (docs/grouping.md)."""
    max_rejected: int | None = setting(None, NOTHING, since="2026-11-29", before=None, ge=0)
    """Files that cannot be read, above which the job ends with 1; null is any number. They are listed in
    rejected.jsonl."""
    num_workers: int = setting(0, NOTHING, since="2026-11-29", before=0, ge=0)
    """Actors of Ray that go through the images side by side, each with train.cpus_per_worker CPUs and, with
    train.use_gpu, one GPU; 0 does it in the process itself. What comes out is the same, by as many threads;
    by another number positions may differ in the last of their two decimals. Videos are not shared out."""
    shard_images: int = setting(256, NOTHING, since="2026-11-29", before=256, ge=1)
    """Images after which what was found is kept: the same command goes on from there after a kill."""
    pictures: bool = setting(True, NOTHING, since="2026-11-29", before=True)
    """Whether the people of each image are also drawn."""
    max_frames: int | None = setting(None, NOTHING, since="2026-11-29", before=None, ge=1)
    """Frames of a video, camera or stream after which it ends; null is all, or until Ctrl-C."""
    video: bool = setting(True, NOTHING, since="2026-11-29", before=True)
    """Whether a video's people are also drawn, as an mp4."""
    track_oks: float = setting(0.2, NOTHING, since="2026-11-29", before=0.2, ge=0.0, le=1.0)
    """OKS (with constants twice COCO's) below which a person is not who it was in the frame before."""
    track_frames: int = setting(30, NOTHING, since="2026-11-29", before=30, ge=0)
    """Frames without a person after which its id is not given again."""
    smooth: float = setting(1.0, NOTHING, since="2026-11-29", before=1.0, ge=0.0)
    """Cutoff in Hz of the One-Euro filter of who is followed: lower is steadier and later; 0 is none."""
    smooth_beta: float = setting(0.05, NOTHING, since="2026-11-29", before=0.05, ge=0.0)
    """How much a pixel a second adds to that cutoff: higher follows fast joints sooner."""


class ServeConfig(Settings):
    """The endpoint of jobs/serve.py."""

    host: str = setting("127.0.0.1", NOTHING, since="2026-11-30", before="127.0.0.1", min_length=1)
    """Address that it listens at; any but this machine's own wants a token, by HGG_TOKEN."""
    port: int = setting(8000, NOTHING, since="2026-11-30", before=8000, ge=0, le=65535)
    """Port that it listens at."""
    replicas: int = setting(1, NOTHING, since="2026-11-30", before=1, ge=1)
    """Models side by side, each with train.cpus_per_worker CPUs and, with train.use_gpu, one GPU."""
    batch_size: int = setting(8, NOTHING, since="2026-11-30", before=8, ge=1)
    """Pictures that go through the network together at the most, of whatever requests."""
    batch_wait: float = setting(0.01, NOTHING, since="2026-11-30", before=0.01, ge=0.0)
    """Seconds that a picture waits for others to go with."""
    max_requests: int = setting(32, NOTHING, since="2026-11-30", before=32, ge=1)
    """Requests at work at a time, above which one is told to come again (503)."""
    max_bytes: int = setting(20_000_000, NOTHING, since="2026-11-30", before=20_000_000, ge=1)
    """Of a request, above which it is turned away (413)."""
    max_pixels: int = setting(25_000_000, NOTHING, since="2026-11-30", before=25_000_000, ge=1)
    """Of a request's pictures together, by their headers, above which it is turned away (413)."""
    max_images: int = setting(8, NOTHING, since="2026-11-30", before=8, ge=1)
    """Pictures of a request at the most."""
    poll_seconds: float = setting(30.0, NOTHING, since="2026-11-30", before=30.0, gt=0.0)
    """Seconds between two looks at the registry for a new version under the alias that is served."""
