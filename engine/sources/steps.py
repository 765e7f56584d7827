"""What the steps of a sync brought, each written in one transaction with the cursor behind it.

Every function ends the step's job beside its rows, and does nothing where the scope has moved on
since: the job that did so did the same work.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from engine import clock
from engine.db.tables import Source, SourceScope
from engine.jobs import endings
from engine.jobs.leases import ClaimedJob
from engine.sources import syncing
from engine.sources.containers import (
    beneath,
    commit_access,
    commit_groups,
    forget_unseen,
    occupied,
    readers_of,
)
from engine.sources.contract import AccessStep, GroupStep, Offers, Step
from engine.sources.items import commit_changes
from engine.sources.source_documents import StoredContent, documents_of, set_readers
from engine.sources.states import LISTING
from engine.sources.sweeping import sweep_some
from engine.sources.syncing import UNREAD, WINDOW, ScopeStep, advance, count_in, queue_fetches

Trust = tuple[tuple[str, ...], str]  # domains whose addresses count, namespace of the accounts


async def commit_items(
    session: AsyncSession,
    job: ClaimedJob,
    done: ScopeStep,
    step: Step,
    contents: Mapping[str, StoredContent],
    offers: Offers,
    *,
    start: Mapping[str, Any] | None = None,
) -> None:
    """A page of a listing or of a feed. `start` is the feed's place, taken before a first page."""
    await endings.finish(session, job)
    found = await syncing.current(session, job.payload, locked=True)
    if found is None:
        return
    source, row = found
    is_listing = done.phase == LISTING
    if is_listing and "at" not in done.cursor:
        row.generation += 1
    counts, due = await commit_changes(
        session, source, row, step.changes, contents, has_access=offers.access
    )
    await count_in(session, done.run_id, counts)
    await queue_fetches(session, source, due)
    kept = {key: value for key, value in done.cursor.items() if key != "at"}
    if start is not None:
        kept["start"] = dict(start)
    if not step.complete:
        kept[UNREAD] = step.note or "The source did not list everything."
    if step.is_window:
        kept[WINDOW] = True
    if step.more:
        cursor = kept | {"at": dict(step.cursor)}
        await advance(session, source, row, cursor=cursor, offers=offers, pause_s=step.pause_s)
        return
    if is_listing:
        row.feed = kept.get("start", {})
        row.listed_at = None if UNREAD in kept else clock.now()
    else:
        row.feed = dict(step.cursor)
    row.cursor = kept
    await advance(session, source, row, cursor=None, offers=offers)


async def commit_expired(
    session: AsyncSession, job: ClaimedJob, done: ScopeStep, offers: Offers
) -> None:
    """The source no longer knows the cursor: list the scope anew, with what is there left in place."""
    await endings.finish(session, job)
    found = await syncing.current(session, job.payload, locked=True)
    if found is None:
        return
    source, row = found
    row.feed, row.listed_at = {}, None
    await count_in(session, done.run_id, Counter(cursors_expired=1))
    await syncing.skip_to(session, source, row, LISTING, offers=offers)


async def commit_containers(
    session: AsyncSession,
    job: ClaimedJob,
    done: ScopeStep,
    step: AccessStep,
    offers: Offers,
    trust: Trust,
) -> None:
    """A page of containers and who may read them; documents below a changed one follow at once."""
    await endings.finish(session, job)
    found = await syncing.current(session, job.payload, locked=True)
    if found is None:
        return
    source, row = found
    generation = int(done.cursor.get("generation", done.steps + 1))
    trusted, namespace = trust
    changed = await commit_access(
        session,
        source,
        row.id,
        step.containers,
        generation=generation,
        trusted=trusted,
        namespace=namespace,
    )
    retold = await _tell_documents(session, source, row, changed)
    await count_in(session, done.run_id, Counter(containers=len(step.containers), retold=retold))
    if step.more:
        cursor = {"at": dict(step.cursor), "generation": generation}
        await advance(session, source, row, cursor=cursor, offers=offers)
        return
    if step.complete:
        await forget_unseen(session, source, row.id, generation=generation)
        row.access_at = clock.now()
    await advance(session, source, row, cursor=None, offers=offers)


async def _tell_documents(
    session: AsyncSession, source: Source, row: SourceScope, changed: set[str]
) -> int:
    """Give the documents below these containers the readers they have now; how many changed."""
    if not changed:
        return 0
    containers = await beneath(session, source, changed)
    items = await occupied(session, source, containers)
    if not items:
        return 0
    readers = await readers_of(session, source, row.id, {item.container for item in items})
    documents = await documents_of(session, items)
    retold = 0
    for item in items:
        if (document := documents.get(item.id)) is not None:
            retold += await set_readers(session, document, readers[item.container])
    return retold


async def commit_group_page(
    session: AsyncSession,
    job: ClaimedJob,
    done: ScopeStep,
    step: GroupStep,
    offers: Offers,
    trust: Trust,
) -> None:
    """A page of groups and who is in them."""
    await endings.finish(session, job)
    found = await syncing.current(session, job.payload, locked=True)
    if found is None:
        return
    source, row = found
    trusted, namespace = trust
    await commit_groups(session, source, step.groups, trusted=trusted, namespace=namespace)
    await count_in(session, done.run_id, Counter(groups=len(step.groups)))
    if not step.more:
        row.access_at = clock.now()
    cursor = {"at": dict(step.cursor)} if step.more else None
    await advance(session, source, row, cursor=cursor, offers=offers)


async def commit_sweep(
    session: AsyncSession, job: ClaimedJob, done: ScopeStep, offers: Offers
) -> None:
    """Let some of what a complete listing lacked go, and go on as long as there is more."""
    await endings.finish(session, job)
    found = await syncing.current(session, job.payload, locked=True)
    if found is None:
        return
    source, row = found
    run = await count_in(session, done.run_id, Counter())
    gone, more = await sweep_some(session, source, row, run, absence_after_s=offers.absence_after_s)
    await count_in(session, done.run_id, Counter(swept=gone, removed=gone))
    await advance(session, source, row, cursor={} if more else None, offers=offers)
