"""Files in S3, by the paths that all code uses: a run root, a data set or a model may be s3://bucket/folder.

A `StorePath` is a `pathlib` path whose every access goes to the bucket through `pyarrow.fs`. Credentials,
region and endpoint come from the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_DEFAULT_REGION,
AWS_ENDPOINT_URL) or from what else the AWS SDK finds, and are kept nowhere.

S3 knows no folders and no renaming: a folder is there as long as something in it is, and a rename is a copy
that becomes visible whole. An upload that is cut off leaves nothing that can be read.
"""

import io
import os
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path, PosixPath, PurePosixPath
from typing import IO, TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from pyarrow.fs import FileInfo, S3FileSystem

SCHEME = "s3://"
MANGLED = "s3:/"  # what pathlib makes of it
ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
PERMISSION = 0o100644
FOLDER_PERMISSION = 0o040755


class StorePath(PosixPath):
    """A file or folder in a bucket. Only what this project uses works; what has no meaning there raises."""

    __slots__ = ()

    def __str__(self) -> str:
        """With the scheme: s3://bucket/folder/file."""
        return SCHEME + self._key

    def __fspath__(self) -> NoReturn:
        """Raises: whoever asks wants a file of this machine (see `local_copy`)."""
        raise TypeError(f"{self} is in a store: read it by open(), or use local_copy()")

    @property
    def _key(self) -> str:
        """Bucket and key, as pyarrow.fs wants it."""
        return "/".join(self.parts[1:])

    def _info(self) -> "FileInfo":
        return file_system().get_file_info(self._key)

    def absolute(self) -> "StorePath":
        """Itself."""
        return self

    def expanduser(self) -> "StorePath":
        """Itself."""
        return self

    def as_uri(self) -> str:
        """As its text."""
        return str(self)

    def relative_to(self, *other: Any) -> PurePosixPath:  # pyrefly: ignore[bad-override]
        """What remains below another path, which is in no bucket any more."""
        return PurePosixPath(*super().relative_to(*other).parts)

    def exists(self) -> bool:
        """Whether there is a file, or anything below."""
        from pyarrow.fs import FileType

        return self._info().type != FileType.NotFound

    def is_file(self) -> bool:
        """Whether there is a file."""
        return self._info().is_file

    def is_dir(self) -> bool:
        """Whether there is anything below."""
        from pyarrow.fs import FileType

        return self._info().type == FileType.Directory

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        """Size and time of change; `FileNotFoundError` where there is nothing."""
        del follow_symlinks
        from pyarrow.fs import FileType

        info = self._info()
        if info.type == FileType.NotFound:
            raise FileNotFoundError(2, os.strerror(2), str(self))
        changed = info.mtime_ns or 0
        mode = PERMISSION if info.is_file else FOLDER_PERMISSION
        seconds = changed // 1_000_000_000
        return os.stat_result(
            (mode, 0, 0, 0, 0, 0, info.size or 0, seconds, seconds, seconds),
            {"st_mtime_ns": changed},
        )

    def open(  # pyrefly: ignore[bad-override]  # one signature for all modes
        self,
        mode: str = "r",
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> IO[Any]:
        """Open to read, write or append; what is written is there once it is closed, and whole."""
        del buffering
        files = file_system()
        try:
            if "r" in mode:
                raw: Any = files.open_input_file(self._key)
            else:
                before = self.read_bytes() if "a" in mode and self.exists() else b""
                raw = files.open_output_stream(self._key)
                raw.write(before)
        except FileNotFoundError:
            raise FileNotFoundError(2, os.strerror(2), str(self)) from None
        if "b" in mode:
            return raw
        return io.TextIOWrapper(raw, encoding=encoding, errors=errors, newline=newline)

    def read_bytes(self) -> bytes:
        """All of a file."""
        with self.open("rb") as file:
            return file.read()

    def write_bytes(self, data: Any) -> int:
        """Write a file."""
        with self.open("wb") as file:
            file.write(data)
        return len(data)

    def mkdir(self, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        """Nothing: a folder is there with its first file."""
        del mode, parents, exist_ok

    def rmdir(self) -> None:
        """Nothing: a folder is gone with its last file."""

    def unlink(self, missing_ok: bool = False) -> None:
        """Remove a file."""
        try:
            file_system().delete_file(self._key)
        except FileNotFoundError:
            if not missing_ok:
                raise FileNotFoundError(2, os.strerror(2), str(self)) from None

    def replace(self, target: Any) -> Any:
        """Copy a file, or all files below a folder, and remove what was copied."""
        folder = self.is_dir()
        for source in self.rglob("*") if folder else [self]:
            file_system().copy_file(source._key, (target / source.relative_to(self))._key)
        if folder:
            file_system().delete_dir(self._key)
        else:
            self.unlink()
        return target

    def iterdir(self) -> Generator["StorePath", None, None]:  # pyrefly: ignore[bad-override]
        """What lies in a folder, files and folders."""
        yield from self._below(recursive=False)

    def glob(self, pattern: str) -> Generator["StorePath", None, None]:  # pyrefly: ignore[bad-override]
        """Files and folders whose path below this one fits a pattern, part by part."""
        parts = PurePosixPath(pattern).parts
        for path in self._below(recursive=len(parts) > 1):
            below = path.relative_to(self).parts
            if len(below) == len(parts) and all(map(fnmatchcase, below, parts)):
                yield path

    def rglob(self, pattern: str) -> Generator["StorePath", None, None]:  # pyrefly: ignore[bad-override]
        """Files below, at any depth, whose name fits a pattern."""
        for path in self._below(recursive=True, files_only=True):
            if fnmatchcase(path.name, pattern):
                yield path

    def sizes(self) -> dict[str, int]:
        """Bytes of every file below, by its path as text, from one listing."""
        from pyarrow.fs import FileSelector

        selector = FileSelector(self._key, allow_not_found=True, recursive=True)
        found = file_system().get_file_info(selector)
        return {f"{SCHEME}{info.path}": info.size or 0 for info in found if info.is_file}

    def _below(self, recursive: bool, files_only: bool = False) -> Generator["StorePath", None, None]:
        from pyarrow.fs import FileSelector

        selector = FileSelector(self._key, allow_not_found=True, recursive=recursive)
        for info in sorted(file_system().get_file_info(selector), key=lambda info: info.path):
            if info.is_file or not files_only:
                yield stored(f"{SCHEME}{info.path}")


def stored(text: str) -> StorePath:
    """The path of a URI s3://bucket/key."""
    return StorePath(MANGLED + text.removeprefix(SCHEME))


def as_path(path: Path) -> Path:
    """A path as settings hold it: one that was read from s3://... becomes a `StorePath`."""
    text = str(path)
    return StorePath(text) if text.startswith(MANGLED) and not isinstance(path, StorePath) else path


def in_store(path: Path) -> bool:
    """Whether a path is not one of this machine's files."""
    return isinstance(path, StorePath)


def sizes_below(folder: Path) -> Callable[[Path], int | None]:
    """Gives the size of a file below a folder, None where there is none; a store is asked once for all."""
    if not isinstance(folder, StorePath):
        return lambda path: path.stat().st_size if path.is_file() else None
    known = folder.sizes()
    return lambda path: known.get(str(path))


@cache
def file_system() -> "S3FileSystem":
    """The connection, one a process."""
    from pyarrow.fs import S3FileSystem

    # Other than boto3, Arrow does not look for it by itself.
    endpoint = next((os.environ[name] for name in ENDPOINTS if os.environ.get(name)), None)
    return S3FileSystem(endpoint_override=endpoint)


@contextmanager
def local_copy(path: Path) -> Generator[Path, None, None]:
    """A file or folder of this machine for the length of a `with` block: the path itself, or a copy."""
    if not isinstance(path, StorePath):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / path.name
        for source in path.rglob("*") if path.is_dir() else [path]:
            place = target / source.relative_to(path)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(source.read_bytes())
        yield target
