"""Clients of an endpoint that runs, which ask until they are told to stop."""

import re
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests

SECONDS = 120
JPEG = {"Content-Type": "image/jpeg"}


class Asking:
    """Clients that ask one after another until they are told to stop."""

    def __init__(self, address: str, picture: bytes, clients: int = 4) -> None:
        self.address, self.picture = address, picture
        self.answers: list[tuple[int, str, str]] = []
        self.stop = threading.Event()
        self.threads = [threading.Thread(target=self._ask, daemon=True) for _ in range(clients)]

    def __enter__(self) -> "Asking":
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        for thread in self.threads:
            thread.join(SECONDS)

    def _ask(self) -> None:
        while not self.stop.is_set():
            url = f"{self.address}v1/people?min_score=0"
            answer = requests.post(url, data=self.picture, headers=JPEG, timeout=SECONDS)
            self.answers.append((answer.status_code, answer.headers.get("X-Model", ""), answer.text))

    def until(self, name: str) -> None:
        """Until a model of the name has answered, and then eight more answers."""
        self.wait(lambda: any(name in told for _, told, _ in self.answers))
        more = len(self.answers) + 8
        self.wait(lambda: len(self.answers) > more)

    def wait(self, until: Callable[[], bool]) -> None:
        """Until then, within `SECONDS`."""
        end = time.monotonic() + SECONDS
        while not until():
            assert time.monotonic() < end
            time.sleep(0.05)


def address_of(log: Path, job: subprocess.Popen[Any]) -> str:
    """Where an endpoint says in its log that it is, once it is there."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        found = re.search(r"at (http://127\.0\.0\.1:\d+/), Ctrl-C", log.read_text())
        if found:
            return found[1]
        assert job.poll() is None, log.read_text()
        time.sleep(0.2)
    raise AssertionError(log.read_text())
