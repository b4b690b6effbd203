"""What networks cost: weights and multiplications of one image forward, counted, not timed.

    python -m tests.benchmarks.backbones [--size 512] [NAME ...]

Names are of `network.backbone`; those of timm are left out where it is not installed.
"""

import argparse

import torch
from torch.utils.flop_counter import FlopCounterMode

from hgg.config import HOURGLASS, NetworkConfig
from hgg.model import proposal_network
from hgg.skeleton import NUM_JOINTS

NAMES = (
    HOURGLASS,
    *("resnet", "convnextv2", "hgnet_v2", "swin", "pvt_v2"),
    *("timm/tf_efficientnet_lite0.in1k", "timm/hrnet_w32.ms_in1k"),
)


def row(name: str, size: int) -> str:
    """A line of the table.

    Raises `ValueError` where the backbone is not to be had.
    """
    with torch.device("meta"):
        network = proposal_network(NetworkConfig(backbone=name, input_size=size), NUM_JOINTS).eval()
        with FlopCounterMode(display=False) as counter:
            network(torch.zeros(1, 3, size, size))
    weights = sum(parameter.numel() for parameter in network.parameters())
    return f"| `{name}` | {weights / 1e6:.1f} | {counter.get_total_flops() / 2e9:.1f} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", default=NAMES)
    parser.add_argument("--size", type=int, default=512)
    arguments = parser.parse_args()
    print("| network.backbone | million weights | 10⁹ multiplications |\n|---|---:|---:|")
    for name in arguments.names:
        try:
            print(row(name, arguments.size), flush=True)
        except ValueError as error:
            print(f"| `{name}` | {error} | |")


if __name__ == "__main__":
    main()
