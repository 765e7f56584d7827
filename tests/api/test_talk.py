"""A conversation as a page: answers outlast a reload, and are their asker's alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest

from api.answering import Answering
from engine.domain import Answer, Answered, AnswerEvent, Delta, Role
from engine.engine import Engine
from engine.errors import Conflict, Unavailable
from tests.api.test_sign_in import FORM, HTML, away, csrf_of, enter, full_buckets, signing_member

__all__ = ["away", "full_buckets"]  # fixtures

QUESTION = "How many hours of advanced sick leave?"


class HeldAnswers:
    """Answers that come in two parts, the second once it is let go."""

    def __init__(self) -> None:
        self.let_go = asyncio.Event()

    async def ask(self, *_: object, **__: object) -> AsyncIterator[AnswerEvent]:
        yield Delta("Let me ")
        await self.let_go.wait()
        yield Delta("see.")
        yield Answered(Answer("Let me see.", True, 1.0, [], []))


async def asked(client: httpx2.AsyncClient, question: str, **more: str) -> str:
    """The path of the conversation in which the question is answered."""
    answer = await client.post("/ask", data={"q": question} | more, headers=FORM)
    assert answer.status_code == 303, answer.text
    parts = urlsplit(answer.headers["location"])
    assert parse_qs(parts.query)["asked"] == [question]
    return parts.path


async def whole(client: httpx2.AsyncClient, path: str) -> str:
    """The page once nothing is under way."""
    for _ in range(400):
        page = (await client.get(path, headers=HTML)).text
        if 'id="pending"' not in page:
            return page
        await asyncio.sleep(0.05)
    raise AssertionError(page)


async def test_a_question_and_the_next_are_answered_without_a_script(
    client: httpx2.AsyncClient,
) -> None:
    path = await asked(client, QUESTION)
    assert "240 hours" in await whole(client, path)
    again = await asked(client, "What is the lodging rate?", conversation=path.rpartition("/")[2])
    assert again == path
    page = await whole(client, path)
    assert page.index("240 hours") < page.index("What is the lodging rate?")
    assert len(set(_ids(page))) == len(_ids(page))  # citations of two answers do not collide
    assert QUESTION in (await client.get("/", headers=HTML)).text  # listed at the side
    saved = await client.get(f"{path}/export")
    assert saved.headers["content-disposition"].startswith('attachment; filename="how-many-hours')
    assert "240 hours" in saved.text


def _ids(page: str) -> list[str]:
    return [part.split('"')[0] for part in page.split(' id="')[1:]]


async def test_an_answer_under_way_is_read_again_from_its_beginning(
    client: httpx2.AsyncClient, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = HeldAnswers()
    monkeypatch.setattr(engine.answers, "ask", held.ask)
    path = await asked(client, "Is it so?")
    for _ in range(2):  # after a reload, in another tab
        page = (await client.get(path, headers=HTML)).text
        assert f'data-events="{path}/events"' in page
        assert "Is it so?" in page
    readers = [asyncio.create_task(client.get(f"{path}/events")) for _ in range(2)]
    await asyncio.sleep(0.1)
    held.let_go.set()
    for read in await asyncio.gather(*readers):
        assert read.text.index("Let me ") < read.text.index("see.") < read.text.index("answered")
    assert (await client.get(f"{path}/events")).status_code == 204


async def test_an_answer_goes_on_when_the_local_owners_connection_has_ended(
    client: httpx2.AsyncClient, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = HeldAnswers()
    monkeypatch.setattr(engine.answers, "ask", held.ask)
    monkeypatch.setattr("api.permitted.RECHECK_S", 0.02)
    path = await asked(client, "Is it so?")
    reading = asyncio.create_task(client.get(f"{path}/events"))
    await asyncio.sleep(0.1)
    monkeypatch.setattr("api.auth.is_direct", lambda *_: False)  # the kernel knows it no more
    await asyncio.sleep(0.1)
    held.let_go.set()
    assert "event: answered" in (await reading).text


async def test_a_second_question_waits_for_the_first_and_a_stopped_one_is_over(
    client: httpx2.AsyncClient, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = HeldAnswers()
    monkeypatch.setattr(engine.answers, "ask", held.ask)
    path = await asked(client, "Is it so?")
    id_ = path.rpartition("/")[2]
    second = {"q": "And this?", "conversation": id_}
    assert (await client.post("/ask", data=second, headers=FORM)).status_code == 409
    await client.post(path, data={"do": "stop"}, headers=FORM)
    assert 'id="pending"' not in await whole(client, path)
    held.let_go.set()
    assert (await client.post("/ask", data=second, headers=FORM)).status_code == 303


async def test_what_the_server_could_not_answer_before_it_stopped_is_offered_again(
    client: httpx2.AsyncClient,
) -> None:
    path = await asked(client, QUESTION)
    await whole(client, path)
    lost = (await client.get(f"{path}?asked=And+on+Sundays%3F", headers=HTML)).text
    assert "The server was stopped before it could answer." in lost
    assert 'value="And on Sundays?"' in lost
    known = (await client.get(f"{path}?asked={QUESTION.replace(' ', '+')}", headers=HTML)).text
    assert "stopped before" not in known


async def test_a_refused_question_leaves_no_conversation(
    client: httpx2.AsyncClient, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object, **__: object) -> AsyncIterator[AnswerEvent]:
        raise Unavailable("Too many ask at once.", retry_after_s=3)
        yield

    owner = await engine.people.owner()
    before = len(await engine.answers.list_conversations(owner, limit=1000))
    monkeypatch.setattr(engine.answers, "ask", refuse)
    refused = await client.post("/ask", data={"q": "Is it so?"}, headers=FORM)
    assert refused.status_code == 503
    assert refused.headers["retry-after"] == "3"
    assert len(await engine.answers.list_conversations(owner, limit=1000)) == before


async def test_a_conversation_is_its_askers_alone(
    client: httpx2.AsyncClient, away: httpx2.AsyncClient, engine: Engine
) -> None:
    path = await asked(client, QUESTION)
    await whole(client, path)
    await enter(away, await signing_member(engine, "curious", Role.MEMBER))
    csrf = await csrf_of(away)
    for read in (path, f"{path}/events", f"{path}/export"):
        assert (await away.get(read, headers=HTML)).status_code == 404, read
    for sent in ({"do": "delete"}, {"do": "stop"}, {"do": "rename", "name": "mine"}):
        refused = await away.post(path, data=sent | {"csrf": csrf}, headers=FORM)
        assert refused.status_code == 404
    into = {"q": "x", "conversation": path.rpartition("/")[2], "csrf": csrf}
    assert (await away.post("/ask", data=into, headers=FORM)).status_code == 404
    assert QUESTION not in (await away.get("/", headers=HTML)).text


async def test_a_conversation_is_renamed_and_deleted(client: httpx2.AsyncClient) -> None:
    path = await asked(client, QUESTION)
    await whole(client, path)
    await client.post(path, data={"do": "rename", "name": "Sick <leave>"}, headers=FORM)
    assert "Sick &lt;leave&gt;" in (await client.get(path, headers=HTML)).text
    gone = await client.post(path, data={"do": "delete"}, headers=FORM)
    assert gone.headers["location"] == "/"
    assert (await client.get(path, headers=HTML)).status_code == 404


async def test_what_is_under_way_is_ended_with_the_server() -> None:
    answering = Answering()
    ended = asyncio.Event()

    async def events() -> AsyncIterator[str]:
        try:
            yield "one"
            await asyncio.Event().wait()
        finally:
            ended.set()

    answering.begin("c", "Is it so?", events())
    await answering.begun("c")
    with pytest.raises(Conflict):
        answering.begin("c", "And this?", events())
    following = asyncio.create_task(anext(answering.follow("c")))
    assert await following == "one"
    await answering.close()
    assert ended.is_set()
    assert answering.question("c") == ""
    assert [item async for item in answering.follow("c")] == ["one"]
