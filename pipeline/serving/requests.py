"""A request's pictures, and what is said where they are none."""

import asyncio
from typing import NamedTuple

import numpy as np
from fastapi import HTTPException, Request
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException as AnyHTTPException

from hgg.pictures import BadPicture, decode_picture

FORM = "multipart/form-data"
PLAIN = ("application/octet-stream", "")
STATUS = {"too_large": 413, "not_decodable": 415, "empty_file": 415}
"""By `BadPicture.reason`; whatever else is wrong with a picture is 422."""


class Picture(NamedTuple):
    """One that was sent."""

    name: str
    pixels: np.ndarray
    """RGB uint8 (H, W, 3), upright."""


async def pictures_of(request: Request, max_pixels: int, max_images: int) -> list[Picture]:
    """The pictures of a request: its body, or the files of a form.

    Raises:
        HTTPException: 413, 415 or 422, with a sentence.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == FORM:
        files = await _files(request, max_images)
    elif kind.startswith("image/") or kind in PLAIN:
        files = [("picture", await request.body())]
    else:
        raise HTTPException(415, f"Content-Type: {kind} is no picture: send image/*, or a form ({FORM})")
    found, left = [], max_pixels
    for name, data in files:
        pixels = await asyncio.to_thread(_decoded, name, data, max(1, left))
        left -= pixels.shape[0] * pixels.shape[1]
        found.append(Picture(name, pixels))
    return found


async def _files(request: Request, most: int) -> list[tuple[str, bytes]]:
    """Names and bytes of a form's files, whatever its fields are called."""
    try:
        async with request.form(max_files=most, max_fields=most) as form:
            uploads = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
            files = [(upload.filename or "picture", await upload.read()) for upload in uploads]
    except AnyHTTPException as error:  # what Starlette makes of a form that is none
        text = f"{str(error.detail).rstrip('.')}: send up to {most} pictures as files of a form"
        raise HTTPException(422, text) from error
    if not files:
        raise HTTPException(
            422, "no file in the form: send each picture as a file, as curl -F image=@photo.jpg"
        )
    return files


def _decoded(name: str, data: bytes, max_pixels: int) -> np.ndarray:
    try:
        return decode_picture(data, upright=True, max_pixels=max_pixels)
    except BadPicture as error:
        more = " (serve.max_pixels, all of a request's together)" if error.reason == "too_large" else ""
        raise HTTPException(STATUS.get(error.reason, 422), f"{name}: {error}{more}") from error
