"""The endpoint under load and under attack: `python -m tests.benchmarks.endpoint`.

Its tables are those of docs/serving.md. A process of `jobs/serve.py` on loopback with the model that comes
along, clients of this process that ask one after another, and beside it what the predictor does alone with
the same pictures.
"""

import argparse
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil
import requests
import torch

import hgg
from hgg.pictures import decode_picture, encode_jpeg
from pipeline.settings.data import SyntheticConfig
from pipeline.synthetic.scenes import draw_scene
from tests.cases.asking import JPEG, address_of
from tests.cases.uploads import malformed_uploads

REPOSITORY = Path(__file__).parents[2]
MODEL = REPOSITORY / "docs" / "models" / "lite0_hgg.pt"
SIZES = ((320, 240), (640, 480), (1920, 1440))
USUAL = SIZES[1]
CLIENTS = (1, 4, 16)
MOST = 32  # requests at work, as serve.max_requests is by default
PICTURES = 16  # of a size
WAIT = 120.0
MIB = 2**20


class Answered(NamedTuple):
    """One request: its status, how long it took, and which picture it was of."""

    status: int
    seconds: float
    picture: int
    text: str


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.endpoint", description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="that each row is measured for")
    seconds = parser.parse_args().seconds
    pictures = {size: _pictures(size) for size in SIZES}
    _print_plain(pictures)
    with _serving() as (address, job):
        print("\n| pictures | clients | pictures a second | median | 99 % |\n|---|---:|---:|---:|---:|")
        for size in SIZES:
            _print_load(address, pictures[size], size, 4, seconds)
        for clients in CLIENTS:
            _print_load(address, pictures[USUAL], USUAL, clients, seconds)
        _print_overload(address, pictures[USUAL], seconds)
        _print_attack(address, job, pictures[USUAL])
    with _serving("serve.replicas=2", "train.cpus_per_worker=0.5") as (address, job):
        _print_killed(address, job, pictures[USUAL], seconds)


def _pictures(size: tuple[int, int]) -> list[bytes]:
    """Drawn people as JPEG."""
    width, height = size
    settings = SyntheticConfig(size_min=width, size_max=width, height_min=height / 3, height_max=height)
    scenes = (draw_scene(settings, np.random.default_rng(number)) for number in range(PICTURES))
    return [encode_jpeg(scene.image, 90) for scene in scenes]


def _print_plain(pictures: dict[tuple[int, int], list[bytes]]) -> None:
    """The predictor of this process, batches of eight, as many threads as a replica has."""
    torch.set_num_threads(1)
    model = hgg.load(MODEL, device="cpu")
    print("| the predictor alone, one thread | pictures a second |\n|---|---:|")
    for size, data in pictures.items():
        model.predictor.predict([decode_picture(data[0])])
        begun = time.monotonic()
        for start in range(0, PICTURES, 8):
            model.predictor.predict([decode_picture(one) for one in data[start : start + 8]])
        print(f"| {size[0]} x {size[1]} | {PICTURES / (time.monotonic() - begun):.1f} |")


@contextmanager
def _serving(*settings: str) -> Iterator[tuple[str, psutil.Process]]:
    """An endpoint's address and process; ended at the end."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        command = [sys.executable, "jobs/serve.py", "--model", str(MODEL), "--port", "0", *settings]
        with log.open("w") as file:
            job = subprocess.Popen(command, cwd=REPOSITORY, stdout=file, stderr=file, text=True)
        try:
            yield address_of(log, job), psutil.Process(job.pid)
        finally:
            job.send_signal(signal.SIGTERM)
            job.wait(WAIT)


def _ask(address: str, pictures: Sequence[bytes], clients: int, seconds: float) -> list[Answered]:
    """What so many clients are answered, each of which asks as soon as it has an answer."""
    answers: list[Answered] = []
    end = time.monotonic() + seconds

    def client(place: int) -> None:
        with requests.Session() as session:
            while (begun := time.monotonic()) < end:
                place = (place + clients) % len(pictures)
                answer = session.post(f"{address}v1/people", data=pictures[place], headers=JPEG, timeout=WAIT)
                taken = time.monotonic() - begun
                answers.append(Answered(answer.status_code, taken, place, answer.text))
                if answer.status_code == 503:
                    time.sleep(0.1)

    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def _milliseconds(answers: Sequence[Answered]) -> str:
    taken = 1000 * np.array([each.seconds for each in answers] or [np.nan])
    return f"{np.percentile(taken, 50):.0f} ms | {np.percentile(taken, 99):.0f} ms"


def _print_load(
    address: str, pictures: Sequence[bytes], size: tuple[int, int], clients: int, seconds: float
) -> None:
    _ask(address, pictures, clients, 2.0)  # connections and caches
    answers = _ask(address, pictures, clients, seconds)
    statuses = {each.status for each in answers}
    assert statuses == {200}, statuses
    rate = len(answers) / seconds
    print(f"| {size[0]} x {size[1]} | {clients} | {rate:.1f} | {_milliseconds(answers)} |", flush=True)


def _print_overload(address: str, pictures: Sequence[bytes], seconds: float) -> None:
    answers = _ask(address, pictures, 3 * MOST, seconds)
    print(f"\n{3 * MOST} clients, {MOST} requests may be at work, who is refused waits 0.1 s:\n")
    print("| status | answers a second | median | 99 % |\n|---|---:|---:|---:|")
    for status in sorted({each.status for each in answers}):
        some = [each for each in answers if each.status == status]
        print(f"| {status} | {len(some) / seconds:.1f} | {_milliseconds(some)} |", flush=True)


def _memory(job: psutil.Process, name: str) -> float:
    """MiB of the processes whose command line has the name."""
    found = [each for each in job.children(recursive=True) if name in " ".join(each.cmdline())]
    return sum(each.memory_info().rss for each in found) / MIB


def _print_attack(address: str, job: psutil.Process, pictures: Sequence[bytes]) -> None:
    """200 malformed uploads, twice: the second 200 may not take more memory than the first left."""
    print("\n| | door | proxy | replica | statuses |\n|---|---:|---:|---:|---|")

    def told(when: str, statuses: Sequence[int]) -> None:
        counted = ", ".join(f"{status}: {statuses.count(status)}" for status in sorted(set(statuses)))
        sizes = (_memory(job, name) for name in ("hgg:Door", "ProxyActor", "hgg:Model"))
        print(f"| {when} | {' | '.join(f'{size:.0f} MiB' for size in sizes)} | {counted} |", flush=True)

    told("before", [])
    for turn in (1, 2):
        statuses = [_status(address, each.body, each.headers) for each in malformed_uploads(200, seed=turn)]
        told(f"after {200 * turn} malformed uploads", statuses)
    assert _status(address, pictures[0], JPEG) == 200


def _status(address: str, body: bytes, headers: dict[str, str]) -> int:
    """0 where the connection is closed without an answer, as for headers without end."""
    try:
        return requests.post(f"{address}v1/people", data=body, headers=headers, timeout=WAIT).status_code
    except requests.ConnectionError:
        return 0


def _print_killed(address: str, job: psutil.Process, pictures: Sequence[bytes], seconds: float) -> None:
    """One of two replicas killed in the middle; wrong is what differs from another answer of its picture."""

    def kill() -> None:
        time.sleep(seconds / 2)
        replicas = [each for each in job.children(recursive=True) if "hgg:Model" in " ".join(each.cmdline())]
        replicas[0].kill()

    killer = threading.Thread(target=kill)
    killer.start()
    answers = _ask(address, pictures, 8, seconds)
    killer.join()
    right: dict[int, set[str]] = {}
    for each in answers:
        if each.status == 200:
            right.setdefault(each.picture, set()).add(each.text)
    wrong = sum(len(texts) - 1 for texts in right.values())
    refused = sum(each.status != 200 for each in answers)
    print("\n| one of two replicas killed: answers | other than 200 | wrong | median | 99 % |")
    print(f"|---:|---:|---:|---:|---:|\n| {len(answers)} | {refused} | {wrong} | {_milliseconds(answers)} |")


if __name__ == "__main__":
    main()
