"""What is to be predicted: files, folders, patterns and lists become pictures with names."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from pipeline.base.errors import UserError
from pipeline.base.s3 import as_path, in_store

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".heic", ".heif", ".avif")
"""Files that are taken for images; OpenCV cannot read all of them everywhere, and then they are left out."""

VIDEOS = (".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".gif")
"""Files that are taken for videos."""

STREAM = re.compile(r"(rtsp|rtmp|https?|udp|srt)://")

LISTS = (".txt", ".lst")
"""Files that are taken for lists: a file, folder or pattern a line, relative ones of the list's folder."""

WILD = "*?["


class Source(NamedTuple):
    """A picture to look at."""

    path: Path
    name: str
    """What it is called in results: its path below the folder that was named, or the file's name."""


def is_video(word: str | Path) -> bool:
    """Whether a word is a video file by its name, a camera's number or the address of a stream."""
    return not is_file_name(word) or str(word).lower().endswith(VIDEOS)


def is_file_name(word: str | Path) -> bool:
    """Whether a word names a file or folder, and neither a camera nor a stream."""
    return not str(word).isdigit() and STREAM.match(str(word)) is None


def find_sources(words: Sequence[str | Path], recursive: bool = False) -> list[Source]:
    """The pictures that words stand for, each once, in the order of the words and by name in each.

    Args:
        words: image files (of any name), folders of images, patterns as photos/**/*.jpg, and lists.
        recursive: whether a folder stands for the folders in it too.

    Raises:
        UserError: a word that stands for no picture.
    """
    found: dict[Path, Source] = {}
    for word in words:
        for source in _of_word(as_path(Path(word)), recursive):
            found.setdefault(source.path, source)
    return [*found.values()]


def _of_word(word: Path, recursive: bool) -> Iterator[Source]:
    if word.is_file():
        if word.suffix.lower() in LISTS:
            yield from _of_list(word, recursive)
        else:
            yield Source(word, word.name)
    elif word.is_dir():
        yield from _of_folder(word, recursive)
    elif any(letter in str(word) for letter in WILD):
        yield from _of_pattern(word)
    else:
        raise UserError(
            f"{word}: no such file or folder: name an image, a folder of images, a pattern as "
            f"'photos/*.jpg', or a list of them ({', '.join(LISTS)})"
        )


def _of_folder(folder: Path, recursive: bool) -> Iterator[Source]:
    below = folder.rglob("*") if recursive else folder.iterdir()
    images = sorted(path for path in below if path.suffix.lower() in SUFFIXES)
    if not images:
        deeper = "" if recursive else "; --recursive looks into the folders in it too"
        raise UserError(f"{folder}: no image in this folder (looked for {', '.join(SUFFIXES)}{deeper})")
    for path in images:
        yield Source(path, path.relative_to(folder).as_posix() if recursive else path.name)


def _of_pattern(pattern: Path) -> Iterator[Source]:
    """What a shell would make of it; quoted, it also works where a shell would find too many."""
    parts = pattern.parts
    first = next(place for place, part in enumerate(parts) if any(letter in part for letter in WILD))
    folder = as_path(Path(*parts[:first]))
    rest = str(PurePosixPath(*parts[first:]))
    images = sorted(path for path in folder.glob(rest) if path.suffix.lower() in SUFFIXES)
    if not images:
        raise UserError(f"{pattern}: no image fits this pattern (looked for {', '.join(SUFFIXES)})")
    for path in images:
        yield Source(path, path.relative_to(folder).as_posix())


def _of_list(file: Path, recursive: bool) -> Iterator[Source]:
    """Lines that are empty or begin with # say nothing; what they name may itself be folders and patterns."""
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        path = as_path(Path(text))
        path = path if path.is_absolute() or in_store(path) else file.parent / path
        if path.suffix.lower() in LISTS:
            raise UserError(f"{file}, line {number}: {text} is a list itself: name what is in it")
        try:
            yield from _of_word(path, recursive)
        except UserError as error:
            raise UserError(f"{file}, line {number}: {error}") from error
