"""A tenant with a chat workspace over a real database, for tests of history without a worker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import select, update

from engine import clock
from engine.access import gate
from engine.blobs.folder import FolderBlobs
from engine.chats import accounts, places
from engine.chats.accounts import NewPerson
from engine.chats.channels import NewChannel
from engine.chats.history import History
from engine.chats.messages import NewMessage
from engine.chats.places import NewWorkspace, Place
from engine.db.session import Database
from engine.db.tables import Document, Job, Live, Membership, MessageSpan, Revision, User
from engine.documents import knowledge_bases
from engine.documents.revisions import Content, NewChunk, Work, begin, make_live, store_content
from engine.domain import MAIN, JobState, Lane, Principal, Role, Vectors
from engine.index.port import Space
from engine.jobs.kinds import DERIVE
from engine.jobs.leases import ClaimedJob
from ingestion.channel_jobs import DeriveChannel
from ingestion.convert import document as documents

START = datetime(2026, 3, 1, 9, tzinfo=UTC)


def ts(minutes: float) -> str:
    """Slack's id of a message posted so long after nine o'clock."""
    at = START + timedelta(minutes=minutes)
    return f"{int(at.timestamp())}.{at.microsecond:06}"


def say(minutes: float, text: str, author: str = "U1", **more: object) -> NewMessage:
    """A message; `thread` may be given in minutes too."""
    thread = more.pop("thread", "")
    root = ts(thread) if isinstance(thread, int | float) else str(thread)
    return NewMessage(ts(minutes), text, author, thread=root, **more)  # type: ignore[arg-type]


@dataclass
class ChatWorld:
    """One workspace with the channels general (public) and staff (private), kept in one KB."""

    db: Database
    blobs: FolderBlobs
    history: History
    owner: Principal
    kb_id: str
    place: Place
    channels: dict[str, str] = field(default_factory=dict)  # our id by the platform's

    @classmethod
    async def create(
        cls, db: Database, folder: Path, *, tenant_id: str = "acme", imported: bool = True
    ) -> ChatWorld:
        """The workspace with Ada (U1), Brook (U2) and the guest Gus (U9)."""
        history = History(db)
        async with db.write() as session:
            session.add(User(id=f"{tenant_id}-owner", name="Olga"))
            await session.flush()
            session.add(
                Membership(tenant_id=tenant_id, user_id=f"{tenant_id}-owner", role=Role.OWNER)
            )
        owner = await cls._owner(db, tenant_id)
        async with db.write() as session:
            kb = await knowledge_bases.create_kb(session, owner, "chats", space=Space("tiny", 3))
        owner = await cls._owner(db, tenant_id)
        people = [
            NewPerson("U1", "Ada", is_full_member=True),
            NewPerson("U2", "Brook", is_full_member=True),
            NewPerson("U9", "Gus"),
        ]
        workspace = NewWorkspace(
            "slack", f"T-{tenant_id}", "Acme", imported=imported, url="https://acme.slack.com"
        )
        if imported:
            place = await history.begin_import(owner, workspace, people)
        else:
            async with db.write() as session:
                place = await places.put_workspace(session, tenant_id, workspace)
                await accounts.put_people(session, place, people)
        world = cls(db, FolderBlobs(folder), history, owner, kb.id, place)
        if imported:
            await world.keep("C1", "general", is_public=True, members=["U1", "U2", "U9"])
            await world.keep("C2", "staff", is_public=False, members=["U1"])
        world.owner = await cls._owner(db, tenant_id)
        return world

    @staticmethod
    async def _owner(db: Database, tenant_id: str) -> Principal:
        async with db.read() as session:
            return await gate.principal_of_user(session, tenant_id, f"{tenant_id}-owner")

    async def keep(
        self, external_id: str, name: str, *, is_public: bool, members: Sequence[str]
    ) -> None:
        """Keep a channel's history."""
        channel = NewChannel(external_id, name, is_public=is_public)
        self.channels[external_id] = await self.history.import_channel(
            self.owner, self.place, self.kb_id, channel, members
        )

    async def principal(self, subject: str) -> Principal:
        """The principal behind an account."""
        async with self.db.read() as session:
            identity_id = await accounts.identity_id_of(session, self.place, subject)
            assert identity_id is not None
            return await gate.principal_of_identity(session, self.place.tenant_id, identity_id)

    async def derive(self) -> int:
        """Run every queued derivation whose time has come; says how many ran."""
        ran = 0
        while (job := await self._claim()) is not None:
            await DeriveChannel(self.db, self.blobs).run(job)
            ran += 1
        return ran

    async def _claim(self) -> ClaimedJob | None:
        async with self.db.write() as session:
            row = await session.scalar(
                select(Job)
                .where(Job.kind == DERIVE, Job.state == JobState.QUEUED, Job.run_at <= clock.now())
                .order_by(Job.id)
                .limit(1)
            )
            if row is None:
                return None
            row.state = JobState.DONE
            return ClaimedJob(
                id=row.id,
                tenant_id=row.tenant_id,
                kind=row.kind,
                payload=row.payload,
                lane=Lane(row.lane),
                document_id=None,
                attempt=1,
                lost=0,
                max_attempts=5,
                owner="test",
                leased_until=clock.now(),
                correlation_id="",
            )

    async def ingest(self) -> None:
        """Let every pending document answer: its text stored, one chunk of all of it."""
        async with self.db.read() as session:
            rows = (
                await session.execute(
                    select(Document.id, Revision.id, Revision.blob_hash)
                    .join(Revision, Revision.document_id == Document.id)
                    .where(
                        Document.tenant_id == self.place.tenant_id,
                        Document.state == "pending",
                        Document.deleted_at.is_(None),
                    )
                    .order_by(Revision.number)
                )
            ).all()
        for document_id, revision_id, blob_hash in {row[0]: row for row in rows}.values():
            if not blob_hash:
                continue
            data = await self.blobs.get(self.place.tenant_id, blob_hash)
            converted = documents.decode(data)
            async with self.db.write() as session:
                work: Work = await begin(session, document_id, revision_id)
                content = Content(blob_hash, converted.mime, len(data), converted.text)
                text = converted.text
                chunk = NewChunk(0, 0, len(text), text, converted.title, 10)
                await store_content(session, work, content, [chunk])
                await make_live(session, work, Vectors.COMPLETE, content=content, ready="ready")

    async def texts(self) -> dict[str, str]:
        """The newest text of every document that is not deleted, by external id."""
        async with self.db.read() as session:
            rows = (
                await session.execute(
                    select(Document.external_id, Revision.blob_hash)
                    .join(Revision, Revision.document_id == Document.id)
                    .where(
                        Document.tenant_id == self.place.tenant_id,
                        Document.deleted_at.is_(None),
                    )
                    .order_by(Revision.number)
                )
            ).all()
        newest = {row.external_id: row.blob_hash for row in rows}
        return {
            external_id: documents.decode(
                await self.blobs.get(self.place.tenant_id, blob_hash)
            ).text
            for external_id, blob_hash in newest.items()
            if blob_hash
        }

    async def answering(self) -> set[str]:
        """External ids of the documents that answer."""
        async with self.db.read() as session:
            return set(
                await session.scalars(
                    select(Document.external_id)
                    .join(Live, Live.document_id == Document.id)
                    .where(Live.branch == MAIN, Document.tenant_id == self.place.tenant_id)
                )
            )

    async def revisions(self) -> dict[str, int]:
        """How many revisions each standing document has had."""
        async with self.db.read() as session:
            rows = await session.scalars(
                select(Document.external_id)
                .join(Revision, Revision.document_id == Document.id)
                .where(Document.deleted_at.is_(None), Revision.blob_hash != "")
            )
            found: dict[str, int] = {}
            for external_id in rows:
                found[external_id] = found.get(external_id, 0) + 1
            return found

    async def spans(self, external_id: str) -> list[MessageSpan]:
        """Where messages are in a document's newest revision."""
        async with self.db.read() as session:
            revision_id = await session.scalar(
                select(Revision.id)
                .join(Document, Document.id == Revision.document_id)
                .where(Document.external_id == external_id)
                .order_by(Revision.number.desc())
                .limit(1)
            )
            return list(
                await session.scalars(
                    select(MessageSpan)
                    .where(MessageSpan.revision_id == revision_id)
                    .order_by(MessageSpan.start)
                )
            )

    async def forget_queue(self) -> None:
        """As if every waiting job had been done."""
        async with self.db.write() as session:
            await session.execute(update(Job).values(state=JobState.DONE))
