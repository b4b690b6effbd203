"""Which categories of an annotation file are people, and in which order each names their joints."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hgg.joint_names import words
from hgg.skeleton import Skeleton
from pipeline.base.errors import UserError, listed, shortened

CHOICE = "data.categories"
LONGEST_TITLE = 60  # of a category whose name is cut and whose id has 19 digits
MOST_TITLES, MOST_LISTS = 20, 3  # categories that a message names, and those whose joints it lists


class People(NamedTuple):
    """The categories whose annotations are people."""

    orders: dict[int, tuple[int, ...] | None]
    """By category id: the place in the file of each joint of the skeleton; None where it is the same one."""
    notes: list[str]
    """What was assumed, to be said once."""


class Category(NamedTuple):
    """A category that names keypoints."""

    number: int
    name: str
    joints: list[str]

    @property
    def title(self) -> str:
        """How messages call it."""
        return f"{shortened(self.name)!r} (id {self.number})"


def whole_number(value: Any) -> int | None:
    """The whole number below 2^63 that an id or a size is, also one written as text or with a point.

    None where it is none: 1.5, 'a7', true, and floats that are too large to be exact.
    """
    if isinstance(value, str) and re.fullmatch(r"\s*[+-]?[0-9]{1,19}(\.0*)?\s*", value):
        value = int(value.partition(".")[0])
    elif isinstance(value, float) and value.is_integer() and abs(value) <= 1 << 53:
        value = int(value)
    exact = isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 63
    return value if exact else None


def people_categories(
    entries: list[Any], path: Path, skeleton: Skeleton, chosen: Sequence[str] = ()
) -> People:
    """The categories that are people of a skeleton: those that name its joints, in whatever order.

    Args:
        entries: `categories` of the file.
        path: the file, for messages.
        skeleton: whose joints are wanted.
        chosen: names or ids of the categories that are meant; none means every one that fits.

    Raises `UserError` where none has these joints, with both lists, or a chosen one is not there.
    """
    named = with_joints(entries, path)
    wanted = [words(joint) for joint in skeleton.names]
    meant = [category for category in named if not chosen or is_chosen(category, chosen)]
    fitting = [category for category in meant if sorted(map(words, category.joints)) == sorted(wanted)]
    if chosen:
        _check_chosen(named, fitting, path, chosen, skeleton)
    if not fitting:
        raise UserError(_nobody(named, path, skeleton))
    orders = {category.number: _order([*map(words, category.joints)], wanted) for category in fitting}
    return People(orders, _notes(named, fitting, orders, skeleton))


def put_in_order(keypoints: Any, order: Sequence[int]) -> Any:
    """Keypoints, flat or in triples, in the skeleton's order; as they are where it does not fit them."""
    if not isinstance(keypoints, list):
        return keypoints
    if len(keypoints) == 3 * len(order):
        return [number for place in order for number in keypoints[3 * place : 3 * place + 3]]
    return [keypoints[place] for place in order] if len(keypoints) == len(order) else keypoints


def with_joints(entries: list[Any], path: Path) -> list[Category]:
    """The categories that name keypoints, by id."""
    found: dict[int, Category] = {}
    for entry in entries:
        if not isinstance(entry, Mapping) or not isinstance(joints := entry.get("keypoints"), list):
            continue
        number = whole_number(entry.get("id"))
        if number is None:
            raise UserError(f"{path}: not COCO's format: category id {entry.get('id')!r} is no whole number")
        found[number] = Category(number, str(entry.get("name", "")), [*map(str, joints)])
    return [found[number] for number in sorted(found)]


def is_chosen(category: Category, chosen: Sequence[str]) -> bool:
    """Whether a choice names a category, or its id."""
    return category.name in chosen or str(category.number) in chosen


def _check_chosen(
    named: list[Category], fitting: list[Category], path: Path, chosen: Sequence[str], skeleton: Skeleton
) -> None:
    """Raise `UserError` for a choice that is not a category of people of this skeleton."""
    for choice in chosen:
        if any(is_chosen(category, [choice]) for category in fitting):
            continue
        if any(is_chosen(category, [choice]) for category in named):
            raise UserError(_nobody([each for each in named if is_chosen(each, [choice])], path, skeleton))
        there = _titles(named) or "none"
        raise UserError(f"{path}: {CHOICE} names {choice!r}; categories with keypoints there: {there}")


def _nobody(named: list[Category], path: Path, skeleton: Skeleton) -> str:
    """What to say where no category has the joints that are wanted: both lists."""
    if not named:
        return (
            f"{path}: no category with keypoints; is it COCO's instances file? Each category of people must "
            f"name its joints, in the order of its annotations: {listed(skeleton.names)}"
        )
    lists = "; ".join(
        f"{category.title} has {len(category.joints)}: {listed(category.joints)}"
        for category in named[:MOST_LISTS]
    )
    more = f"; and {len(named) - MOST_LISTS} categories more" if len(named) > MOST_LISTS else ""
    return (
        f"{path}: no category with the {skeleton.count} keypoints of skeleton={skeleton.name}: "
        f"{listed(skeleton.names)}. {lists}{more}. data.format and skeleton must be those "
        "of this file, or the joints be named so (their order is free)"
    )


def _titles(named: list[Category]) -> str:
    """What a message says of categories, of which a file can have any number."""
    return listed([category.title for category in named], MOST_TITLES, LONGEST_TITLE)


def _order(joints: list[tuple[str, ...]], wanted: list[tuple[str, ...]]) -> tuple[int, ...] | None:
    order = tuple(joints.index(joint) for joint in wanted)
    return None if order == tuple(range(len(order))) else order


def _notes(
    named: list[Category],
    fitting: list[Category],
    orders: Mapping[int, tuple[int, ...] | None],
    skeleton: Skeleton,
) -> list[str]:
    """What was assumed about categories, a line each."""
    notes = []
    if len(fitting) > 1:
        notes.append(
            f"the people of {len(fitting)} categories are one: {_titles(fitting)}; {CHOICE} chooses some"
        )
    others = [category for category in named if category not in fitting]
    if others:
        notes.append(f"passed over, as not chosen or of other joints: {_titles(others)}")
    for category in fitting:
        if orders[category.number] is not None:
            first = listed(category.joints[:3])
            notes.append(
                f"category {category.title} names its joints in another order ({first}, ...): put into that "
                f"of skeleton={skeleton.name}"
            )
    return notes
