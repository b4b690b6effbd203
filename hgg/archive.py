"""A file of `torch.save`, looked at before anything in it is believed.

Such a file is a zip: `data.pkl` says what there is, and each tensor's bytes lie beside it as they are. What
torch does with a file that was made to harm (it takes the memory that is declared, and reads past the end of
bytes that are fewer than declared) is ruled out here: nothing is compressed, each tensor has all its bytes,
and `data.pkl` holds nothing but what torch writes for tensors and plain values. So what is refused takes no
more memory than the file has bytes, and a few tens of them for each of `data.pkl`'s.
"""

import io
import pickle
import pickletools
import struct
import zipfile
from collections import OrderedDict
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import torch

LARGEST_PICKLE = 4 << 20
"""Bytes of `data.pkl` at the most; a tensor takes about 130."""
LARGEST_NUMBER = 100_000
"""Members of the zip at the most: one a tensor, and a few."""
SHARED = 32
"""How often `data.pkl` may name a list or a table a second time: torch does so once or twice, while tables of
tables that name one another grow without end when they are looked through."""
BLOCK = 1 << 20

OPCODES = frozenset(
    {
        *("PROTO", "STOP", "MARK", "GLOBAL", "REDUCE", "BUILD", "BINPERSID"),
        *("NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE"),
        *("EMPTY_LIST", "APPEND", "APPENDS", "EMPTY_DICT", "SETITEM", "SETITEMS"),
        *("EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"),
        *("BINPUT", "LONG_BINPUT", "BINGET", "LONG_BINGET"),
    }
)
"""All that torch writes for tensors and plain values."""
STORAGES = {
    f"{name}Storage": dtype
    for name, dtype in {
        "Double": torch.float64,
        "Float": torch.float32,
        "Half": torch.float16,
        "BFloat16": torch.bfloat16,
        "Long": torch.int64,
        "Int": torch.int32,
        "Short": torch.int16,
        "Char": torch.int8,
        "Byte": torch.uint8,
        "Bool": torch.bool,
    }.items()
}
BROKEN = (
    zipfile.BadZipFile,
    pickle.UnpicklingError,
    OSError,
    EOFError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    ArithmeticError,
    RuntimeError,
    struct.error,
)
"""What reading a file that is not whole, or not such a file, may raise."""


class TensorSpec(NamedTuple):
    """A tensor that is not read yet."""

    shape: tuple[int, ...]
    dtype: torch.dtype


class _Storage(NamedTuple):
    """The numbers of a tensor, or of several."""

    count: int
    dtype: torch.dtype


def contents(path: Path) -> Any:
    """What a file holds, with a `TensorSpec` for each tensor; no tensor is read.

    Raises one of `BROKEN` for a file that is not whole or holds anything else, FileNotFoundError among them.
    """
    with path.open("rb") as file, zipfile.ZipFile(file) as archive:
        members = _members(archive, path.stat().st_size)
        if members["data.pkl"].file_size > LARGEST_PICKLE:
            raise ValueError(f"data.pkl of more than {LARGEST_PICKLE} bytes")
        data = archive.read(members["data.pkl"])
        _check_opcodes(data)
        return _Contents(data, {name: each.file_size for name, each in members.items()}).load()


def check_bytes(path: Path) -> None:
    """Raise one of `BROKEN` where a member is not that of its CRC-32, which torch does not look at."""
    with path.open("rb") as file, zipfile.ZipFile(file) as archive:
        for member in archive.infolist():
            with archive.open(member) as part:
                while part.read(BLOCK):
                    pass


def _members(archive: zipfile.ZipFile, size: int) -> dict[str, zipfile.ZipInfo]:
    """The members by their names below the one folder; all of them together are no larger than the file."""
    listed = archive.infolist()
    if not listed or len(listed) > LARGEST_NUMBER or archive.comment:
        raise ValueError(f"{len(listed)} members and a comment of {len(archive.comment)} bytes")
    root = listed[0].filename.partition("/")[0]
    members = {each.filename.removeprefix(f"{root}/"): each for each in listed}
    if len(members) < len(listed) or "data.pkl" not in members:
        raise ValueError("no data.pkl in it, or two members of one name")
    packed = next((each for each in listed if each.compress_type != zipfile.ZIP_STORED), None)
    if packed is not None:
        raise ValueError(f"{packed.filename} is compressed, which torch.save does not do")
    declared = sum(each.file_size for each in listed)
    if declared > size or any(each.file_size != each.compress_size for each in listed):
        raise ValueError(f"its members are {declared} bytes by their headers, the file has {size}")
    return members


def _check_opcodes(data: bytes) -> None:
    """Raise `ValueError` where a pickle holds what torch does not write for tensors and plain values."""
    names: set[int] = set()
    before, shared = "", 0
    for opcode, argument, _ in pickletools.genops(data):
        if opcode.name not in OPCODES:
            raise ValueError(f"{opcode.name} in data.pkl, which torch.save does not write")
        match opcode.name, argument:
            case (("BINPUT" | "LONG_BINPUT"), int(place)):
                if place > len(data):
                    raise ValueError(f"place {place} in data.pkl of {len(data)} bytes")
                (names.add if before in ("BINUNICODE", "GLOBAL") else names.discard)(place)
            case (("BINGET" | "LONG_BINGET"), int(place)):
                shared += place not in names
        before = opcode.name
    if shared > SHARED:
        raise ValueError(f"data.pkl names lists and tables {shared} times again, {SHARED} are allowed")


class _Contents(pickle.Unpickler):
    """Reads `data.pkl` without torch: of what it names nothing is called but what stands here."""

    def __init__(self, data: bytes, sizes: dict[str, int]) -> None:
        super().__init__(io.BytesIO(data))
        self.sizes = sizes

    def find_class(self, module: str, name: str) -> Any:
        """What stands for a name of torch's; nothing is ever imported."""
        match module, name:
            case "collections", "OrderedDict":
                return OrderedDict
            case "torch._utils", "_rebuild_tensor_v2":
                return _Rebuild()
            case "torch", _ if name in STORAGES:
                return STORAGES[name]
        raise pickle.UnpicklingError(f"it names {module[:50]}.{name[:50]}")

    def persistent_load(self, pid: Any) -> _Storage:
        """A tensor's numbers, all of which must be there: torch would read on behind them."""
        match pid:
            case ("storage", torch.dtype() as dtype, str(key), str(), int(count)):
                declared, there = count * dtype.itemsize, self.sizes.get(f"data/{key}")
                if declared != there:
                    raise ValueError(f"data/{key[:50]} is declared as {declared} bytes and has {there}")
                return _Storage(count, dtype)
        raise ValueError("data.pkl refers to something that is no storage")


class _Rebuild:
    """Takes the place of torch's function that makes a tensor; has no fields that a file could set."""

    __slots__ = ()

    def __call__(self, storage: Any, offset: Any, shape: Any, stride: Any, *_: Any) -> TensorSpec:
        """The tensor's shape, where its storage has a number of its own for each element."""
        numbers = [offset, *shape, *stride]
        if not isinstance(storage, _Storage) or not all(type(each) is int and each >= 0 for each in numbers):
            raise ValueError("a tensor whose places are no numbers")
        last = offset + sum((side - 1) * step for side, step in zip(shape, stride, strict=True))
        if prod(shape) > storage.count or (prod(shape) and last >= storage.count):
            raise ValueError(f"a tensor of shape {shape} with {storage.count} numbers")
        return TensorSpec(tuple(shape), storage.dtype)
