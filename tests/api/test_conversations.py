"""Conversations over REST: whose they are, what they show, and how they go on."""

from __future__ import annotations

import asyncio

import httpx2
import pytest

from cli.serve import build_host
from engine.answers.conversations import GONE, open_conversation
from engine.documents.adding import NewDocument
from engine.domain import Scope
from engine.engine import Engine
from engine.runtime import open_engine
from ingestion.host import run_worker
from tests.fakes.homes import make_member_token, make_token, this_user

PATH = "/api/v1/conversations"
QUESTION = "How many hours of advanced sick leave can I request?"
CONVERSATION_KEYS = ["id", "name", "door", "turn_count", "created_at", "updated_at"]
CONVERSATION_KEYS.append("assistant")
TURN_KEYS = [
    *("id", "question", "answer", "grounded", "outcome", "confidence", "citations"),
    *("conversation_id", "searched", "steps", "choices"),
    *("readable", "model", "prompt", "input_tokens", "output_tokens", "took_ms"),
    "created_at",
]


async def ask(client: httpx2.AsyncClient, question: str = QUESTION, **more: str) -> dict:
    answer = await client.post("/api/v1/ask", json={"question": question, **more})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_an_answer_names_its_conversation_which_the_next_one_continues(client) -> None:
    first = await ask(client)
    second = await ask(client, "And hotels?", conversation_id=first["conversation_id"])
    shown = (await client.get(f"{PATH}/{first['conversation_id']}")).json()
    assert second["conversation_id"] == first["conversation_id"]
    assert list(shown) == [*CONVERSATION_KEYS, "turns"]
    assert [turn["question"] for turn in shown["turns"]] == [QUESTION, "And hotels?"]
    assert list(shown["turns"][0]) == TURN_KEYS
    assert shown["turns"][0]["answer"] == first["answer"]
    assert shown["turns"][0]["citations"][0]["quote"] == first["citations"][0]["quote"]
    assert shown["turns"][0]["took_ms"] > 0
    assert shown["name"] == QUESTION


async def test_a_conversation_is_started_listed_renamed_and_deleted(client) -> None:
    made = await client.post(PATH, json={"name": "  Leave \n and more "})
    id_ = made.json()["id"]
    asked = await ask(client, conversation_id=id_)
    listed = (await client.get(PATH)).json()["conversations"]
    renamed = await client.patch(f"{PATH}/{id_}", json={"name": "Time off"})
    too_long = await client.patch(f"{PATH}/{id_}", json={"name": "x" * 201})
    gone = await client.delete(f"{PATH}/{id_}")
    absent = [
        await client.get(f"{PATH}/{id_}"),
        await client.patch(f"{PATH}/{id_}", json={"name": "x"}),
        await client.delete(f"{PATH}/{id_}"),
        await client.post("/api/v1/ask", json={"question": "x", "conversation_id": id_}),
    ]
    assert made.status_code == 201
    assert made.headers["location"] == f"{PATH}/{id_}"
    assert (made.json()["name"], made.json()["turn_count"]) == ("Leave and more", 0)
    assert asked["conversation_id"] == id_
    assert (listed[0]["id"], listed[0]["turn_count"]) == (id_, 1)
    assert renamed.json()["name"] == "Time off"
    assert too_long.status_code == 422
    assert gone.json() == {"deleted": True, "id": id_}
    assert [answer.status_code for answer in absent] == [404] * 4


async def test_a_list_of_conversations_goes_on_where_its_cursor_says(client) -> None:
    made = [(await client.post(PATH, json={})).json()["id"] for _ in range(3)]
    first = (await client.get(PATH, params={"limit": 2})).json()
    second = (await client.get(PATH, params={"limit": 100, "cursor": first["next_cursor"]})).json()
    seen = [item["id"] for item in first["conversations"]]
    assert seen == [made[2], made[1]]
    assert second["conversations"][0]["id"] == made[0]


async def test_anothers_conversation_looks_absent_at_every_verb(client, engine: Engine) -> None:
    mine = (await ask(client))["conversation_id"]
    theirs = {"authorization": f"Bearer {await make_member_token(engine)}"}
    body = {"question": "And hotels?", "conversation_id": mine}
    stream = theirs | {"accept": "text/event-stream"}
    answers = [
        await client.get(f"{PATH}/{mine}", headers=theirs),
        await client.patch(f"{PATH}/{mine}", json={"name": "x"}, headers=theirs),
        await client.delete(f"{PATH}/{mine}", headers=theirs),
        await client.post("/api/v1/ask", json=body, headers=theirs),
        await client.post("/api/v1/ask", json=body, headers=stream),
    ]
    listed = (await client.get(PATH, headers=theirs)).json()["conversations"]
    unknown = await client.get(f"{PATH}/{'0' * 32}", headers=theirs)
    assert [answer.status_code for answer in answers] == [404] * 5
    assert mine not in [item["id"] for item in listed]
    said = [answer.json()["detail"].replace(mine, "ID") for answer in answers]
    assert set(said) == {unknown.json()["detail"].replace("0" * 32, "ID")}


async def test_a_channels_conversation_is_nobodys_own(client, engine: Engine) -> None:
    owner = await engine.people.owner()
    async with engine.db.write() as session:
        id_ = await open_conversation(session, owner, door="http", external_id="C1:1.0")
    asked = await client.post("/api/v1/ask", json={"question": "x", "conversation_id": id_})
    listed = (await client.get(PATH)).json()["conversations"]
    assert (await client.get(f"{PATH}/{id_}")).status_code == 404
    assert asked.status_code == 404
    assert id_ not in [item["id"] for item in listed]


async def test_an_answer_is_withheld_once_its_source_is_gone(client, engine: Engine) -> None:
    owner = await engine.people.owner()
    new = NewDocument(data=b"# Parrots\n\nThe parrot of the office is named Quetzal.\n")
    added = await engine.documents.add(owner, "team", new)
    await run_worker(engine, asyncio.Event(), idle_exit_s=0)
    asked = await ask(client, "What is the parrot of the office named?")
    path = f"{PATH}/{asked['conversation_id']}"
    before = (await client.get(path)).json()["turns"][0]
    await engine.documents.delete(owner, added.document_id)
    after = (await client.get(path)).json()["turns"][0]
    assert "Quetzal" in before["answer"]
    assert before["readable"]
    assert (after["answer"], after["citations"], after["readable"]) == (GONE, [], False)
    assert after["outcome"] == "not_found"
    assert after["question"] == "What is the parrot of the office named?"


async def test_conversations_are_there_after_a_restart(client, engine: Engine) -> None:
    id_ = (await ask(client))["conversation_id"]
    async with open_engine(engine.settings) as again:
        app = build_host(again, again.settings, keyless=this_user)
        transport = httpx2.ASGITransport(app, client=("127.0.0.1", 40000))
        base_url = "http://127.0.0.1:7337"
        async with httpx2.AsyncClient(transport=transport, base_url=base_url) as http:
            shown = (await http.get(f"{PATH}/{id_}")).json()
    assert [turn["question"] for turn in shown["turns"]] == [QUESTION]


@pytest.mark.parametrize(("method", "path"), [("GET", PATH), ("POST", PATH), ("GET", f"{PATH}/x")])
async def test_conversations_need_the_scope_to_ask(
    client, engine: Engine, method: str, path: str
) -> None:
    headers = {"authorization": f"Bearer {await make_token(engine, Scope.KB_READ)}"}
    body = {"name": "x"} if method == "POST" else None
    answer = await client.request(method, path, headers=headers, json=body)
    assert answer.status_code == 403
    assert 'scope="kb:ask"' in answer.headers["www-authenticate"]
