"""pipeline.prediction.sources: what words on the command line stand for."""

from pathlib import Path

import pytest

from pipeline.base.errors import UserError
from pipeline.prediction.sources import find_sources


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.jpg", "a.JPG", "c.png", "notes.md", "deep/b.jpg", "deep/er/d.jpg", "odd[1].jpg"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "photos"


def _names(*words: Path, recursive: bool = False) -> list[str]:
    return [source.name for source in find_sources(words, recursive)]


def test_a_folder_stands_for_its_images_by_name(folder: Path) -> None:
    assert _names(folder) == ["a.JPG", "b.jpg", "c.png", "odd[1].jpg"]


def test_a_folder_stands_for_the_folders_in_it_where_asked_for(folder: Path) -> None:
    everything = ["a.JPG", "b.jpg", "c.png", "deep/b.jpg", "deep/er/d.jpg", "odd[1].jpg"]
    assert _names(folder, recursive=True) == everything


def test_a_file_is_an_image_whatever_its_name(folder: Path) -> None:
    assert _names(folder / "notes.md", folder / "odd[1].jpg") == ["notes.md", "odd[1].jpg"]


def test_a_pattern_stands_for_what_fits_it(folder: Path) -> None:
    assert _names(folder / "*.jpg") == ["b.jpg", "odd[1].jpg"]
    assert _names(folder / "**" / "[bd].jpg") == ["b.jpg", "deep/b.jpg", "deep/er/d.jpg"]
    assert _names(folder / "*") == ["a.JPG", "b.jpg", "c.png", "odd[1].jpg"]


def test_a_picture_that_is_named_twice_is_looked_at_once(folder: Path) -> None:
    assert _names(folder / "b.jpg", folder, folder / "*.png") == ["b.jpg", "a.JPG", "c.png", "odd[1].jpg"]


def test_a_list_names_files_folders_and_patterns_of_its_own_folder(folder: Path) -> None:
    listing = folder / "list.txt"
    listing.write_text(f"# some\n\nb.jpg\n  deep  \n{folder}/*.png\n", encoding="utf-8")
    found = find_sources([listing])
    assert [source.path for source in found] == [folder / name for name in ("b.jpg", "deep/b.jpg", "c.png")]


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("absent.jpg", r"absent\.jpg: no such file or folder: name an image"),
        ("empty", r"empty: no image in this folder .*; --recursive looks into the folders in it too"),
        ("*.gif", r"\*\.gif: no image fits this pattern"),
        ("lost.txt", r"lost\.txt, line 2: .*gone\.jpg: no such file or folder"),
        ("nested.txt", r"nested\.txt, line 1: lost\.txt is a list itself"),
    ],
)
def test_what_stands_for_nothing_is_said(folder: Path, word: str, said: str) -> None:
    (folder / "empty").mkdir()
    (folder / "lost.txt").write_text("b.jpg\ngone.jpg\n")
    (folder / "nested.txt").write_text("lost.txt\n")
    with pytest.raises(UserError, match=said):
        find_sources([folder / word])
