"""The broker contract over the in-process broker and Redis."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import dramatiq
import pytest
from dramatiq.errors import QueueNotFound

from engine.errors import ConfigurationError
from ingestion.broker import MemoryBroker, build_broker
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
