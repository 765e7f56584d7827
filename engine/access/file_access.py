"""Who may see which folders and files: a part of the gate.

What is at the top of the tree belongs to one member, who manages it with all that is in it. Anything
may be granted, to read, write or manage, and a grant reaches all that is below. Nothing else opens a
folder: no role does, and no grant of a knowledge base. A document made of a file is another matter:
who reads it is its knowledge base's to say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Select, and_, exists, literal, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from engine.access.permissions import GrantLevel
from engine.db.json_arrays import array_value, items_of
from engine.db.tables import FileEntry, FileGrant
from engine.domain import Principal
from engine.errors import Forbidden, NotFound

DEPTH_MAX = 32  # folders inside one another
_ORDER = (GrantLevel.READ, GrantLevel.WRITE, GrantLevel.MANAGE)


@dataclass(frozen=True, slots=True)
class Reached:
    """A folder or file that somebody may see.

    `path` begins at the highest folder they may see and ends with the entry itself. `top_id` says
    which tree it is in, `depth` how many entries down from its top it is, from 1.
    """

    entry: FileEntry
    path: Sequence[FileEntry]
    level: GrantLevel
    top_id: str
    depth: int

    def allows(self, level: GrantLevel) -> bool:
        """Whether they reach it so far."""
        return _ORDER.index(self.level) >= _ORDER.index(level)


async def reach(
    session: AsyncSession,
    principal: Principal,
    entry_id: str,
    level: GrantLevel = GrantLevel.READ,
) -> Reached:
    """A folder or file, in the transaction of its use.

    `NotFound` where it is absent or not for this principal; `Forbidden` where they may see it and
    not reach it as far as `level`.
    """
    chain = await _chain(session, principal.tenant_id, entry_id)
    granted = await _granted(session, principal, [entry.id for entry in chain])
    held: GrantLevel | None = None
    highest = -1
    for at, entry in enumerate(chain):
        for one in (granted.get(entry.id), _owned(principal, entry)):
            if one is not None:
                highest = at
                held = one if held is None else max(held, one, key=_ORDER.index)
    if held is None:
        raise NotFound(f"No file or folder {entry_id!r} that you may see.")
    found = Reached(
        chain[0],
        chain[: highest + 1][::-1],
        held,
        top_id=chain[-1].id,
        depth=len(chain),
    )
    if not found.allows(level):
        raise Forbidden(
            f"{chain[0].name} is granted to you to {held}, and this needs {level}. Ask who shared it."
        )
    return found


async def reach_place(session: AsyncSession, principal: Principal, entry_id: str) -> Reached:
    """An entry to be renamed, moved or deleted: whoever writes to its folder may, or manages it."""
    found = await reach(session, principal, entry_id)
    if not found.allows(GrantLevel.MANAGE):
        if len(found.path) < 2:
            raise Forbidden(
                f"{found.entry.name} was shared with you, and its place is not yours to change. Ask"
                " who shared it."
            )
        await reach(session, principal, found.path[-2].id, GrantLevel.WRITE)
    return found


def select_tops(principal: Principal) -> Select[FileEntry]:
    """Where a principal's view of the tree begins: what is theirs, and what was granted to them.

    What lies below something else they may see is left out.
    """
    begins = _begins(principal, FileEntry)
    above = (
        select(
            FileEntry.id.label("start"),
            FileEntry.parent_id.label("above"),
            literal(0).label("steps"),
        )
        .where(begins, FileEntry.parent_id.is_not(None))
        .cte("above", recursive=True)
    )
    parent = aliased(FileEntry)
    above = above.union_all(
        select(above.c.start, parent.parent_id, above.c.steps + 1).where(
            parent.id == above.c.above,
            parent.tenant_id == principal.tenant_id,
            above.c.steps < DEPTH_MAX,
        )
    )
    higher = aliased(FileEntry)
    below = select(above.c.start).join(higher, higher.id == above.c.above)
    return select(FileEntry).where(
        begins, FileEntry.id.not_in(below.where(_begins(principal, higher)))
    )


def select_children(tenant_id: str, folder_id: str) -> Select[FileEntry]:
    """What is in a folder that the caller reached."""
    return select(FileEntry).where(
        FileEntry.tenant_id == tenant_id, FileEntry.parent_id == folder_id
    )


def _begins(principal: Principal, entry: type[FileEntry]) -> ColumnElement[bool]:
    granted = exists().where(
        FileGrant.file_id == entry.id,
        FileGrant.tenant_id == principal.tenant_id,
        FileGrant.token.in_(select(items_of(array_value(principal.tokens)))),
    )
    opened: list[ColumnElement[bool]] = [granted]
    if owner := owner_of(principal):
        opened.append(and_(entry.parent_id.is_(None), entry.owner_id == owner))
    return and_(entry.tenant_id == principal.tenant_id, or_(*opened))


def owner_of(principal: Principal) -> str:
    """The user whose own files a principal reaches; empty for one narrowed to knowledge bases."""
    user_id = principal.user_id
    return user_id if user_id is not None and f"u:{user_id}" in principal.tokens else ""


def _owned(principal: Principal, entry: FileEntry) -> GrantLevel | None:
    owner = owner_of(principal)
    is_theirs = entry.parent_id is None and owner != "" and entry.owner_id == owner
    return GrantLevel.MANAGE if is_theirs else None


async def _chain(session: AsyncSession, tenant_id: str, entry_id: str) -> list[FileEntry]:
    """The entry and the folders it is in, up to the top; empty where there is none."""
    chain: list[FileEntry] = []
    next_id: str | None = entry_id
    while next_id is not None and len(chain) <= DEPTH_MAX:
        entry = await session.scalar(
            select(FileEntry).where(FileEntry.id == next_id, FileEntry.tenant_id == tenant_id)
        )
        if entry is None:
            return []
        chain.append(entry)
        next_id = entry.parent_id
    return chain if next_id is None else []


async def _granted(
    session: AsyncSession, principal: Principal, entry_ids: Sequence[str]
) -> dict[str, GrantLevel]:
    rows = await session.execute(
        select(FileGrant.file_id, FileGrant.level).where(
            FileGrant.tenant_id == principal.tenant_id,
            FileGrant.file_id.in_(entry_ids),
            FileGrant.token.in_(select(items_of(array_value(principal.tokens)))),
        )
    )
    best: dict[str, GrantLevel] = {}
    for file_id, level in rows:
        level_ = GrantLevel(level)
        best[file_id] = max(best.get(file_id, level_), level_, key=_ORDER.index)
    return best
