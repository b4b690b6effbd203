"""hgg.pictures: every way in which a picture can be bad, and silence."""

import struct
import tracemalloc
from collections.abc import Callable

import cv2
import numpy as np
import pytest

from hgg.pictures import BadPicture, decode_picture, encode_jpeg, picture_size
from tests.cases.pictures import empty_png
from tests.cases.tiny_coco import jpeg

PICTURE = jpeg(160, 120)
# The camera's orientation tag (0x0112) with the value 6, "turn by 90 degrees", as an Exif segment.
ORIENTATION = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"


def with_segment(content: bytes) -> bytes:
    """The picture with an application segment after its start marker."""
    return PICTURE[:2] + b"\xff\xe1" + (len(content) + 2).to_bytes(2, "big") + content + PICTURE[2:]


def reason(data: bytes) -> str:
    with pytest.raises(BadPicture) as caught:
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


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "bmp", "tif", "gif", "avif", "jp2", "ppm", "ras"])
def test_the_size_is_read_from_the_header_of_whatever_opencv_decodes(suffix: str) -> None:
    done, data = cv2.imencode(f".{suffix}", np.zeros((40, 60, 3), np.uint8))
    assert done
    assert picture_size(data.tobytes()) == (60, 40)
    assert decode_picture(data.tobytes(), max_pixels=2400).shape == (40, 60, 3)
    with pytest.raises(BadPicture, match="too_large: 60 x 40 pixels, more than 2399"):
        decode_picture(data.tobytes(), max_pixels=2399)


def test_a_picture_that_declares_too_much_is_refused_before_it_is_decoded() -> None:
    bomb = empty_png(16000, 16000)
    assert len(bomb) < 1_000_000
    assert picture_size(bomb) == (16000, 16000)  # and no warning of Pillow's
    tracemalloc.start()
    try:
        with pytest.raises(BadPicture, match="too_large: 16000 x 16000 pixels, more than 100000000"):
            decode_picture(bomb, max_pixels=100_000_000)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_a_size_that_a_header_does_not_tell_is_not_believed() -> None:
    for data in (b"hello world" * 50, PICTURE[:2], empty_png(8, 8)[:20]):
        assert picture_size(data) is None
        with pytest.raises(BadPicture, match="not_decodable"):
            decode_picture(data, max_pixels=1000)


def test_a_webp_of_more_pixels_than_its_reader_opens_is_too_large() -> None:
    canvas = b"VP8X" + struct.pack("<I", 10) + bytes(4) + (16382).to_bytes(3, "little") * 2
    # Older Pillows, as 12.0, decode a frame to tell the size, and here is none.
    with pytest.raises(BadPicture, match=r"too_large: Image size|not_decodable: 30 bytes .*no header"):
        decode_picture(b"RIFF" + struct.pack("<I", 4 + len(canvas)) + b"WEBP" + canvas, max_pixels=10**9)


def test_bad_pictures_leave_stderr_alone(capfd: pytest.CaptureFixture[str]) -> None:
    middle = len(PICTURE) // 2
    for data in (PICTURE[:middle], PICTURE[:middle] + PICTURE[middle + 400 :], b"text"):
        reason(data)
    assert capfd.readouterr().err == ""
