"""The one writer of the tree: names, new entries, moves, and what lies below a folder.

Each function works on the caller's session; the caller has asked `engine/access/file_access.py`.
"""

from __future__ import annotations

import mimetypes
import re
import unicodedata
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, literal, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from engine import clock
from engine.access.file_access import DEPTH_MAX, Reached
from engine.db.tables import FileEntry, Tenant
from engine.errors import Conflict, InvalidInput

NAME_MAX = 255  # characters, the column's width
FOLDER, FILE = "folder", "file"
_REFUSED = re.compile(r"[\x00-\x1f\x7f/\\]")


@dataclass(frozen=True, slots=True)
class Bytes:
    """What a file holds, stored already."""

    blob_hash: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class FileInfo:
    """A folder or a file. `path` begins where the person who asks may see it from."""

    id: str
    kind: str
    name: str
    path: str
    folder_id: str | None  # None where it is at the top, or the folder is not theirs to see
    level: str  # how far it is granted to the person who asks
    size_bytes: int
    mime: str
    created_at: datetime
    updated_at: datetime


async def lock(session: AsyncSession, tenant_id: str) -> None:
    """Let nobody else change the tenant's tree until this transaction ends."""
    # On PostgreSQL; SQLite has one writer. It doesn't wait for rows that only refer to the tenant.
    await session.scalar(
        select(Tenant.id).where(Tenant.id == tenant_id).with_for_update(key_share=True)
    )


def check_name(name: str) -> str:
    """A name as it is kept: trimmed, composed (NFC). Letters of either case are different."""
    kept = unicodedata.normalize("NFC", name).strip()
    if not kept or kept in {".", ".."}:
        raise InvalidInput("Give a name.", field="name")
    if _REFUSED.search(kept):
        raise InvalidInput(
            f"{kept[:80]!r} can't be a name: leave out /, \\ and control characters.", field="name"
        )
    if len(kept) > NAME_MAX:
        raise InvalidInput(
            f"A name has at most {NAME_MAX} characters, and this has {len(kept)}.", field="name"
        )
    return kept


def check_depth(levels: int) -> None:
    """Refuse folders too deep inside one another."""
    if levels > DEPTH_MAX:
        raise InvalidInput(f"Folders can be {DEPTH_MAX} deep, and not more.", field="folder")


async def named(
    session: AsyncSession, tenant_id: str, parent_id: str | None, owner_id: str | None, name: str
) -> FileEntry | None:
    """The entry of a name in a folder, or at the top among what is its owner's."""
    where = FileEntry.parent_id == parent_id if parent_id else FileEntry.parent_id.is_(None)
    query = select(FileEntry).where(FileEntry.tenant_id == tenant_id, where, FileEntry.name == name)
    if parent_id is None:
        query = query.where(FileEntry.owner_id == owner_id)
    found: FileEntry | None = await session.scalar(query)
    return found


async def create(
    session: AsyncSession,
    tenant_id: str,
    parent_id: str | None,
    owner_id: str | None,
    name: str,
    content: Bytes | None = None,
) -> FileEntry:
    """A new folder, or with `content` a file. `owner_id` is that of an entry at the top."""
    await refuse_taken(session, tenant_id, parent_id, owner_id, name)
    entry = FileEntry(
        id=clock.new_id(),
        tenant_id=tenant_id,
        parent_id=parent_id,
        owner_id=None if parent_id else owner_id,
        kind=FOLDER if content is None else FILE,
        name=name,
        created_at=clock.now(),
        updated_at=clock.now(),
    )
    if content is not None:
        fill(entry, content)
    session.add(entry)
    await session.flush()
    return entry


def fill(entry: FileEntry, content: Bytes) -> None:
    """Let a file hold these bytes."""
    entry.blob_hash = content.blob_hash
    entry.size_bytes = content.size_bytes
    entry.mime = (mimetypes.guess_type(entry.name)[0] or "application/octet-stream")[:100]
    entry.updated_at = clock.now()


async def refuse_taken(
    session: AsyncSession,
    tenant_id: str,
    parent_id: str | None,
    owner_id: str | None,
    name: str,
    *,
    besides: str = "",
) -> None:
    """`Conflict` where a folder has another entry of this name."""
    taken = await named(session, tenant_id, parent_id, owner_id, name)
    if taken is not None and taken.id != besides:
        raise Conflict(
            f"There is a {taken.kind} {name!r} already: rename one, or replace the file's content."
        )


async def below(session: AsyncSession, entry: FileEntry) -> list[tuple[FileEntry, int]]:
    """An entry and all that is in it, each with how many folders down it is."""
    found = (
        select(FileEntry.id.label("id"), literal(0).label("depth"))
        .where(FileEntry.id == entry.id, FileEntry.tenant_id == entry.tenant_id)
        .cte("below", recursive=True)
    )
    child = aliased(FileEntry)
    found = found.union_all(
        select(child.id, found.c.depth + 1).where(
            child.parent_id == found.c.id,
            child.tenant_id == entry.tenant_id,
            found.c.depth <= DEPTH_MAX,
        )
    )
    rows = await session.execute(
        select(FileEntry, found.c.depth)
        .join(found, found.c.id == FileEntry.id)
        .order_by(found.c.depth)
    )
    return [(row[0], int(row[1])) for row in rows]


async def move(
    session: AsyncSession,
    entry: FileEntry,
    into: Reached | None,
    owner_id: str | None,
    name: str,
) -> None:
    """Put an entry under a name into a folder, or to the top, where `owner_id` owns it."""
    if into is not None and any(folder.id == entry.id for folder in into.path):
        raise InvalidInput(f"{entry.name} can't be moved into itself.", field="folder")
    if into is not None:
        deepest = max(depth for _, depth in await below(session, entry))
        check_depth(into.depth + 1 + deepest)
    parent_id = None if into is None else into.entry.id
    await refuse_taken(session, entry.tenant_id, parent_id, owner_id, name, besides=entry.id)
    entry.parent_id = parent_id
    entry.owner_id = None if parent_id else owner_id
    entry.name = name
    entry.updated_at = clock.now()
    await session.flush()


def keyset(after: tuple[str, str, str]) -> ColumnElement[bool]:
    """Entries after one, in the order of lists: folders first, by name."""
    kind, name, id_ = after
    later = (FileEntry.kind == kind) & (
        or_(FileEntry.name > name, (FileEntry.name == name) & (FileEntry.id > id_))
    )
    return or_(later, FileEntry.kind < kind)  # folder before file: descending
