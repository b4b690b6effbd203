"""pipeline.data.orientation: a picture and its labels, where the picture's file says that it is turned."""

import io
from collections import Counter
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hgg.pictures import ORIENTATION, BadPicture, decode_picture, orientation_tag
from pipeline.data.orientation import as_annotated
from pipeline.data.rejects import BadData
from pipeline.settings.data import DataConfig

WIDTH, HEIGHT = 64, 48
CORNER = 12  # pixels of a white square in the upper left corner


def picture(tag: int, kind: str = "JPEG") -> bytes:
    """A black picture with a white corner, as stored, and a tag."""
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    pixels[:CORNER, :CORNER] = 255
    exif = Image.Exif()
    exif[ORIENTATION] = tag
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind, quality=95, exif=exif)
    return out.getvalue()


def placed(file: bytes) -> tuple[bool, bool]:
    """Whether the white corner is below, and whether it is to the right."""
    pixels = decode_picture(file)[..., 0] > 127
    return bool(pixels[-CORNER // 2].any()), bool(pixels[:, -CORNER // 2].any())


@pytest.mark.parametrize(
    ("tag", "corner"), [(6, (False, True)), (8, (True, False)), (5, (False, False)), (7, (True, True))]
)
def test_sizes_tell_that_labels_are_of_the_upright_picture(tag: int, corner: tuple[bool, bool]) -> None:
    counts: Counter[str] = Counter()
    file, *size = as_annotated(picture(tag), HEIGHT, WIDTH, DataConfig(), counts)
    assert size == [HEIGHT, WIDTH]
    assert placed(file) == corner
    assert orientation_tag(file) == 1
    assert counts == {"pictures_turned": 1}


@pytest.mark.parametrize(("tag", "corner"), [(3, (True, True)), (2, (False, True)), (4, (True, False))])
def test_half_turns_are_followed_where_it_is_said_and_counted_where_not(
    tag: int, corner: tuple[bool, bool]
) -> None:
    counts: Counter[str] = Counter()
    assert as_annotated(picture(tag), WIDTH, HEIGHT, DataConfig(), counts)[0] == picture(tag)
    assert counts == {"pictures_turned_perhaps": 1}
    counts.clear()
    assert as_annotated(picture(tag), WIDTH, HEIGHT, DataConfig(orientation="stored"), counts)[0] == picture(
        tag
    )
    assert not counts
    file, *_ = as_annotated(picture(tag), WIDTH, HEIGHT, DataConfig(orientation="upright"), counts)
    assert placed(file) == corner
    assert counts == {"pictures_turned": 1}


@pytest.mark.parametrize(
    ("orientation", "size", "said"),
    [
        ("auto", (50, 50), r"64 x 48, 48 x 64 as its orientation tag 6 turns it, but .* 50 x 50"),
        ("upright", (WIDTH, HEIGHT), r"data\.orientation=upright"),
        ("stored", (HEIGHT, WIDTH), r"data\.orientation=stored"),
    ],
)
def test_a_wrong_size_names_the_tag(orientation: Any, size: tuple[int, int], said: str) -> None:
    with pytest.raises(BadData, match=said) as caught:
        as_annotated(picture(6), *size, DataConfig(orientation=orientation), Counter())
    assert caught.value.reason == "wrong_size"


@pytest.mark.parametrize(("orientation", "size"), [("auto", [WIDTH, HEIGHT]), ("upright", [HEIGHT, WIDTH])])
def test_sizes_that_are_not_said_are_the_picture_s(orientation: Any, size: list[int]) -> None:
    counts: Counter[str] = Counter()
    _, *found = as_annotated(picture(6), 0, 0, DataConfig(orientation=orientation), counts)
    assert found == size
    assert counts["size_from_picture"] == 1


@pytest.mark.parametrize("data", [b"\xff\xd8\xff\xe1\x00\x10Exif\x00\x00", b"", b"no picture", picture(9)])
def test_no_tag_or_a_broken_one_is_none(data: bytes) -> None:
    assert orientation_tag(data) == 1


def test_a_declared_size_is_not_believed() -> None:
    with pytest.raises(BadData, match=r"65536 x 65536 by the annotation file: data\.max_pixels=100000000"):
        as_annotated(picture(1), 1 << 16, 1 << 16, DataConfig(), Counter())
    with pytest.raises(BadPicture, match="too_large"):
        as_annotated(picture(1), 0, 0, DataConfig(max_pixels=1000), Counter())
