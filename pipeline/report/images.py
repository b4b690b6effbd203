"""How well the people of each image are found, and the images that are the best and the worst."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from hgg.poses import MIN_SCORE
from pipeline.report.matching import NOBODY, Matched

MEANING = (
    "OKS of everybody who is right at an OKS of 0.5, summed, over the mean of how many people there are and"
    f" how many were found with a score of at least {MIN_SCORE:g}: 1 where everybody is found to the pixel "
    "and nobody else is, 0 where nobody is found."
)
"""What an agreement is, for whoever reads one."""


class ImageFigures(NamedTuple):
    """An image with people that count."""

    image_id: int
    people: int
    found: dict[str, int]
    """By grouping, people with a score of `MIN_SCORE` at least."""
    agreement: dict[str, float]
    """By grouping, `MEANING`."""


def image_figures(matched: Mapping[str, Mapping[int, Matched]]) -> list[ImageFigures]:
    """Each image that has people that count.

    Args:
        matched: by grouping, by image id; the same images for all.
    """
    rows = []
    for image_id, image in next(iter(matched.values()), {}).items():
        if image.people:
            each = {grouping: images[image_id] for grouping, images in matched.items()}
            rows.append(
                ImageFigures(
                    image_id,
                    len(image.people),
                    {grouping: _found(of_grouping) for grouping, of_grouping in each.items()},
                    {grouping: agreement(of_grouping) for grouping, of_grouping in each.items()},
                )
            )
    return rows


def agreement(image: Matched) -> float:
    """How well the people of an image are found, in [0, 1] (`MEANING`)."""
    right = sum(each.oks for each in image.found if each.score >= MIN_SCORE and each.person != NOBODY)
    return 2 * right / max(1, len(image.people) + _found(image))


def best_and_worst(
    images: Sequence[ImageFigures], most: int, grouping: str = "hgg"
) -> tuple[list[ImageFigures], list[ImageFigures]]:
    """At the most so many images of the highest agreement and, of the others, of the lowest.

    Of equals come those with more people first, then by id.
    """
    best = sorted(images, key=lambda each: (-each.agreement[grouping], -each.people, each.image_id))[:most]
    taken = {each.image_id for each in best}
    rest = [each for each in images if each.image_id not in taken]
    return best, sorted(rest, key=lambda each: (each.agreement[grouping], -each.people, each.image_id))[:most]


def _found(image: Matched) -> int:
    return sum(each.score >= MIN_SCORE for each in image.found)
