"""What is taken from a caller while their call is served: they get no answer from before."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from engine.answers.answers import Answers
from engine.domain import AnswerEvent
from engine.engine import Engine
from engine.runtime import open_engine
from mcp_server import server
from tests.fakes.homes import OTHER, fill, home_settings, make_member_token, make_token
from tests.mcp_server.conftest import OpenHttp
from tests.mcp_server.test_tools import text_of

QUESTION = "How many hours of advanced sick leave can I request?"
Take = Callable[[], Awaitable[object]]


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    await fill(home_settings(tmp_path))
    async with open_engine(home_settings(tmp_path)) as opened:
        yield opened


async def asked(
    open_http: OpenHttp, monkeypatch: pytest.MonkeyPatch, token: str, take: Take
) -> Any:
    """The result of a question during which `take` happens, in a call that took long."""
    asking = Answers.ask

    async def ask(answers: Answers, *args: Any, **options: Any) -> AsyncIterator[AnswerEvent]:
        async for event in asking(answers, *args, **options):
            if event.kind == "answered":
                await take()
            yield event

    monkeypatch.setattr(Answers, "ask", ask)
    monkeypatch.setattr(server, "RECHECK_S", 0.0)
    async with open_http(token=token) as client:
        return await client.call_tool("ask", {"question": QUESTION})


async def nothing() -> None:
    return


async def test_who_keeps_what_they_have_is_answered(
    open_http: OpenHttp, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = await make_token(engine)
    result = await asked(open_http, monkeypatch, token, nothing)
    assert "240 hours" in text_of(result)


async def test_a_token_that_is_revoked_meanwhile_gets_no_answer(
    open_http: OpenHttp, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = await make_token(engine)

    async def revoke() -> None:
        await engine.people.revoke_token(await engine.people.owner(), token[:10])

    result = await asked(open_http, monkeypatch, token, revoke)
    assert result.is_error
    assert "240 hours" not in text_of(result)
    assert "revoked" in text_of(result)


async def test_a_member_who_leaves_a_group_meanwhile_gets_no_answer(
    open_http: OpenHttp, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = await make_member_token(engine)
    owner = await engine.people.owner()
    await engine.people.create_group(owner, "nurses")
    await engine.people.add_to_group(owner, "nurses", OTHER)

    async def leave() -> None:
        await engine.people.remove_from_group(owner, "nurses", OTHER)

    result = await asked(open_http, monkeypatch, token, leave)
    assert result.is_error
    assert text_of(result).startswith("What you may read has changed meanwhile: ask again.")
