"""Streams and answers under way end when their reader may no longer read what they could."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx2
import pytest

from api import permitted
from engine.domain import Answer, Answered, AnswerEvent, Delta, Role, Scope
from engine.engine import Engine
from engine.people import members
from tests.fakes.homes import OTHER, make_member_token

SECRET = "the answer from what was readable"


@pytest.fixture(autouse=True)
def checked_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(permitted, "RECHECK_S", 0.05)


class SlowAnswers:
    """Answers that come once they are let go."""

    def __init__(self) -> None:
        self.begun, self.let_go = asyncio.Event(), asyncio.Event()

    async def ask(self, *_: object, **__: object) -> AsyncIterator[AnswerEvent]:
        yield Delta("…")
        self.begun.set()
        await self.let_go.wait()
        yield Answered(Answer(SECRET, True, 1.0, [], []))


@pytest.fixture
def slow(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> SlowAnswers:
    slow = SlowAnswers()
    monkeypatch.setattr(engine.answers, "ask", slow.ask)
    return slow


async def member_headers(engine: Engine) -> dict[str, str]:
    token = await make_member_token(engine, Scope.KB_READ, Scope.KB_ASK)
    owner = await engine.people.owner()
    await engine.people.change_member(owner, OTHER, role=Role.MEMBER)
    return {"authorization": f"Bearer {token}", "accept": "text/event-stream"}


async def revoke_tokens(engine: Engine) -> None:
    owner = await engine.people.owner()
    for token in await engine.people.list_tokens(owner):
        await engine.people.revoke_token(owner, token.id)


async def demote(engine: Engine) -> None:
    """Guests hold no `tenant` token: they may read less than members."""
    owner = await engine.people.owner()
    async with engine.db.write() as session:
        found = await members.find_member(session, owner.tenant_id, OTHER)
        await members.set_role(session, owner, found.user_id, Role.GUEST)


@pytest.mark.parametrize(
    ("change", "code"), [(revoke_tokens, "unauthenticated"), (demote, "conflict")]
)
@pytest.mark.parametrize("path", ["/api/v1/ask", "/ask"])
async def test_an_answer_under_way_is_withheld_when_access_ends(
    client: httpx2.AsyncClient, engine: Engine, slow: SlowAnswers, change, code: str, path: str
) -> None:
    headers = await member_headers(engine)
    body = {"json": {"question": "x"}} if path.startswith("/api") else {"data": {"q": "x"}}
    asking = asyncio.create_task(client.post(path, headers=headers, **body))
    await slow.begun.wait()
    await change(engine)
    slow.let_go.set()
    answer = await asking
    assert SECRET not in answer.text
    assert f'"code": "{code}"' in answer.text
    assert answer.text.rstrip().split("\n\n")[-1].startswith("event: error")


async def test_an_answer_without_a_stream_is_withheld_as_well(
    client: httpx2.AsyncClient, engine: Engine, slow: SlowAnswers
) -> None:
    headers = await member_headers(engine) | {"accept": "application/json"}
    body = {"question": "x"}
    asking = asyncio.create_task(client.post("/api/v1/ask", headers=headers, json=body))
    await slow.begun.wait()
    await revoke_tokens(engine)
    slow.let_go.set()
    answer = await asking
    assert (answer.status_code, SECRET in answer.text) == (401, False)


async def test_a_stream_without_news_ends_when_access_ends(
    client: httpx2.AsyncClient, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = asyncio.Event()

    async def watch(*_: object, **__: object) -> AsyncIterator[list[object]]:
        yield []
        begun.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(engine.documents, "watch", watch)
    headers = await member_headers(engine)
    following = asyncio.create_task(client.get("/api/v1/documents/events", headers=headers))
    await begun.wait()
    await revoke_tokens(engine)
    async with asyncio.timeout(60):
        answer = await following
    assert answer.text.rstrip().split("\n\n")[-1].startswith("event: error")
    assert '"code": "unauthenticated"' in answer.text


async def test_an_answer_to_somebody_whose_access_stays_is_given(
    client: httpx2.AsyncClient, engine: Engine, slow: SlowAnswers
) -> None:
    slow.let_go.set()
    answer = await client.post(
        "/api/v1/ask", headers=await member_headers(engine), json={"question": "x"}
    )
    assert SECRET in answer.text
