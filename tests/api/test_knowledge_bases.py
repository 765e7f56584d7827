"""A knowledge base over REST, from creating it to deleting it, and what admins look at and set."""

from __future__ import annotations

import asyncio
import json

import pytest

from engine.domain import Scope
from engine.engine import Engine
from ingestion.host import run_worker
from tests.api.conftest import OpenClient
from tests.fakes.homes import PAGES, make_member_token, make_token


async def made(client, name: str, **body: object) -> str:
    answer = await client.post("/api/v1/knowledge_bases", json={"name": name, **body})
    assert answer.status_code == 201, answer.text
    assert answer.json()["knowledge_base_id"] == answer.json()["id"]
    assert answer.headers["location"] == f"/api/v1/knowledge_bases/{answer.json()['id']}"
    return str(answer.json()["id"])


async def test_a_knowledge_base_is_created_filled_searched_counted_and_deleted(
    client, engine: Engine
) -> None:
    kb = await made(
        client,
        "manual",
        description="How things work.",
        config={"chunk_size": 200, "chunk_overlap": 20, "embedding_model": "hashing"},
    )
    files = [("file", (name, text.encode())) for name, text in PAGES.items()]
    config = {"extraction_strategy": "comprehensive", "tags": ["guide"], "metadata": {"floor": 2}}
    added = await client.post(
        "/api/v1/knowledge_bases/manual/documents",
        files=files,
        data={"processing_config": json.dumps(config)},
    )
    assert added.status_code == 202
    assert len(added.json()["documents"]) == 3
    await run_worker(engine, asyncio.Event(), idle_exit_s=0)

    listed = (await client.get("/api/v1/knowledge_bases/manual/documents")).json()["documents"]
    assert {item["state"] for item in listed} == {"ready"}
    assert listed[0]["tags"] == ["guide"]
    assert listed[0]["metadata"] == {"floor": "2"}
    shown = (await client.get(f"/api/v1/documents/{listed[0]['id']}")).json()
    assert shown["upload_options"]["extraction_strategy"] == "comprehensive"

    found = await client.post(
        "/api/v1/knowledge_bases/manual/search", json={"query": "lodging rate", "limit": 2}
    )
    assert found.json()["hits"][0]["title"] == "Hotels"
    assert {hit["knowledge_base"] for hit in found.json()["hits"]} == {"manual"}

    stats = (await client.get("/api/v1/knowledge_bases/manual/stats")).json()
    chunks = sum(item["chunks_created"] for item in listed)
    assert (stats["id"], stats["document_count"], stats["chunk_count"]) == (kb, 3, chunks)
    assert stats["states"] == {"ready": 3}
    assert stats["token_count"] > 0
    assert stats["index_size"] > 0

    gone = await client.delete("/api/v1/knowledge_bases/manual")
    assert gone.json() == {"deleted": True, "id": kb}
    assert (await client.get(f"/api/v1/knowledge_bases/{kb}")).status_code == 404
    assert (await client.get("/api/v1/knowledge_bases/manual/stats")).status_code == 404


async def test_both_lists_of_knowledge_bases_are_the_same(client) -> None:
    one = (await client.get("/api/v1/knowledgebase")).json()
    other = (await client.get("/api/v1/knowledge_bases")).json()
    assert one == other
    assert {"team", "board"} <= {kb["name"] for kb in one["knowledge_bases"]}


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({}, 422, "name"),
        ({"name": ""}, 422, "name"),
        ({"name": "team"}, 409, None),
        ({"name": "x", "config": {"chunk_size": 3}}, 422, "config.chunk_size"),
        ({"name": "x", "config": {"chunk_sizes": 3}}, 422, "config.chunk_sizes"),
        ({"name": "x", "config": {"embedding_model": "gpt"}}, 422, "config.embedding_model"),
        ({"name": "x", "config": {"search_engine": "elastic"}}, 422, "config.search_engine"),
        ({"name": "x", "pipeline": "none"}, 422, "pipeline"),
        ({"name": "x", "search": {"alpha": 2}}, 422, "search.alpha"),
        ({"name": "x", "supported_formats": ["no such"]}, 422, "supported_formats"),
    ],
)
async def test_a_knowledge_base_that_is_wrong_names_the_field(
    client, body: dict[str, object], status: int, field: str | None
) -> None:
    answer = await client.post("/api/v1/knowledge_bases", json=body)
    assert (answer.status_code, answer.json().get("field")) == (status, field)


async def test_how_documents_are_split_changes_by_parts(client, engine: Engine) -> None:
    await made(client, "parts", config={"chunk_size": 200, "chunk_overlap": 20})
    changed = await client.patch(
        "/api/v1/knowledge_bases/parts",
        json={"chunking": {"strategy": "fixed"}, "pipeline": "general", "description": "x"},
    )
    kept = await engine.knowledge_bases.get(await engine.people.owner(), "parts")
    assert changed.json()["description"] == "x"
    assert dict(kept.chunking) == {"size": 200, "overlap": 20, "strategy": "fixed"}
    await client.delete("/api/v1/knowledge_bases/parts")


async def test_who_may_not_manage_can_neither_create_nor_delete(
    open_client: OpenClient, engine: Engine
) -> None:
    bearer = {"authorization": f"Bearer {await make_member_token(engine)}"}
    async with open_client(peer="10.0.0.8", host="0.0.0.0") as client:
        made_ = await client.post("/api/v1/knowledge_bases", json={"name": "x"}, headers=bearer)
        unseen = await client.delete("/api/v1/knowledge_bases/board", headers=bearer)
        stats = await client.get("/api/v1/knowledge_bases/board/stats", headers=bearer)
    assert made_.status_code == 403
    assert unseen.status_code in {403, 404}
    assert stats.status_code == 404


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ("{", "processing_config"),
        ('{"colour": 1}', "processing_config.colour"),
        ('{"extraction_strategy": "deep"}', "processing_config.extraction_strategy"),
    ],
)
async def test_a_processing_config_that_is_wrong_names_the_field(
    client, config: str, field: str
) -> None:
    answer = await client.post(
        "/api/v1/knowledge_bases/team/documents",
        files=[("file", ("a.md", b"# A\n\nText.\n"))],
        data={"processing_config": config},
    )
    assert answer.status_code == 422
    assert answer.json()["field"].startswith(field)


async def test_a_failed_document_is_retried_and_a_waiting_one_cancelled(
    client, engine: Engine
) -> None:
    await made(client, "work")
    sent = await client.post(
        "/api/v1/knowledge_bases/work/documents", files=[("file", ("w.md", b"# W\n\nWords.\n"))]
    )
    [handle] = sent.json()["documents"]
    job = await client.get(f"/api/v1/jobs/{handle['job_id']}")
    assert (job.json()["state"], job.json()["document_id"]) == ("pending", handle["id"])
    cancelled = await client.post(f"/api/v1/documents/{handle['id']}/cancel")
    assert cancelled.json()["state"] == "cancelled"
    again = await client.post(f"/api/v1/documents/{handle['id']}/cancel")
    assert (again.status_code, again.json()["field"]) == (422, "document_id")
    retried = await client.post(f"/api/v1/documents/{handle['id']}/retry")
    assert (retried.status_code, retried.json()["state"]) == (202, "pending")
    await run_worker(engine, asyncio.Event(), idle_exit_s=0)
    assert (await client.get(f"/api/v1/documents/{handle['id']}")).json()["state"] == "ready"
    cost = (await client.get("/api/v1/knowledge_bases/work/reindex")).json()
    assert (cost["name"], cost["documents"]) == ("work", 1)
    queued = await client.post("/api/v1/knowledge_bases/work/reindex")
    assert (queued.status_code, queued.json()) == (202, {"documents": [handle["id"]]})
    await run_worker(engine, asyncio.Event(), idle_exit_s=0)
    await client.delete("/api/v1/knowledge_bases/work")


async def test_a_page_is_queued_by_its_address(client) -> None:
    await made(client, "web")
    body = {"url": "https://example.com/a", "kb": "web"}
    added = await client.post("/api/v1/sources/pages", json=body)
    assert (added.status_code, added.json()["state"]) == (202, "pending")
    wrong = await client.post("/api/v1/sources/pages", json={"url": "ftp://x/y", "kb": "web"})
    assert (wrong.status_code, wrong.json()["field"]) == (422, "url")
    await client.delete("/api/v1/knowledge_bases/web")


async def test_a_pipeline_is_validated_stored_drawn_and_deleted(client) -> None:
    template = (await client.get("/api/v1/pipelines/general")).json()
    assert template["is_template"]
    sound = await client.post("/api/v1/pipelines/validate", json={"dsl": template["dsl"]})
    assert sound.json()["sound"]
    assert "Splitter" in sound.json()["steps"]
    broken = (await client.post("/api/v1/pipelines/validate", json={"dsl": "{"})).json()
    assert (broken["sound"], len(broken["faults"])) == (False, 1)
    refused = await client.put("/api/v1/pipelines/mine", json={"dsl": "{"})
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_flow")
    saved = await client.put("/api/v1/pipelines/mine", json={"dsl": template["dsl"]})
    assert (saved.status_code, saved.json()["name"]) == (200, "mine")
    names = [p["name"] for p in (await client.get("/api/v1/pipelines")).json()["pipelines"]]
    assert "mine" in names
    drawn = await client.get("/api/v1/pipelines/mine/drawing")
    assert drawn.text.startswith("<svg")
    as_text = await client.get("/api/v1/pipelines/mine/drawing", params={"format": "mermaid"})
    assert as_text.headers["content-type"].startswith("text/plain")
    assert (await client.delete("/api/v1/pipelines/mine")).json() == {"deleted": "mine"}
    assert (await client.get("/api/v1/pipelines/mine")).status_code == 404
    kinds = {c["type"] for c in (await client.get("/api/v1/components")).json()["components"]}
    assert {"Parser", "Splitter"} <= kinds


async def test_searches_are_counted_by_day_and_mode(client, engine: Engine) -> None:
    before = (await client.get("/api/v1/statistics/queries")).json()
    await client.post("/api/v1/search", json={"query": "lodging rate", "mode": "keyword"})
    await client.post("/api/v1/search", json={"query": "zzyzx qqq", "mode": "keyword"})
    async with asyncio.timeout(60):
        while True:
            after = (await client.get("/api/v1/statistics/queries", params={"days": 2})).json()
            if after["total"]["searches"] >= before["total"]["searches"] + 2:
                break
            await asyncio.sleep(0.1)
    assert after["modes"]["keyword"] >= before["modes"].get("keyword", 0) + 2
    assert after["total"]["without_hits"] >= before["total"]["without_hits"] + 1
    assert len(after["days"]) == 2
    assert after["days"][-1]["counts"]["searches"] >= 2
    assert after["total"]["slowest_ms"] >= after["total"]["mean_ms"] > 0
    wrong = await client.get("/api/v1/statistics/queries", params={"days": 0})
    assert (wrong.status_code, wrong.json()["field"]) == (422, "days")


async def test_what_the_tenant_takes_up_is_told(client) -> None:
    found = (await client.get("/api/v1/statistics/resources")).json()
    assert found["documents"] >= 4
    assert found["stored_bytes"] >= found["document_bytes"] > 0
    assert found["index_bytes"] > 0


async def test_settings_are_shown_masked_and_only_to_who_runs_the_server(
    open_client: OpenClient, engine: Engine
) -> None:
    reader = {"authorization": f"Bearer {await make_token(engine)}"}
    scopes = (Scope.KB_ADMIN, Scope.OPS_READ)
    admin = {"authorization": f"Bearer {await make_token(engine, *scopes)}"}
    async with open_client(peer="10.0.0.8", host="0.0.0.0") as client:
        refused = await client.get("/api/v1/settings", headers=reader)
        shown = (await client.get("/api/v1/settings", headers=admin)).json()["settings"]
    by_name = {item["name"]: item for item in shown}
    assert refused.status_code == 403
    assert by_name["embedding.model"]["value"] == "hashing"
    assert "api_key" in json.dumps(shown)


async def test_limits_are_changed_by_name(client) -> None:
    changed = await client.put("/api/v1/limits/user", json={"number": 17})
    assert changed.json()["limits"]["user"] == 17
    unknown = await client.put("/api/v1/limits/dogs", json={"number": 1})
    assert (unknown.status_code, unknown.json()["field"]) == (422, "limit")


async def test_an_admins_command_runs_with_its_parameters_by_name(client, engine: Engine) -> None:
    owner = await engine.people.owner()
    await engine.chats.installations.bind_workspace(owner.tenant_id, "slack", "T77", "Acme")
    there = "/api/v1/workspaces/T77/commands"
    mode = {"command": "mode", "parameters": {"mode": "auto", "place": "workspace"}}
    threshold = {"command": "threshold", "parameters": {"percent": 70, "place": "workspace"}}
    set_ = [await client.post(there, json=body) for body in (mode, threshold)]
    said = await client.post(there, json={"command": "export-settings"})
    assert [answer.status_code for answer in set_] == [200, 200], [a.text for a in set_]
    assert "mode auto" in json.dumps(said.json())
    faults = {
        "parameters.mode": {"command": "mode", "parameters": {"mode": "loud"}},
        "parameters.colour": {"command": "mode", "parameters": {"mode": "auto", "colour": "red"}},
        "command": {"command": "modes"},
        "confirm": {"command": "retention", "parameters": {"age": "365d"}},
    }
    for field, body in faults.items():
        answer = await client.post(there, json=body)
        found = (answer.status_code, answer.json().get("field"))
        assert found == (
            422,
            field.removeprefix("parameters.") if field.endswith(".mode") else field,
        )
    elsewhere = await client.post("/api/v1/workspaces/T78/commands", json={"command": "limits"})
    assert elsewhere.status_code == 404
    listed = (await client.get("/api/v1/commands")).json()["commands"]
    assert next(item for item in listed if item["name"] == "retention")["effect"] == "destroys"


async def test_the_rest_of_what_admins_look_at_is_there(client) -> None:
    for path in (
        *("health", "limits", "workspaces", "tool_calls", "external_tools", "sources/channels"),
        *("statistics/usage", "statistics/feedback"),
    ):
        answer = await client.get(f"/api/v1/{path}")
        assert answer.status_code == 200, (path, answer.text)
    drift = await client.post("/api/v1/reconcile", json={"repair": False})
    assert drift.json()["repaired"] is False
    allowed = await client.put("/api/v1/external_tools/github/*")
    assert allowed.json() == {"patterns": ["github/*"]}
    assert (await client.delete("/api/v1/external_tools/github/*")).json() == {"patterns": []}
    unknown = await client.get("/api/v1/sources/channels/nowhere")
    assert unknown.status_code == 404
