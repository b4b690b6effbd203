"""The endpoint as a FastAPI application: what is asked, and what goes back. Who finds the people is given.

Nothing here knows of Ray: a test gives it a model of its own.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Protocol

import numpy as np
from fastapi import FastAPI, HTTPException, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.exceptions import HTTPException as AnyHTTPException

from hgg.coco import annotations, category, image_entry
from hgg.draw import draw_poses
from hgg.pictures import encode_png
from hgg.poses import MIN_SCORE, Poses, likely
from hgg.skeleton import Skeleton
from pipeline.serving.docs_page import docs_page
from pipeline.serving.guard import RETRY_SECONDS, Guard, TooLarge
from pipeline.serving.requests import Picture, pictures_of
from pipeline.settings.using import ServeConfig

PAGE = Path(__file__).with_name("page.html")
PNG = "image/png"
# The page and what it shows come from here alone, whatever a picture's name may try.
POLICY = (
    "default-src 'none'; img-src 'self' blob: data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "connect-src 'self'; frame-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)


class Busy(Exception):
    """As many pictures wait as may."""


class Answer(NamedTuple):
    """What a model found."""

    poses: list[Poses]
    """Of each picture, in its pixels."""
    skeleton: Skeleton
    model: str
    """Which one it was: the file's name, or the registered version."""


class Finder(Protocol):
    """Finds people."""

    async def people(self, pictures: Sequence[np.ndarray]) -> Answer:
        """Of RGB uint8 pictures; raises `Busy`."""
        ...

    async def explain(self, picture: np.ndarray, title: str) -> str:
        """A picture's grouping as a page; raises `Busy`, or `ValueError` where there are no rounds."""
        ...

    async def card(self) -> dict[str, Any]:
        """What the model is; raises where it does not answer."""
        ...


def make_app(finder: Finder, config: ServeConfig, token: str = "") -> Guard:
    """The application.

    Args:
        finder: the model.
        config: limits.
        token: that requests must bring; "" asks for none.
    """
    app = FastAPI(
        title="HGG: people in pictures",
        version="1",
        description="Multi-person poses by hierarchical graph grouping (ECCV 2020).",
        docs_url=None,
        redoc_url=None,
    )
    app.add_exception_handler(AnyHTTPException, _told)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(TooLarge, _too_large)
    app.add_exception_handler(Busy, _busy)
    _add_people(app, finder, config)
    _add_model(app, finder)
    return Guard(app, token, config.max_bytes, config.max_requests)


def _add_people(app: FastAPI, finder: Finder, config: ServeConfig) -> None:
    body = {
        "requestBody": {
            "required": True,
            "content": {
                "image/*": {"schema": {"type": "string", "format": "binary"}},
                "multipart/form-data": {
                    "schema": {
                        "type": "object",
                        "properties": {
                            "image": {"type": "array", "items": {"type": "string", "format": "binary"}}
                        },
                    }
                },
            },
        }
    }
    told = {
        413: "too many bytes or pixels",
        415: "no picture",
        422: "a picture that is not whole",
        503: "busy",
    }
    responses: dict[int | str, dict[str, Any]] = {code: {"description": text} for code, text in told.items()}

    @app.post("/v1/people", openapi_extra=body, responses=responses)
    async def people(
        request: Request,
        min_score: Annotated[
            float, Query(ge=0.0, description="people of a lower score are left out")
        ] = MIN_SCORE,
    ) -> Response:
        """The people of one picture (the body) or of several (the files of a form).

        As COCO's annotation file has them, or, with `Accept: image/png` and one picture, drawn on it.
        """
        pictures = await pictures_of(request, config.max_pixels, config.max_images)
        drawn = PNG in request.headers.get("accept", "")
        if drawn and len(pictures) > 1:
            raise HTTPException(422, f"Accept: {PNG} is for one picture, {len(pictures)} were sent")
        answer = await finder.people([picture.pixels for picture in pictures])
        found = [likely(poses, min_score) for poses in answer.poses]
        headers = {"X-Model": answer.model}
        if drawn:
            picture = draw_poses(pictures[0].pixels, found[0], skeleton=answer.skeleton, min_score=0.0)
            return Response(encode_png(picture), media_type=PNG, headers=headers)
        return JSONResponse(_to_coco(pictures, found, answer.skeleton), headers=headers)

    @app.post("/v1/explain", openapi_extra=body, responses=responses)
    async def explain(request: Request) -> HTMLResponse:
        """One picture's grouping, round by round, as a page to step through with the arrow keys."""
        pictures = await pictures_of(request, config.max_pixels, 1)
        try:
            page = await finder.explain(pictures[0].pixels, pictures[0].name)
        except ValueError as error:
            raise HTTPException(422, str(error)) from error
        return HTMLResponse(page, headers={"Content-Security-Policy": POLICY})


def _add_model(app: FastAPI, finder: Finder) -> None:
    @app.get("/v1/model")
    async def model() -> dict[str, Any]:
        """What finds the people: its name, joints, limbs, size of input, card."""
        return await finder.card()

    @app.get("/healthz", include_in_schema=False)
    async def health() -> dict[str, str]:
        return {"status": "alive"}

    @app.get("/readyz", include_in_schema=False)
    async def ready() -> Response:
        try:
            card = await finder.card()
        except Exception as error:  # whatever it is, pictures had better go elsewhere
            return JSONResponse({"status": f"not ready: {type(error).__name__}"}, 503)
        return JSONResponse({"status": "ready", "model": card["model"]})

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(docs_page(app.openapi()), headers={"Content-Security-Policy": POLICY})

    @app.get("/", include_in_schema=False)
    async def page() -> HTMLResponse:
        return HTMLResponse(PAGE.read_text(encoding="utf-8"), headers={"Content-Security-Policy": POLICY})


def _to_coco(pictures: Sequence[Picture], found: Sequence[Poses], skeleton: Skeleton) -> dict[str, Any]:
    """A COCO annotation file of several pictures, numbered from 1."""
    images, people = [], []
    for number, (picture, poses) in enumerate(zip(pictures, found, strict=True), start=1):
        images.append(image_entry(number, picture.name, picture.pixels))
        people.extend(annotations(number, len(people) + 1, poses))
    return {"images": images, "annotations": people, "categories": [category(skeleton)]}


async def _told(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, AnyHTTPException)
    return JSONResponse({"error": str(error.detail)}, error.status_code, headers=error.headers)


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    told = "; ".join(f"{each['loc'][-1]}={each['input']!r}: {each['msg']}" for each in error.errors())
    return JSONResponse({"error": told}, 422)


async def _too_large(_: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"error": str(error)}, 413, headers={"Connection": "close"})


async def _busy(_: Request, error: Exception) -> JSONResponse:
    text = str(error) or "as many pictures wait as there is room for: try again"
    return JSONResponse({"error": text}, 503, headers={"Retry-After": str(RETRY_SECONDS)})
