"""What an endpoint answers, without Ray: a model of the test's own finds the people."""

import asyncio
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from hgg.pictures import decode_picture, encode_jpeg, encode_png
from hgg.skeleton import COCO
from pipeline.serving.app import Answer, make_app
from pipeline.settings.using import ServeConfig
from tests.cases.endpoint import Two
from tests.cases.pictures import empty_png
from tests.cases.uploads import malformed_uploads

LIMITS = ServeConfig(max_bytes=100_000, max_pixels=50_000, max_images=3, max_requests=2)
JPEG = {"Content-Type": "image/jpeg"}


@pytest.fixture
def finder() -> Two:
    return Two()


@pytest.fixture
def client(finder: Two) -> Iterator[TestClient]:
    with TestClient(make_app(finder, LIMITS)) as made:
        yield made


def _jpeg(width: int = 60, height: int = 40) -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return encode_jpeg(noise, 90)


def test_one_picture_is_coco_s_file_of_it(client: TestClient) -> None:
    answer = client.post("/v1/people", content=_jpeg(), headers=JPEG)
    assert answer.status_code == 200
    assert answer.headers["x-model"] == "two.pt"
    found = answer.json()
    assert found["images"] == [{"id": 1, "file_name": "picture", "width": 60, "height": 40}]
    assert [person["score"] for person in found["annotations"]] == [0.7]
    assert found["categories"][0]["keypoints"] == list(COCO.names)
    everybody = client.post("/v1/people?min_score=0", content=_jpeg(), headers=JPEG).json()
    assert len(everybody["annotations"]) == 2


def test_several_pictures_are_files_of_a_form(client: TestClient, finder: Two) -> None:
    files = [("image", ("a.jpg", _jpeg(), "image/jpeg")), ("more", ("b.png", _png(30, 20), "image/png"))]
    found = client.post("/v1/people", files=files).json()
    assert [(each["id"], each["file_name"]) for each in found["images"]] == [(1, "a.jpg"), (2, "b.png")]
    assert [person["image_id"] for person in found["annotations"]] == [1, 2]
    assert finder.sizes == [(40, 60, 3), (20, 30, 3)]


def _png(width: int, height: int) -> bytes:
    return encode_png(np.full((height, width, 3), 90, np.uint8))


def test_a_drawn_picture_is_asked_for_by_accept(client: TestClient) -> None:
    answer = client.post("/v1/people", content=_png(60, 40), headers={"Accept": "image/png", **JPEG})
    assert answer.headers["content-type"] == "image/png"
    drawn = decode_picture(answer.content)
    assert drawn.shape == (427, 640, 3)
    assert (drawn != 90).any()
    two = [("image", ("a.png", _png(6, 4), "image/png"))] * 2
    assert client.post("/v1/people", files=two, headers={"Accept": "image/png"}).status_code == 422


def test_rounds_are_a_page(client: TestClient) -> None:
    answer = client.post("/v1/explain", content=_png(60, 40), headers=JPEG)
    assert answer.text == "<p>picture (40, 60, 3)"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    answer = client.post("/v1/explain", content=_png(60, 41), headers=JPEG)
    assert (answer.status_code, answer.json()) == (422, {"error": "no rounds"})


WRONG: list[tuple[bytes, str, int, str]] = [
    (b"{}", "application/json", 415, "Content-Type: application/json is no picture"),
    (b"", "image/jpeg", 415, "empty_file: 0 bytes"),
    (b"no picture", "image/jpeg", 415, "not_decodable"),
    (_jpeg()[:-200], "image/jpeg", 422, "truncated"),
    (empty_png(300, 200), "image/png", 413, "300 x 200 pixels, more than 50000 (serve.max_pixels"),
    (empty_png(60_000, 1), "image/png", 413, "too_large"),
    (b"x" * 100_001, "image/jpeg", 413, "a request may have 100000 bytes (serve.max_bytes)"),
    (b"x", "multipart/form-data", 422, "boundary"),
    (b"--b\r\n\r\n", "multipart/form-data; boundary=b", 422, "send up to 3 pictures as files of a form"),
    (b"--b--\r\n", "multipart/form-data; boundary=b", 422, "no file in the form"),
]


@pytest.mark.parametrize(("body", "kind", "status", "text"), WRONG)
def test_what_is_wrong_is_one_sentence(
    client: TestClient, body: bytes, kind: str, status: int, text: str
) -> None:
    answer = client.post("/v1/people", content=body, headers={"Content-Type": kind})
    assert answer.status_code == status, answer.text
    assert text in answer.json()["error"]


def test_a_body_of_unknown_length_is_counted_as_it_comes(client: TestClient) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(200):
            yield b"x" * 1000

    answer = client.post("/v1/people", content=pieces(), headers=JPEG)
    assert (answer.status_code, "serve.max_bytes" in answer.text) == (413, True)


def test_the_pixels_of_a_form_count_together(client: TestClient) -> None:
    files = [("image", (f"{k}.png", empty_png(200, 200), "image/png")) for k in range(2)]
    answer = client.post("/v1/people", files=files)
    assert answer.status_code == 413
    assert answer.json()["error"].startswith("1.png: too_large: 200 x 200 pixels, more than 10000")


def test_more_pictures_than_may_be_are_turned_away(client: TestClient) -> None:
    files = [("image", (f"{k}.png", _png(6, 4), "image/png")) for k in range(4)]
    assert client.post("/v1/people", files=files).status_code == 422


def test_a_score_that_is_none_is_named(client: TestClient) -> None:
    answer = client.post("/v1/people?min_score=high", content=_jpeg(), headers=JPEG)
    assert answer.status_code == 422
    assert answer.json()["error"].startswith("min_score='high': ")


def test_who_comes_when_it_is_full_is_told_when_to_come_again(client: TestClient, finder: Two) -> None:
    finder.busy = True
    answer = client.post("/v1/people", content=_jpeg(), headers=JPEG)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


def test_no_more_are_at_work_than_may_be() -> None:
    """Two hang, the third is turned away at once; when they are done, there is room again."""
    finder, started = Two(), asyncio.Event()
    honest = finder.people

    async def slow(pictures: Sequence[np.ndarray]) -> Answer:
        await started.wait()
        return await honest(pictures)

    finder.people = slow  # pyrefly: ignore[bad-assignment]  # as its own
    app = make_app(finder, LIMITS)

    async def ask() -> list[dict[str, Any]]:
        sent: list[dict[str, Any]] = []
        given = iter([{"type": "http.request", "body": _jpeg(), "more_body": False}])

        async def receive() -> Any:
            return next(given, {"type": "http.disconnect"})

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http", "method": "POST", "path": "/v1/people", "raw_path": b"/v1/people",
            "query_string": b"", "headers": [(b"content-type", b"image/jpeg")], "http_version": "1.1",
        }  # fmt: skip
        await app(scope, receive, send)
        return sent

    async def three() -> list[int]:
        waiting = [asyncio.create_task(ask()) for _ in range(2)]
        await asyncio.sleep(0.2)
        statuses = [(await ask())[0]["status"]]
        started.set()
        statuses += [(await each)[0]["status"] for each in waiting]
        return [*statuses, (await ask())[0]["status"]]

    assert asyncio.run(three()) == [503, 200, 200, 200]


def test_health_readiness_and_the_model(client: TestClient, finder: Two) -> None:
    assert client.get("/healthz").json() == {"status": "alive"}
    assert client.get("/readyz").json() == {"status": "ready", "model": "two.pt"}
    assert client.get("/v1/model").json()["input_size"] == 64
    finder.gone = True
    assert client.get("/readyz").status_code == 503
    assert client.get("/healthz").status_code == 200


def test_a_token_is_wanted_for_all_but_the_page_and_health() -> None:
    with TestClient(make_app(Two(), LIMITS, "secret")) as client:
        for path in ("/", "/healthz", "/readyz"):
            assert client.get(path).status_code == 200
        for path in ("/v1/model", "/docs", "/openapi.json"):
            answer = client.get(path)
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
        assert client.post("/v1/people", content=_jpeg(), headers=JPEG).status_code == 401
        wrong = {"Authorization": "Bearer secre"}
        assert client.get("/v1/model", headers=wrong).status_code == 401
        assert client.get("/v1/model", headers={"Authorization": "Bearer secret"}).status_code == 200


def test_the_description_has_every_path_and_the_page_of_it_too(client: TestClient) -> None:
    schema = client.get("/openapi.json").json()
    assert sorted(schema["paths"]) == ["/v1/explain", "/v1/model", "/v1/people"]
    page = client.get("/docs").text
    for path in schema["paths"]:
        assert path in page
    assert "http" not in page.replace("http://127.0.0.1", "")


def test_the_page_asks_for_nothing_from_elsewhere(client: TestClient) -> None:
    answer = client.get("/")
    outside = [part for part in ("https://", "src=", "@import", "url(") if part in answer.text]
    assert not outside
    assert "http://www.w3.org/2000/svg" in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_malformed_uploads_break_nothing(client: TestClient) -> None:
    """Each of 200 is answered, and a good one afterwards too."""
    statuses = set()
    for upload in malformed_uploads(200):
        answer = client.post("/v1/people", content=upload.body, headers=upload.headers)
        json.loads(answer.text)
        statuses.add(answer.status_code)
    assert {413, 415, 422} <= statuses <= {200, 413, 415, 422}
    assert client.post("/v1/people", content=_jpeg(), headers=JPEG).status_code == 200


def test_the_page_is_part_of_the_package(repository: Path) -> None:
    assert '"pipeline.serving" = ["page.html"]' in (repository / "pyproject.toml").read_text()
