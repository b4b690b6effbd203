"""A picture as its labels see it: by the stored pixels, or turned upright by its orientation tag.

Cameras store what the sensor saw and say in a tag (EXIF's Orientation, 1 to 8) how to turn it. Some
annotation tools show the stored pixels, others turn them first; width and height in the annotation file tell
which, where the tag turns by a quarter.
"""

from collections import Counter

from hgg.pictures import decode_picture, encode_jpeg, orientation_tag
from pipeline.data.rejects import BadData
from pipeline.settings.data import DataConfig

Size = tuple[int, int]
QUARTERS = (5, 6, 7, 8)  # tags that exchange width and height
QUALITY = 98  # of the JPEG of a picture that is stored anew; its file has been coded once before


def as_annotated(
    file: bytes, width: int, height: int, data: DataConfig, counts: Counter[str]
) -> tuple[bytes, int, int]:
    """A picture's file, as it is or turned, and its width and height.

    Args:
        file: its bytes.
        width, height: as the annotation file says; 0 where it does not.
        data: `orientation` and `max_pixels`.
        counts: counts `pictures_turned`, `pictures_turned_perhaps` and `size_from_picture`.

    Raises `BadData`: `too_large`, `wrong_size`; and `BadPicture` as `decode_picture` does.
    """
    if width * height > data.max_pixels:
        raise BadData(
            "too_large", f"{width} x {height} by the annotation file: data.max_pixels={data.max_pixels}"
        )
    rows, columns = decode_picture(file, max_pixels=data.max_pixels).shape[:2]
    tag, stored = orientation_tag(file), (columns, rows)
    upright = (rows, columns) if tag in QUARTERS else stored
    said = (width, height)
    if not width or not height:
        counts["size_from_picture"] += 1
        said = upright if data.orientation == "upright" else stored
    follow = _is_turned(tag, stored, upright, said, data)
    if tag > 1 and stored == upright and data.orientation == "auto":
        counts["pictures_turned_perhaps"] += 1
    if not follow:
        return file, *stored
    counts["pictures_turned"] += 1
    return encode_jpeg(decode_picture(file, upright=True), QUALITY), *upright


def _is_turned(tag: int, stored: Size, upright: Size, said: Size, data: DataConfig) -> bool:
    """Whether the labels are of the picture as its tag turns it."""
    fits = {"stored": (stored,), "upright": (upright,), "auto": (stored, upright)}[data.orientation]
    if said not in fits:
        turned = f", {upright[0]} x {upright[1]} as its orientation tag {tag} turns it" if tag > 1 else ""
        raise BadData(
            "wrong_size",
            f"{stored[0]} x {stored[1]}{turned}, but the annotation file says {said[0]} x {said[1]}"
            + (f" (data.orientation={data.orientation})" if tag > 1 else ""),
        )
    return tag > 1 and (data.orientation == "upright" or said != stored)
