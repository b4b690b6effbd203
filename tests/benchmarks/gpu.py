"""The paper's network on one GPU: `python -m tests.benchmarks.gpu`; torch, numpy, scipy and pydantic do.

Training in float32 beside bfloat16, with and without torch.compile; memory; what grouping takes of inference
and how often it waits for the GPU; whether both precisions learn alike. A line of JSON each, on stdout.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor

from hgg.config import LossConfig, ModelConfig, NetworkConfig
from hgg.model import HGG
from hgg.objective import Objective
from hgg.targets import Targets
from tests.benchmarks.crowds import Crowd, find, make_crowd, people_by_hgg

GIGA_MACS = (
    223.6  # of the paper's network at 512 x 512, one image forward (tests/benchmarks/scale.py counts them)
)
FORWARD_AND_BACKWARD = 3
# Dense bfloat16 peak in TFLOP/s by the name that torch gives, from NVIDIA's data sheets.
PEAKS = {"H100": 989, "H200": 989, "A100": 312, "L40S": 362, "A10G": 70, "V100": 125}
WARM_UP, STEPS = 5, 20
PEOPLE = 5
LOSS = LossConfig(heatmap_foreground_weight=30.0, push=0.25, pull=0.1, edge=0.1, macro=0.02)


def main() -> None:
    """Measure everything, or what --only names."""
    parts: dict[str, Callable[[argparse.Namespace], Iterator[dict[str, Any]]]] = {
        "training": training,
        "inference": inference,
        "precision": precision,
    }
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.gpu", description=__doc__)
    parser.add_argument("--only", choices=parts, help="one part")
    parser.add_argument(
        "--tiny", action="store_true", help="a tiny network, to try the commands, also on a CPU"
    )
    arguments = parser.parse_args()
    if not torch.cuda.is_available() and not arguments.tiny:
        raise SystemExit("no GPU here: nothing was measured (--tiny tries the commands on the CPU)")
    for part in [arguments.only] if arguments.only else parts:
        for row in parts[part](arguments):
            print(json.dumps({"part": part, "device": _name(), **row}), flush=True)


def training(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Joint training steps: images/s, share of the GPU's peak, peak memory."""
    for batch in (8, 16):
        for bf16, compiled in ((False, False), (True, False), (True, True)):
            with _peak_memory() as memory:
                objective, images, targets = _setting(arguments, batch)
                if compiled:
                    objective.model.network.compile()
                optimiser = torch.optim.Adam(objective.parameters(), lr=1e-4)
                seconds = _seconds(partial(_step, objective, optimiser, images, targets, bf16))
            rate = batch / seconds
            yield {
                "batch": batch,
                "precision": "bf16" if bf16 else "fp32",
                "compiled": compiled,
                "images_per_second": round(rate, 2),
                "share_of_bf16_peak": _share(rate),
                "peak_gib": round(memory["bytes"] / 2**30, 2),
            }


def inference(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Network and grouping of photographs of a few people, and the waits for the GPU inside grouping."""
    for batch in (1, 16):
        objective, images, _ = _setting(arguments, batch)
        model, crowd = objective.model.eval(), _crowd(arguments, batch)
        with torch.no_grad(), torch.autocast(images.device.type, torch.bfloat16, enabled=images.is_cuda):
            network = _seconds(partial(model, images))
        with torch.no_grad():
            group = partial(people_by_hgg, model=model, crowd=crowd, label_BN=find(crowd, model)[1])
            grouping, waits, rounds = _seconds(group), _waits(group), len(group()[1].rounds)
        yield {
            "batch": batch,
            "network_ms": round(1000 * network, 2),
            "grouping_ms": round(1000 * grouping, 2),
            "grouping_share": round(grouping / (network + grouping), 3),
            "rounds": rounds,
            "waits_for_the_gpu": waits,
        }


def precision(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The loss of the same steps in both precisions, every 50 of 200."""
    losses = {}
    for bf16 in (False, True):
        objective, images, targets = _setting(arguments, 4)
        optimiser = torch.optim.Adam(objective.parameters(), lr=1e-4)
        steps = 4 if arguments.tiny else 200
        losses[bf16] = [_step(objective, optimiser, images, targets, bf16).item() for _ in range(steps)]
    for step in range(0, len(losses[True]), max(1, len(losses[True]) // 4)):
        full, half = losses[False][step], losses[True][step]
        yield {"step": step + 1, "fp32": full, "bf16": half, "relative": round(half / full - 1, 4)}


def _setting(arguments: argparse.Namespace, batch: int) -> tuple[Objective, Tensor, Targets]:
    """An untrained model of the paper's size with everything that a step needs, the same at each call."""
    torch.manual_seed(0)
    tiny = {"stacks": 1, "channels": 8, "increase": 0, "depth": 1}
    network = NetworkConfig.model_validate({"visual_dim": 64, **(tiny if arguments.tiny else {})})
    device = _device()
    model = HGG(ModelConfig(network=network))
    model.to(device, memory_format=torch.channels_last)  # pyrefly: ignore[no-matching-overload]  # real, untyped
    images = torch.rand(batch, 3, network.input_size, network.input_size).to(device)
    targets = Targets(*(torch.cat([part] * batch).to(device) for part in make_crowd(PEOPLE).targets))
    return Objective(model, LOSS, joint=True), images.contiguous(memory_format=torch.channels_last), targets


def _step(objective: Objective, optimiser: Any, images: Tensor, targets: Targets, bf16: bool) -> Tensor:
    optimiser.zero_grad()
    total = objective(images, targets, teacher_share=1.0, bf16=bf16).total
    total.backward()
    optimiser.step()
    return total.detach()


def _crowd(arguments: argparse.Namespace, batch: int) -> Crowd:
    """So many copies of an image's maps on the device, as a trained network would give them."""
    crowd, device = make_crowd(PEOPLE), _device()
    maps = (crowd.heatmaps, crowd.tags, crowd.visual, *crowd.targets)
    heatmaps, tags, visual, *targets = (torch.cat([part] * batch).to(device) for part in maps)
    return Crowd(crowd.joints, Targets(*targets), heatmaps, tags, visual)


def _waits(work: Callable[[], Any]) -> int | None:
    """How often the CPU waits for the GPU."""
    if not torch.cuda.is_available():
        return None
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as found:
        work()
    return sum(event.count for event in found.key_averages() if "Synchronize" in event.key)


def _seconds(work: Callable[[], Any]) -> float:
    """Mean over `STEPS` calls, after some that set things up."""
    for _ in range(WARM_UP):
        work()
    _wait()
    begun = time.perf_counter()
    for _ in range(STEPS):
        work()
    _wait()
    return (time.perf_counter() - begun) / STEPS


@contextmanager
def _peak_memory() -> Iterator[dict[str, float]]:
    found = {"bytes": 0.0}
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    yield found
    if torch.cuda.is_available():
        found["bytes"] = torch.cuda.max_memory_allocated()


def _share(images_per_second: float) -> float | None:
    peak = next((peak for name, peak in PEAKS.items() if name in _name()), None)
    used = images_per_second * 2 * GIGA_MACS * FORWARD_AND_BACKWARD / 1000
    return round(used / peak, 3) if peak else None


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _name() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
