"""pipeline.data.regions: segmentations to masks, counted by hand, and everything that is not one."""

from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from pipeline.data.regions import box_and_area, to_mask, to_regions, union
from pipeline.data.rejects import BadData

WIDTH, HEIGHT, CORNERS = 12, 8, 100_000
BOX = np.array([1.0, 2.0, 4.0, 3.0])
NOWHERE = {"size": [HEIGHT, WIDTH], "counts": [WIDTH * HEIGHT]}


def region(segmentation: Any) -> np.ndarray:
    return to_mask(union(to_regions(segmentation, BOX, WIDTH, HEIGHT, CORNERS), WIDTH, HEIGHT))


def some_mask() -> np.ndarray:
    return (np.random.default_rng(3).random((HEIGHT, WIDTH)) < 0.4).astype(np.uint8)


def test_a_polygon_covers_its_pixels() -> None:
    expected = np.zeros((HEIGHT, WIDTH), np.uint8)
    expected[3:6, 2:7] = 1
    np.testing.assert_array_equal(region([[2, 3, 7, 3, 7, 6, 2, 6]]), expected)


def test_several_polygons_are_united() -> None:
    assert region([[0, 0, 2, 0, 2, 2, 0, 2], [1, 1, 3, 1, 3, 3, 1, 3]]).sum() == 7  # 4 + 4, one shared


def test_without_segmentation_the_box_counts() -> None:
    expected = np.zeros((HEIGHT, WIDTH), np.uint8)
    expected[2:5, 1:5] = 1
    for nothing in ([], None):
        np.testing.assert_array_equal(region(nothing), expected)


def test_run_lengths_as_numbers_go_down_the_columns() -> None:
    shown = region({"size": [HEIGHT, WIDTH], "counts": [HEIGHT + 1, 3, WIDTH * HEIGHT - HEIGHT - 4]})
    expected = np.zeros((HEIGHT, WIDTH), np.uint8)
    expected[1:4, 1] = 1
    np.testing.assert_array_equal(shown, expected)


@pytest.mark.parametrize("seed", range(8))
def test_compressed_run_lengths_are_read_as_pycocotools_reads_them(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mask: Any = np.repeat(rng.random((60, 9)) < 0.5, 40, axis=0).astype(
        np.uint8, order="F"
    )  # long and short runs
    rle: Any = coco_mask.encode(mask)
    text = {"size": [2400, 9], "counts": rle["counts"].decode()}
    regions = to_regions(text, BOX, 9, 2400, CORNERS)
    np.testing.assert_array_equal(to_mask(union(regions, 9, 2400)), mask)


def test_no_region_covers_nothing() -> None:
    nothing = to_mask(union([], WIDTH, HEIGHT))
    assert nothing.shape == (HEIGHT, WIDTH)
    assert not nothing.any()


def test_a_polygon_far_outside_ends_at_the_border() -> None:
    assert region([[-1e12, -1e12, 1e12, -1e12, 1e12, 1e12, -1e12, 1e12]]).all()


@pytest.mark.parametrize(
    "segmentation",
    [
        [[1, 2, 3, 4]],
        [[1, 2, 3, 4, 5, 6, 7]],
        [[1, 2, 3, 4, 5, float("nan")]],
        [["a", 2, 3, 4, 5, 6]],
        [1, 2, 3, 4],
        [[1, 2, 3], [4, 5, 6]],
        "1 2 3 4 5 6",
        NOWHERE | {"size": [WIDTH, HEIGHT]},
        NOWHERE | {"counts": [5, 5]},
        NOWHERE | {"counts": [-5, WIDTH * HEIGHT + 5]},
        NOWHERE | {"counts": [0, 5, 0, 0, WIDTH * HEIGHT - 5]},
        # As many runs of no length as overflow what pycocotools merges in.
        NOWHERE | {"counts": [0] * (4 * WIDTH * HEIGHT) + [WIDTH * HEIGHT]},
        NOWHERE | {"counts": 7},
        NOWHERE | {"counts": "~~~~"},
        NOWHERE | {"counts": "\x10"},
        NOWHERE | {"counts": "PPPP"},
        {"size": [HEIGHT, WIDTH]},
        # What pycocotools would walk along for hours, or run out of 32 bits with.
        [[0, 0] * (CORNERS + 1)],
        [[0, 0, WIDTH, HEIGHT] * (CORNERS // 8)] * 5,
        NOWHERE | {"counts": "o" * 40 + "0"},
    ],
)
def test_what_is_no_segmentation(segmentation: Any) -> None:
    with pytest.raises(BadData) as caught:
        region(segmentation)
    assert caught.value.reason == "segmentation"


@pytest.mark.parametrize(
    "segmentation",
    [
        [1, 2, 5, 2, 5, 5, 1, 5],
        [[[1, 2], [5, 2], [5, 5], [1, 5]]],
        [[], [1, 2, 5, 2, 5, 5, 1, 5], []],
        [],
        [[]],
        {},
        None,
    ],
)
def test_other_ways_to_write_the_box(segmentation: Any) -> None:
    assert (region(segmentation) == region([[1, 2, 5, 2, 5, 5, 1, 5]])).all()


def test_a_polygon_around_more_than_can_be_counted() -> None:
    side = 10_000
    zigzag = [0, 0, side, side] * 1_000
    with pytest.raises(BadData, match=r"segmentation: a polygon of \d+ pixels around"):
        to_regions([zigzag], BOX, side, side, CORNERS)


def test_box_and_area_are_those_of_all_regions() -> None:
    box, area = box_and_area(to_regions([[1, 2, 5, 2, 5, 5, 1, 5], [7, 0, 9, 0, 9, 2, 7, 2]], None, 12, 8, 9))
    assert box.tolist() == [1, 0, 8, 5]
    assert area == 12 + 4
