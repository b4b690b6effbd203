"""An evaluation beside another one: what differs in settings and figures and, on the same data, by image."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hgg.skeleton import Skeleton
from pipeline.base.errors import UserError, first_line
from pipeline.base.s3 import as_path
from pipeline.metrics.detections import Detection, read_detections
from pipeline.report.images import ImageFigures, agreement
from pipeline.report.matching import match
from pipeline.settings.keys import flat
from pipeline.settings.sources import read_yaml

NEEDED = frozenset({"ap", "counts", "data", "diagnosis", "split"})
"""Of results.json: what other stages' have not."""
SAME = 0.005
"""Agreements that differ by no more are the same: an image of one person whose joints moved by a hair."""
GROUPING = "hgg"


class Other(NamedTuple):
    """Another evaluation."""

    folder: Path
    results: Mapping[str, Any]


class Change(NamedTuple):
    """An image that both looked at."""

    image_id: int
    people: int
    here: float
    """HGG's agreement (`pipeline.report.images`)."""
    there: float

    @property
    def gain(self) -> float:
        """How much better it is here."""
        return self.here - self.there


class Comparison(NamedTuple):
    """An evaluation beside another one."""

    other: Other
    apart: str
    """Why the figures do not compare; nothing where they do."""
    settings: list[tuple[str, Any, Any]]
    """Dotted key, value here, value there, of those that differ; None where one has no such setting."""
    changes: list[Change]
    """Images that both looked at, those that gained most first; none where the data differ."""
    detections: Sequence[Detection]
    """HGG's people there."""

    @property
    def better(self) -> int:
        """Images that are better here."""
        return sum(each.gain > SAME for each in self.changes)

    @property
    def worse(self) -> int:
        """Images that are worse here."""
        return sum(each.gain < -SAME for each in self.changes)


def find_other(run: Path, own: Path) -> Other:
    """The evaluation that `--compare` names.

    Args:
        run: its folder, or the run root or trial that the folder is in.
        own: folder of the evaluation that is compared with it.

    Raises `UserError` where there is none, or where it is the same one.
    """
    run = as_path(run).expanduser()
    for folder in (run, run / "evaluate"):
        path = folder / "results.json"
        if not path.is_file():
            continue
        try:
            results = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise UserError(f"--compare={run}: {path} is no JSON: {error}") from error
        if isinstance(results, dict) and results.keys() >= NEEDED:
            if folder.absolute() == own.absolute():
                raise UserError(
                    f"--compare={run}: that is this very evaluation, which is written anew: name another "
                    "one, or a copy that was made of it before"
                )
            return Other(folder, results)
    raise UserError(
        f"--compare={run}: no evaluation there: give a folder with the results.json of jobs/evaluate.py, or "
        "the run root or trial whose evaluate/ has it"
    )


def compare(
    results: Mapping[str, Any],
    settings: Mapping[str, Any],
    other: Other,
    images: Sequence[ImageFigures],
    truth: Any,
    skeleton: Skeleton,
) -> Comparison:
    """What differs between an evaluation and another one.

    Args:
        results: of this one.
        settings: of this one, by dotted keys.
        other: that it is compared with.
        images: of this one.
        truth: that this one was scored by.
        skeleton: of both, where the data are the same.
    """
    apart = _apart(results, other.results)
    file = other.folder / f"detections_{GROUPING}.json"
    rows: list[Detection] = []
    changes: list[Change] = []
    if results["data"] == other.results["data"] and file.is_file():
        rows = _people_in(file)
        # Both begin with the records' first image: who looked at fewer looked at the other's first ones.
        both = images[: _with_people(other, images, truth)]
        there = match(truth, rows, skeleton, [each.image_id for each in both])
        changes = [
            Change(each.image_id, each.people, each.agreement[GROUPING], agreement(there[each.image_id]))
            for each in both
        ]
        changes.sort(key=lambda each: (-each.gain, each.image_id))
    return Comparison(other, apart, _differing(settings, other.folder / "config.yaml"), changes, rows)


def _people_in(file: Path) -> list[Detection]:
    try:
        return read_detections(file)
    except ValueError as error:
        raise UserError(
            f"--compare: {first_line(error)}: leave it out, or evaluate that run again"
        ) from error


def _with_people(other: Other, images: Sequence[ImageFigures], truth: Any) -> int:
    """How many of these images, which are in the records' order, the other one looked at."""
    seen = {row["id"] for row in truth.dataset["images"][: int(other.results["counts"]["images"])]}
    return sum(each.image_id in seen for each in images)


def _apart(here: Mapping[str, Any], there: Mapping[str, Any]) -> str:
    """Why figures of one do not compare with figures of the other."""
    if here["data"] != there["data"]:
        return (
            f"The data differ: here `{here['split']}` with the fingerprint {here['data']}, there "
            f"`{there['split']}` with {there['data']}. Figures of different pictures or labels do not "
            "compare."
        )
    counts = [int(each["counts"]["images"]) for each in (here, there)]
    if counts[0] != counts[1]:
        return (
            f"Here {counts[0]} images were looked at, there {counts[1]} of the same data: figures over all "
            "of them do not compare. What is said image by image is of those that both looked at."
        )
    return ""


def _differing(settings: Mapping[str, Any], file: Path) -> list[tuple[str, Any, Any]]:
    if not file.is_file():
        return []
    there = flat(read_yaml(file))
    keys = [*settings, *(key for key in there if key not in settings)]
    return [(key, settings.get(key), there.get(key)) for key in keys if settings.get(key) != there.get(key)]
