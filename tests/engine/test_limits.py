"""Limits over SQL and Redis; the suite is in tests/contracts/limits.py."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, select

from engine import limits as limits_module
from engine.db.session import open_database
from engine.db.tables import Ephemeral
from engine.errors import Unavailable
from engine.limits import Limits, RedisLimits, SqlLimits, spend
from tests.contracts.limits import *  # noqa: F403
from tests.fakes.databases import redis_url

ADAPTERS = (
    "sqlite",
    pytest.param("postgresql", marks=pytest.mark.postgres),
    pytest.param("redis", marks=pytest.mark.redis),
)


@pytest.fixture(params=ADAPTERS)
async def limits(request: pytest.FixtureRequest, tmp_path) -> AsyncIterator[Limits]:
    if request.param == "redis":
        over_redis = RedisLimits(redis_url())
        await over_redis._redis.flushdb()
        yield over_redis
        await over_redis.aclose()
        return
    if request.param == "sqlite":
        url = request.getfixturevalue("sqlite_databases").new(tmp_path)
    else:
        url = request.getfixturevalue("postgres_server").empty()
    async with open_database(url) as database:
        yield SqlLimits(database)


async def test_what_is_over_is_swept(database, fixed_clock, monkeypatch):
    monkeypatch.setattr(limits_module, "SWEEP_S", 0)
    limits = SqlLimits(database)
    await limits.put("a", b"", ttl_s=1)
    fixed_clock.advance(2)
    await limits.put("b", b"", ttl_s=1)
    async with database.read() as session:
        assert await session.scalar(select(func.count()).select_from(Ephemeral)) == 1


async def test_sweeping_takes_no_row_that_another_is_about_to_use(database, monkeypatch):
    monkeypatch.setattr(limits_module, "SWEEP_S", 0)  # each write sweeps, what is over goes at once
    limits = SqlLimits(database)

    async def use(n: int) -> None:
        for _ in range(10):
            await limits.put(f"k{n % 2}", b"", ttl_s=0)

    await asyncio.gather(*(use(n) for n in range(6)))


async def test_redis_that_is_away_says_so():
    limits = RedisLimits("redis://:hunter2@127.0.0.1:1/0")
    with pytest.raises(Unavailable, match="check that it runs") as caught:
        await limits.get("k")
    assert "hunter2" not in str(caught.value)
    await limits.aclose()


@given(
    st.lists(st.tuples(st.floats(0, 5), st.floats(0.1, 3)), max_size=50),
    st.floats(0.1, 10),
    st.floats(3, 20),
)
def test_no_window_gives_more_than_burst_and_rate_allow(steps, rate_per_s, burst):
    now, full_at, taken = 1000.0, 0.0, 0.0
    for pause_s, cost in steps:
        now += pause_s
        full_at, wait_s = spend(full_at, now, rate_per_s, burst, cost)
        taken += cost if wait_s == 0 else 0
        assert taken <= burst + (now - 1000) * rate_per_s + 1e-3
        if wait_s:
            assert spend(full_at, now + wait_s, rate_per_s, burst, cost)[1] == 0
