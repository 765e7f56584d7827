"""The broker contract over the in-process broker and Redis."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import dramatiq
import pytest
from dramatiq.errors import QueueNotFound

from engine.errors import ConfigurationError, Unavailable
from ingestion.broker import QUEUE, MemoryBroker, build_broker
from ingestion.relay import hint
from tests.contracts.broker import *  # noqa: F403 (the suite)
from tests.fakes.databases import redis_url


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.redis)])
def broker(request: pytest.FixtureRequest) -> Iterator[dramatiq.Broker]:
    if request.param == "memory":
        opened = build_broker("memory")
    else:
        opened = build_broker(redis_url())
        opened.namespace = f"scrubjay-test-{uuid4().hex}"
    yield opened
    opened.close()


def test_a_queue_nobody_declared_is_unknown_in_this_process():
    broker = MemoryBroker()  # Redis can't know what other processes have declared
    with pytest.raises(QueueNotFound):
        broker.consume("elsewhere")


@pytest.mark.parametrize("url", ["", "amqp://localhost", "Memory"])
def test_an_unknown_broker_is_refused_by_name(url):
    with pytest.raises(ConfigurationError, match="memory"):
        build_broker(url)


def test_a_redis_that_is_away_is_waited_for_and_named():
    broker = build_broker("redis://127.0.0.1:1/0")  # no one listens there
    broker.declare_queue(QUEUE)
    with pytest.raises(Unavailable, match="Redis can't be reached"):
        broker.enqueue(hint("job-1"))
    consumer = broker.consume(QUEUE, prefetch=1, timeout=50)
    assert next(consumer) is None
    message = dramatiq.MessageProxy(hint("job-1").copy(options={"redis_message_id": "1"}))
    consumer.ack(message)  # the hint comes again, and its job is claimed already
    consumer.nack(message)
    consumer.requeue([message])
    consumer.close()
