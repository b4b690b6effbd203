"""The skeleton of a run that names none: that of its records, or what its annotation file tells of one."""

import json
import logging
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from hgg.joint_names import words
from hgg.skeleton import COCO, CROWDPOSE
from hgg.skeleton_file import (
    DEFAULT_SIGMA,
    Pair,
    SkeletonFile,
    completed,
    mirrored_by_name,
    mistakes_in,
    pieces,
)
from pipeline.base.errors import UserError
from pipeline.data.categories import CHOICE, Category, is_chosen, with_joints
from pipeline.data.formats import annotation_file
from pipeline.settings.config import RunConfig
from pipeline.settings.formats import FORMATS
from pipeline.settings.sources import read_yaml

KEY = '"categories"'

log = logging.getLogger(__name__)


def settled(config: RunConfig, *, anew: bool) -> RunConfig:
    """The settings with a skeleton in the place of `auto`; what was assumed of it is said.

    Args:
        config: of any job.
        anew: whether the annotation file is asked, where there is one, before what preprocessing made.

    Raises `UserError` where an annotation file has people of several skeletons, or of one that is none.
    """
    if config.skeleton != "auto":
        return config
    made, file = (
        config.run_root / "preprocess" / "config.yaml",
        annotation_file(config.data, config.data.train_split),
    )
    own = FORMATS[config.data.format].labelling.skeleton.name
    if _there(made) and not (anew and _there(file)):
        found = read_yaml(made).get("skeleton", own)
        found = completed(SkeletonFile.model_validate(found)) if isinstance(found, dict) else found
    elif _there(file):
        found = skeleton_in(file, config)
    else:
        found = own
    return config.model_copy(update={"skeleton": found})


def _there(path: Path) -> bool:
    """Whether a file is there. Of a store that does not answer the job itself tells, as it asks for more."""
    try:
        return path.is_file()
    except OSError as error:
        log.debug("%s: %s", path, error)
        return False


def skeleton_in(file: Path, config: RunConfig) -> str | SkeletonFile:
    """The skeleton of an annotation file's people: one that is known by its names, or what the file tells."""
    own = FORMATS[config.data.format].labelling.skeleton
    chosen = [str(choice) for choice in config.data.categories]
    entries = _categories(file)
    named = [each for each in with_joints(entries, file) if not chosen or is_chosen(each, chosen)]
    kinds: dict[tuple[str, ...], list[Category]] = {}
    for category in named:
        kinds.setdefault(_alike(category.joints), []).append(category)
    for known in (own, COCO, CROWDPOSE):
        if _alike(known.names) in kinds:
            return known.name
    if not kinds or config.data.format != "coco":
        return own.name  # and reading the file says what is wrong with it
    if len(kinds) > 1:
        titles = "; ".join(f"{each.title}: {len(each.joints)} joints" for each in named)
        raise UserError(f"{file}: people of several skeletons: {titles}: choose with {CHOICE}=[NAME]")
    first = named[0]
    entry = next(
        each for each in entries if isinstance(each, dict) and str(each.get("id")) == str(first.number)
    )
    return _told(file, first, entry.get("skeleton"))


def _told(file: Path, category: Category, links: Any) -> SkeletonFile:
    """A category as a skeleton, with what had to be assumed in the log."""
    limbs, notes = _limbs(category.joints, links)
    try:
        found = completed(
            SkeletonFile(name=category.name or "custom", names=tuple(category.joints), limbs=limbs)
        )
    except ValidationError as error:
        raise UserError(
            f"{file}: category {category.title}: {'; '.join(mistakes_in(error))}: "
            "name the joints otherwise, or write a skeleton file, and set skeleton=FILE"
        ) from None
    pairs = mirrored_by_name(found.names)
    notes.append(
        f"mirrored by their names: {', '.join(f'{a} and {b}' for a, b in pairs)}"
        if pairs
        else "no joints are mirrored, as no names differ by left and right alone"
    )
    notes.append(f"OKS's constant of each joint is {DEFAULT_SIGMA:g}, the mean of COCO's")
    log.info(
        "skeleton: %s of %s: %d joints: %s", category.title, file, len(found.names), ", ".join(found.names)
    )
    for note in notes:
        log.info("skeleton: assumed: %s", note)
    return found


def _limbs(names: Sequence[str], links: Any) -> tuple[tuple[Pair, ...], list[str]]:
    """A category's limbs by name, and what was done so that they connect all joints."""
    given = (
        [link for link in links if isinstance(link, list) and len(link) == 2]
        if isinstance(links, list)
        else []
    )
    numbers = [(a, b) for a, b in given if isinstance(a, int) and isinstance(b, int)]
    first = 0 if any(not min(pair) for pair in numbers) else 1  # COCO counts from 1, some tools from 0
    inside = [(a - first, b - first) for a, b in numbers]
    inside = [(a, b) for a, b in inside if a != b and min(a, b) >= 0 and max(a, b) < len(names)]
    limbs = list(dict.fromkeys((names[a], names[b]) for a, b in inside))
    notes = []
    if len(inside) < (len(links) if isinstance(links, list) else 0):
        notes.append(f"{len(links) - len(inside)} of the category's links name no two joints: left out")
    if first == 0:
        notes.append("the category's links count joints from 0")
    apart = pieces(names, limbs)
    if len(apart) > 1:
        joined = [(one[-1], other[0]) for one, other in pairwise(apart)]
        limbs += joined
        notes.append(
            f"the category's links leave joints apart: joined {', '.join(f'{a} and {b}' for a, b in joined)}"
        )
    return tuple(limbs), notes


def _alike(names: Sequence[str]) -> tuple[str, ...]:
    """The same for the same joints in whatever order and spelling."""
    return tuple(sorted(" ".join(words(name)) for name in names))


def _categories(file: Path) -> list[Any]:
    """`categories` of an annotation file, without reading the rest of it where it stands as it should."""
    text = file.read_text(encoding="utf-8-sig", errors="replace")
    start = text.find(KEY)
    while start >= 0:
        place = start + len(KEY)
        rest = text[place : place + 100].lstrip()
        if rest.startswith(":"):
            place = text.index(":", place) + 1
            place += len(text[place : place + 100]) - len(text[place : place + 100].lstrip())
            try:
                found, _ = json.JSONDecoder().raw_decode(text, place)
            except ValueError:
                return []  # reading the file says what is wrong with it
            if isinstance(found, list) and all(isinstance(each, dict) for each in found):
                return found
        start = text.find(KEY, start + 1)
    return []
