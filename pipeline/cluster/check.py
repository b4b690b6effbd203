"""What a job will need of the Ray cluster: an answer, room, and a run root that its machines share."""

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from pipeline.base.errors import UserError
from pipeline.base.findings import Finding, existing_parent, write_probe
from pipeline.cluster.resources import cluster_grows, worker_resources
from pipeline.cluster.start import start_ray
from pipeline.settings.config import RunConfig

NODE_SECONDS = 60.0


def check_cluster(config: RunConfig) -> Iterator[Finding]:
    """The cluster at RAY_ADDRESS, or where there is none this machine."""
    options = config.train
    if not os.environ.get("RAY_ADDRESS"):
        yield from _check_this_machine(config)
        return
    try:
        with start_ray():
            yield Finding("ok", "ray", f"{os.environ['RAY_ADDRESS']}: machines that answer: {len(_nodes())}")
            for name, each in worker_resources(options).items():
                yield _room(name, options.num_workers * each, options.num_workers)
            yield from _check_shared(config.run_root)
    except UserError as error:
        yield Finding("fail", "ray", str(error))


def _check_this_machine(config: RunConfig) -> Iterator[Finding]:
    """A cluster of this machine offers what training asks for, however few processors there are."""
    wanted, there = config.train.num_workers * config.train.cpus_per_worker, os.cpu_count() or 1
    text = f"RAY_ADDRESS is not set, so jobs run on this machine: {there} CPUs, training asks for {wanted:g}"
    yield (
        Finding("ok", "ray", text)
        if wanted <= there
        else Finding(
            "warn", "ray", f"{text} and will be slower: set train.num_workers={max(1, math.floor(there))}"
        )
    )


def _room(name: str, need: float, workers: int) -> Finding:
    there = ray.cluster_resources().get(name, 0.0)
    if there >= need:
        return Finding("ok", "room", f"{there:g} {name}s, training asks for {need:g}")
    return Finding(
        "warn" if cluster_grows() else "fail",
        "room",
        f"{there:g} {name}s, train.num_workers={workers} asks for {need:g}: training would wait for ever for "
        "more; use fewer workers, a larger cluster, or one that grows (HGG_AUTOSCALED=1, cluster.yaml)",
    )


def _check_shared(run_root: Path) -> Iterator[Finding]:
    """A file of each machine is looked for on all others."""
    folder = existing_parent(run_root)
    nodes = _nodes()
    try:
        written = {node["NodeManagerAddress"]: _on(node, _write, folder, node["NodeID"]) for node in nodes}
        probes = [*written.values()]
        blind = {node["NodeManagerAddress"]: _on(node, _unseen, probes) for node in nodes}
    except (OSError, ray.exceptions.RayError) as error:
        yield Finding(
            "fail", "storage", f"{folder}: not every machine can write there: {str(error).splitlines()[-1]}"
        )
        return
    for path in probes:
        path.unlink(missing_ok=True)
    alone = [address for address, unseen in blind.items() if unseen]
    if alone:
        yield Finding(
            "fail",
            "storage",
            f"{folder}: {', '.join(alone)} cannot see what other machines wrote there: "
            "set run_root to storage that all share",
        )
    else:
        yield Finding("ok", "storage", f"{folder}: written and read on {len(nodes)} machines")


def _nodes() -> list[dict[str, Any]]:
    """Living machines that take tasks."""
    return [node for node in ray.nodes() if node["Alive"]]


def _on(node: dict[str, Any], function: Any, *arguments: Any) -> Any:
    """Run a function on a machine, whether or not its processors are busy."""
    where = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
    task = ray.remote(function).options(num_cpus=0, scheduling_strategy=where, max_retries=0)
    return ray.get(task.remote(*arguments), timeout=NODE_SECONDS)


def _write(folder: Path, name: str) -> Path:
    return write_probe(folder, name)


def _unseen(paths: list[Path]) -> list[str]:
    return [str(path) for path in paths if not path.is_file()]
