"""What the rows of `tests.benchmarks.gpu` are, and how time, waits and memory of a GPU are taken."""

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch

from hgg.config import NetworkConfig

WARM_UP = 5
# Dense bfloat16 peak in TFLOP/s by the name that torch gives, from NVIDIA's data sheets.
PEAKS = {"H100": 989, "H200": 989, "A100": 312, "L40S": 362, "A10G": 70, "V100": 125}


class Row(NamedTuple):
    """Something to measure."""

    what: dict[str, Any]
    """What it is, in the words of its line."""
    seconds: float
    """About how long it takes on an H100, set-up and all."""
    measure: Callable[[], dict[str, Any]]


class Sizes(NamedTuple):
    """How large what is measured is."""

    network: NetworkConfig = NetworkConfig()
    """The paper's."""
    small_network: NetworkConfig = NetworkConfig(stacks=2, channels=96, increase=32, input_size=320)
    """One that takes images faster, so that reading is what is tried."""
    batch: int = 16
    small_batch: int = 64
    samples: int = 128
    """That are drawn."""
    steps: int = 20
    """Calls that are timed."""
    loop_seconds: float = 8.0
    """That the training loop is watched for."""
    precision_steps: int = 200
    threads: int = 4
    """That decode, as conf/coco.yaml has it."""
    backend: str = "inductor"
    """Of torch.compile."""

    @classmethod
    def tiny(cls) -> "Sizes":
        """Of which all rows are done on a CPU in seconds, so that their code can be tried."""
        network = NetworkConfig(stacks=1, channels=8, increase=0, depth=1, input_size=64, visual_dim=8)
        return cls(network, network, 2, 2, 8, 1, 0.1, 4, 1, "eager")


def device() -> torch.device:
    """The GPU, or without one the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def device_name() -> str:
    """As torch tells it."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"


def peak_share(giga_macs_a_second: float) -> float | None:
    """Share of the GPU's peak in bfloat16; None where that is not known."""
    peak = next((peak for name, peak in PEAKS.items() if name in device_name()), None)
    return round(2 * giga_macs_a_second / 1000 / peak, 3) if peak else None


def milliseconds(work: Callable[[], Any], calls: int) -> float:
    """Mean over so many calls, after some that set things up."""
    for _ in range(min(WARM_UP, calls)):
        work()
    _wait()
    begun = time.perf_counter()
    for _ in range(calls):
        work()
    _wait()
    return round(1000 * (time.perf_counter() - begun) / calls, 2)


def waits(work: Callable[[], Any]) -> int | None:
    """How often the CPU waits for the GPU in one call; None without one."""
    if not torch.cuda.is_available():
        work()
        return None
    from torch.profiler import ProfilerActivity, profile  # loads for a second

    _wait()
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as found:
        work()
    # The profiler waits for the whole device itself when it ends.
    names = [(event.key, event.count) for event in found.key_averages()]
    return sum(count for key, count in names if "StreamSynchronize" in key or "EventSynchronize" in key)


@contextmanager
def peak_memory() -> Iterator[dict[str, float]]:
    """The most that tensors held at once inside, in GiB, once it has ended."""
    found = {"peak_gib": 0.0}
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    yield found
    if torch.cuda.is_available():
        found["peak_gib"] = round(torch.cuda.max_memory_allocated() / 2**30, 2)


def free_memory() -> None:
    """Give back what earlier rows held."""
    gc.collect()
    torch.compiler.reset()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
