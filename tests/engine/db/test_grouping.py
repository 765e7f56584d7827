"""Use cases that come at once are committed together, and each by itself where one fails."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import event, select
from sqlalchemy.ext.asyncio import AsyncSession

from engine.db.grouping import GROUP_MAX
from engine.db.session import Database
from engine.db.tables import Setting
from engine.errors import InvalidInput


def putting(key: str):
    async def put(session: AsyncSession) -> str:
        session.add(Setting(key=key, value={}))
        await session.flush()
        return key

    return put


async def refuse(session: AsyncSession) -> str:
    raise InvalidInput("not this one", field="key")


async def keys(database: Database) -> list[str]:
    async with database.read() as session:
        return list(await session.scalars(select(Setting.key).order_by(Setting.key)))


@pytest.fixture
async def commits(database):
    """A list that gains an element with each commit of a write."""
    seen: list[None] = []
    async with database.write() as session:
        engine = session.get_bind().engine
    event.listen(engine, "commit", lambda _: seen.append(None))
    return seen


async def test_what_comes_at_once_is_committed_together(database, commits):
    wanted = [f"k{n:02}" for n in range(10)]
    assert await asyncio.gather(*(database.run_grouped(putting(k)) for k in wanted)) == wanted
    assert await keys(database) == wanted
    assert len(commits) == 1


async def test_a_group_has_a_bound(database, commits):
    wanted = [f"k{n:03}" for n in range(GROUP_MAX + 1)]
    await asyncio.gather(*(database.run_grouped(putting(k)) for k in wanted))
    assert await keys(database) == wanted
    assert len(commits) == 2


async def test_what_comes_meanwhile_is_the_next_group(database):
    begun, go = asyncio.Event(), asyncio.Event()

    async def slow(session: AsyncSession) -> str:
        begun.set()
        async with asyncio.timeout(60):
            await go.wait()
        return await putting("a")(session)

    first = asyncio.create_task(database.run_grouped(slow))
    async with asyncio.timeout(60):
        await begun.wait()
    second = asyncio.create_task(database.run_grouped(putting("b")))
    await asyncio.sleep(0)
    assert await keys(database) == []
    go.set()
    assert await asyncio.gather(first, second) == ["a", "b"]
    assert await keys(database) == ["a", "b"]


async def test_one_that_fails_fails_alone(database):
    work = [putting("a"), refuse, putting("b")]
    a, refused, b = await asyncio.gather(
        *(database.run_grouped(item) for item in work), return_exceptions=True
    )
    assert (a, b) == ("a", "b")
    assert isinstance(refused, InvalidInput)
    assert await keys(database) == ["a", "b"]


async def test_who_stops_waiting_takes_nobody_else_along(database):
    tasks = [asyncio.create_task(database.run_grouped(putting(k))) for k in "ab"]
    await asyncio.sleep(0)
    tasks[0].cancel()
    assert await tasks[1] == "b"
    assert "b" in await keys(database)


async def test_it_is_not_told_as_done_before_it_is_committed(database):
    assert await database.run_grouped(putting("a")) == "a"
    assert await keys(database) == ["a"]
