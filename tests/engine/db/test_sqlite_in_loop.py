"""SQLite in the loop's own thread, as a worker uses it."""

from __future__ import annotations

import asyncio
import sqlite3

import pytest
from sqlalchemy import select

from engine.db import session as session_module
from engine.db.session import Database, open_database
from engine.db.tables import Setting
from engine.errors import Unavailable


async def put(database: Database, key: str) -> None:
    async with database.write() as session:
        session.add(Setting(key=key, value={}))


async def keys(database: Database) -> list[str]:
    async with database.read() as session:
        return list(await session.scalars(select(Setting.key).order_by(Setting.key)))


@pytest.fixture
async def database(sqlite_databases, tmp_path):
    async with open_database(sqlite_databases.new(tmp_path), in_loop=True) as opened:
        yield opened


@pytest.fixture
def other(database, tmp_path):
    connection = sqlite3.connect(tmp_path / "scrubjay.db", isolation_level=None)
    yield connection
    connection.close()


async def test_it_commits_and_rolls_back_as_it_does_in_threads(database):
    async def put_and_fail() -> None:
        async with database.write() as session:
            session.add(Setting(key="b", value={}))
            await session.flush()
            raise ZeroDivisionError

    await put(database, "a")
    with pytest.raises(ZeroDivisionError):
        await put_and_fail()
    assert await keys(database) == ["a"]


async def test_writers_queue_up(database):
    await asyncio.gather(*(put(database, str(number)) for number in range(10, 40)))
    assert len(await keys(database)) == 30


async def test_the_loop_goes_on_while_another_process_writes(database, other):
    other.execute("BEGIN IMMEDIATE")
    waiting = asyncio.create_task(put(database, "a"))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    assert await keys(database) == []
    other.execute("ROLLBACK")
    async with asyncio.timeout(60):
        await waiting
    assert await keys(database) == ["a"]


async def test_a_lock_that_never_frees_ends_in_unavailable(sqlite_databases, tmp_path, monkeypatch):
    monkeypatch.setattr(session_module, "FIRST_BACKOFF_S", 0)
    monkeypatch.setattr(session_module, "BUSY_TIMEOUT_MS", 1)
    url = sqlite_databases.new(tmp_path)
    holder = sqlite3.connect(tmp_path / "scrubjay.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")

    async def nothing(session) -> None:
        pass

    async with open_database(url, in_loop=True) as database:
        with pytest.raises(Unavailable, match="another process is writing"):
            await database.run_write(nothing)
        assert await keys(database) == []
    holder.close()
