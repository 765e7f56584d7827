from __future__ import annotations

from sqlalchemy import select

from engine import clock
from engine.db.tables import Event, Job
from engine.domain import Lane
from engine.jobs.outbox import append_event, enqueue, next_turn, served_turn


async def test_an_event_is_appended_in_the_transaction_of_its_cause(database, fixed_clock):
    async with database.write() as session:
        event_id = await append_event(session, "acme", "document.uploaded", {"id": "d1"})
    async with database.read() as session:
        (event,) = await session.scalars(select(Event))
    assert (event.id, event.tenant_id, event.kind) == (event_id, "acme", "document.uploaded")
    assert (event.payload, event.at) == ({"id": "d1"}, clock.now())


async def test_turns_count_up_by_tenant_and_lane(database):
    async def add(tenant_id: str, lane: Lane) -> int:
        job_id = await enqueue(session, tenant_id=tenant_id, kind="x", payload={}, lane=lane)
        return (await session.get_one(Job, job_id)).turn

    async with database.write() as session:
        assert await served_turn(session, Lane.BULK) == 0
        assert [await add("acme", Lane.BULK) for _ in range(3)] == [0, 1, 2]
        assert [await add("bolt", Lane.BULK) for _ in range(2)] == [0, 1]
        assert await add("acme", Lane.LIVE) == 0
        assert await next_turn(session, "acme", Lane.BULK) == 3
        assert await next_turn(session, "cobb", Lane.BULK) == 0
