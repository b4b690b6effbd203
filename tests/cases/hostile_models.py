"""Model files that were made to harm: what they say or how they are packed takes memory or ends a process."""

import io
import pickle
import struct
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

HUGE = {
    "stacks": ("network", "stacks", 10**7),
    "depth": ("network", "depth", 60),
    "channels": ("network", "channels", 8 * 10**9),
    "input_size": ("network", "input_size", 2**40),
    "window": ("candidates", "window", 10**9 + 1),
    "per_type": ("candidates", "per_type", 10**9),
    "layers": ("grouping", "layers", 10**8),
    "max_rounds": ("grouping", "max_rounds", 10**12),
    "threshold": ("candidates", "threshold", float("nan")),
    "tag_threshold": ("grouping", "tag_threshold", float("inf")),
}
"""Settings that are too large, or no numbers: group, name, value."""


def write_hostile(folder: Path, whole: Path) -> Iterator[tuple[str, Path]]:
    """Write hostile variants of a model file, one at a time, each with its name."""
    content = torch.load(whole, weights_only=True)
    for name, change in _changes().items():
        path = folder / f"{name}.pt"
        torch.save(change(content), path)
        yield name, path
    for name, pack in _packings().items():
        path = folder / f"{name}.pt"
        pack(whole, path)
        yield name, path


def with_setting(content: dict[str, Any], group: str, name: str, value: Any) -> dict[str, Any]:
    """What a file holds, with another setting in it."""
    settings = content["config"] | {group: content["config"][group] | {name: value}}
    return content | {"config": settings}


def repacked(whole: Path, path: Path, compression: int = zipfile.ZIP_STORED, **parts: bytes) -> None:
    """A copy of a file whose data.pkl (`pickled`) or first tensor (`first`) is another."""
    with zipfile.ZipFile(whole) as old, zipfile.ZipFile(path, "w", compression) as new:
        for name in old.namelist():
            other = {"data.pkl": "pickled", "data/0": "first"}.get(name.partition("/")[2], "")
            new.writestr(name, parts.get(other, old.read(name)))


def _changes() -> dict[str, Callable[[dict[str, Any]], dict[str, Any]]]:
    """Variants in what a file says."""

    def setting(group: str, name: str, value: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
        return lambda content: with_setting(content, group, name, value)

    def seen_larger(content: dict[str, Any]) -> dict[str, Any]:
        """One number a tensor, each seen as all of a wide network's weights."""
        model = {name: value.new_zeros(()).expand(value.shape) for name, value in content["model"].items()}
        return content | {"model": model}

    return {
        **{f"{name} of a whole machine": setting(*each) for name, each in HUGE.items()},
        "bounds, but not the weights for them": setting("network", "channels", 1024),
        "settings that are a list": lambda content: content | {"config": [content["config"]] * 3},
        "settings in settings": lambda content: with_setting(content, "network", "stacks", {"a": {"b": 1}}),
        "a key of a megabyte": lambda content: with_setting(content, "network", "\n" * 2**20, 1),
        "a list of weights": lambda content: content | {"model": [*content["model"].values()]},
        "a format that is a tensor": lambda content: content | {"format": torch.zeros(9)},
        "one number seen as many": seen_larger,
    }


def _packings() -> dict[str, Callable[[Path, Path], None]]:
    """Variants in how a file is packed."""

    def of_pickle(pickled: bytes) -> Callable[[Path, Path], None]:
        return lambda whole, path: repacked(whole, path, pickled=pickled)

    def zip_bomb(whole: Path, path: Path) -> None:
        repacked(whole, path, zipfile.ZIP_DEFLATED, first=bytes(64 << 20))

    def more_declared(whole: Path, path: Path) -> None:
        """Its first tensor has fewer bytes than data.pkl says: torch reads on behind them."""
        repacked(whole, path, first=b"abcd")

    def twice(whole: Path, path: Path) -> None:
        """Two members of one name, of which readers may see either."""
        path.write_bytes(whole.read_bytes())
        with zipfile.ZipFile(path, "a") as archive, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of zipfile's, that there are two
            archive.writestr(archive.namelist()[0], b"}.")

    def cut(whole: Path, path: Path) -> None:
        path.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])

    return {
        "a zip bomb": zip_bomb,
        "more bytes declared than there are": more_declared,
        "two tables of contents": twice,
        "a place of 2^31": of_pickle(b"\x80\x02}r\xff\xff\xff\x7f."),
        "bytes of 2^34": of_pickle(b"\x80\x05\x96" + struct.pack("<Q", 2**34) + b"."),
        "an array of 10 GB": of_pickle(
            b"\x80\x02c__builtin__\nbytearray\n\x8a\x05\x00\xe4\x0b\x54\x02\x85R."
        ),
        "pairs of pairs": of_pickle(_pairs_of_pairs(60)),
        "code": of_pickle(pickle.dumps(io.BytesIO, 2)),
        "no pickle": of_pickle(b"hello"),
        "an empty table of contents": of_pickle(b""),
        "half of it": cut,
    }


def _pairs_of_pairs(levels: int) -> bytes:
    """A pickled table whose key is a pair of pairs of pairs: looking it up looks at all 2^levels ends."""
    pairs = b"K\x01K\x01\x86q\x00"  # (1, 1), kept in place 0
    for place in range(1, levels):
        pairs += bytes([*(0x68, place - 1) * 2, 0x86, 0x71, place])  # the last one twice, as a pair, kept
    return b"\x80\x02}(" + pairs + b"K\x01u."
