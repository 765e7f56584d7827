from __future__ import annotations

import asyncio
import shutil
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import URL, select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError

from engine.db import session as session_module
from engine.db.faults import faults
from engine.db.session import Database, open_database, parse_url
from engine.db.tables import Setting, Tenant
from engine.errors import ConfigurationError, InvalidInput, Unavailable


async def put(database: Database, key: str) -> None:
    async with database.write() as session:
        session.add(Setting(key=key, value={}))


async def keys(database: Database) -> list[str]:
    async with database.read() as session:
        return list(await session.scalars(select(Setting.key).order_by(Setting.key)))


async def test_a_write_commits_on_exit_and_rolls_back_on_error(database):
    async def put_and_fail() -> None:
        async with database.write() as session:
            session.add(Setting(key="b", value={}))
            await session.flush()
            raise ZeroDivisionError

    await put(database, "a")
    with pytest.raises(ZeroDivisionError):
        await put_and_fail()
    assert await keys(database) == ["a"]


async def test_rows_are_usable_after_their_session(database):
    async with database.write() as session:
        row = Tenant(id="t", key="t", name="T")
        session.add(row)
    assert row.name == "T"


async def test_a_read_transaction_can_not_write(database):
    async def write() -> None:
        async with database.read() as session:
            await session.execute(update(Tenant).values(name="changed"))

    with pytest.raises((DBAPIError, Unavailable)):
        await write()


async def test_a_read_transaction_sees_one_snapshot_on_sqlite(database):
    async with database.read() as session:
        before = list(await session.scalars(select(Setting.key)))
        await put(database, "later")
        # PostgreSQL reads what is committed at each statement; nothing of ours relies on either.
        after = before if database.dialect == "sqlite" else ["later"]
        assert list(await session.scalars(select(Setting.key))) == after


async def test_concurrent_writers_all_commit_and_none_sees_a_stale_count(database):
    async def append(number: int) -> None:
        async def use_case(session) -> None:
            row = await session.get_one(Setting, "n", with_for_update=True)
            row.value = {"seen": [*row.value["seen"], number]}

        await database.run_write(use_case)

    async with database.write() as session:
        session.add(Setting(key="n", value={"seen": []}))
    await asyncio.gather(*(append(number) for number in range(40)))
    async with database.read() as session:
        assert sorted((await session.get_one(Setting, "n")).value["seen"]) == list(range(40))


async def test_more_readers_than_connections_wait_their_turn(database_url):
    async with open_database(database_url, pool_size=2, max_overflow=1) as database:
        found = await asyncio.gather(*(keys(database) for _ in range(30)))
        assert found == [[]] * 30


async def test_a_pool_that_stays_busy_says_so(database_url):
    async with open_database(
        database_url, pool_size=1, max_overflow=0, pool_timeout_s=0.05
    ) as database:
        async with database.read() as session:
            await session.execute(text("SELECT 1"))
            with pytest.raises(Unavailable, match="connection was busy"):
                await keys(database)
        assert await keys(database) == []


async def test_a_cancelled_transaction_leaks_nothing(database_url):
    async with open_database(
        database_url, pool_size=1, max_overflow=0, pool_timeout_s=60
    ) as database:
        for _ in range(5):
            task = asyncio.create_task(put(database, "never"))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await put(database, "after")
        assert "after" in await keys(database)


async def test_a_write_inside_a_write_is_refused_at_once(sqlite_databases, tmp_path):
    async def nest(database: Database) -> None:
        async with database.write(), database.write():
            pass

    async with open_database(sqlite_databases.new(tmp_path)) as database:
        with pytest.raises(RuntimeError, match="waits for itself"):
            await nest(database)
        await put(database, "still works")


async def test_a_use_case_is_run_again_after_a_transient_fault(
    sqlite_databases, tmp_path, monkeypatch
):
    monkeypatch.setattr(session_module, "BUSY_TIMEOUT_MS", 1)
    url = sqlite_databases.new(tmp_path)
    other = sqlite3.connect(tmp_path / "scrubjay.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    def let_go_after_the_second_try():
        yield 0.0
        other.execute("ROLLBACK")
        other.close()
        yield 0.0

    monkeypatch.setattr(session_module, "_backoffs", let_go_after_the_second_try)

    async def use_case(session) -> None:
        session.add(Setting(key="a", value={}))

    async with open_database(url) as database:
        await database.run_write(use_case)
        assert await keys(database) == ["a"]


async def test_a_lock_that_never_frees_ends_in_unavailable(sqlite_databases, tmp_path, monkeypatch):
    monkeypatch.setattr(session_module, "FIRST_BACKOFF_S", 0)
    monkeypatch.setattr(session_module, "BUSY_TIMEOUT_MS", 1)
    url = sqlite_databases.new(tmp_path)
    other = sqlite3.connect(tmp_path / "scrubjay.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    async def nothing(session) -> None:
        pass

    async with open_database(url) as database:
        with pytest.raises(Unavailable, match="another process is writing"):
            await database.run_write(nothing)
        assert await keys(database) == []  # reading goes on
    other.close()


async def test_faults_of_ours_are_not_dressed_up(database):
    async def twice() -> None:
        async with database.write() as session:
            session.add(Tenant(id="x", key="acme", name="again"))

    with pytest.raises(IntegrityError):
        await twice()


@pytest.mark.parametrize("make", ["missing", "empty", "garbage"])
async def test_a_database_that_is_not_there_says_what_to_do(tmp_path: Path, make):
    file = tmp_path / "with space & ünï?.db"
    if make == "empty":
        sqlite3.connect(file).close()
        file.touch()
    if make == "garbage":
        file.write_bytes(b"not a database" * 100)
    url = URL.create("sqlite", database=str(file)).render_as_string()
    async with open_database(url) as database:
        with pytest.raises(Unavailable) as caught:
            await keys(database)
    advice = {"missing": "scrubjay up", "empty": "scrubjay up", "garbage": "not a SQLite database"}
    assert advice[make] in str(caught.value)
    assert make == "missing" or file.exists()
    assert (make == "missing") == (not file.exists())


async def test_an_unreachable_server_says_so_without_the_password():
    url = "postgresql://someone:hunter2@127.0.0.1:1/nowhere"
    async with open_database(url) as database:
        problem = await database.health()
        assert "nowhere on 127.0.0.1" in problem
        assert "check that it runs" in problem
        assert "hunter2" not in problem + repr(database)


async def test_health_is_empty_when_well(database):
    assert await database.health() == ""


@pytest.mark.parametrize("url", ["", "mysql://x/y", "sqlite://", "sqlite:///:memory:", "nonsense"])
def test_a_url_we_can_not_use_is_refused(url):
    with pytest.raises(ConfigurationError, match=r"database\.url"):
        parse_url(url)


@pytest.mark.parametrize("text_", ["a\0b", "a\ud800b"], ids=["NUL", "half a character"])
async def test_text_that_cannot_be_stored_is_bad_input_and_no_fault_of_ours(database, text_):
    """SQLite takes a NUL and finds nothing; what can't be sent is refused with what to do."""
    try:
        async with database.read() as session:
            assert await session.get(Setting, text_) is None
    except InvalidInput as error:
        assert "remove it" in str(error)  # noqa: PT017 (not every driver refuses it)


@pytest.mark.parametrize("code", [10, 11, 14], ids=["I/O", "damaged", "can't open"])
def test_a_full_disk_is_not_called_a_damaged_file(code, tmp_path, monkeypatch):
    class Driver(sqlite3.OperationalError):
        sqlite_errorcode = code

    usage = shutil.disk_usage(tmp_path)._replace(free=4096)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    url = URL.create("sqlite", database=str(tmp_path / "scrubjay.db"))
    with pytest.raises(Unavailable, match="the disk is full"), faults(url):
        raise OperationalError("INSERT", {}, Driver("disk I/O error"))
