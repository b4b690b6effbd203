"""One thread, as the table says: OpenCV's too, beside torch's, which all tests set."""

from collections.abc import Iterator

import cv2
import pytest


@pytest.fixture(autouse=True)
def _one_thread_of_opencv() -> Iterator[None]:
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    yield
    cv2.setNumThreads(threads)
