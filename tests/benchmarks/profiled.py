"""Where grouping's time goes by operation: `python -m tests.benchmarks.profiled hgg --people 15`."""

import argparse
from collections.abc import Callable
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from tests.benchmarks.crowds import find, grouping_model, make_crowd, people_by_hgg, people_by_tags
from tests.benchmarks.test_grouping_training import CANDIDATES, IMAGES, batch_of, training_step

ROWS = 25


def main() -> None:
    """Print torch's profile of one call, the costliest operations first, after a call that is not counted."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.profiled", description=__doc__)
    parser.add_argument("work", choices=("ae", "hgg", "training"), help="maps to people, or a training step")
    parser.add_argument("--people", type=int, default=15, help="in the image, of ae and hgg")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    work = _work(arguments)
    with torch.set_grad_enabled(arguments.work == "training"):
        work()
        with profile(activities=[ProfilerActivity.CPU]) as found:
            work()
    print(found.key_averages().table(sort_by="self_cpu_time_total", row_limit=ROWS))


def _work(arguments: argparse.Namespace) -> Callable[[], Any]:
    model = grouping_model()
    if arguments.work == "training":
        candidates, labels = batch_of(IMAGES, CANDIDATES, model.train())
        return lambda: training_step(model, candidates, labels)
    crowd = make_crowd(arguments.people)
    if arguments.work == "ae":
        return lambda: people_by_tags(crowd, model)
    _, label_BN = find(crowd, model)
    return lambda: people_by_hgg(crowd, model, label_BN)


if __name__ == "__main__":
    main()
