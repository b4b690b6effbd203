"""The endpoint's page, driven in a headless Chromium: choose, read, step, copy, a phone's width, a token."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvicorn

from hgg.pictures import encode_jpeg
from pipeline.serving.app import make_app
from pipeline.settings.using import ServeConfig
from tests.cases.browser import browser
from tests.cases.endpoint import Two

SECONDS = 20


class _Explaining(Two):
    """Whose rounds are a page with a script, as the real one."""

    async def explain(self, picture: np.ndarray, title: str) -> str:
        await super().explain(picture, title)
        return "<title>rounds</title><p id=told></p><script>told.textContent = 'ran'</script>"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with browser(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture
def serve() -> Iterator[Callable[[str], str]]:
    """Starts an endpoint with a token, or with none, and gives its address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    started: list[tuple[uvicorn.Server, threading.Thread]] = []

    def start(token: str = "") -> str:
        app = make_app(_Explaining(), ServeConfig(max_pixels=1_000_000), token)
        server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error", lifespan="off"))
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        started.append((server, thread))
        _until(lambda: server.started)
        return f"http://127.0.0.1:{port}/"

    yield start
    for server, thread in started:
        server.should_exit = True
        thread.join(SECONDS)


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    paths = []
    for number, (width, height) in enumerate([(320, 240), (240, 400)]):
        noise = np.random.default_rng(number).integers(0, 256, (height // 8, width // 8, 3), np.uint8)
        paths.append(tmp_path / f"{'ab'[number]}.jpg")
        paths[-1].write_bytes(encode_jpeg(noise.repeat(8, axis=0).repeat(8, axis=1), 90))
    return paths


def _until(true: Callable[[], Any]) -> None:
    end = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def _all(page: Any, selector: str) -> list[Any]:
    return page.find_elements("css selector", selector)


def _choose(page: Any, photos: list[Path]) -> None:
    page.find_element("id", "files").send_keys("\n".join(map(str, photos)))


def _errors(page: Any) -> list[str]:
    return [entry["message"] for entry in page.get_log("browser") if entry["level"] == "SEVERE"]


def test_pictures_are_looked_at_and_people_drawn_over_them(
    page: Any, serve: Callable[..., str], photos: list[Path]
) -> None:
    page.get(serve())
    _until(lambda: "two.pt" in page.find_element("id", "model").text)
    _choose(page, photos)
    _until(lambda: len(_all(page, "article")) == 2)
    assert [each.text for each in _all(page, "article > h2")] == ["b.jpg: 1 person", "a.jpg: 1 person"]
    assert page.find_element("id", "status").text == "2 of 2 pictures done."
    box = _all(page, "article svg")[1].get_dom_attribute("viewBox")
    assert box == "0 0 320 240"
    assert len(_all(page, ".person circle")) == 2 * 17
    assert not _errors(page)


def test_a_person_is_read_by_keyboard(page: Any, serve: Callable[..., str], photos: list[Path]) -> None:
    from selenium.webdriver.common.keys import Keys

    page.get(serve())
    _choose(page, photos[:1])
    _until(lambda: _all(page, ".person"))
    person = _all(page, ".person")[0]
    assert person.get_attribute("aria-label") == "Person 1, score 0.70"
    page.execute_script("arguments[0].focus()", person)
    page.switch_to.active_element.send_keys(Keys.ENTER)
    detail = page.find_element("css selector", ".detail").text
    assert detail.startswith("Person 1, score 0.700")
    assert "left shoulder" in detail
    assert "chosen" in person.get_attribute("class")


def test_the_rounds_open_beside_it_and_close_again(
    page: Any, serve: Callable[..., str], photos: list[Path]
) -> None:
    page.get(serve())
    _choose(page, photos[:1])
    _until(lambda: _all(page, "article button"))
    button = next(each for each in _all(page, "article button") if each.text == "Rounds")
    button.click()
    _until(lambda: _all(page, "iframe"))
    page.switch_to.frame(_all(page, "iframe")[0])
    _until(lambda: page.find_element("id", "told").text == "ran")
    page.switch_to.default_content()
    button.click()
    assert not _all(page, "iframe")


def test_the_least_score_counts(page: Any, serve: Callable[..., str], photos: list[Path]) -> None:
    page.get(serve())
    page.execute_script("least.value = 0; least.dispatchEvent(new Event('input'))")
    _choose(page, photos[:1])
    _until(lambda: _all(page, "article"))
    assert page.find_element("css selector", "article h2").text == "a.jpg: 2 people"


def test_what_is_wrong_with_a_picture_is_said(
    page: Any, serve: Callable[..., str], photos: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    page.get(serve())
    _choose(page, [tmp_path / "bad.jpg"])
    status = page.find_element("id", "status")
    _until(lambda: "not_decodable" in status.text)
    assert status.get_attribute("class") == "bad"
    assert not _all(page, "article")


def test_a_dropped_picture_is_one_too(page: Any, serve: Callable[..., str]) -> None:
    page.get(serve())
    page.execute_script(
        """const canvas = document.createElement("canvas");
        canvas.width = canvas.height = 64;
        canvas.toBlob((blob) => {
          const files = [new File([blob], "dropped.png", { type: "image/png" })];
          const event = new Event("drop", { bubbles: true });
          event.dataTransfer = { files };
          document.getElementById("drop").dispatchEvent(event);
        });"""
    )
    _until(lambda: _all(page, "article"))
    assert page.find_element("css selector", "article h2").text == "dropped.png: 1 person"


def test_a_token_is_asked_for(page: Any, serve: Callable[..., str], photos: list[Path]) -> None:
    page.get(serve("secret"))
    _until(lambda: _alert(page) is not None)
    alert = _alert(page)
    assert alert is not None
    alert.send_keys("secret")
    alert.accept()
    _until(lambda: "two.pt" in page.find_element("id", "model").text)
    _choose(page, photos[:1])
    _until(lambda: _all(page, "article"))


def _alert(page: Any) -> Any:
    from selenium.common.exceptions import NoAlertPresentException

    try:
        return page.switch_to.alert
    except NoAlertPresentException:
        return None


@pytest.mark.parametrize("size", [(1280, 800), (768, 1024), (500, 800)])
def test_nothing_is_wider_than_the_window(
    page: Any, serve: Callable[..., str], photos: list[Path], size: tuple[int, int]
) -> None:
    page.set_window_size(*size)
    page.get(serve())
    _choose(page, photos)
    _until(lambda: len(_all(page, "article")) == 2)
    wide, inner = page.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
    assert wide <= inner
