"""A video to people: a line of JSON and rows of Parquet a frame, and the frames with people drawn on them."""

import importlib.util
import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import chain, count, islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import numpy as np

from hgg.draw import draw_poses
from hgg.poses import Poses, likely
from hgg.predictor import Predictor
from hgg.skeleton import Skeleton
from pipeline.base.errors import Terminated
from pipeline.base.files import atomic_path
from pipeline.base.progress import Progress, chunks
from pipeline.prediction.tracks import NO_ID, OneEuro, Tracker
from pipeline.prediction.video_file import BadVideo, Drawn, Frame, opened

if TYPE_CHECKING:
    import pyarrow as pa

ROW_GROUP = 1000  # rows of Parquet that are kept until they are written

log = logging.getLogger(__name__)


class Following(NamedTuple):
    """How people are followed from frame to frame (`pipeline.prediction.tracks`)."""

    least_oks: float
    most_missed: int
    cutoff: float
    """Of the One-Euro filter in Hz; 0 leaves joints where they were found."""
    beta: float


def predict_video(
    predictor: Predictor,
    place: str,
    out: Path,
    name: str,
    *,
    batch_size: int,
    min_score: float,
    following: Following | None = None,
    most_frames: int | None = None,
    draw: bool = True,
) -> dict[str, Any]:
    """Write {out}/{name}.jsonl, {name}.parquet (where pyarrow is installed) and {name}.mp4.

    A line is a frame: `frame` from 0, `seconds`, and `people`, the best first, each with `id` (where they are
    followed; null for who may be a guess), `score`, `keypoints` (x, y, flag as in COCO) and
    `keypoint_scores`. A row of Parquet is a person of a frame. Positions are pixels of the upright frame.
    Memory holds a batch of frames, however long the video is. Ctrl-C ends a camera or a stream: what was
    seen until then is kept.

    Args:
        predictor: finds the people.
        place: a file, a camera's number, or a stream's address.
        out: folder.
        name: of the files.
        batch_size: frames that go through the network together.
        min_score: people of a lower score are neither written, drawn nor followed.
        following: how people are given ids; None gives none.
        most_frames: after which it ends; None is the whole video.
        draw: whether the mp4 is written.

    Returns:
        frames, frames_missing (that the file says it has, and that do not decode), people, seconds, and the
        files.

    Raises:
        BadVideo: nothing that can be read, or no frame in it.
    """
    skeleton = predictor.model.config.joints
    follower = _Follower(skeleton, following) if following else None
    with opened(place) as video, ExitStack() as stack:
        total = min(video.frames, most_frames or video.frames)
        written = _Written(
            stack.enter_context(_lines(out / f"{name}.jsonl")),
            stack.enter_context(_table(out / f"{name}.parquet", skeleton)),
            stack.enter_context(Drawn(out / name, video.rate)) if draw else None,
            skeleton,
        )
        progress = Progress(f"predict {name}", total, "frames")
        with _until_stopped(endless=not video.frames):
            for batch in chunks(islice(video, most_frames), batch_size):
                found = predictor.predict([frame.picture for frame in batch])
                for frame, everybody in zip(batch, found, strict=True):
                    written.add(frame, *_told_apart(likely(everybody, min_score), frame, follower))
                progress.add(len(batch))
        if not written.frames:
            raise BadVideo("no_frames", "it opens, and no frame of it decodes")
        missing = video.missing(total, written.frames, written.seconds)
    if missing:
        log.warning("predict: %s: %d of %d frames do not decode: it was cut off", name, missing, total)
    return {
        "frames": written.frames,
        "frames_missing": missing,
        "people": written.people,
        "seconds": round(written.seconds, 3),
        **({"ids": follower.tracker.ids} if follower else {}),
        **written.files(out / f"{name}.jsonl"),
    }


@contextmanager
def _until_stopped(endless: bool) -> Iterator[None]:
    """Ctrl-C ends what has no end of its own, and what was seen until then stays."""
    try:
        yield
    except KeyboardInterrupt as stop:
        if not endless or isinstance(stop, Terminated):
            raise
        log.info("predict: stopped: what was seen until now is written")


def _told_apart(poses: Poses, frame: Frame, follower: "_Follower | None") -> tuple[Poses, list[int] | None]:
    """The people of a frame with their ids; without, where nobody is followed."""
    return (poses, None) if follower is None else follower(poses, frame.seconds)


class _Written:
    """The people of the frames so far, as lines, rows and pictures."""

    def __init__(self, lines: IO[str], table: "_Table", drawn: Drawn | None, skeleton: Skeleton) -> None:
        self.lines, self.table, self.drawn, self.skeleton = lines, table, drawn, skeleton
        self.frames, self.people, self.seconds = 0, 0, 0.0

    def add(self, frame: Frame, poses: Poses, ids: list[int] | None) -> None:
        rows = [*_rows(frame, poses, ids or [NO_ID] * len(poses.score))]
        self.lines.write(_line(frame, rows))
        self.table.add(rows)
        if self.drawn is not None:
            self.drawn.add(_picture(frame, poses, ids, self.skeleton), frame.seconds)
        self.frames, self.people, self.seconds = self.frames + 1, self.people + len(rows), frame.seconds

    def files(self, lines: Path) -> dict[str, str]:
        """Where it all is; `lines` is the file of the lines, which has this name only once it is whole."""
        drawn = self.drawn.path if self.drawn else None
        files = {"lines": lines, "table": self.table.path, "video": drawn}
        return {key: str(path) for key, path in files.items() if path is not None}


def video_names(places: Sequence[str]) -> list[str]:
    """What the files of each video are called: by its own name, camera0, or stream; no name twice."""
    names = dict[str, None]()
    for place in places:
        plain = f"camera{place}" if place.isdigit() else "stream" if "://" in place else Path(place).stem
        more = (f"{plain}-{number}" for number in count(2))
        names[next(name for name in chain([plain], more) if name not in names)] = None
    return [*names]


class _Follower:
    """Gives people ids and, where asked for, steadier joints."""

    def __init__(self, skeleton: Skeleton, following: Following) -> None:
        self.tracker = Tracker(skeleton, following.least_oks, following.most_missed)
        self.following = following
        self.filters: dict[int, OneEuro] = {}

    def __call__(self, poses: Poses, seconds: float) -> tuple[Poses, list[int]]:
        ids = self.tracker.update(poses, seconds).tolist()
        if self.following.cutoff > 0:
            keypoints_PJ3 = poses.keypoints.copy()
            for person, one in enumerate(ids):
                if one != NO_ID:
                    smooth = self.filters.setdefault(one, OneEuro(self.following.cutoff, self.following.beta))
                    keypoints_PJ3[person] = smooth(keypoints_PJ3[person], seconds)
            poses = poses._replace(keypoints=keypoints_PJ3)
            known = {track.id for track in self.tracker.tracks}
            self.filters = {one: each for one, each in self.filters.items() if one in known}
        return poses, ids


def _rows(frame: Frame, poses: Poses, ids: list[int]) -> Iterator[dict[str, Any]]:
    keypoints_PJ3 = poses.keypoints.astype(np.float64)
    for joints_J3, score, one in zip(keypoints_PJ3, poses.score, ids, strict=True):
        there_J = joints_J3[:, 2] > 0
        places_J3 = np.concatenate([joints_J3[:, :2].round(2), 2.0 * there_J[:, None]], axis=1)
        yield {
            "frame": frame.number,
            "seconds": round(frame.seconds, 4),
            "id": None if one == NO_ID else one,
            "score": round(float(score), 6),
            "keypoints": (places_J3 * there_J[:, None]).ravel().tolist(),
            "keypoint_scores": joints_J3[:, 2].round(4).tolist(),
        }


def _line(frame: Frame, rows: list[dict[str, Any]]) -> str:
    people = [{key: row[key] for key in row if key not in ("frame", "seconds")} for row in rows]
    return json.dumps({"frame": frame.number, "seconds": round(frame.seconds, 4), "people": people}) + "\n"


def _picture(frame: Frame, poses: Poses, ids: list[int] | None, skeleton: Skeleton) -> np.ndarray:
    if ids is None:
        return draw_poses(frame.picture, poses, skeleton=skeleton, min_score=0.0)
    spare = count(max(ids, default=0) + 1)
    colours = [next(spare) if one == NO_ID else one for one in ids]
    labels = ["?" if one == NO_ID else str(one) for one in ids]
    look: dict[str, Any] = {"skeleton": skeleton, "min_score": 0.0}
    return draw_poses(frame.picture, poses, colours=colours, labels=labels, **look)


@contextmanager
def _lines(path: Path) -> Iterator[IO[str]]:
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        yield file


class _Table:
    """Rows of Parquet, so many at a time; nothing where pyarrow is not installed (the extra `pipeline`)."""

    def __init__(self, path: Path | None, write: Any = None, schema: "pa.Schema | None" = None) -> None:
        self.path, self._write, self._schema = path, write, schema
        self._rows: list[dict[str, Any]] = []

    def add(self, rows: list[dict[str, Any]]) -> None:
        if self._write is None:
            return
        self._rows += rows
        if len(self._rows) >= ROW_GROUP:
            self.flush()

    def flush(self) -> None:
        if self._write is None:
            return
        import pyarrow as pa

        self._write(pa.Table.from_pylist(self._rows, schema=self._schema))
        self._rows = []


@contextmanager
def _table(path: Path, skeleton: Skeleton) -> Iterator[_Table]:
    if importlib.util.find_spec("pyarrow") is None:
        log.info("predict: no %s: pip install 'hgg[pipeline]' brings pyarrow", path.name)
        yield _Table(None)
        return
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema(
        [
            *(("frame", pa.int64()), ("seconds", pa.float64()), ("id", pa.int64()), ("score", pa.float64())),
            ("keypoints", pa.list_(pa.float64(), 3 * skeleton.count)),
            ("keypoint_scores", pa.list_(pa.float64(), skeleton.count)),
        ],
        metadata={"joints": json.dumps(skeleton.names)},
    )
    with atomic_path(path) as temporary, pq.ParquetWriter(temporary, schema) as writer:
        table = _Table(path, writer.write_table, schema)
        yield table
        table.flush()
