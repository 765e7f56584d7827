"""Rows written behind their caller's back: none is lost while the database is away."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import asdict, replace

import pytest
from sqlalchemy import insert, select

from engine.clock import new_id, now
from engine.db import write_behind
from engine.db.session import Database
from engine.db.tables import QueryLog
from engine.db.write_behind import WriteBehind
from engine.errors import Unavailable
from engine.operations.tool_call_log import LoggedCall, ToolCallLog
from engine.search.query_log import Searched, SearchLog

SEARCHED = Searched(
    tenant_id="acme",
    user_id=None,
    kb_ids=("kb",),
    mode="hybrid",
    text="sick leave",
    hits=1,
    confidence=0.5,
    took_ms=2.0,
    at=now(),
)
CALLED = LoggedCall(
    tenant_id="acme",
    user_id=None,
    api_token_id=None,
    door="http",
    tool="search",
    kb_ids=("kb",),
    results=1,
    code="",
    took_ms=2.0,
    at=now(),
)


class Switch:
    """Takes a database away, and brings it back."""

    def __init__(self, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_away = False
        self.refused = asyncio.Event()
        write = database.write

        def guarded():
            if self.is_away:
                self.refused.set()
                raise Unavailable("The database can't be reached.")
            return write()

        monkeypatch.setattr(database, "write", guarded)


@pytest.mark.parametrize(("build", "row"), [(SearchLog, SEARCHED), (ToolCallLog, CALLED)])
async def test_rows_noted_while_the_database_is_away_arrive(
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    build: Callable[[Database], WriteBehind],
    row: Searched | LoggedCall,
) -> None:
    monkeypatch.setattr(write_behind, "AGAIN_S", 0.01)
    switch = Switch(database, monkeypatch)
    log = build(database)
    switch.is_away = True
    async with asyncio.timeout(60), log.writing():
        log.note(row)
        await switch.refused.wait()
        log.note(replace(row, took_ms=3.0))
        switch.is_away = False
    async with database.read() as session:
        times = await session.scalars(select(log._table.took_ms).order_by(log._table.id))
        assert list(times) == [2.0, 3.0]


async def test_a_row_that_is_refused_does_not_take_the_others_along(database: Database) -> None:
    taken = new_id()
    async with database.write() as session:
        await session.execute(insert(QueryLog), [{"id": taken, **_columns(SEARCHED)}])
    ids = iter([taken, new_id(), taken, new_id()])
    log = WriteBehind[Searched](
        database,
        QueryLog,
        lambda row, _: {"id": next(ids), **_columns(row)},
        keep_text="query_log_text",
        waiting_max=10,
        pause_s=0.0,
    )
    log.note(SEARCHED)
    log.note(replace(SEARCHED, mode="keyword"))
    assert await log.flush()
    async with database.read() as session:
        modes = await session.scalars(select(QueryLog.mode).order_by(QueryLog.mode))
        assert list(modes) == ["hybrid", "keyword"]


async def test_where_too_many_wait_the_oldest_give_way(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    switch = Switch(database, monkeypatch)
    log = WriteBehind[Searched](
        database,
        QueryLog,
        lambda row, _: {"id": new_id(), **_columns(row)},
        keep_text="query_log_text",
        waiting_max=2,
        pause_s=0.0,
    )
    switch.is_away = True
    for hits in (1, 2, 3):
        log.note(replace(SEARCHED, hits=hits))
    assert not await log.flush()
    switch.is_away = False
    assert await log.flush()
    async with database.read() as session:
        assert list(await session.scalars(select(QueryLog.hits).order_by(QueryLog.hits))) == [2, 3]


def _columns(row: Searched) -> dict[str, object]:
    return {**asdict(row), "kb_ids": list(row.kb_ids)}
