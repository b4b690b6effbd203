"""Threads that decode ahead: the plain route's batches to the bit, errors that say where, an end in order."""

import gc
import subprocess
import sys
import threading
import time
from collections import deque
from itertools import islice
from pathlib import Path

import numpy as np
import psutil
import pyarrow.parquet as pq
import pytest

from pipeline.base.errors import UserError
from pipeline.batches import collate, loader
from pipeline.batches.loader import AHEAD, training_batches
from pipeline.batches.reader import SampleReader
from tests.cases.samples import (
    CELLS,
    INPUT,
    assert_equal,
    plain_batches,
    sample_row,
    write_files,
    write_samples,
)

ROWS = [22, 9, 30]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("samples") / "train"
    write_samples(path, ROWS)
    return path


@pytest.fixture(autouse=True)
def _many_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader, "_processors", lambda: 16)


def decoding() -> list[threading.Thread]:
    """The threads that decode."""
    return [thread for thread in threading.enumerate() if thread.name.startswith("decode")]


def slow(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Decoding a JPEG takes so long, and no processor."""
    image = np.zeros((INPUT, INPUT, 3), np.uint8)
    monkeypatch.setattr(collate, "decode_jpeg", lambda *_: (time.sleep(seconds), image)[1])


@pytest.mark.parametrize(("rank", "world"), [(0, 1), (0, 2), (1, 2)])
@pytest.mark.parametrize("threads", [0, 1, 2, 5])
def test_any_number_of_threads_gives_the_batches_of_the_plain_route(
    folder: Path, threads: int, rank: int, world: int
) -> None:
    reader = SampleReader(folder, 8 // world, rank, world, seed=2)
    stream = training_batches(reader, threads)
    assert reader.steps_per_epoch == 7
    plainly = islice(plain_batches(folder, 8 // world, rank, world, 2), 16)
    for plain, batch in zip(plainly, stream, strict=False):
        assert_equal(plain, batch)
    stream.close()


@pytest.mark.parametrize("start", [3, 7, 12])
def test_threads_begin_at_any_step(folder: Path, start: int) -> None:
    stream = training_batches(SampleReader(folder, 8, seed=1, start_step=start), 2)
    for plain, batch in zip(islice(plain_batches(folder, 8, seed=1), start, start + 6), stream, strict=False):
        assert_equal(plain, batch)
    stream.close()


def test_no_more_threads_than_processors_and_none_for_none(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loader, "_processors", lambda: 3)
    for asked, started in ((0, 0), (2, 2), (5, 3)):
        stream = training_batches(SampleReader(folder, 8), asked)
        next(stream)
        assert len(decoding()) == started
        stream.close()


@pytest.mark.parametrize("threads", [0, 2])
def test_a_batch_is_not_written_over_before_the_next_one_is_asked_for(folder: Path, threads: int) -> None:
    stream = training_batches(SampleReader(folder, 8), threads)
    places = []
    for plain, batch in zip(islice(plain_batches(folder, 8), 2 * (AHEAD + 1)), stream, strict=False):
        time.sleep(0.02)  # the threads do all that they may
        assert_equal(plain, batch)
        places.append(batch.images.data_ptr())
    stream.close()
    ring = AHEAD + 1 if threads else 1
    assert places[:ring] == places[ring : 2 * ring]  # the memory is used again
    assert len(set(places)) == ring


ROW = sample_row(1)
LOW = ROW["jpeg"].replace(b"\x00\x20\x00\x20", b"\x00\x10\x00\x20")  # its header's height


@pytest.mark.parametrize("threads", [0, 2])
@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("jpeg", ROW["jpeg"][:1] + b"no JPEG", "a JPEG of 8 bytes that does not decode"),
        ("jpeg", b"", "a JPEG of 0 bytes that does not decode"),
        ("jpeg", LOW, "a JPEG of 32 x 16 in place of 32 x 32"),
        ("heatmaps", bytes(7), "not 17 heatmaps of 8 x 8 cells"),
        ("mask", bytes(7), "no mask of 8 x 8 cells"),
        ("joints", ROW["joints"][:5], "not 17 joints for each of the areas"),
    ],
    ids=["broken", "empty", "small", "heatmaps", "mask", "joints"],
)
def test_a_damaged_row_is_named_by_file_and_row(
    tmp_path: Path, column: str, value: object, message: str, threads: int
) -> None:
    where = write_damaged(tmp_path / "train", **{column: value})
    expect_error(tmp_path / "train", threads, where + message)


@pytest.mark.parametrize("threads", [0, 2])
def test_a_damaged_row_group_is_named_by_file_and_rows(tmp_path: Path, threads: int) -> None:
    write_samples(tmp_path / "train", ROWS)
    path = tmp_path / "train" / "part-00002.parquet"
    content = bytearray(path.read_bytes())
    jpegs = pq.ParquetFile(path).metadata.row_group(2).column(2)
    content[jpegs.data_page_offset + jpegs.total_compressed_size // 2] ^= 1
    path.write_bytes(content)
    expect_error(tmp_path / "train", threads, r"rows 8 to 11 of .*part-00002\.parquet: damaged")


@pytest.mark.parametrize("threads", [0, 2])
def test_any_other_exception_of_a_thread_bears_file_and_row(
    folder: Path, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    def failing(*_: object) -> np.ndarray:
        raise ZeroDivisionError("of the decoder")

    monkeypatch.setattr(collate, "decode_jpeg", failing)
    stream = training_batches(SampleReader(folder, 8), threads)
    with pytest.raises(ZeroDivisionError, match="of the decoder") as caught:
        next(stream)
    assert any("at row " in note and ".parquet (image " in note for note in caught.value.__notes__)
    assert not decoding()


def write_damaged(folder: Path, **values: object) -> str:
    """Samples of which row 6 of the second file has these values; how an error begins that names it."""
    files = [[sample_row(first + k) for k in range(rows)] for first, rows in ((1, 22), (23, 9))]
    files[1][6] |= values
    write_files(folder, files)
    return r"row 6 of .*part-00001\.parquet \(image 29, view 0\): "


def expect_error(folder: Path, threads: int, message: str) -> None:
    """The error comes out of `next` within an epoch, after it there is no batch and no thread."""
    stream = training_batches(SampleReader(folder, 5), threads)
    with pytest.raises(UserError, match=message):
        list(islice(stream, 12))
    assert next(stream, None) is None
    assert not decoding()


@pytest.mark.parametrize("dropped", [False, True], ids=["closed", "dropped"])
@pytest.mark.parametrize("batches", [1, 3, 7])
def test_threads_end_within_a_second_of_the_stream(
    folder: Path, monkeypatch: pytest.MonkeyPatch, batches: int, dropped: bool
) -> None:
    slow(monkeypatch, 0.02)
    stream = training_batches(SampleReader(folder, 8), 5)
    assert len(list(islice(stream, batches))) == batches
    assert len(decoding()) == 5
    begun = time.perf_counter()
    if dropped:
        del stream
        gc.collect()
    else:
        stream.close()
    assert time.perf_counter() - begun < 1
    assert not decoding()


def test_threads_do_not_keep_an_interpreter_from_its_end(folder: Path) -> None:
    program = f"""
import time
from pathlib import Path
from pipeline.batches.loader import training_batches
from pipeline.batches.reader import SampleReader
stream = training_batches(SampleReader(Path({str(folder)!r}), 8), 2)
next(stream)
print(time.time())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert time.time() - float(done.stdout) < 3  # torch takes a moment to go


def test_memory_does_not_grow(tmp_path: Path) -> None:
    write_samples(tmp_path / "train", [64, 64], row_group=32)
    stream = training_batches(SampleReader(tmp_path / "train", 64), 2)
    process, batch_bytes = psutil.Process(), 64 * (3 * INPUT**2 + 18 * CELLS**2)
    deque(islice(stream, 50), maxlen=0)
    before = process.memory_info().rss
    deque(islice(stream, 300), maxlen=0)
    stream.close()
    assert process.memory_info().rss - before < 30 * batch_bytes  # a tenth of what they would take if kept


@pytest.mark.parametrize("batch", [8, 64])
def test_sixteen_threads_are_ten_times_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    """Of a decoder that sleeps, so that the machine's cores do not count."""
    write_samples(tmp_path / "train", [64])
    slow(monkeypatch, 0.02)

    def seconds(threads: int, batches: int) -> float:
        stream = training_batches(SampleReader(tmp_path / "train", batch), threads)
        next(stream)
        begun = time.perf_counter()
        list(islice(stream, batches))
        passed = time.perf_counter() - begun
        stream.close()
        return passed / batches

    few, many = 64 // batch, 16 * 64 // batch
    assert seconds(1, few) / seconds(16, many) > 10
