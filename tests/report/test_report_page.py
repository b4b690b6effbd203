"""The report of an evaluation, in a headless Chromium: what is on it, its size, names that stay names."""

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from hgg.skeleton import JOINTS
from pipeline.commands.evaluate import run_evaluation
from pipeline.report.charts import Line, line_chart
from pipeline.settings.config import RunConfig
from tests.cases.browser import browser, visit
from tests.cases.reported import WICKED, reported_config, trial_of

MOST_BYTES = 10_000_000
SECTIONS = [
    "summary", "ap", "compared", "kinds", "joints", "errors", "calibration", "best", "worst", "images",
    "curves", "runtime", "settings",
]  # fmt: skip


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    """Two evaluations of the same pictures by two untrained models, the second compared with the first."""
    config = reported_config(tmp_path_factory.mktemp("reported"), report_pictures=2)
    run_evaluation(config)
    other = trial_of(config, "other", seed=1)
    run_evaluation(other, compare=config.run_root)
    return other


@pytest.fixture(scope="module")
def page(config: RunConfig) -> Path:
    return config.outputs / "evaluate" / "report.html"


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A Chromium without a window and without a network."""
    with browser(tmp_path_factory.mktemp("profile")) as found:
        yield found


def _open(driver: Any, page: Path) -> None:
    driver.get_log("browser")  # what was before is not of this test
    visit(driver, page.as_uri())


def _all(driver: Any, selector: str) -> list[Any]:
    return driver.find_elements("css selector", selector)


def _table(driver: Any, section: str, number: int = 0) -> list[list[str]]:
    """The texts of a section's table, row by row."""
    script = """
        const section = document.getElementById(arguments[0]).parentElement;
        const table = section.querySelectorAll("table")[arguments[1]];
        return [...table.rows].map((row) => [...row.cells].map((cell) => cell.textContent));
    """
    return driver.execute_script(script, section, number)


def test_the_page_needs_no_network(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    addresses = re.findall(r"(?:src|href)=\"([^\"]*)\"", text)
    outside = [
        each for each in addresses if not each.startswith(("data:image/jpeg;base64,", "#", "explain/"))
    ]
    assert outside == []
    assert not re.search(r"https?://|url\(|@import|@(TITLE|NAV)@", text)


def test_sections_tables_and_links_are_there(driver: Any, config: RunConfig, page: Path) -> None:
    _open(driver, page)
    assert [each.get_attribute("id") for each in _all(driver, "h2")] == SECTIONS
    assert [each.get_attribute("href").partition("#")[2] for each in _all(driver, "nav a")] == SECTIONS
    assert _table(driver, "ap")[0] == ["", "AP", "AP50", "AP75", "AP_M", "AP_L", "AR"]
    assert [row[0] for row in _table(driver, "ap")[1:]] == ["AE", "HGG", "oracle"]
    joints = _table(driver, "joints")
    assert [row[0] for row in joints[2:]] == [joint.replace("_", " ") for joint in JOINTS]
    assert joints[2][1] == "6"  # people with a nose
    parts = [row[0] for row in _table(driver, "kinds")]
    assert {"by number of people", "by overlap of their boxes", "by size of the people"} <= set(parts)
    assert [row[0] for row in _table(driver, "errors")[2:4]] == ["all", "1 person"]
    assert [row[0] for row in _table(driver, "runtime")[1:]][-1] == "all"
    settings = {row[0]: row[1:] for row in _table(driver, "settings")[1:]}
    assert settings["evaluate.report_pictures"] == ["2", "6"]
    assert settings["trial"] == ["other", ""]
    assert "grouping.suppression" not in settings
    curves = _all(driver, "section[aria-labelledby=curves] svg[role=img]")
    assert curves == []  # nothing lies beside this trial's model
    assert driver.get_log("browser") == []
    _open(driver, config.run_root / "evaluate" / "report.html")
    titles = [each.text for each in _all(driver, "section[aria-labelledby=curves] h3")]
    assert titles == ["pretrain", "joint"]
    charts = [each.get_attribute("aria-label") for each in _all(driver, "#curves ~ .charts svg[role=img]")]
    assert len(charts) == 4 + 5  # pretraining has no grouping losses
    assert driver.get_log("browser") == []


@pytest.mark.parametrize("steps", [1000, 300_000])
def test_numbers_of_a_chart_are_not_cut(driver: Any, config: RunConfig, steps: int) -> None:
    """The one below the last point is half to the right of it."""
    _open(driver, config.run_root / "evaluate" / "report.html")
    chart = line_chart("loss", [Line("loss", [(0, 0), (steps, 0.25)], "ae")], x="step")
    script = """
        const charts = document.querySelector("#curves ~ .charts");
        charts.innerHTML = arguments[0];
        const inside = charts.querySelector("svg[role=img]").getBoundingClientRect();
        const texts = [...charts.querySelectorAll("svg[role=img] text")].map((text) => [
            text.textContent, text.getBoundingClientRect()]);
        const cut = ([, box]) => box.left < inside.left || box.right > inside.right
            || box.top < inside.top || box.bottom > inside.bottom;
        return [texts.map((text) => text[0]), texts.filter(cut)];
    """
    texts, outside = driver.execute_script(script, chart)
    assert f"{steps:,}" in texts
    assert outside == []


def test_all_is_named_for_whoever_listens(driver: Any, page: Path) -> None:
    _open(driver, page)
    assert len(_all(driver, "table")) == len(_all(driver, "table > caption"))
    assert _all(driver, "th:not([scope])") == []
    assert [each for each in _all(driver, "img") if not each.get_attribute("alt")] == []
    assert _all(driver, "svg:not([aria-hidden]):not([aria-label])") == []
    assert len(_all(driver, "h1")) == 1
    levels = [int(each.tag_name[1]) for each in _all(driver, "h1, h2, h3")]
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_pictures_load_and_point_at_pages_that_explain_them(driver: Any, page: Path) -> None:
    _open(driver, page)
    figures = _all(driver, "section[aria-labelledby=best] .picture, section[aria-labelledby=worst] .picture")
    assert len(figures) == 4
    for figure in figures:
        assert len(figure.find_elements("css selector", "img")) == 3
    for image in _all(driver, "img"):
        driver.execute_script("arguments[0].loading = 'eager'; arguments[0].scrollIntoView()", image)
        driver.execute_async_script(
            "arguments[0].decode().then(arguments[1], () => arguments[1]('broken'))", image
        )
        assert 0 < driver.execute_script("return arguments[0].naturalHeight", image) <= 480
    links = [each.get_attribute("href") for each in _all(driver, ".picture a")]
    assert len(links) == 4
    visit(driver, links[0])
    assert driver.find_element("id", "round").text.endswith("candidates")
    assert driver.get_log("browser") == []


def test_names_stay_names(driver: Any, config: RunConfig) -> None:
    """Also that of a picture's file that reads as markup, on the page and on that which explains it."""
    page = config.run_root / "evaluate" / "report.html"
    names = []
    for each in (page, config.outputs / "evaluate" / "report.html"):
        assert WICKED not in each.read_text(encoding="utf-8")
        _open(driver, each)
        names += [name.text for name in _all(driver, ".picture figcaption b")]
        assert len(_all(driver, "script")) == 1
    assert WICKED in names
    assert driver.get_log("browser") == []


def test_the_comparison_has_differences_and_counts(driver: Any, page: Path) -> None:
    _open(driver, page)
    table = _table(driver, "compared")
    assert [row[0] for row in table[1:5]] == ["AE", "here", "there", "difference"]
    here, there, off = (float(row[1]) for row in table[2:5])
    assert off == pytest.approx(here - there, abs=0.0011)
    text = driver.find_element("css selector", "section[aria-labelledby=compared]").text
    assert "over 4 images with people that both looked at" in text
    assert "Not comparable" not in text
    settings = {row[0]: row[1:] for row in _table(driver, "compared", 2)[1:]}
    assert settings == {"trial": ["other", ""]}


def test_columns_sort_the_images(driver: Any, page: Path) -> None:
    _open(driver, page)
    driver.find_element("css selector", "details summary").click()
    assert sorted(row[0] for row in _table(driver, "images")[2:]) == ["10", "30", "40", "50"]
    for order in ("ascending", "descending"):
        driver.find_element("css selector", ".sortable th:first-child button").click()
        head = driver.find_element("css selector", ".sortable th:first-child")
        assert head.get_attribute("aria-sort") == order
        numbers = [int(row[0]) for row in _table(driver, "images")[2:]]
        assert numbers == sorted(numbers, reverse=order == "descending")


@pytest.mark.parametrize("width", [390, 820, 1400])
def test_nothing_is_wider_than_the_window(driver: Any, page: Path, width: int) -> None:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    _open(driver, page)
    wide, inner = driver.execute_script("return [document.documentElement.scrollWidth, window.innerWidth]")
    assert wide <= inner == width
    driver.execute_script("window.scrollTo(0, 2000)")
    assert driver.find_element("css selector", "nav").rect["y"] - 2000 < 60  # it stays in sight
    driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_many_images_leave_a_page_of_bounded_size(tmp_path: Path) -> None:
    config = reported_config(tmp_path, images=40, grain=4, report_pictures=12, runtime_images=0)
    run_evaluation(config)
    folder = config.outputs / "evaluate"
    text = (folder / "report.html").read_text(encoding="utf-8")
    assert text.count('<figure class="picture">') == 24
    assert len([*(folder / "explain").glob("*.html")]) == 24
    assert len(text) < MOST_BYTES
    assert "Nothing was timed" in text


def test_settings_without_rounds_leave_pictures_without_pages(tmp_path: Path) -> None:
    config = reported_config(tmp_path, report_pictures=1)
    flip = config.inference.model_copy(update={"flip": True})
    run_evaluation(config.model_copy(update={"inference": flip}))
    folder = config.outputs / "evaluate"
    text = (folder / "report.html").read_text(encoding="utf-8")
    assert text.count('<figure class="picture">') == 2
    assert "explain/" not in text
    assert not (folder / "explain").exists()
