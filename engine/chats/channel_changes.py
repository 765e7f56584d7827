"""The whole conversations around the messages that changed in a channel.

The job that derives a channel's documents calls `load_changes`; `ingestion/threads.py` makes
documents of what it returns, and `derived.py` commits them.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import and_, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from engine import clock
from engine.access.pseudonyms import is_unnamed, pseudonym
from engine.chats.batches import batches
from engine.chats.derivation import AGAIN_S
from engine.chats.messages import SOLVED
from engine.db.tables import (
    Channel,
    Document,
    Identity,
    KnowledgeBase,
    Message,
    Revision,
    Source,
    Thread,
    Workspace,
)
from engine.search.origins import permalink

GAP = timedelta(minutes=25)  # silence that ends a conversation outside threads
CHANGES = 2_000  # changed messages that one derivation takes on
RUN_MAX = 500  # messages looked at on either side of a changed one
MENTION = re.compile(  # as both platforms write one
    r"<[@#!&]{1,2}([A-Z0-9]{2,30}|\d{2,20})(?:\|[^>]*)?>"
)


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """A message that is not deleted, as documents are made of it. `name` is its author's."""

    id: str
    external_id: str
    position: int
    thread: str
    reply_to: str
    author: str
    name: str
    text: str
    posted_at: datetime
    edited_at: datetime | None
    files: Sequence[Mapping[str, Any]]
    is_solution: bool
    url: str


@dataclass(frozen=True, slots=True)
class ChannelConversation:
    """A thread with all its messages, or (`thread` empty) a stretch of messages outside threads."""

    thread: str
    title: str
    details: Mapping[str, Any]
    messages: Sequence[StoredMessage]


@dataclass(frozen=True, slots=True)
class ChannelChanges:
    """What of a channel is to be derived again, as it was when it was read."""

    source_id: str
    tenant_id: str
    channel_id: str
    channel: str
    platform: str
    conversations: Sequence[ChannelConversation]
    names: Mapping[str, str]  # of people and channels, by the ids that mentions use
    change_ids: Mapping[str, str]  # by message id: of the changed ones, and of all that was read
    documents: frozenset[str]  # that hold some of these messages now
    more: bool  # further messages have changed
    again_at: datetime | None  # when conversations that were derived just now may be derived again


_COLUMNS = (
    Message.id,
    Message.external_id,
    Message.position,
    Message.thread,
    Message.reply_to,
    Message.author,
    Message.author_name,
    Message.text,
    Message.posted_at,
    Message.edited_at,
    Message.files,
    Message.reactions,
    Message.change_id,
    Message.document_id,
)


async def load_changes(session: AsyncSession, source_id: str) -> ChannelChanges | None:
    """The changed conversations of a source, whole; None where it no longer derives anything."""
    found = (
        await session.execute(
            select(Source, Channel, Workspace)
            .join(Channel, Channel.id == Source.channel_id)
            .join(Workspace, Workspace.id == Channel.workspace_id)
            .join(KnowledgeBase, KnowledgeBase.id == Source.kb_id)
            .where(
                Source.id == source_id,
                Source.state != "removing",
                KnowledgeBase.deleted_at.is_(None),
            )
        )
    ).one_or_none()
    if found is None:
        return None
    source, channel, workspace = found
    reader = _ChangesReader(session, source, channel, workspace)
    return await reader.read()


class _ChangesReader:
    """Reads one source's changes: which messages changed, and the conversations around them."""

    def __init__(
        self, session: AsyncSession, source: Source, channel: Channel, workspace: Workspace
    ) -> None:
        self._session = session
        self._source = source
        self._channel = channel
        self._workspace = workspace
        kinds = ["message", "bot"] if source.settings.get("bots") else ["message"]
        self._not_deleted = and_(
            Message.channel_id == channel.id,
            Message.deleted_at.is_(None),
            Message.kind.in_(kinds),
        )
        self._unnamed = is_unnamed(workspace.settings, channel.settings)
        self._rows: dict[str, Any] = {}
        self._postponed: set[str] = set()

    async def read(self) -> ChannelChanges:
        changed = await self._changed()
        more = len(changed) > CHANGES
        changed = changed[:CHANGES]
        await self._load_with(Message.thread, {row.thread for row in changed} - {""})
        for row in changed:
            if not row.thread:
                await self._load_run(row.position)
        await self._load_replies()
        documents = {row.document_id for row in changed if row.document_id is not None}
        documents |= {row.document_id for row in self._rows.values() if row.document_id}
        await self._load_with(Message.document_id, documents)
        await self._load_with(Message.thread, {row.thread for row in self._rows.values()} - {""})
        documents |= {row.document_id for row in self._rows.values() if row.document_id}
        recent = await self._derived_just_now(documents)
        self._postpone(recent.keys())
        postponed = {row.id for row in changed} & self._postponed
        change_ids = {row.id: row.change_id for row in [*self._rows.values(), *changed]}
        return ChannelChanges(
            source_id=self._source.id,
            tenant_id=self._source.tenant_id,
            channel_id=self._channel.id,
            channel=self._channel.name,
            platform=self._workspace.platform,
            conversations=await self._conversations(),
            names=await self._names(),
            change_ids={id_: change_ids[id_] for id_ in change_ids.keys() - postponed},
            documents=frozenset(documents - recent.keys()),
            more=more,
            again_at=min(recent.values(), default=None),
        )

    def _postpone(self, documents: Collection[str]) -> None:
        """Leave out the conversations that were derived a moment ago."""
        rows = sorted(self._rows.values(), key=lambda row: row.position)
        stretches: list[list[Any]] = []
        threads: dict[str, list[Any]] = defaultdict(list)
        for row in rows:
            if row.thread:
                threads[row.thread].append(row)
            elif stretches and row.posted_at - stretches[-1][-1].posted_at <= GAP:
                stretches[-1].append(row)
            else:
                stretches.append([row])
        for together in [*stretches, *threads.values()]:
            if any(row.document_id in documents for row in together):
                self._postponed |= {row.id for row in together}
        self._rows = {id_: row for id_, row in self._rows.items() if id_ not in self._postponed}

    async def _load_replies(self) -> None:
        """What loose messages reply to, and what replies to them: an answer joins its question."""
        loose = [row for row in self._rows.values() if not row.thread]
        await self._load_with(Message.external_id, {row.reply_to for row in loose} - {""})
        if any(row.reply_to for row in loose) or self._workspace.platform == "discord":
            await self._load_with(Message.reply_to, {row.external_id for row in loose})

    async def _changed(self) -> list[Any]:
        columns = (Message.id, Message.thread, Message.position)
        rows = await self._session.execute(
            select(*columns, Message.change_id, Message.document_id)
            .where(Message.channel_id == self._channel.id, Message.dirty.is_(True))
            .order_by(Message.position.desc())
            .limit(CHANGES + 1)
        )
        return list(rows)

    async def _derived_just_now(self, documents: Collection[str]) -> dict[str, datetime]:
        """When each of those that got a revision a moment ago may get the next; deletes go first."""
        pause = timedelta(seconds=AGAIN_S)
        scrubbed = select(Revision.document_id).where(
            Revision.blob_hash == "", Revision.created_at > clock.now() - pause
        )
        found: dict[str, datetime] = {}
        for some in batches(sorted(documents)):
            rows = await self._session.execute(
                select(Revision.document_id, func.max(Revision.created_at))
                .join(Document, Document.id == Revision.document_id)
                .where(
                    Revision.document_id.in_(some),
                    Revision.blob_hash != "",
                    Revision.document_id.not_in(scrubbed),
                )
                .group_by(Revision.document_id)
                .having(func.max(Revision.created_at) > clock.now() - pause)
            )
            for document_id, at in rows:
                found[document_id] = at + pause
        return found

    async def _load_run(self, position: int) -> None:
        """The conversation around a message outside threads, up to a silence on either side."""
        if any(row.position == position and not row.thread for row in self._rows.values()):
            return
        at = position
        before = await self._neighbours(Message.position < at, Message.position.desc())
        after = await self._neighbours(Message.position >= at, Message.position)
        left, right = _until_silence(before), _until_silence(after)
        if left and right and left[0].posted_at < right[0].posted_at - GAP:
            left = []
        if len(left) == RUN_MAX:
            left = _since_boundary(left)
        for row in [*left, *right]:
            self._rows[row.id] = row

    async def _neighbours(self, where: Any, order: Any) -> list[Any]:  # noqa: ANN401 (expressions)
        rows = await self._session.execute(
            select(*_COLUMNS)
            .where(self._not_deleted, Message.thread == "", where)
            .order_by(order)
            .limit(RUN_MAX)
        )
        return list(rows)

    async def _load_with(self, column: Any, values: Collection[str]) -> None:  # noqa: ANN401
        """Every message with one of these values that is not deleted."""
        for some in batches(sorted(values)):
            rows = await self._session.execute(
                select(*_COLUMNS).where(self._not_deleted, column.in_(some))
            )
            for row in rows:
                self._rows[row.id] = row

    async def _conversations(self) -> list[ChannelConversation]:
        groups: dict[str, list[Any]] = defaultdict(list)
        for row in sorted(self._rows.values(), key=lambda row: row.position):
            groups[row.thread].append(row)
        people = await self._people({row.author for row in self._rows.values() if row.author})
        threads: dict[str, Thread] = {}
        for some in batches(sorted(groups.keys() - {""})):
            rows = await self._session.scalars(
                select(Thread).where(
                    Thread.channel_id == self._channel.id, Thread.external_id.in_(some)
                )
            )
            threads |= {row.external_id: row for row in rows}
        return [
            ChannelConversation(
                thread=thread,
                title=threads[thread].title if thread in threads else "",
                details=threads[thread].details if thread in threads else {},
                messages=[self._stored(row, people) for row in rows],
            )
            for thread, rows in sorted(groups.items())
        ]

    def _stored(self, row: Any, people: Mapping[str, str]) -> StoredMessage:  # noqa: ANN401
        return StoredMessage(
            id=row.id,
            external_id=row.external_id,
            position=row.position,
            thread=row.thread,
            reply_to=row.reply_to,
            author=row.author,
            name=self._name(row, people),
            text=row.text,
            posted_at=row.posted_at,
            edited_at=row.edited_at,
            files=row.files,
            is_solution=bool(SOLVED & row.reactions.keys()),
            url=permalink(self._workspace, self._channel.external_id, row.external_id, row.thread),
        )

    def _name(self, row: Any, people: Mapping[str, str]) -> str:  # noqa: ANN401
        author: str = row.author or row.author_name
        if self._unnamed and author:
            return pseudonym(self._workspace.id, author)
        return people.get(row.author) or row.author_name or row.author or "somebody"

    async def _people(self, subjects: Collection[str]) -> dict[str, str]:
        found: dict[str, str] = {}
        for some in batches(sorted(subjects)):
            rows = await self._session.execute(
                select(Identity.subject, Identity.name).where(
                    Identity.tenant_id == self._source.tenant_id,
                    Identity.workspace_id == self._workspace.id,
                    Identity.subject.in_(some),
                )
            )
            found |= {row.subject: row.name for row in rows}
        return found

    async def _names(self) -> dict[str, str]:
        """Names of the people and channels that these messages mention."""
        mentioned = {match for row in self._rows.values() for match in MENTION.findall(row.text)}
        names = await self._people(mentioned)
        channels: dict[str, str] = {}
        for some in batches(sorted(mentioned - names.keys())):
            rows = await self._session.execute(
                select(Channel.external_id, Channel.name, Channel.is_public).where(
                    Channel.workspace_id == self._workspace.id, Channel.external_id.in_(some)
                )
            )
            # The name of a private channel is for its members.
            channels |= {id_: name if is_public else id_ for id_, name, is_public in rows}
        if self._unnamed:
            people = mentioned - channels.keys()
            names = {person: pseudonym(self._workspace.id, person) for person in people}
        return names | {id_: name for id_, name in channels.items() if name != id_}


def _until_silence(rows: Sequence[Any]) -> list[Any]:
    kept: list[Any] = []
    for row in rows:
        if kept and abs(row.posted_at - kept[-1].posted_at) > GAP:
            break
        kept.append(row)
    return kept


def _since_boundary(rows: Sequence[Any]) -> list[Any]:
    """Of a long stretch, newest first, the rows since a document began."""
    for at in range(len(rows) - 1, 0, -1):
        if rows[at].document_id != rows[at - 1].document_id and rows[at - 1].document_id:
            return list(rows[:at])
    return list(rows)
