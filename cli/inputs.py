"""The arguments of `add` as documents: files, folders, globs, URLs and standard input.

Only names are read here; the engine reads the bytes. A document's external id is the file's
absolute path, so that adding a folder again replaces what changed, and two folders that hold a
`README.md` each keep both. What can't be read is named with its fault, so that the rest goes on.
"""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from engine.errors import InvalidInput

STDIN = "-"
MAGIC = frozenset("*?[")


@dataclass(frozen=True, slots=True)
class InputItem:
    """One document to add: a file below `root`, a URL, or standard input when both are empty.

    `fault` says why there is nothing to read, after its name: "is a link that leads nowhere".
    """

    path: Path | None = None
    root: Path | None = None
    url: str = ""
    fault: str = ""

    @property
    def label(self) -> str:
        """Its name to people: the path below the folder that was named, the URL, or -."""
        if self.path is None:
            return self.url or STDIN
        shown = self.path.relative_to(self.root) if self.root else self.path.name
        return storable(os.fspath(shown) or ".")

    @property
    def external_id(self) -> str:
        """What makes it the same document when it is added again."""
        return storable(self.path.as_posix()) if self.path else self.url


def storable(name: str) -> str:
    """A file's name as text: bytes that are no UTF-8 are written as in a URL, `%FF`.

    Python keeps such bytes as lone surrogates, which neither a database nor a terminal takes.
    """
    if not any("\ud800" <= character <= "\udfff" for character in name):
        return name
    return (
        "".join(
            f"%{ord(character) - 0xDC00:02X}" if "\udc80" <= character <= "\udcff" else character
            for character in name
        )
        .encode("utf-8", "replace")
        .decode("utf-8")
    )


def expand(arguments: Sequence[str]) -> list[InputItem]:
    """Every document named by `arguments`, each once, in order.

    A folder gives all files in it and below, except hidden ones; so does a glob the shell left
    alone. Raises `InvalidInput` where no argument leads to anything.
    """
    found: dict[tuple[str, str], InputItem] = {}
    nothing: list[str] = []
    for argument in arguments:
        given, fault = _expand(argument)
        if fault:
            nothing.append(fault)
            given = [InputItem(path=Path(argument).expanduser().absolute(), fault=fault)]
        for item in given:
            found.setdefault((item.external_id, item.url), item)
    if nothing and len(nothing) == len(arguments):
        raise InvalidInput("; ".join(nothing))
    return list(found.values())


def _expand(argument: str) -> tuple[list[InputItem], str]:
    """What an argument names, or why that is nothing."""
    if argument == STDIN:
        return [InputItem()], ""
    if urlsplit(argument).scheme in {"http", "https"}:
        return [InputItem(url=argument)], ""
    path = Path(argument).expanduser().absolute()
    shown = storable(argument)
    if path.is_dir():
        given = list(_walk(path, path))
        return given, "" if given else f"{storable(os.fspath(path))} contains no files"
    if os.path.lexists(path):
        return [_file(path)], ""
    if MAGIC & set(argument):
        given = list(_matching(argument))
        return given, "" if given else f"nothing matches {shown}"
    return [], f"{shown} does not exist: give a file, a folder, a URL or -"


def _walk(folder: Path, root: Path) -> Iterator[InputItem]:
    """Files below `folder` by name; links to folders are not followed, for they may turn in rings."""
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        yield InputItem(path=folder, root=root, fault=_unreadable(error))
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if _is_folder(entry):
            if not entry.is_symlink():
                yield from _walk(entry, root)
        else:
            yield _file(entry, root)


def _matching(pattern: str) -> Iterator[InputItem]:
    expanded = str(Path(pattern).expanduser())
    for name in sorted(glob.glob(expanded, recursive=True)):  # noqa: PTH207 (Path.glob takes no absolute pattern)
        path = Path(name).absolute()
        if not _is_folder(path):  # `docs/**` names the folders as well as what is in them
            yield _file(path)


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False


def _file(path: Path, root: Path | None = None) -> InputItem:
    """A file to read, or what is wrong with it: reading a pipe would wait for ever."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        leads_nowhere = path.is_symlink() and isinstance(error, FileNotFoundError)
        fault = "is a link that leads nowhere" if leads_nowhere else _unreadable(error)
        return InputItem(path=path, root=root, fault=fault)
    if stat.S_ISREG(mode):
        return InputItem(path=path, root=root)
    fault = "is a pipe, a socket or a device: pipe what it gives into `scrubjay add -`"
    return InputItem(path=path, root=root, fault=fault)


def _unreadable(error: OSError) -> str:
    return f"can't be read: {error.strerror or error}"
