"""The audit of tool calls: who may read it, what it never holds, and that it is on disk in time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import delete, func, select

from engine.clock import new_id, now
from engine.db.session import Database, open_database
from engine.db.tables import Tenant, ToolCall
from engine.domain import Principal, Scope
from engine.engine import Engine
from engine.errors import Forbidden, Unavailable
from engine.operations import tool_call_log
from engine.operations.tool_call_log import LoggedCall, ToolCallLog
from engine.runtime import open_engine
from tests.fakes.homes import home_settings


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    async with open_engine(home_settings(tmp_path)) as opened:
        yield opened


def called(owner: Principal, tool: str = "search", text: str = "salaries") -> LoggedCall:
    return LoggedCall(
        tenant_id=owner.tenant_id,
        user_id=owner.user_id,
        api_token_id=None,
        door="http",
        tool=tool,
        kb_ids=["kb"],
        results=3,
        code="",
        took_ms=1.5,
        at=now(),
        text=text,
    )


async def rows(engine: Engine) -> int:
    async with engine.db.read() as session:
        return await session.scalar(select(func.count()).select_from(ToolCall)) or 0


async def test_calls_are_on_disk_without_being_asked_for(engine: Engine) -> None:
    owner = await engine.people.owner()
    for _ in range(50):
        engine.operations.note_call(called(owner))
    async with asyncio.timeout(60):
        while await rows(engine) < 50:  # noqa: ASYNC110 (another task writes them)
            await asyncio.sleep(0.02)
    [newest, *_] = await engine.operations.list_calls(owner)
    assert (newest.tool, newest.results, newest.kb_ids) == ("search", 3, ["kb"])


async def test_an_orderly_stop_writes_what_was_noted(tmp_path: Path) -> None:
    settings = home_settings(tmp_path)
    async with open_engine(settings) as engine:
        engine.operations.note_call(called(await engine.people.owner(), tool="fetch"))
    async with open_engine(settings) as engine:
        assert [
            call.tool for call in await engine.operations.list_calls(await engine.people.owner())
        ] == ["fetch"]


async def test_what_was_asked_is_kept_only_where_the_tenant_wants_it(tmp_path: Path) -> None:
    settings = home_settings(tmp_path)
    async with open_engine(settings) as engine:
        engine.operations.note_call(called(await engine.people.owner(), text="before"))
    async with open_engine(settings) as engine:
        await engine.operations.keep_call_text(await engine.people.owner(), on=True)
        engine.operations.note_call(called(await engine.people.owner(), text="after"))
    async with open_engine(settings) as engine:
        kept = await engine.operations.list_calls(await engine.people.owner())
    assert [call.text for call in kept] == ["after", ""]


async def test_only_admins_read_the_calls(engine: Engine) -> None:
    owner = await engine.people.owner()
    reader = replace(owner, scopes=frozenset({Scope.KB_READ, Scope.KB_ASK}))
    with pytest.raises(Forbidden):
        await engine.operations.list_calls(reader)


async def test_calls_wait_while_the_database_is_away(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = await engine.people.owner()
    log = ToolCallLog(engine.db)

    async def away(*_: object) -> None:
        raise Unavailable("The database can't be reached.")

    log.note(called(owner))
    monkeypatch.setattr(log, "_insert", away)
    assert not await log.flush()
    monkeypatch.undo()
    assert await log.flush()
    assert await rows(engine) == 1


async def test_two_who_write_at_once_write_each_call_once(engine: Engine) -> None:
    owner = await engine.people.owner()
    log = ToolCallLog(engine.db)
    for _ in range(3):
        log.note(called(owner))
    assert await asyncio.gather(log.flush(), log.flush()) == [True, True]
    assert await rows(engine) == 3


async def test_a_tenant_that_went_away_does_not_take_the_others_rows_along(
    database_url: str,
) -> None:
    async with open_database(database_url) as db:
        tenant = await _tenant(db)
        log = ToolCallLog(db)
        gone = new_id()
        async with db.write() as session:
            session.add(Tenant(id=gone, key="gone", name="Gone"))
        log.note(replace(called(tenant), tenant_id=gone))
        assert await log.flush()
        async with db.write() as session:
            await session.execute(delete(Tenant).where(Tenant.id == gone))
        log._keeps |= {tenant.tenant_id: False}
        log.note(replace(called(tenant), tenant_id=gone))
        log.note(called(tenant))
        assert await log.flush()
        listed = await db.run_read(lambda session: tool_call_log.list_calls(session, tenant))
    assert len(listed) == 1


async def test_rows_go_to_either_database(database_url: str, tmp_path: Path) -> None:
    async with open_database(database_url) as db:
        tenant = await _tenant(db)
        log = ToolCallLog(db)
        log.note(replace(called(tenant), kb_ids=("a", "b")))
        assert await log.flush()
        listed = await db.run_read(lambda session: tool_call_log.list_calls(session, tenant))
    assert [list(call.kb_ids) for call in listed] == [["a", "b"]]


async def _tenant(db: Database) -> Principal:
    from engine.access import gate
    from engine.people import tenants

    tenant, member = await tenants.ensure_default(db)
    async with db.read() as session:
        return await gate.principal_of_user(session, tenant.id, member.user_id)
