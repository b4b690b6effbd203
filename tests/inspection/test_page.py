"""The page of a data set with planted mistakes: what is found of them, and how it is shown."""

import json
import logging
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.commands.inspect import run_inspection
from pipeline.data.skeletons import settled
from pipeline.settings.config import RunConfig
from tests.cases.browser import browser, visit
from tests.cases.other_people import KINDS, draw_others

IMAGES = 30


def _plant(file: Path) -> None:
    """Mistakes of each kind, one an image, in the drawn people."""
    document = json.loads(file.read_text())
    by_image: dict[int, list[dict[str, Any]]] = {}
    for person in document["annotations"]:
        if sum(flag > 0 for flag in person["keypoints"][2::3]) >= 10:
            by_image.setdefault(person["image_id"], []).append(person)
    whole = [people[0] for people in by_image.values()]
    assert len(whole) >= 6
    for place in (0, 1, 2):  # shares of the picture
        whole[0]["keypoints"][3 * place : 3 * place + 2] = [0.5, 0.5]
    width = whole[1]["bbox"][2]
    whole[1]["bbox"] = [*whole[1]["bbox"][:2], width / 8, width / 8]
    document["annotations"].append(whole[2] | {"id": 90_000})
    document["annotations"].append(whole[3] | {"id": 90_001, "keypoints": [0] * len(whole[3]["keypoints"])})
    whole[4]["keypoints"] = whole[4]["keypoints"][:-3]
    document["images"].append({"id": 77_777, "file_name": "gone <b>.jpg", "width": 9, "height": 9})
    document["annotations"].append(whole[5] | {"id": 90_002, "image_id": 77_777})
    file.write_text(json.dumps(document))


@pytest.fixture(scope="module")
def inspected(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The page and what the job returned."""
    root = tmp_path_factory.mktemp("inspected")
    draw_others(root / "data", KINDS[12], train=IMAGES, val=4, max_people=2, empty_share=0.0, far_share=0.0)
    _plant(root / "data" / "annotations" / "person_keypoints_train2017.json")
    config = RunConfig.model_validate({"run_root": root / "run", "data": {"root": root / "data"}})
    results = run_inspection(settled(config, anew=True), images=0)
    return Path(results["page"]), results["splits"]


def test_planted_mistakes_are_found(inspected: tuple[Path, dict[str, Any]]) -> None:
    _, splits = inspected
    found = splits["train2017"]
    assert found["looked_at"] == IMAGES
    assert found["rejected"] == {"keypoints_length": 1, "missing_file": 1}
    assert found["suspects"]["joints far outside of their box"] == 2
    assert found["suspects"]["joints at one place"] == 1
    assert found["suspects"]["one person labelled twice"] == 1
    assert found["suspects"]["boxes without labelled joints"] >= 1
    assert not {*splits["val2017"]["suspects"]} - {
        "boxes without labelled joints",
        "left and right exchanged?",
    }


def test_the_page_needs_nothing_else_and_escapes_what_it_shows(
    inspected: tuple[Path, dict[str, Any]],
) -> None:
    text = inspected[0].read_text()
    assert "gone &lt;b&gt;.jpg" in text
    assert "gone <b>" not in text
    assert not re.search(r"(src|href)=[\"'](?!data:)", text)
    assert "@BODY@" not in text
    assert "<script" not in text


def test_three_hundred_images_of_many_are_looked_at_in_seconds(
    shared_data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = RunConfig.model_validate({"run_root": tmp_path, "data": {"root": shared_data / "coco_small"}})
    begun = time.monotonic()
    with caplog.at_level(logging.WARNING):
        results = run_inspection(config, images=150)
    assert time.monotonic() - begun < 30
    assert [each["looked_at"] for each in results["splits"].values()] == [150, 150]
    assert caplog.records == []


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A Chromium without a window and without a network."""
    with browser(tmp_path_factory.mktemp("profile")) as found:
        yield found


def test_in_a_browser(driver: Any, inspected: tuple[Path, dict[str, Any]]) -> None:
    visit(driver, inspected[0].as_uri())
    assert driver.get_log("browser") == []
    pictures = driver.execute_script(
        "document.querySelectorAll('details').forEach(d => d.open = true);"
        "const all = [...document.images]; all.forEach(i => i.loading = 'eager');"
        "return Promise.all(all.map(i => i.decode().then(() => i.naturalWidth)))"
    )
    assert len(pictures) > 20
    assert min(pictures) > 10
    closed = driver.find_elements("css selector", "details.wrong summary")
    assert any("one person labelled twice" in each.text for each in closed)
    width = driver.execute_script("return document.documentElement.scrollWidth - window.innerWidth")
    assert width <= 0
