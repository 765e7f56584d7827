"""What a worker does for channels: read, sync, derive, expire, purge. One class a kind of job.

SourceReading a platform is `sources/`'s, making documents `threads.py`'s; rows are the engine's. A job
does one step and queues the next in the transaction that keeps what the step brought, so that a
kill at any moment repeats one step at most.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

import anyio.to_thread
from sqlalchemy.ext.asyncio import AsyncSession

from engine import clock
from engine.access.principals import ACTIVE
from engine.blobs.port import BlobStore
from engine.chats import (
    accounts,
    channel_changes,
    channels,
    derived,
    membership,
    places,
    retention,
    source_jobs,
    source_reading,
    sources,
)
from engine.chats.accounts import NewPerson
from engine.chats.channel_changes import ChannelChanges
from engine.chats.derived import DerivedDocument
from engine.chats.forgetting import scrub_turns
from engine.chats.message_files import (
    SIZE_MAX,
    TOGETHER_MAX,
    Posted,
    fetch_later,
    keep_file,
    load_posted,
)
from engine.chats.places import Place
from engine.db.session import Database
from engine.errors import NotFound
from engine.jobs import endings
from engine.jobs.kinds import (
    BACKFILL,
    DERIVE,
    EXPIRE,
    FETCH,
    PURGE,
    SCRUB,
    SYNC_CHANNEL,
    SYNC_WORKSPACE,
)
from engine.jobs.leases import ClaimedJob
from ingestion import threads
from ingestion.convert import document as documents
from ingestion.convert.document import EmbeddedFile
from ingestion.sources.reader import FileReader, Reader, ReadFile, ReadingRefused, Wait
from ingestion.threads import ThreadDocument

log = logging.getLogger(__name__)

TRIES = 5  # reads of a channel that changes while it is derived
NO_READER = "This installation can't read {platform}: install its extra and configure it."


class _UnattendedHandler:
    """A job nobody waits for: its row keeps the reason of a failure."""

    alone = False
    feeds = False

    async def waiting(self, session: AsyncSession, job: ClaimedJob, reason: str) -> None:
        """It is tried again."""

    async def failed(self, session: AsyncSession, job: ClaimedJob, error: str, code: str) -> None:
        """The next one of its kind begins where this one stopped."""

    async def cancelled(self, session: AsyncSession, job: ClaimedJob) -> None:
        """Nothing to report."""


class DeriveChannel(_UnattendedHandler):
    """Makes documents of what changed in a channel."""

    def __init__(self, db: Database, blobs: BlobStore) -> None:
        self._db = db
        self._blobs = blobs

    async def run(self, job: ClaimedJob) -> bool:
        """Read, derive, commit; again where something changed in between.

        What changes once this has read queues another job: nothing waits for this one.
        """
        source_id = job.payload["source_id"]
        await self._db.run_write(lambda session: derived.start_derivation(session, source_id))
        for _ in range(TRIES):
            async with self._db.read() as session:
                changes = await channel_changes.load_changes(session, source_id)
            if changes is None:
                return False
            made = await anyio.to_thread.run_sync(threads.derive, changes)
            stored = [await self._store(changes, item) for item in made]
            if await self._commit(changes, stored, job):
                return False
        await self._db.run_write(lambda session: derived.derive_later(session, source_id, job.lane))
        return False

    async def _store(self, changes: ChannelChanges, made: ThreadDocument) -> DerivedDocument:
        attached = await self._attached(changes.tenant_id, made)
        data = documents.encode(replace(made.converted, attachments=attached))
        return DerivedDocument(
            external_id=made.external_id,
            title=made.title,
            url=made.url,
            blob_hash=await self._blobs.put(changes.tenant_id, data),
            size_bytes=len(data),
            spans=made.spans,
            updated_at=made.updated_at,
            details=made.details,
        )

    async def _attached(self, tenant_id: str, made: ThreadDocument) -> list[EmbeddedFile]:
        """What was posted in a conversation, as far as it is not too much together."""
        attached: list[EmbeddedFile] = []
        room = TOGETHER_MAX
        for name, blob_hash in made.files:
            try:
                data = await self._blobs.get(tenant_id, blob_hash)
            except NotFound:
                log.warning("a posted file's bytes are gone", extra={"blob": blob_hash})
                continue
            if len(data) <= room:
                room -= len(data)
                attached.append(EmbeddedFile(name, data))
        return attached

    async def _commit(
        self, changes: ChannelChanges, made: list[DerivedDocument], job: ClaimedJob
    ) -> bool:
        return await self._db.run_write(
            lambda session: derived.commit_derived(session, changes, made, lane=job.lane)
        )

    async def failed(
        self,
        session: AsyncSession,
        job: ClaimedJob,
        error: str,
        code: str,  # noqa: ARG002 (the protocol's)
    ) -> None:
        """The messages stay marked; show on the source that its documents are behind."""
        await derived.report_failure(session, job.payload["source_id"], error)


class BackfillChannel(_UnattendedHandler):
    """Reads one page of a channel's history."""

    def __init__(self, db: Database, readers: Mapping[str, Reader]) -> None:
        self._db = db
        self._readers = readers

    async def run(self, job: ClaimedJob) -> bool:
        """Ask for a page, keep it with how far that is, and queue the next one."""
        source_id = job.payload["source_id"]
        async with self._db.read() as session:
            reading = await source_reading.open_reading(session, source_id)
        if reading is None:
            return False
        reader = self._readers.get(reading.place.platform)
        if reader is None:
            fault = ReadingRefused(NO_READER.format(platform=reading.place.platform.title()))
            await self._stop(job, reading, fault)
            return True
        try:
            page = await reader.read_page(reading)
        except Wait as wait:
            await self._later(job, source_id, wait)
            return True
        except ReadingRefused as refusal:
            await self._stop(job, reading, refusal)
            return True

        async def commit(session: AsyncSession) -> None:
            await endings.finish(session, job)
            await source_reading.commit_page(
                session,
                reading,
                page.messages,
                threads=page.threads,
                wholes=page.wholes,
                cursor=page.cursor,
                more=page.more,
            )

        await self._db.run_write(commit)
        return True

    async def _later(self, job: ClaimedJob, source_id: str, wait: Wait) -> None:
        """No attempt is spent on waiting, however long a platform has one wait."""

        async def commit(session: AsyncSession) -> None:
            await endings.finish(session, job)
            await source_reading.wait_page(session, source_id, wait.seconds, wait.reason)

        await self._db.run_write(commit)

    async def _stop(
        self, job: ClaimedJob, reading: source_reading.SourceReading, refusal: ReadingRefused
    ) -> None:
        async def commit(session: AsyncSession) -> None:
            await endings.finish(session, job)
            message = refusal.message.replace(reading.channel, reading.channel_name)
            await source_reading.report_fault(session, reading.source_id, message, stop=True)
            if refusal.lost:
                await membership.forget_membership(session, reading.place, reading.channel_id)

        await self._db.run_write(commit)

    async def waiting(self, session: AsyncSession, job: ClaimedJob, reason: str) -> None:
        """Show on the source why it does not continue."""
        await source_reading.report_fault(session, job.payload["source_id"], reason)

    async def failed(
        self,
        session: AsyncSession,
        job: ClaimedJob,
        error: str,
        code: str,  # noqa: ARG002 (the protocol's)
    ) -> None:
        """Show on the source that somebody must resume it."""
        await source_reading.report_fault(session, job.payload["source_id"], error, stop=True)


class _OfWorkspace(_UnattendedHandler):
    """A job for one workspace, read by its platform's reader."""

    def __init__(self, db: Database, readers: Mapping[str, Reader]) -> None:
        self._db = db
        self._readers = readers

    async def _place(self, job: ClaimedJob) -> tuple[Place, Reader] | None:
        try:
            async with self._db.read() as session:
                place = await places.place_of(
                    session, job.tenant_id, job.payload["workspace_id"], state=ACTIVE
                )
        except NotFound:
            return None
        reader = self._readers.get(place.platform)
        return None if reader is None else (place, reader)


class SyncWorkspace(_OfWorkspace):
    """Learns people and channels of a workspace, every night; members follow by channel."""

    async def run(self, job: ClaimedJob) -> bool:
        """What can't be seen any more is unknown from now on, and so read by nobody."""
        found = await self._place(job)
        if found is None:
            return False
        place, reader = found
        started = clock.now()
        try:
            people = await reader.read_people(place)
            seen = await reader.read_channels(place)
        except Wait as wait:
            await self._again(job, place, timedelta(seconds=wait.seconds))
            return True
        except ReadingRefused as refusal:
            if refusal.lost:
                await self._db.run_write(lambda session: membership.lose_all(session, place))
            await self._again(job, place, source_jobs.SYNC_EVERY)
            return True

        async def commit(session: AsyncSession) -> None:
            await endings.finish(session, job)
            await accounts.put_people(session, place, people, at=started)
            subjects = {person.subject for person in people}
            await accounts.only_people(session, place, subjects, at=started)
            await channels.put_channels(session, place, seen, at=started)
            await membership.lose_all(session, place, but={item.external_id for item in seen})
            for item in seen:
                await source_jobs.queue_channel_sync(
                    session, place.tenant_id, place.workspace_id, item.external_id
                )
            await source_jobs.ask_for_repair(session, place.workspace_id)
            at = clock.now() + source_jobs.SYNC_EVERY
            await source_jobs.queue_sync(session, place.tenant_id, place.workspace_id, at=at)

        await self._db.run_write(commit)
        return True

    async def _again(self, job: ClaimedJob, place: Place, pause: timedelta) -> None:
        async def commit(session: AsyncSession) -> None:
            await endings.finish(session, job)
            at = clock.now() + pause
            await source_jobs.queue_sync(session, place.tenant_id, place.workspace_id, at=at)

        await self._db.run_write(commit)


class SyncChannel(_OfWorkspace):
    """Learns who is in a channel: all of them, or nobody counts."""

    async def run(self, job: ClaimedJob) -> bool:
        """The list holds from when its reading started; an unknown person counts as a guest."""
        found = await self._place(job)
        if found is None:
            return False
        place, reader = found
        channel = job.payload["channel"]
        try:
            roster = await reader.read_members(place, channel)
        except Wait as wait:
            seconds = wait.seconds

            async def later(session: AsyncSession) -> None:
                await endings.finish(session, job)
                await source_jobs.queue_channel_sync(
                    session,
                    place.tenant_id,
                    place.workspace_id,
                    channel,
                    at=clock.now() + timedelta(seconds=seconds),
                )

            await self._db.run_write(later)
            return True
        except ReadingRefused:
            await self._db.run_write(lambda session: self._lose(session, place, channel))
            return False

        async def commit(session: AsyncSession) -> None:
            channel_id = await channels.channel_id_of(session, place, channel)
            known = await accounts.identity_ids_of(session, place, roster.subjects)
            strangers = [
                NewPerson(subject, subject) for subject in roster.subjects if subject not in known
            ]
            known |= await accounts.put_people(session, place, strangers)
            ids = set(known.values())
            await membership.set_members(session, place, channel_id, ids, at=roster.at)
            await endings.finish(session, job)

        await self._db.run_write(commit)
        return True

    async def failed(
        self,
        session: AsyncSession,
        job: ClaimedJob,
        error: str,  # noqa: ARG002 (the protocol's)
        code: str,  # noqa: ARG002
    ) -> None:
        """Who is there is unknown."""
        place = await places.place_of(session, job.tenant_id, job.payload["workspace_id"])
        await self._lose(session, place, job.payload["channel"])

    @staticmethod
    async def _lose(session: AsyncSession, place: Place, channel: str) -> None:
        channel_id = await channels.channel_id_of(session, place, channel)
        await membership.forget_membership(session, place, channel_id)


class ExpireMessages(_UnattendedHandler):
    """Deletes what is older than a channel keeps, every day."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def run(self, job: ClaimedJob) -> bool:
        """In small transactions; then look again tomorrow."""
        source_id = job.payload["source_id"]
        while await self._db.run_write(lambda session: retention.expire_some(session, source_id)):
            pass

        async def commit(session: AsyncSession) -> None:
            await endings.finish(session, job)
            await retention.expire_again(session, source_id)

        await self._db.run_write(commit)
        return True


class PurgeChannel(_UnattendedHandler):
    """Clears what a channel left whose history is kept no longer."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def run(self, job: ClaimedJob) -> bool:
        """In small transactions; the clean-up of each document takes it out of the index."""
        source_id = job.payload["source_id"]
        while await self._db.run_write(lambda session: sources.purge_some(session, source_id)):
            pass
        return False


class ScrubTurns(_UnattendedHandler):
    """Drops the words of stored answers whose sources were deleted."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def run(self, job: ClaimedJob) -> bool:
        """Look through the tenant's answers; the same again finds nothing more to do."""
        await scrub_turns(self._db, job.tenant_id, job.payload["revisions"])
        return False


class FetchFiles(_UnattendedHandler):
    """Fetches what was posted in messages of kept channels."""

    def __init__(
        self,
        db: Database,
        blobs: BlobStore,
        readers: Mapping[str, Reader],
        *,
        max_file_size_bytes: int,
    ) -> None:
        self._db = db
        self._blobs = blobs
        self._readers = readers
        self._max_bytes = min(SIZE_MAX, max_file_size_bytes)

    async def run(self, job: ClaimedJob) -> bool:
        """One after the other, each kept at once; where the platform asks to wait, later."""
        ids, workspace_id = job.payload["messages"], job.payload["workspace_id"]
        try:
            async with self._db.read() as session:
                place, posted = await load_posted(session, job.tenant_id, workspace_id, ids)
        except NotFound:
            return False
        reader = self._readers.get(place.platform)
        if not isinstance(reader, FileReader):
            return False
        for item in posted:
            try:
                got = await reader.read_file(place, item.id, max_bytes=self._max_bytes)
            except Wait as wait:
                await self._later(job, wait)
                return True
            except ReadingRefused as refusal:
                got = refusal.message
            await self._keep(job.tenant_id, item, got)
        return False

    async def _keep(self, tenant_id: str, posted: Posted, got: ReadFile | str) -> None:
        outcome = {"left": got} if isinstance(got, str) else {}
        if isinstance(got, ReadFile):
            outcome = {"blob": await self._blobs.put(tenant_id, got.data), "suffix": got.suffix}
        await self._db.run_write(lambda session: keep_file(session, posted, **outcome))

    async def _later(self, job: ClaimedJob, wait: Wait) -> None:
        at = clock.now() + timedelta(seconds=wait.seconds)

        async def commit(session: AsyncSession) -> None:
            await endings.finish(session, job)
            await fetch_later(session, job.tenant_id, job.payload, at)

        await self._db.run_write(commit)


def channel_handlers(
    db: Database,
    blobs: BlobStore,
    readers: Mapping[str, Reader],
    *,
    max_file_size_bytes: int = SIZE_MAX,
) -> dict[
    str,
    (
        BackfillChannel
        | DeriveChannel
        | ExpireMessages
        | FetchFiles
        | PurgeChannel
        | ScrubTurns
        | SyncChannel
        | SyncWorkspace
    ),
]:
    """Every kind of job for channels."""
    return {
        BACKFILL: BackfillChannel(db, readers),
        DERIVE: DeriveChannel(db, blobs),
        EXPIRE: ExpireMessages(db),
        FETCH: FetchFiles(db, blobs, readers, max_file_size_bytes=max_file_size_bytes),
        PURGE: PurgeChannel(db),
        SCRUB: ScrubTurns(db),
        SYNC_CHANNEL: SyncChannel(db, readers),
        SYNC_WORKSPACE: SyncWorkspace(db, readers),
    }
