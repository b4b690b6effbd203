"""The page that explains a grouping, driven in a headless Chromium: keys, hover, groupings, no errors."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hgg.config import InferenceConfig
from hgg.pictures import encode_jpeg
from hgg.predictor import Predictor
from hgg.skeleton import JOINTS
from pipeline.base.errors import UserError
from pipeline.data.annotations import FIELDS
from pipeline.data.coco_file import CocoImage
from pipeline.prediction.explain import explain, explainable
from pipeline.prediction.sources import Source, find_sources
from tests.cases.browser import browser, visit
from tests.cases.core import INPUT, tiny_model

SECONDS = 60


def _predictor(**settings: Any) -> Predictor:
    return Predictor(tiny_model(grouping={"cut": 0.3} | settings))


def _picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (INPUT, INPUT, 3), dtype=np.uint8)


def _label() -> CocoImage:
    """One person whose joints are all over the picture."""
    places = np.random.default_rng(1).integers(5, INPUT - 5, (17, 2))
    person = {
        "id": 1, "iscrowd": 0, "num_keypoints": 17, "area": 4000.0, "bbox": [1, 1, 60, 60],
        "segmentation": [], "keypoints": [int(value) for x, y in places for value in (x, y, 2)],
    }  # fmt: skip
    assert set(FIELDS) <= set(person)
    return CocoImage(1, "a.jpg", INPUT, INPUT, [json.dumps(person)], True, {})


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of an untrained model, which merges at random, with labels."""
    out = tmp_path_factory.mktemp("explained")
    explain(_predictor(), _picture(), "a photo", out, _label())
    assert sorted(path.name for path in out.iterdir()) == ["a photo.html", "a photo.rounds.png"]
    return out / "a photo.html"


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A Chromium without a window and without a network."""
    with browser(tmp_path_factory.mktemp("profile")) as found:
        yield found


def _data(page: Path) -> dict[str, Any]:
    found = re.search(
        r'<script id="data" type="application/json">(.*?)</script>', page.read_text(), re.DOTALL
    )
    assert found is not None
    return json.loads(found[1])


def _open(driver: Any, page: Path) -> None:
    driver.get_log("browser")  # what was before is not of this test
    visit(driver, page.as_uri())


def _text(driver: Any, name: str) -> str:
    return driver.find_element("id", name).text


def _press(driver: Any, key: str, times: int = 1) -> None:
    from selenium.webdriver.common.keys import Keys

    for _ in range(times):
        driver.find_element("css selector", "body").send_keys(getattr(Keys, key))


def test_the_page_needs_no_network_and_holds_all_that_it_shows(page: Path) -> None:
    text = page.read_text()
    assert not re.search(r"(src|href)=[\"'](?!data:)", text)
    assert set(re.findall(r"https?://[^\"'\s]+", text)) == {
        "http://www.w3.org/2000/svg"
    }  # a name, not a place
    data = _data(page)
    assert data["groupings"] == ["HGG", "AE", "oracle"]
    assert len(data["steps"]) >= 2
    assert data["steps"][-1]["member"] == data["members"]["HGG"]
    keypoints = [joint for person in data["people"]["HGG"] for joint in person["keypoints"]]
    assert {joint[3] for joint in keypoints if joint[3] >= 0} == set(range(len(data["nodes"])))


def test_a_name_cannot_leave_the_data(tmp_path: Path) -> None:
    name = "<!-- <script> & <b>"
    explain(_predictor(), _picture(), name, tmp_path)
    page = tmp_path / f"{name}.html"
    assert _data(page)["title"] == name
    assert name not in page.read_text()


def test_arrow_keys_step_through_the_rounds(driver: Any, page: Path) -> None:
    data = _data(page)
    _open(driver, page)
    assert _text(driver, "round") == f"{len(data['nodes'])} candidates"
    assert driver.find_elements("css selector", ".merge") == []
    drawn = 0
    for number, step in enumerate(data["steps"], start=1):
        _press(driver, "ARROW_RIGHT")
        merges = sum(edge[3] == "merged" for edge in step["edges"])
        word = "merge" if merges == 1 else "merges"
        assert _text(driver, "round") == f"round {number} of {len(data['steps'])}: {merges} {word}"
        drawn += merges
        assert len(driver.find_elements("css selector", ".merge")) == drawn
        assert len(driver.find_elements("css selector", ".merge[stroke-dasharray]")) == merges
    _press(driver, "ARROW_RIGHT", 2)  # one beyond the end
    assert _text(driver, "round") == f"{len(data['people']['HGG'])} people by HGG"
    assert not driver.find_element("id", "next").is_enabled()
    _press(driver, "ARROW_LEFT")
    assert _text(driver, "round").startswith(f"round {len(data['steps'])} of")
    driver.find_element("id", "back").click()
    assert _text(driver, "round").startswith(f"round {len(data['steps']) - 1} of")
    assert driver.get_log("browser") == []


def test_hovering_reads_scores_and_verdicts(driver: Any, page: Path) -> None:
    from selenium.webdriver import ActionChains

    data = _data(page)
    _open(driver, page)
    _press(driver, "ARROW_RIGHT")
    merged = next(edge for edge in data["steps"][0]["edges"] if edge[3] == "merged")
    line = driver.find_element("css selector", f'.merge[data-first="{merged[0]}"]')
    driver.execute_script("arguments[0].dispatchEvent(new MouseEvent('mouseenter'))", line)
    text = _text(driver, "detail")
    assert "merged in round 1" in text
    assert f"{100 * merged[2]:.1f} %" in text
    assert f"{100 * data['steps'][0]['verdicts'][str(merged[0])]:.1f} %" in text
    # With the mouse itself: the last dot lies on top.
    index = len(data["nodes"]) - 1
    dot = driver.find_element("css selector", f'.node[data-index="{index}"]')
    ActionChains(driver).move_to_element(dot).perform()
    text, node = _text(driver, "detail"), data["nodes"][index]
    assert text.startswith(data["joints"][node["joint"]])
    assert f"{node['score']:.3f}" in text
    assert re.search("merged|below the cut|matched elsewhere", text)
    assert "share a joint type" in text
    assert driver.get_log("browser") == []


def test_groupings_are_toggled_and_keep_their_place(driver: Any, page: Path) -> None:
    data = _data(page)
    _open(driver, page)
    _press(driver, "ARROW_RIGHT", len(data["steps"]) + 1)
    for name in ("AE", "oracle", "HGG"):
        driver.find_element("css selector", f"label:has([value={name}])").click()
        assert _text(driver, "round") == f"{len(data['people'][name])} people by {name}"
    assert driver.get_log("browser") == []


def test_who_is_left_out_is_said_and_not_drawn(driver: Any, tmp_path: Path) -> None:
    predictor = Predictor(tiny_model(grouping={"cut": 0.3}), suppression=0.2)
    explain(predictor, _picture(), "suppressed", tmp_path)
    page = tmp_path / "suppressed.html"
    data = _data(page)
    people = data["people"]["HGG"]
    out = [person for person in people if person["by"] >= 0]
    assert 0 < len(out) < len(people)
    assert all(people[person["by"]]["by"] == -1 for person in out)
    _open(driver, page)
    _press(driver, "ARROW_RIGHT", len(data["steps"]) + 1)
    assert _text(driver, "round") == f"{len(people) - len(out)} people by HGG, {len(out)} left out"
    assert "an OKS above 0.2" in _text(driver, "detail")
    drawn = driver.find_elements("css selector", ".limb")
    assert {people[int(limb.get_attribute("data-person"))]["by"] for limb in drawn} <= {-1}
    node = next(joint[3] for joint in out[0]["keypoints"] if joint[3] >= 0)
    dot = driver.find_element("css selector", f'.node[data-index="{node}"]')
    driver.execute_script("arguments[0].dispatchEvent(new MouseEvent('mouseenter'))", dot)
    assert f"the same as a person of score {people[out[0]['by']]['score']:.3f}" in _text(driver, "detail")
    assert driver.get_log("browser") == []


@pytest.mark.parametrize("size", [(1280, 800), (600, 900)])
def test_the_picture_is_in_sight_and_nothing_is_wider_than_the_window(
    driver: Any, page: Path, size: tuple[int, int]
) -> None:
    driver.set_window_size(*size)
    _open(driver, page)
    box = driver.find_element("id", "picture").rect
    assert box["y"] < 200
    assert box["height"] > 200
    wide, inner = driver.execute_script("return [document.documentElement.scrollWidth, window.innerWidth]")
    assert wide <= inner


def _found(image: Path) -> list[Source]:
    return find_sources([image])


def test_what_cannot_be_explained_is_said_before_anything_is_written(tmp_path: Path) -> None:
    image = tmp_path / "b.jpg"
    image.write_bytes(encode_jpeg(_picture(), 90))
    with pytest.raises(UserError, match=r"no such file"):
        explainable(_predictor(), _found(image), tmp_path / "none.json")
    labels = tmp_path / "labels.json"
    labels.write_text("[]")
    with pytest.raises(UserError, match=r"labels\.json"):
        explainable(_predictor(), _found(image), labels)
    category = {"id": 1, "name": "person", "keypoints": [*JOINTS]}
    entry = {"id": 1, "file_name": "a.jpg", "width": INPUT, "height": INPUT}
    content = {"images": [entry], "annotations": [], "categories": [category]}
    labels.write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"no image b\.jpg"):
        explainable(_predictor(), _found(image), labels)
    with pytest.raises(UserError, match=r"grouping\.decoder"):
        explainable(_predictor(decoder="associative"), _found(image), None)
    with pytest.raises(UserError, match=r"inference\.flip=false"):
        explainable(Predictor(tiny_model(), inference=InferenceConfig(flip=True)), _found(image), None)
    with pytest.raises(UserError, match=r"64 x 64.*32 x 64"):
        explain(_predictor(), _picture()[:, :32].copy(), "a", tmp_path / "out", _label())
    assert not (tmp_path / "out").exists()
