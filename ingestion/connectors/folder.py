"""A folder of this machine: its files, kept in step by looking again.

Only folders that the operator named (`sources.folders`) are read, and nothing that leads out of
them: links are not followed, neither while listing nor while opening. A folder that is empty or
missing is an error rather than a deletion of everything: a mount may be away.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, ClassVar

import anyio.to_thread
from pydantic import Field

from engine.sources.contract import (
    Connector,
    Finding,
    ItemContent,
    ItemRef,
    KindSettings,
    LeftOut,
    Offers,
    Put,
    ScopeRef,
    SourceContext,
    SourceRefused,
    Step,
)
from engine.wording import counted

AT_A_TIME = 500
ID_MAX = 2000
NOT_FILES = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


class FolderSettings(KindSettings):
    """What a source of the kind `folder` takes."""

    path: str = Field(min_length=1, description="The folder, as an absolute path.")
    include: list[str] = Field(
        default_factory=list,
        description="Patterns of the files to take, such as `*.md`. Empty: all.",
    )
    exclude: list[str] = Field(
        default_factory=list, description="Patterns of files and folders to leave out."
    )


class FolderConnector(Connector[FolderSettings]):
    """Files below a folder; an item is a file, its id the path within."""

    kind: ClassVar[str] = "folder"
    title: ClassVar[str] = "Folder"
    offers: ClassVar[Offers] = Offers(every_s=300)
    settings = FolderSettings

    async def check(self, ctx: SourceContext[FolderSettings]) -> list[Finding]:
        """Whether the folder may be read and holds something."""
        root = _root(ctx)
        page = await anyio.to_thread.run_sync(_page, root, ctx.settings, ())
        count = sum(isinstance(change, Put) for change in page)
        if not page:
            return [Finding("empty", f"{root} holds no file that would be taken.", ok=False)]
        more = " or more" if len(page) == AT_A_TIME else ""
        return [Finding("reachable", f"{root} can be read: {counted(count, 'file')}{more}.")]

    async def scopes(self, ctx: SourceContext[FolderSettings]) -> list[ScopeRef]:
        """The folder itself."""
        return [ScopeRef("files", str(_root(ctx)), "folder")]

    async def listing(
        self,
        ctx: SourceContext[FolderSettings],
        scope: ScopeRef,  # noqa: ARG002 (the contract's)
        cursor: Mapping[str, Any],
    ) -> Step:
        """Some files, in the order of their paths."""
        after = tuple(cursor.get("after", ()))
        page = await anyio.to_thread.run_sync(_page, _root(ctx), ctx.settings, after)
        if not page and not after:
            note = "The folder is empty, as one is whose mount is away: nothing was removed."
            return Step([], {}, more=False, complete=False, note=note)
        more = len(page) == AT_A_TIME
        return Step(page, {"after": page[-1].id.split("/")} if more else {}, more=more)

    async def open(
        self,
        ctx: SourceContext[FolderSettings],
        scope: ScopeRef,  # noqa: ARG002 (the contract's)
        item: ItemRef,
    ) -> ItemContent | None:
        """The bytes of a file, reached without following a link."""
        data = await anyio.to_thread.run_sync(
            _read_beneath, _root(ctx), item.id.split("/"), ctx.max_bytes
        )
        return None if data is None else ItemContent(data, item.filename)


def _root(ctx: SourceContext[FolderSettings]) -> Path:
    """The folder, where the operator lets it be read."""
    path = Path(ctx.settings.path)
    if not path.is_absolute():
        raise SourceRefused(f"{path} is not an absolute path.")
    real = Path(os.path.realpath(path))
    roots = [Path(os.path.realpath(root)) for root in ctx.roots]
    if not any(real == root or root in real.parents for root in roots):
        raise SourceRefused(
            f"{path} may not be read: the operator can add it to the setting sources.folders."
        )
    if not real.is_dir():
        raise SourceRefused(f"{path} is not there, or not a folder: nothing was removed.")
    return real


def _page(root: Path, settings: FolderSettings, after: Sequence[str]) -> list[Put | LeftOut]:
    found: list[Put | LeftOut] = []
    try:
        for change in _walk(root, (), settings, after):
            found.append(change)
            if len(found) == AT_A_TIME:
                break
    except OSError as error:
        raise SourceRefused(
            f"{error.filename} can't be read ({error.strerror}): nothing was removed."
        ) from None
    return found


def _walk(
    root: Path, parts: tuple[str, ...], settings: FolderSettings, after: Sequence[str]
) -> Iterator[Put | LeftOut]:
    """Files after a path, in the order of their parts; what comes before is not looked into."""
    with os.scandir(root.joinpath(*parts)) as entries:
        names = sorted(entries, key=lambda entry: entry.name)
    for entry in names:
        name = entry.name
        if after and name < after[0]:
            continue
        rest = after[1:] if after and name == after[0] else ()
        path = (*parts, name)
        if name.startswith(".") or entry.is_symlink() or _matches(path, settings.exclude):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(root, path, settings, rest)
        elif after and name == after[0]:
            continue
        elif entry.is_file(follow_symlinks=False):
            yield from _file(entry, path, settings)


def _file(
    entry: os.DirEntry[str], path: tuple[str, ...], settings: FolderSettings
) -> Iterator[Put | LeftOut]:
    if settings.include and not _matches(path, settings.include):
        return
    item_id = "/".join(path)
    shown = item_id.encode("utf-8", "replace").decode()
    if shown != item_id:
        yield LeftOut(shown[:ID_MAX], "Its name is not UTF-8: rename it.")
        return
    if len(item_id) > ID_MAX:
        yield LeftOut(item_id[:ID_MAX], f"Its path is longer than {ID_MAX} characters.")
        return
    try:
        found = entry.stat(follow_symlinks=False)
    except FileNotFoundError:  # deleted while it was listed
        return
    if not found.st_size:
        yield LeftOut(item_id, "It is empty.", entry.name)
        return
    yield Put(
        id=item_id,
        version=f"{found.st_mtime_ns}-{found.st_size}-{found.st_ino}",
        title=entry.name,
        filename=entry.name,
        size_bytes=found.st_size,
        updated_at=datetime.fromtimestamp(found.st_mtime, UTC),
    )


def _matches(path: tuple[str, ...], patterns: Sequence[str]) -> bool:
    whole = "/".join(path)
    return any(fnmatchcase(whole, one) or fnmatchcase(path[-1], one) for one in patterns)


def _read_beneath(root: Path, parts: Sequence[str], max_bytes: int) -> bytes | None:
    """A file's bytes, opened part by part from the root, so that no link leads out of it."""
    if any(part in {"", ".", ".."} or "\0" in part for part in parts):
        raise SourceRefused("Its path leads out of the folder.")
    try:
        descriptor = _open_beneath(root, parts)
    except OSError as error:
        if error.errno in NOT_FILES:
            return None
        raise SourceRefused(f"It can't be read ({error.strerror}).") from None
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise SourceRefused(f"It is larger than {max_bytes:,} bytes.")
    return data


def _open_beneath(root: Path, parts: Sequence[str]) -> int:
    if os.open not in os.supports_dir_fd:  # Windows
        path = root.joinpath(*parts)
        if any(one.is_symlink() for one in (path, *path.parents) if one != root):
            raise OSError(errno.ELOOP, "is a link")
        return os.open(path, os.O_RDONLY)
    no_link = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
    at = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    for part in parts:
        try:
            following = os.open(part, no_link, dir_fd=at)
        finally:
            os.close(at)
        at = following
    return at
