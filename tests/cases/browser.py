"""A browser for the pages that the project writes."""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

SECONDS = 60
MISSING = "needs Chromium: on Debian apt install chromium chromium-driver"


@contextmanager
def browser(profile: Path) -> Iterator[Any]:
    """A Chromium without a window and without a network.

    The test is skipped where there is none, and fails where HGG_BROWSER=needed says that there must be.
    """
    chromium, chromedriver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not chromedriver:
        if os.environ.get("HGG_BROWSER") == "needed":
            pytest.fail(MISSING)
        pytest.skip(MISSING)
    selenium = pytest.importorskip("selenium.webdriver", reason="needs selenium: pip install -e .[dev]")
    options = selenium.ChromeOptions()
    options.binary_location = chromium
    for argument in (
        "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
        "--window-size=1280,800", "--proxy-server=127.0.0.1:9", f"--user-data-dir={profile}",
    ):  # fmt: skip
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    found = selenium.Chrome(options, selenium.ChromeService(chromedriver))
    found.set_page_load_timeout(SECONDS)
    try:
        yield found
    finally:
        found.quit()


def visit(driver: Any, address: str) -> None:
    """Open a page and wait until it is there whole: of a large file the first `get` may return before."""
    driver.get(address)
    end = time.monotonic() + SECONDS
    while driver.execute_script("return [location.href, document.readyState]") != [address, "complete"]:
        assert time.monotonic() < end, f"{address}: not loaded in {SECONDS} s"
        time.sleep(0.05)
