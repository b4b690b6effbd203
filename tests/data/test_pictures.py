"""pipeline.data.pictures: every way in which a picture can be bad, and silence."""

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from pipeline.data.pictures import decode_picture, encode_jpeg
from pipeline.data.rejects import BadData
from tests.cases.tiny_coco import jpeg

PICTURE = jpeg(160, 120)
# The camera's orientation tag (0x0112) with the value 6, "turn by 90 degrees", as an Exif segment.
ORIENTATION = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"


def with_segment(content: bytes) -> bytes:
    """The picture with an application segment after its start marker."""
    return PICTURE[:2] + b"\xff\xe1" + (len(content) + 2).to_bytes(2, "big") + content + PICTURE[2:]


def reason(data: bytes) -> str:
    with pytest.raises(BadData) as caught:
        decode_picture(data)
    return caught.value.reason


def test_colours_come_as_red_green_blue_and_survive() -> None:
    picture = np.zeros((16, 24, 3), np.uint8)
    picture[..., 0], picture[..., 1] = 200, 90
    decoded = decode_picture(encode_jpeg(picture, 95))
    assert decoded.shape == picture.shape
    assert abs(decoded.astype(int) - picture).max() <= 3


def test_quality_is_passed_on() -> None:
    picture = decode_picture(PICTURE)
    assert len(encode_jpeg(picture, 30)) < len(encode_jpeg(picture, 95)) / 2


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_truncated_picture_is_noticed(share: float) -> None:
    assert reason(PICTURE[: int(share * len(PICTURE))]) == "truncated"


def test_a_missing_end_marker_is_noticed_and_that_of_a_thumbnail_does_not_count() -> None:
    assert reason(PICTURE[:-2]) == "truncated"
    thumbnail = with_segment(b"Exif\0\0" + PICTURE)
    assert decode_picture(thumbnail).shape == (120, 160, 3)
    assert reason(thumbnail[: len(thumbnail) - 300]) == "truncated"


def test_damage_inside_the_coded_data_is_noticed() -> None:
    middle = len(PICTURE) * 2 // 3
    assert reason(PICTURE[:middle] + PICTURE[middle + 400 :]) == "damaged"


@pytest.mark.parametrize(
    ("data", "expected"),
    [(b"", "empty_file"), (b"hello world" * 50, "not_decodable"), (PICTURE[:2], "not_decodable")],
)
def test_what_is_no_picture(data: bytes, expected: str) -> None:
    assert reason(data) == expected


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data + b"trailing bytes",
        lambda data: data[:-2] + b"abc" + data[-2:],
        lambda data: with_segment(ORIENTATION),
    ],
    ids=["bytes after the end", "bytes before the end", "orientation"],
)
def test_harmless_oddities_change_nothing(change: Callable[[bytes], bytes]) -> None:
    np.testing.assert_array_equal(decode_picture(change(PICTURE)), decode_picture(PICTURE))


def test_the_orientation_tag_of_the_test_is_one_that_opencv_follows_by_default() -> None:
    turned = cv2.imdecode(np.frombuffer(with_segment(ORIENTATION), np.uint8), cv2.IMREAD_COLOR)
    assert turned is not None
    assert turned.shape == (160, 120, 3)


def test_other_formats_decode() -> None:
    done, png = cv2.imencode(".png", decode_picture(PICTURE)[..., ::-1])
    assert done
    np.testing.assert_array_equal(decode_picture(png.tobytes()), decode_picture(PICTURE))


def test_bad_pictures_leave_stderr_alone(capfd: pytest.CaptureFixture[str]) -> None:
    middle = len(PICTURE) // 2
    for data in (PICTURE[:middle], PICTURE[:middle] + PICTURE[middle + 400 :], b"text"):
        reason(data)
    assert capfd.readouterr().err == ""
