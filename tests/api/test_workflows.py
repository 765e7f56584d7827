"""Workflows over REST: made, saved by two, published, executed in three ways, followed and answered."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx2
import pytest

from engine.domain import Scope
from engine.engine import Engine
from ingestion.host import run_worker
from tests.fakes.flow_components import flow
from tests.fakes.homes import make_member_token, make_token

ASKING = flow(
    "b > ask > say",
    b=("Begin", {"inputs": {"what": {"type": "string", "required": True}}}),
    ask=(
        "Ask",
        {
            "message": "{{b.what}}?",
            "fields": {"text": {"type": "string"}},
            "buttons": [{"label": "ok"}],
        },
    ),
    say=("Message", {"text": "{{ask.text}}"}),
)


@pytest.fixture
async def working(engine: Engine) -> AsyncIterator[None]:
    """A worker at the same data folder."""
    stop = asyncio.Event()
    worker = asyncio.create_task(run_worker(engine, stop))
    yield
    stop.set()
    await worker


async def publish(client: httpx2.AsyncClient, name: str, dsl: Any) -> None:
    made = await client.post("/api/v1/workflows", json={"name": name, "dsl": dsl})
    assert made.status_code in {201, 409}, made.text
    assert (await client.post(f"/api/v1/workflows/{name}/publish", json={})).status_code == 200


def parsed(text: str) -> list[tuple[int, str, dict[str, Any]]]:
    found = []
    for block in text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if lines:
            found.append((int(lines["id"]), lines["event"], json.loads(lines["data"])))
    return found


async def test_two_tabs_editing_lose_nothing(client: httpx2.AsyncClient) -> None:
    text = json.dumps(flow(say=("Message", {"text": "one"})), indent=3)
    made = await client.post("/api/v1/workflows", json={"name": "tabs", "dsl": text})
    assert (made.status_code, made.headers["etag"], made.json()["dsl"]) == (201, '"1"', text)
    url = "/api/v1/workflows/tabs"

    assert (await client.put(url, json={"dsl": text})).status_code == 428
    first = await client.put(url, json={"dsl": text + " "}, headers={"If-Match": '"1"'})
    second = await client.put(url, json={"dsl": text + "  "}, headers={"If-Match": '"1"'})

    assert (first.status_code, first.headers["etag"]) == (200, '"2"')
    body = second.json()
    assert (second.status_code, body["code"], body["rev"]) == (409, "stale_draft", 2)
    assert (body["theirs"], body["yours"]) == (text + " ", text + "  ")
    assert (await client.get(url)).json()["dsl"] == text + " "


async def test_an_invalid_definition_lists_every_fault(client: httpx2.AsyncClient) -> None:
    dsl = flow("a > b", a=("Message", {}), b="Nothing")

    refused = await client.post("/api/v1/workflows", json={"name": "bad", "dsl": dsl})
    checked = (await client.post("/api/v1/workflows/validate", json={"dsl": dsl})).json()

    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_flow")
    assert checked["sound"] is False
    assert len(checked["faults"]) == 2
    assert all(fault in refused.json()["detail"] for fault in checked["faults"])


async def test_a_waiting_caller_gets_the_end_and_a_key_starts_one_run(
    client: httpx2.AsyncClient, working: None
) -> None:
    body = {"inputs": {"query": "how much sick leave can be advanced?"}}
    url = "/api/v1/workflows/cited-answer/execute"

    first = await client.post(url, json=body, headers={"Idempotency-Key": "once"})
    again = await client.post(url, json=body, headers={"Idempotency-Key": "once"})

    run = first.json()
    assert (first.status_code, run["state"]) == (200, "done")
    assert "240 hours" in run["text"]
    assert again.json()["id"] == run["id"]
    assert first.headers["location"] == f"/api/v1/workflow_executions/{run['id']}"
    shown = (await client.get(first.headers["location"])).json()
    assert shown["nodes"][0]["path"] == "begin"
    listed = (await client.get("/api/v1/workflow_executions?workflow=cited-answer")).json()
    assert run["id"] in [item["id"] for item in listed["executions"]]


async def test_a_stream_is_read_on_from_the_last_event_seen(
    client: httpx2.AsyncClient, working: None
) -> None:
    body = {"inputs": {"query": "hotels"}, "mode": "stream"}
    streamed = parsed((await client.post("/api/v1/workflows/cited-answer/execute", json=body)).text)
    run_id = streamed[0][2]["run_id"]

    rest = await client.get(
        f"/api/v1/workflow_executions/{run_id}/events",
        headers={"Last-Event-ID": str(streamed[2][0])},
    )

    assert [seq for seq, _, _ in streamed] == list(range(1, len(streamed) + 1))
    assert (streamed[0][1], streamed[-1][1]) == ("run_started", "run_finished")
    assert parsed(rest.text) == streamed[3:]


async def test_a_question_is_answered_once_by_its_asker_alone(
    client: httpx2.AsyncClient, engine: Engine, working: None
) -> None:
    await publish(client, "asking", ASKING)
    execute = "/api/v1/workflows/asking/execute"
    assert (await client.post(execute, json={"inputs": {}})).status_code == 422
    waiting = await client.post(execute, json={"inputs": {"what": "Really"}})
    run = waiting.json()
    assert (waiting.status_code, run["state"], run["pauses"][0]["message"]) == (
        202,
        "paused",
        "Really?",
    )
    questions = (await client.get("/api/v1/workflow_questions")).json()["questions"]
    assert [item["run_id"] for item in questions] == [run["id"]]

    url = f"/api/v1/workflow_executions/{run['id']}"
    member = {"Authorization": f"Bearer {await make_member_token(engine)}"}
    for path, method in (("", "GET"), ("/events", "GET"), ("/reply", "POST"), ("/cancel", "POST")):
        other = await client.request(
            method, url + path, headers=member, json={} if method == "POST" else None
        )
        assert other.status_code == 404
    said = {"fields": {"text": "yes"}, "choice": "ok"}
    assert (await client.post(f"{url}/reply", json=said)).status_code == 200
    assert (await client.post(f"{url}/reply", json=said)).status_code == 409
    streamed = parsed((await client.get(f"{url}/events")).text)

    assert streamed[-1][2]["data"] == {"state": "done"}
    assert (await client.get(url)).json()["text"] == "yes"


async def test_a_run_is_cancelled(client: httpx2.AsyncClient) -> None:
    await publish(client, "asking", ASKING)
    body = {"inputs": {"what": "x"}, "mode": "async"}
    started = await client.post("/api/v1/workflows/asking/execute", json=body)
    assert (started.status_code, started.json()["state"]) == (202, "queued")

    url = f"/api/v1/workflow_executions/{started.json()['id']}"
    assert (await client.post(f"{url}/cancel")).json()["state"] == "cancelled"
    assert (await client.get(url)).json()["state"] == "cancelled"


async def test_components_are_described_with_their_effect(client: httpx2.AsyncClient) -> None:
    found = (await client.get("/api/v1/workflows/components")).json()["components"]

    effects = {item["type"]: item["effect"] for item in found}
    assert (effects["Begin"], effects["Retrieval"], effects["Answer"]) == ("pure", "read", "paid")
    assert "<svg" in (await client.get("/api/v1/workflows/cited-answer/drawing")).text


async def test_secrets_need_a_confirmed_session_and_are_listed_without_values(
    client: httpx2.AsyncClient, engine: Engine
) -> None:
    owner = replace(await engine.people.owner(), assured=True)
    await engine.workflows.set_secret(owner, "desk", value="a-value", hosts=["desk.example"])

    listed = await client.get("/api/v1/secrets")
    token = {"Authorization": f"Bearer {await make_token(engine, *Scope)}"}
    refused = await client.put("/api/v1/secrets/desk", json={"value": "other"}, headers=token)

    assert [item["name"] for item in listed.json()["secrets"]] == ["desk"]
    assert "a-value" not in listed.text
    assert (refused.status_code, refused.json()["code"]) == (403, "step_up_required")
