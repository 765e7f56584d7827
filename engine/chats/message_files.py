"""Files posted in messages of a kept channel: which are still to be read, and what came of them.

A file is fetched by a job after its message was stored; its bytes are a blob, named in the
message's row. The channel is derived again then, and the file becomes a separate document under its
conversation's, with the same readers, gone when its message is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from engine import clock
from engine.chats.derivation import queue_derivation, source_of
from engine.chats.places import Place, place_of
from engine.db.tables import Message
from engine.domain import Lane
from engine.jobs.kinds import FETCH
from engine.jobs.outbox import enqueue

SIZE_MAX = 20 * 1024 * 1024  # bytes of one file
TOGETHER_MAX = 40 * 1024 * 1024  # bytes of all that one conversation takes along
_SEEN, _HEARD = ("image/", "video/"), ("audio/",)  # nothing to read without a model for it


@dataclass(frozen=True, slots=True)
class Posted:
    """A file of a message that is to be fetched; `id` is the platform's."""

    message_id: str
    id: str
    name: str


def is_wanted(file: Mapping[str, Any]) -> bool:
    """Whether a file of a message is to be fetched, and was not yet."""
    settled = "blob" in file or "left" in file
    mime = str(file.get("mime") or "")
    small = int(file.get("size_bytes") or 0) <= SIZE_MAX
    return bool(file.get("id")) and small and not settled and not mime.startswith(_SEEN + _HEARD)


def carried_over(
    old: Sequence[Mapping[str, Any]], new: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """A message's new list of files, with what is known of those that were there before."""
    known = {
        entry["id"]: {key: entry[key] for key in ("blob", "left", "suffix") if key in entry}
        for entry in old
        if entry.get("id")
    }
    return [{**item, **known.get(item.get("id"), {})} for item in new]


async def queue_fetch(session: AsyncSession, place: Place, messages: Sequence[Message]) -> None:
    """Queue the job that fetches what these messages brought; of an import there is nothing."""
    ids = [row.id for row in messages if any(map(is_wanted, row.files))]
    if ids and place.provider == place.platform:
        await enqueue(
            session,
            tenant_id=place.tenant_id,
            kind=FETCH,
            payload={"workspace_id": place.workspace_id, "messages": ids},
            lane=Lane.BULK,
        )


async def load_posted(
    session: AsyncSession, tenant_id: str, workspace_id: str, ids: Sequence[str]
) -> tuple[Place, list[Posted]]:
    """The files that these messages brought and that are still to be fetched."""
    place = await place_of(session, tenant_id, workspace_id)
    rows = await session.execute(
        select(Message.id, Message.files).where(
            Message.tenant_id == tenant_id,
            Message.id.in_(ids),
            Message.deleted_at.is_(None),
        )
    )
    return place, [
        Posted(row.id, str(file["id"]), str(file.get("name") or ""))
        for row in rows
        for file in row.files
        if is_wanted(file)
    ]


async def keep_file(
    session: AsyncSession, posted: Posted, *, blob: str = "", suffix: str = "", left: str = ""
) -> None:
    """Note a file's bytes on its message, or why there are none; a deleted message takes none."""
    row = await session.get(Message, posted.message_id, with_for_update=True)
    if row is None or row.deleted_at is not None:
        return
    outcome = {"left": left} if left else {"blob": blob, "suffix": suffix}
    row.files = [{**file, **outcome} if file.get("id") == posted.id else file for file in row.files]
    if left:
        return
    row.dirty, row.change_id = True, clock.new_id()
    await session.flush()
    source = await source_of(session, row.channel_id)
    if source is not None:
        await queue_derivation(session, source, lane=Lane.BULK)


async def fetch_later(
    session: AsyncSession, tenant_id: str, payload: Mapping[str, Any], at: datetime
) -> None:
    """Fetch what is left at another time."""
    await enqueue(
        session, tenant_id=tenant_id, kind=FETCH, payload=payload, lane=Lane.BULK, run_at=at
    )
