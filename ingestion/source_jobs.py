"""What a worker does for sources: plan a sync, do a step of a scope, fetch items, remove a source.

Reading is `connectors/`'s, rows are `engine/sources`'s. A job does one step; what it brought, the
cursor behind it and the next job are one transaction, so that a kill repeats a step at most.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import anyio
from sqlalchemy.ext.asyncio import AsyncSession

from engine import clock
from engine.blobs.port import BlobStore
from engine.db.session import Database
from engine.documents.formats import check_format
from engine.errors import InvalidInput, Unavailable
from engine.jobs import endings
from engine.jobs.kinds import FETCH_ITEMS, PLAN_SYNC, REMOVE_SOURCE, SYNC_SCOPE
from engine.jobs.leases import ClaimedJob
from engine.sources import fetching, removing, steps, syncing
from engine.sources.contract import (
    Connector,
    CursorExpired,
    ItemRef,
    KnownItem,
    Put,
    SourceContext,
    SourceRefused,
    SourceWait,
    Step,
)
from engine.sources.items import known_items
from engine.sources.opening import ContextOpener, trusted_domains
from engine.sources.source_documents import StoredContent
from engine.sources.states import LISTING
from engine.sources.syncing import ScopeStep, SourceRow
from ingestion.worker import Handler

log = logging.getLogger(__name__)

NO_CONNECTOR = "This installation has no connector for {kind}: install its extra or its plugin."
STEP_TIMEOUT_S = 300.0
EMPTY = "It has no content."


class _SourceHandler:
    """A job of a source; its row keeps the reason of a failure."""

    alone = False
    feeds = False

    def __init__(
        self,
        db: Database,
        blobs: BlobStore,
        connectors: Mapping[str, Connector[Any]],
        opener: ContextOpener,
    ) -> None:
        self._db = db
        self._blobs = blobs
        self._connectors = connectors
        self._opener = opener

    async def waiting(self, session: AsyncSession, job: ClaimedJob, reason: str) -> None:
        """It is tried again."""

    async def failed(self, session: AsyncSession, job: ClaimedJob, error: str, code: str) -> None:
        """No attempt follows."""

    async def cancelled(self, session: AsyncSession, job: ClaimedJob) -> None:
        """Nothing to report."""

    def _connector(self, source: SourceRow) -> Connector[Any]:
        found = self._connectors.get(source.kind)
        if found is None:
            raise SourceRefused(NO_CONNECTOR.format(kind=source.kind))
        return found


class PlanSync(_SourceHandler):
    """Begins a sync: asks for the scopes, and queues the first step of each."""

    async def run(self, job: ClaimedJob) -> bool:
        """Ask, then begin; where it can't, say so on the source and plan the next."""
        source_id, plan = job.payload["source_id"], job.payload["plan"]
        async with self._db.read() as session:
            source = await syncing.open_plan(session, source_id, plan)
        if source is None:
            return False
        try:
            connector = self._connector(source)
            async with self._opener.open(source, connector) as ctx:
                with anyio.fail_after(STEP_TIMEOUT_S):
                    scopes = await connector.scopes(ctx)
        except SourceWait as wait:
            await self._again(job, wait)
            return True
        except SourceRefused as refusal:
            await self._refused(job, source_id, refusal)
            return True
        except TimeoutError:
            raise Unavailable(f"{source.name} did not name its parts in time.") from None

        async def commit(session: AsyncSession) -> None:
            await endings.finish(session, job)
            await syncing.begin_run(
                session, source_id, plan, scopes, connector.offers, cause=job.payload["cause"]
            )

        await self._db.run_write(commit)
        return True

    async def _again(self, job: ClaimedJob, wait: SourceWait) -> None:
        async def commit(session: AsyncSession) -> None:
            await endings.hold(session, job, str(wait), retry_in_s=wait.seconds)

        await self._db.run_write(commit)

    async def _refused(self, job: ClaimedJob, source_id: str, refusal: SourceRefused) -> None:
        async def commit(session: AsyncSession) -> None:
            await endings.finish(session, job)
            await syncing.report_plan(session, source_id, str(refusal), login=refusal.login)

        await self._db.run_write(commit)

    async def failed(
        self,
        session: AsyncSession,
        job: ClaimedJob,
        error: str,
        code: str,  # noqa: ARG002 (the protocol's)
    ) -> None:
        """Say so on the source; the next sync is for its time."""
        await syncing.report_plan(session, job.payload["source_id"], error)


class SyncScope(_SourceHandler):
    """Does one step of a scope."""

    async def run(self, job: ClaimedJob) -> bool:
        """Read, then write what came with the cursor behind it."""
        async with self._db.read() as session:
            step = await syncing.open_step(session, job.payload)
        if step is None:
            return False
        source_id = step.source.id

        async def known(ids: Sequence[str]) -> Mapping[str, KnownItem]:
            async with self._db.read() as session:
                return await known_items(session, source_id, ids)

        try:
            connector = self._connector(step.source)
            async with self._opener.open(step.source, connector, known=known) as ctx:
                with anyio.fail_after(STEP_TIMEOUT_S):
                    await self._do(job, step, connector, ctx)
        except SourceWait as wait:
            await self._later(job, wait)
        except SourceRefused as refusal:
            await self._stop(job, refusal)
        except CursorExpired:
            offers = self._connectors[step.source.kind].offers
            await self._db.run_write(
                lambda session: steps.commit_expired(session, job, step, offers)
            )
        except TimeoutError:
            raise Unavailable(f"{step.source.name} did not answer a step in time.") from None
        return True

    async def _do(
        self, job: ClaimedJob, step: ScopeStep, connector: Connector[Any], ctx: SourceContext[Any]
    ) -> None:
        at: Mapping[str, Any] = step.cursor.get("at", {})
        offers = connector.offers
        trust = (trusted_domains(step.source.settings), connector.namespace(ctx.settings))
        match step.phase:
            case "access":
                access = await connector.access(ctx, step.scope, at)
                await self._db.run_write(
                    lambda s: steps.commit_containers(s, job, step, access, offers, trust)
                )
            case "groups":
                groups = await connector.groups(ctx, at)
                await self._db.run_write(
                    lambda s: steps.commit_group_page(s, job, step, groups, offers, trust)
                )
            case "sweep":
                await self._db.run_write(lambda s: steps.commit_sweep(s, job, step, offers))
            case _:
                await self._items(job, step, connector, ctx)

    async def _items(
        self, job: ClaimedJob, step: ScopeStep, connector: Connector[Any], ctx: SourceContext[Any]
    ) -> None:
        start: Mapping[str, Any] | None = None
        if step.phase == LISTING:
            if connector.offers.feed and "at" not in step.cursor:
                start = await connector.start(ctx, step.scope)
            page = await connector.listing(ctx, step.scope, step.cursor.get("at", {}))
        else:
            page = await connector.feed(ctx, step.scope, step.cursor.get("at", step.feed))
        contents = await self._store(step.source, page)
        await self._db.run_write(
            lambda session: steps.commit_items(
                session, job, step, page, contents, connector.offers, start=start
            )
        )

    async def _store(self, source: SourceRow, page: Step) -> dict[str, StoredContent]:
        contents = {}
        for change in page.changes:
            if isinstance(change, Put) and change.body is not None:
                contents[change.id] = StoredContent(
                    await self._blobs.put(source.tenant_id, change.body),
                    len(change.body),
                    change.filename or change.title,
                )
        return contents

    async def _later(self, job: ClaimedJob, wait: SourceWait) -> None:
        """No attempt is spent on waiting, however long a source has one wait."""

        async def commit(session: AsyncSession) -> None:
            await endings.finish(session, job)
            if found := await syncing.current(session, job.payload, locked=True):
                await syncing.wait_step(session, *found, wait.seconds, str(wait))

        await self._db.run_write(commit)

    async def _stop(self, job: ClaimedJob, refusal: SourceRefused) -> None:
        async def commit(session: AsyncSession) -> None:
            await endings.finish(session, job)
            if found := await syncing.current(session, job.payload, locked=True):
                await syncing.fail_scope(session, *found, str(refusal), login=refusal.login)

        await self._db.run_write(commit)

    async def waiting(self, session: AsyncSession, job: ClaimedJob, reason: str) -> None:
        """Show on the scope why it does not continue."""
        if found := await syncing.current(session, job.payload, locked=True):
            found[1].error = reason

    async def failed(
        self,
        session: AsyncSession,
        job: ClaimedJob,
        error: str,
        code: str,  # noqa: ARG002 (the protocol's)
    ) -> None:
        """End the scope's sync with the reason."""
        if found := await syncing.current(session, job.payload, locked=True):
            await syncing.fail_scope(session, *found, error)


class FetchItems(_SourceHandler):
    """Fetches the content of some items, each with its document in one transaction."""

    async def run(self, job: ClaimedJob) -> bool:
        """One after the other; a fault of one is that one's, and the others go on."""
        source_id, ids = job.payload["source_id"], job.payload["items"]
        async with self._db.read() as session:
            due = await fetching.open_items(session, source_id, ids)
        if due is None:
            return False
        try:
            connector = self._connector(due.source)
            async with self._opener.open(due.source, connector) as ctx:
                for item in due.items:
                    await self._fetch(due, connector, ctx, item)
        except SourceWait as wait:
            await self._later(job, wait.seconds)
            return True
        except SourceRefused as refusal:  # of the source, not of one item
            fault = refusal
            await self._db.run_write(lambda session: fetching.refuse(session, job, fault))
            return True

        async def commit(session: AsyncSession) -> None:
            await endings.finish(session, job)
            await fetching.end_fetch(session, source_id)

        await self._db.run_write(commit)
        return True

    async def _fetch(
        self,
        due: fetching.DueItems,
        connector: Connector[Any],
        ctx: SourceContext[Any],
        item: fetching.DueItem,
    ) -> None:
        content: StoredContent | None = None
        reason = _unwanted(item.ref, due.formats, ctx.max_bytes)
        try:
            if not reason:
                content = await self._open(due.source, connector, ctx, item)
        except SourceRefused as refusal:
            if refusal.login:
                raise
            reason = str(refusal)
        except Unavailable as error:
            said = str(error)
            await self._db.run_write(lambda session: fetching.try_later(session, item, said))
            return
        has_access = connector.offers.access
        await self._db.run_write(
            lambda session: fetching.commit_fetched(
                session, item, content, reason=reason, has_access=has_access
            )
        )

    async def _open(
        self,
        source: SourceRow,
        connector: Connector[Any],
        ctx: SourceContext[Any],
        item: fetching.DueItem,
    ) -> StoredContent | None:
        try:
            with anyio.fail_after(STEP_TIMEOUT_S):
                got = await connector.open(ctx, item.scope, item.ref)
        except TimeoutError:
            raise Unavailable("It did not come in time.") from None
        if got is None:
            return None
        if not got.data.strip():
            raise SourceRefused(EMPTY)
        if len(got.data) > ctx.max_bytes:
            raise SourceRefused(
                f"It has {len(got.data):,} bytes and the limit is {ctx.max_bytes:,}."
            )
        name = got.filename or item.ref.filename or item.ref.title
        blob = await self._blobs.put(source.tenant_id, got.data)
        return StoredContent(blob, len(got.data), name, got.mime)

    async def _later(self, job: ClaimedJob, seconds: float) -> None:
        async def commit(session: AsyncSession) -> None:
            await endings.finish(session, job)
            await fetching.fetch_later(
                session, job.payload, clock.now() + timedelta(seconds=seconds)
            )

        await self._db.run_write(commit)

    async def failed(
        self,
        session: AsyncSession,
        job: ClaimedJob,
        error: str,
        code: str,  # noqa: ARG002 (the protocol's)
    ) -> None:
        """The items are left with the reason."""
        await fetching.give_up(session, job.payload["source_id"], job.payload["items"], error)


def _unwanted(item: ItemRef, formats: Sequence[str], max_bytes: int) -> str:
    """Why an item is not even asked for; empty where it is."""
    if item.size_bytes > max_bytes:
        return f"It has {item.size_bytes:,} bytes and the limit is {max_bytes:,}."
    if item.filename:
        try:
            check_format(item.filename, formats)
        except InvalidInput as error:
            return str(error)
    return ""


class RemoveSource(_SourceHandler):
    """Clears what a removed source left, in small transactions."""

    async def run(self, job: ClaimedJob) -> bool:
        """Its documents first, then its rows."""
        source_id = job.payload["source_id"]
        while await self._db.run_write(lambda session: removing.remove_some(session, source_id)):
            pass
        await self._opener.forget(source_id)
        return False


def source_handlers(
    db: Database,
    blobs: BlobStore,
    connectors: Mapping[str, Connector[Any]],
    opener: ContextOpener,
) -> dict[str, Handler]:
    """The jobs of sources."""
    return {
        FETCH_ITEMS: FetchItems(db, blobs, connectors, opener),
        PLAN_SYNC: PlanSync(db, blobs, connectors, opener),
        REMOVE_SOURCE: RemoveSource(db, blobs, connectors, opener),
        SYNC_SCOPE: SyncScope(db, blobs, connectors, opener),
    }
