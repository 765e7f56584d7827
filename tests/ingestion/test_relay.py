"""The relay: hints for what fits, each once, in the order of the claims."""

from __future__ import annotations

import json
import logging

import pytest

from engine.domain import Lane
from engine.errors import Unavailable
from engine.jobs.outbox import enqueue
from ingestion import relay as relay_module
from ingestion.broker import QUEUE, MemoryBroker
from ingestion.relay import Relay

KIND = "tiny"


@pytest.fixture
def broker() -> MemoryBroker:
    broker = MemoryBroker()
    broker.declare_queue(QUEUE)
    return broker


def build(database, broker, *, free: int, work_here=pytest.fail) -> Relay:
    return Relay(
        database,
        broker,
        kinds=lambda: [KIND],
        free_slots=lambda: free,
        work_here=work_here,
    )


def hinted(broker: MemoryBroker) -> list[str]:
    """The jobs on the queue, taken off it."""
    found = []
    waiting = broker.queues[QUEUE]
    while not waiting.empty():
        found.append(json.loads(waiting.get())["kwargs"]["job_id"])
    return found


async def queue(database, count: int, lane: Lane = Lane.BULK, kind: str = KIND) -> list[str]:
    async with database.write() as session:
        return [
            await enqueue(session, tenant_id="acme", kind=kind, payload={}, lane=lane)
            for _ in range(count)
        ]


async def test_no_more_hints_than_free_slots(database, broker):
    ids = await queue(database, 5)
    relay = build(database, broker, free=3)
    assert await relay.relay_once() == 3
    assert hinted(broker) == ids[:3]
    assert await relay.relay_once() == 0  # they are on their way and count as taken


async def test_a_taken_hint_makes_room(database, broker):
    ids = await queue(database, 3)
    relay = build(database, broker, free=2)
    await relay.relay_once()
    relay.taken(ids[0])
    assert await relay.relay_once() == 1


async def test_a_hint_is_not_repeated_while_it_lives(database, broker, monkeypatch):
    (job,) = await queue(database, 1)
    relay = build(database, broker, free=4)
    await relay.relay_once()
    await relay.relay_once()
    assert hinted(broker) == [job]
    monkeypatch.setattr(relay_module, "HINT_LIFE_S", 0.0)
    await relay.relay_once()
    assert hinted(broker) == [job]


async def test_urgent_lanes_are_hinted_first(database, broker):
    bulk = await queue(database, 2)
    urgent = await queue(database, 1, Lane.LIVE)
    await build(database, broker, free=2).relay_once()
    assert hinted(broker) == [*urgent, bulk[0]]


async def test_only_kinds_that_somebody_handles_are_hinted(database, broker):
    await queue(database, 1, kind="answer")
    assert await build(database, broker, free=2).relay_once() == 0


class BrokerThatGoesAway(MemoryBroker):
    """Refuses hints while it is away."""

    is_away = True

    def enqueue(self, message, *, delay=None):
        if self.is_away:
            raise Unavailable("Redis can't be reached.")
        return super().enqueue(message, delay=delay)


async def test_jobs_are_worked_on_here_while_the_broker_is_away(database, monkeypatch, caplog):
    monkeypatch.setattr(relay_module, "OUTAGE_PAUSE_S", 0.0)
    broker = BrokerThatGoesAway()
    broker.declare_queue(QUEUE)
    ids = await queue(database, 3)
    here: list[str] = []
    relay = build(database, broker, free=3, work_here=here.append)
    with caplog.at_level(logging.WARNING):
        assert await relay.relay_once() == 3
    assert here == ids
    assert len(caplog.records) == 1  # one line an outage, not one a job

    broker.is_away = False
    for job in ids:
        relay.taken(job)
    assert await relay.relay_once() == 3  # no one has claimed them
    assert (hinted(broker), here) == (ids, ids)
