"""The arguments of `add` as documents: files, folders, globs, URLs and standard input.

Only names are read here; the engine reads the bytes. A document's external id is the file's
absolute path, so that adding a folder again replaces what changed, and two folders that contain a
`README.md` each keep both.
"""

from __future__ import annotations

import glob
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from engine.errors import InvalidInput

STDIN = "-"
MAGIC = frozenset("*?[")


@dataclass(frozen=True, slots=True)
class InputItem:
    """A document to add: a file below `root`, a URL, or standard input when both are empty."""

    path: Path | None = None
    root: Path | None = None
    url: str = ""

    @property
    def label(self) -> str:
        """Its name to people: the path below the folder that was named, the URL, or -."""
        if self.path is None:
            return self.url or STDIN
        return self.path.relative_to(self.root).as_posix() if self.root else self.path.name

    @property
    def external_id(self) -> str:
        """What makes it the same document when it is added again."""
        return self.path.as_posix() if self.path else self.url


def expand(arguments: Sequence[str]) -> list[InputItem]:
    """Every document named by `arguments`, each once, in order.

    A folder gives all files in it and below, except hidden ones; so does a glob the shell left
    alone. Raises `InvalidInput` for a path that does not exist and for a folder without files.
    """
    found: dict[tuple[str, str], InputItem] = {}
    for argument in arguments:
        for given in _expand(argument):
            found.setdefault((given.external_id, given.url), given)
    return list(found.values())


def _expand(argument: str) -> Iterator[InputItem]:
    if argument == STDIN:
        yield InputItem()
        return
    if urlsplit(argument).scheme in {"http", "https"}:
        yield InputItem(url=argument)
        return
    path = Path(argument).expanduser().absolute()
    if path.is_dir():
        yield from _below(path)
    elif path.exists():
        yield InputItem(path=path)
    elif MAGIC & set(argument):
        yield from _matching(argument)
    else:
        raise InvalidInput(f"{argument} does not exist: give a file, a folder, a URL or -")


def _below(folder: Path) -> Iterator[InputItem]:
    files = [path for path in _walk(folder) if path.is_file()]
    if not files:
        raise InvalidInput(f"{folder} contains no files")
    yield from (InputItem(path=path, root=folder) for path in files)


def _walk(folder: Path) -> Iterator[Path]:
    """Files below `folder` by name; links to folders are not followed: they could form rings."""
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            if not entry.is_symlink():
                yield from _walk(entry)
        else:
            yield entry


def _matching(pattern: str) -> Iterator[InputItem]:
    expanded = str(Path(pattern).expanduser())
    matches = [Path(name).absolute() for name in sorted(glob.glob(expanded, recursive=True))]  # noqa: PTH207 (Path.glob takes no absolute pattern)
    if not matches:
        raise InvalidInput(f"nothing matches {pattern}")
    for path in matches:
        if path.is_dir():
            continue  # `docs/**` names the folders as well as what is in them
        yield InputItem(path=path)
