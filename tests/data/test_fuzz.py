"""Files that nobody meant to write: each is read, or refused in a line; no crash, and memory under a bound.

What is tried is made of pieces of good files with something wrong in them, by Hypothesis. The process is the
one that pytest runs in, so a crash of C code ends the run.
"""

import copy
import json
import resource
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from hgg.model import HGG
from hgg.pictures import BadPicture
from hgg.weights import load_model, save_model
from pipeline.base.errors import UserError
from pipeline.data.annotations import people_and_ignored
from pipeline.data.coco_file import read_coco
from pipeline.data.orientation import as_annotated
from pipeline.data.regions import box_and_area, to_mask, to_regions, union
from pipeline.data.rejects import BadData
from pipeline.data.rows import read_rows
from pipeline.data.shards import records_manifest
from pipeline.data.truth import read_truth, truth_file
from pipeline.settings.config import RunConfig
from pipeline.settings.data import DataConfig
from tests.cases.evaluation import make_records
from tests.cases.tiny_coco import TinyCoco, jpeg
from tests.cases.training import MODEL

SECONDS, LONG_SECONDS, EXAMPLES = 4.0, 12.0, 50  # of each parser, in the fast tests and in the slow ones
MORE_MIB = 700  # that all of them together may take beside what was taken before
WIDTH, HEIGHT = 64, 48

odd_numbers = st.one_of(
    st.integers(-5, 70),
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from(
        [0, -0.0, 1e39, 1e400, -1e308, 1 << 31, 1 << 32, 1 << 63, -(1 << 63), 10**400, True, None]
    ),
)
odd = st.recursive(
    st.one_of(odd_numbers, st.text(max_size=5), st.sampled_from(["10", "1.0", "\0", "\ud800", "NaN"])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=6),
        st.dictionaries(st.sampled_from(["size", "counts", "id", "x"]), inner, max_size=3),
    ),
    max_leaves=12,
)
runs = st.lists(st.one_of(st.integers(0, WIDTH * HEIGHT), odd_numbers), max_size=30)
coded = st.characters(min_codepoint=40, max_codepoint=112)  # those of a compressed RLE, and some more
rle = st.fixed_dictionaries(
    {
        "size": st.one_of(st.just([HEIGHT, WIDTH]), st.lists(odd_numbers, max_size=3)),
        "counts": st.one_of(
            runs, st.text(st.characters(min_codepoint=40, max_codepoint=112), max_size=60), odd
        ),
    }
)
polygons = st.lists(st.one_of(st.lists(odd_numbers, max_size=14), odd), max_size=5)
flips = st.lists(st.tuples(st.integers(0, 1 << 26), st.integers(0, 255)), min_size=1, max_size=8)
segmentation = st.one_of(rle, polygons, odd)


def _fuzz(strategy: st.SearchStrategy[Any], read: Callable[[Any], None], seconds: float) -> None:
    """Read what the strategy makes until the time is over; only `BadData` and `UserError` of a line may "
    "come."""

    def once(value: Any) -> None:
        text = ""
        try:
            read(value)
        except (BadData, BadPicture, UserError) as error:
            text = str(error)
        assert "\n" not in text
        assert len(text) < 2_000

    # Hypothesis counts examples and no time.
    options = settings(
        max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    ends = time.monotonic() + seconds
    for number in count():
        seed(number)(options(given(strategy)(once)))()
        if time.monotonic() > ends:
            return


@pytest.fixture(autouse=True)
def bounded() -> Iterator[None]:
    """The most memory that the process ever took grows by no more than stated."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MORE_MIB * 1024


@pytest.fixture(params=[SECONDS, pytest.param(LONG_SECONDS, marks=pytest.mark.slow)], ids=["short", "long"])
def seconds(request: pytest.FixtureRequest) -> float:
    return request.param


def test_regions(seconds: float) -> None:
    def read(value: tuple[Any, Any]) -> None:
        first, second = (
            to_regions(each, np.array([1.0, 2, 3, 4]), WIDTH, HEIGHT, corners=1000) for each in value
        )
        mask = to_mask(union(first + second, WIDTH, HEIGHT))
        assert mask.shape == (HEIGHT, WIDTH)
        box, area = box_and_area(first + second)
        assert mask.sum() == area <= WIDTH * HEIGHT
        assert np.isfinite(box).all()

    _fuzz(st.tuples(segmentation, segmentation), read, seconds)


def test_annotations(seconds: float) -> None:
    fields = {
        "keypoints": st.one_of(st.lists(odd_numbers, min_size=51, max_size=51), odd),
        "num_keypoints": odd,
        "bbox": st.one_of(st.lists(odd_numbers, min_size=4, max_size=4), odd),
        "area": odd,
        "iscrowd": odd,
        "segmentation": segmentation,
    }
    person = st.fixed_dictionaries({}, optional=fields)

    def read(changes: list[dict[str, Any]]) -> None:
        texts = [json.dumps(TinyCoco().add_person(1) | change) for change in changes]
        labelled = people_and_ignored(texts, WIDTH, HEIGHT)
        json.dumps(labelled.truth, allow_nan=False)
        for row in labelled.people:
            assert np.isfinite(np.array([*row["keypoints"], *row["box"], row["area"]], np.float32)).all()
            assert row["area"] > 0
        assert to_mask(labelled.ignore).shape == (HEIGHT, WIDTH)

    _fuzz(st.lists(person, min_size=1, max_size=3), read, seconds)


def _spoil(document: Any, places: list[tuple[int, Any]]) -> Any:
    """The document with values at some places replaced, removed where the value is `...`."""
    document = copy.deepcopy(document)
    for number, value in places:
        nodes: list[tuple[Any, Any]] = []
        todo = [document]
        while todo:
            node = todo.pop()
            keys = range(len(node)) if isinstance(node, list) else [*node] if isinstance(node, dict) else []
            nodes += [(node, key) for key in keys]
            todo += [node[key] for key in keys if isinstance(node[key], list | dict)]
        if nodes:
            parent, key = nodes[number % len(nodes)]
            if value is ...:
                del parent[key]
            else:
                parent[key] = value
    return document


places = st.lists(st.tuples(st.integers(0, 100_000), st.one_of(odd, st.just(...))), min_size=1, max_size=4)


def test_annotation_files(seconds: float, tmp_path: Path) -> None:
    coco = TinyCoco()
    coco.add_unlabelled(coco.add_image(people=2))
    coco.add_image()
    path, document = tmp_path / "annotations.json", coco.document()

    def read(value: Any) -> None:
        try:
            path.write_text(json.dumps(_spoil(document, value)))
        except ValueError:  # a number of more digits than Python writes
            return
        for image in read_coco(path).images:
            assert 0 <= image.image_id < 1 << 63
            [json.loads(text)["id"] for text in image.annotations]

    _fuzz(places, read, seconds)


def test_annotation_files_of_any_bytes(seconds: float, tmp_path: Path) -> None:
    coco = TinyCoco()
    coco.add_image()
    path, good = tmp_path / "annotations.json", json.dumps(coco.document()).encode()

    def read(value: list[tuple[int, bytes]]) -> None:
        content = bytearray(good)
        for place, some in value:
            place %= len(content)
            content[place : place + len(some)] = some
        path.write_bytes(content)
        read_coco(path)

    _fuzz(st.lists(st.tuples(st.integers(0, 1 << 20), st.binary(max_size=4)), max_size=5), read, seconds)


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("fuzz")
    coco = TinyCoco()
    for _ in range(3):
        coco.add_image(people=2)
    coco.write(root / "data", "val2017")
    config = RunConfig.model_validate({"run_root": root / "run", "data": {"root": root / "data"}})
    return make_records(config, "val2017")


def test_manifests_and_truth(seconds: float, records: Path, tmp_path: Path) -> None:
    folder = tmp_path / "records"
    shutil.copytree(records, folder)
    files = folder / "manifest.json", truth_file(folder, 0)
    good = [json.loads(file.read_text()) for file in files]

    def read(value: tuple[bool, Any]) -> None:
        which = int(value[0])
        try:
            files[which].write_text(json.dumps(_spoil(good[which], value[1])))
        except ValueError:  # a number of more digits than Python writes
            return
        try:
            records_manifest(folder)
            read_truth(folder, [0])
        finally:
            files[which].write_text(json.dumps(good[which]))

    _fuzz(st.tuples(st.booleans(), places), read, seconds)


def test_parquet_rows(seconds: float, records: Path, tmp_path: Path) -> None:
    good = bytearray((records / "part-00000.parquet").read_bytes())
    path = tmp_path / "part-00000.parquet"

    def read(value: list[tuple[int, int]]) -> None:
        content = good.copy()
        for place, byte in value:
            content[place % len(content)] = byte
        path.write_bytes(content)
        for _ in read_rows([path]):
            pass

    _fuzz(
        st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), min_size=1, max_size=8),
        read,
        seconds,
    )


def test_model_files(seconds: float, tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.manual_seed(0)
    save_model(path, HGG(MODEL))
    good = bytearray(path.read_bytes())

    def read(value: tuple[list[tuple[int, int]], int]) -> None:
        changes, length = value
        content = good.copy()
        for place, byte in changes:
            content[place % len(content)] = byte
        path.write_bytes(content[: len(content) - length % len(content)] if length else content)
        try:
            load_model(path)
        except ValueError as error:
            raise UserError(str(error)) from error

    _fuzz(st.tuples(flips, st.one_of(st.just(0), st.integers(0, 1 << 26))), read, seconds)


def test_pictures(seconds: float) -> None:
    good = bytearray(jpeg(WIDTH, HEIGHT))

    def read(value: list[tuple[int, int]]) -> None:
        content = good.copy()
        for place, byte in value:
            content[place % len(content)] = byte
        as_annotated(bytes(content), WIDTH, HEIGHT, DataConfig(max_pixels=1_000_000), Counter())

    _fuzz(flips, read, seconds)
