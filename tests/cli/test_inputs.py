"""What `add` is given: files, folders, globs, URLs and standard input become documents."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.inputs import InputItem, expand
from engine.errors import InvalidInput


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.md", "a/one.md", "a/two.txt", ".hidden", ".git/config", "a/.DS_Store"):
        file = tmp_path / "docs" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("x", encoding="utf-8")
    return tmp_path / "docs"


def test_a_folder_gives_its_files_but_hidden_ones(folder: Path) -> None:
    given = expand([str(folder)])
    assert [g.label for g in given] == ["a/one.md", "a/two.txt", "b.md"]
    assert given[0].external_id == f"{folder}/a/one.md"


def test_the_same_file_named_twice_is_added_once(folder: Path, monkeypatch) -> None:
    monkeypatch.chdir(folder.parent)
    given = expand(["docs/b.md", str(folder), "./docs/b.md"])
    assert [g.path for g in given] == [folder / "b.md", folder / "a/one.md", folder / "a/two.txt"]


def test_readmes_of_two_folders_stay_apart(tmp_path: Path) -> None:
    for name in ("x", "y"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "README.md").write_text(name, encoding="utf-8")
    given = expand([str(tmp_path / "x"), str(tmp_path / "y")])
    assert len({g.external_id for g in given}) == 2


def test_a_ring_of_links_ends(folder: Path) -> None:
    (folder / "a" / "back").symlink_to(folder, target_is_directory=True)
    assert len(expand([str(folder)])) == 3


@pytest.mark.parametrize(
    ("pattern", "labels"),
    [("**/*.md", ["one.md", "b.md"]), ("a/*", ["one.md", "two.txt"]), ("[b].md", ["b.md"])],
)
def test_a_glob_the_shell_left_alone_is_expanded(
    folder: Path, pattern: str, labels: list[str]
) -> None:
    assert [g.label for g in expand([str(folder / pattern)])] == labels


def test_a_file_whose_name_looks_like_a_glob_is_that_file(folder: Path) -> None:
    (folder / "[b].md").write_text("y", encoding="utf-8")
    assert [g.label for g in expand([str(folder / "[b].md")])] == ["[b].md"]


def test_urls_and_standard_input_pass_through() -> None:
    url = "https://example.org/a"
    assert expand([url, "-"]) == [InputItem(url=url), InputItem()]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("nothing", "does not exist: give a file, a folder, a URL or -"),
        ("*.pdf", "nothing matches"),
        ("empty", "contains no files"),
    ],
)
def test_a_path_that_gives_nothing_is_refused(folder: Path, name: str, says: str) -> None:
    (folder / "empty").mkdir()
    with pytest.raises(InvalidInput, match=says):
        expand([str(folder / name)])
