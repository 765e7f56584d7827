"""The REST API: what goes in, what comes out, and how it refuses."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import httpx2
import pytest

from cli.serve import build_host
from engine.domain import Scope
from engine.engine import Engine
from engine.runtime import open_engine
from ingestion.host import run_worker
from tests.api.conftest import OpenClient
from tests.fakes.homes import home_settings, make_member_token, make_token, this_user

FOUND_KEYS = ["id", "document_id", "title", "url", "where", "text", "score", "confidence", "scores"]
KNOWN_KEYS = ["knowledge_base", "source", "author", "updated_at", "tags", "metadata"]
HIT_KEYS = FOUND_KEYS + KNOWN_KEYS
CITATION_KEYS = ["n", "id", "document_id", "title", "url", "where", "quote"]


async def test_search_returns_hits_with_a_link_to_their_passage(client) -> None:
    answer = await client.post("/api/v1/search", json={"query": "lodging rate", "limit": 3})
    hit = answer.json()["hits"][0]
    assert list(hit) == HIT_KEYS
    assert hit["title"] == "Hotels"
    opened = await client.get(hit["url"])
    assert opened.status_code == 200
    assert '<mark id="passage"' in opened.text


async def test_a_search_that_finds_nothing_likely_says_so(client) -> None:
    poor = await client.post("/api/v1/search", json={"query": "who won the 1998 world cup"})
    good = await client.post("/api/v1/search", json={"query": "lodging rate of the city"})
    assert poor.json()["hits"][0]["confidence"] < 0.2
    assert poor.json()["notice"].startswith("No result is likely to answer this")
    assert good.json()["notice"] == ""


async def test_a_page_is_fetched_by_id_or_address(client) -> None:
    found = await client.post("/api/v1/search", json={"query": "lodging rate", "limit": 1})
    [hit] = found.json()["hits"]
    by_id = (await client.get(f"/api/v1/fetch/{hit['id']}")).json()
    by_url = await client.get("/api/v1/fetch", params={"id": hit["url"]})
    absent = await client.get("/api/v1/fetch", params={"id": "https://nowhere.example.com/"})
    nothing = await client.get("/api/v1/fetch")
    assert {**by_url.json(), "url": ""} == {**by_id, "url": ""}
    assert (by_id["prev_id"], by_id["next_id"]) == ("", "")
    assert absent.status_code == 404
    assert (nothing.status_code, nothing.json()["field"]) == (422, "id")


async def test_ask_returns_an_answer_with_citations(client) -> None:
    answer = await client.post(
        "/api/v1/ask", json={"question": "How many hours of advanced sick leave can I request?"}
    )
    body = answer.json()
    assert list(body) == [
        *("answer", "grounded", "outcome", "confidence", "citations", "conversation_id"),
        *("searched", "steps", "choices"),
    ]
    assert body["outcome"] == "answered"
    assert "240 hours" in body["answer"]
    assert list(body["citations"][0]) == CITATION_KEYS
    assert body["citations"][0]["title"] == "Sick leave"


async def test_ask_streams_events_that_end_with_the_answer(client) -> None:
    question = {"question": "How many hours of advanced sick leave can I request?"}
    plain = (await client.post("/api/v1/ask", json=question)).json()
    answer = await client.post(
        "/api/v1/ask", json=question, headers={"accept": "text/event-stream"}
    )
    events = [block.split("\n") for block in answer.text.strip().split("\n\n")]
    kinds = [lines[0].removeprefix("event: ") for lines in events]
    last = json.loads(events[-1][1].removeprefix("data: "))
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert (kinds[0], kinds[-1]) == ("searching", "answered")
    assert last["answer"] == plain["answer"]


async def test_a_wrong_body_names_every_field(client) -> None:
    answer = await client.post("/api/v1/search", json={"limit": 0, "top_k": 3})
    body = answer.json()
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert [item["field"] for item in body["errors"]] == ["query", "limit", "top_k"]
    assert body["correlation_id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"{", "application/json", 422),
        (b"query=x", "application/x-www-form-urlencoded", 415),
        (b'{"query": "' + b"x" * 300_000 + b'"}', "application/json", 413),
    ],
)
async def test_a_body_that_is_no_small_json_is_refused(
    client, content: bytes, kind: str, status: int
) -> None:
    headers = {"content-type": kind}
    answer = await client.post("/api/v1/search", content=content, headers=headers)
    assert answer.status_code == status


async def test_an_unknown_knowledge_base_is_a_problem_and_so_in_a_stream(client) -> None:
    body = {"question": "x", "kb": "nope"}
    plain = await client.post("/api/v1/ask", json=body)
    stream = await client.post("/api/v1/ask", json=body, headers={"accept": "text/event-stream"})
    assert (plain.status_code, stream.status_code) == (404, 404)
    assert plain.json()["code"] == "not_found"


async def test_what_another_may_not_read_looks_absent(client, engine: Engine) -> None:
    mine = (await client.post("/api/v1/search", json={"query": "salary chief gardener"})).json()
    secret = mine["hits"][0]
    headers = {"authorization": f"Bearer {await make_member_token(engine)}"}
    fetched = await client.get(f"/api/v1/fetch/{secret['id']}", headers=headers)
    absent_id = "0" * 32 + ".0"
    absent = await client.get(f"/api/v1/fetch/{absent_id}", headers=headers)
    found = await client.post(
        "/api/v1/search", json={"query": "salary chief gardener"}, headers=headers
    )
    assert secret["title"] == "Salaries"
    assert (fetched.status_code, absent.status_code) == (404, 404)
    texts = [answer.json()["detail"] for answer in (fetched, absent)]
    ids = [id_.partition(".")[0] for id_ in (secret["id"], absent_id)]
    assert texts[0].replace(ids[0], "ID") == texts[1].replace(ids[1], "ID")
    assert "Salaries" not in [hit["title"] for hit in found.json()["hits"]]


async def test_files_are_taken_listed_and_deleted(client, engine: Engine) -> None:
    files = [("file", ("new.md", b"# New\n\nFresh bread at noon.\n")), ("file", ("empty.md", b""))]
    added = await client.post("/api/v1/documents", data={"kb": "team"}, files=files)
    ids = [item["id"] for item in added.json()["documents"]]
    await run_worker(engine, asyncio.Event(), idle_exit_s=0)
    listed = (await client.get("/api/v1/documents", params={"kb": "team"})).json()["documents"]
    states = {item["id"]: item["state"] for item in listed}
    gone = [(await client.delete(f"/api/v1/documents/{id_}")).status_code for id_ in ids]
    again = await client.delete(f"/api/v1/documents/{ids[0]}")
    assert added.status_code == 202
    assert [states[id_] for id_ in ids] == ["ready", "failed"]
    assert gone == [200, 200]
    assert again.status_code == 404


async def test_what_an_upload_asks_for_is_kept_with_its_documents(client, engine: Engine) -> None:
    files = [("file", ("asked.md", b"---\nkind: Heliotrope\n---\n# Asked\n\nBread at noon.\n"))]
    asked = {"extraction_strategy": "comprehensive", "quality_control": "true"}
    wrong = [
        await client.post("/api/v1/documents", data={"kb": "team"} | fault, files=files)
        for fault in ({"extraction_strategy": "all"}, {"quality_control": "maybe"})
    ]
    added = await client.post("/api/v1/documents", data={"kb": "team"} | asked, files=files)
    await run_worker(engine, asyncio.Event(), idle_exit_s=0)
    [handle] = added.json()["documents"]
    shown = (await client.get(f"/api/v1/documents/{handle['id']}")).json()
    found = await client.post("/api/v1/search", json={"query": "Heliotrope", "mode": "keyword"})
    assert [answer.status_code for answer in wrong] == [422, 422]
    assert [answer.json()["field"] for answer in wrong] == list(asked)
    assert shown["state"] == "ready"
    assert shown["upload_options"] == asked | {"quality_control": True}
    assert "asked.md" in added.text
    assert any("Heliotrope" in hit["text"] for hit in found.json()["hits"])


async def test_an_upload_needs_a_form_a_file_a_knowledge_base_and_the_right(
    client, engine: Engine
) -> None:
    file = [("file", ("a.md", b"x"))]
    answers = [
        await client.post("/api/v1/documents", json={}),
        await client.post("/api/v1/documents", data={"kb": "team"}, files=[("other", ("a", b"x"))]),
        await client.post("/api/v1/documents", files=file),
        await client.post(
            "/api/v1/documents", data={"kb": "team", "external_id": ["a", "b"]}, files=file
        ),
    ]
    token = await make_token(engine, Scope.KB_READ)
    headers = {"authorization": f"Bearer {token}"}
    denied = await client.post(
        "/api/v1/documents", data={"kb": "team"}, files=file, headers=headers
    )
    assert [answer.status_code for answer in answers] == [415, 422, 422, 422]
    assert [answer.json().get("field") for answer in answers] == [None, "file", "kb", "external_id"]
    assert denied.status_code == 403


async def test_an_upload_over_the_limit_is_refused_while_it_comes(
    open_client: OpenClient, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCRUBJAY_PROCESSING__MAX_FILE_SIZE", "2000000")
    sent = 0

    async def body():
        nonlocal sent
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        for _ in range(1000):
            sent += 1
            yield b"x" * 100_000

    headers = {"content-type": "multipart/form-data; boundary=b"}
    async with open_client() as client:
        answer = await client.post("/api/v1/documents", content=body(), headers=headers)
    assert answer.status_code == 413
    assert "2,000,000" in answer.json()["detail"]


LIMIT = 5_000


@pytest.mark.parametrize(
    ("sizes", "status"), [([LIMIT], 202), ([LIMIT + 1], 413), ([10, LIMIT + 1], 413)]
)
async def test_a_file_one_byte_over_the_limit_is_refused_and_leaves_nothing(
    tmp_path: Path, sizes: list[int], status: int
) -> None:
    settings = home_settings(tmp_path, processing__max_file_size=str(LIMIT))
    async with open_engine(settings) as engine:
        owner = await engine.people.owner()
        await engine.knowledge_bases.create(owner, "sizes")
        app = build_host(engine, settings, keyless=this_user)
        transport = httpx2.ASGITransport(app, client=("127.0.0.1", 4), raise_app_exceptions=False)
        async with (
            app.router.lifespan_context(app),
            httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:7337") as client,
        ):
            files = [("file", (f"n{n}.txt", b"x" * size)) for n, size in enumerate(sizes)]
            answer = await client.post("/api/v1/documents", data={"kb": "sizes"}, files=files)
            listed = (await client.get("/api/v1/documents?kb=sizes")).json()["documents"]
    assert answer.status_code == status
    assert len(listed) == (1 if status == 202 else 0)
    if status == 413:
        assert answer.json()["detail"] == (
            f"n{len(sizes) - 1}.txt has 5,001 bytes and the limit is 5,000: split it, or raise"
            " processing.max_file_size."
        )


def _events(text: str) -> list[tuple[str, dict]]:
    blocks = [block.split("\n") for block in text.strip().split("\n\n")]
    return [
        (lines[0].removeprefix("event: "), json.loads(lines[1].removeprefix("data: ")))
        for lines in blocks
    ]


async def test_documents_are_followed_as_events(client, engine: Engine) -> None:
    listed = (await client.get("/api/v1/documents?kb=team")).json()["documents"]
    id_ = listed[0]["id"]
    answer = await client.get(f"/api/v1/documents/{id_}/events")
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = _events(answer.text)
    assert events[-1] == ("end", {})
    kinds = [kind for kind, _ in events]
    assert kinds.index("log") < kinds.index("document")
    said = dict(events)["document"]
    assert (said["id"], said["state"], said["vectors"]) == (id_, "ready", "complete")
    assert said["components"]["indexer"] == 1.0
    assert set(dict(events)["log"]) == {
        *("id", "component", "progress", "message", "datetime", "timestamp")
    }
    idle = await client.get("/api/v1/documents/events?kb=team")
    assert _events(idle.text) == [("end", {})]
    assert (await client.get("/api/v1/documents/events?kb=nope")).status_code == 404


async def test_what_another_may_not_read_can_not_be_followed(client, engine: Engine) -> None:
    listed = (await client.get("/api/v1/documents?kb=board")).json()["documents"]
    headers = {"authorization": f"Bearer {await make_member_token(engine)}"}
    answer = await client.get(f"/api/v1/documents/{listed[0]['id']}/events", headers=headers)
    assert answer.status_code == 404


async def test_a_document_and_a_passage_are_hidden_and_shown_again(client, engine: Engine) -> None:
    found = (await client.post("/api/v1/search", json={"query": "lodging rate"})).json()["hits"][0]
    document, passage = (
        f"/api/v1/documents/{found['document_id']}",
        f"/api/v1/passages/{found['id']}",
    )

    async def titles() -> list[str]:
        answer = await client.post("/api/v1/search", json={"query": "lodging rate"})
        return [hit["title"] for hit in answer.json()["hits"]]

    for address in (document, passage):
        hidden = await client.patch(address, json={"hidden": True})
        assert (hidden.status_code, hidden.json()["hidden"]) == (200, True)
        assert "Hotels" not in await titles()
        shown = await client.patch(address, json={"hidden": False})
        assert (shown.status_code, shown.json()["hidden"]) == (200, False)
        assert "Hotels" in await titles()
    assert (await client.patch(document, json={"hidden": "perhaps"})).status_code == 422
    assert (await client.patch("/api/v1/passages/x", json={"hidden": True})).status_code == 422
    headers = {"authorization": f"Bearer {await make_token(engine, Scope.KB_READ)}"}
    assert (await client.patch(document, json={"hidden": True}, headers=headers)).status_code == 403


async def test_a_search_takes_filters_settings_and_an_order_in_body_and_query(client) -> None:
    form = {"kb": "team", "tag": ["fares", "rail"], "metadata": ["price_float=9.5", "team=Ops"]}
    files = {"file": ("rail.md", b"# Rail fares\n\nThe rail fare is low.\n")}
    added = await client.post(
        "/api/v1/documents", data=form | {"updated_at": "2026-02-03"}, files=files
    )
    [handle] = added.json()["documents"]
    assert (added.status_code, handle["chunks_created"]) == (202, 0)
    address = f"/api/v1/documents/{handle['id']}"
    shown = (await client.get(address)).json()
    assert (shown["tags"], shown["metadata"]) == (
        ["fares", "rail"],
        {"price_float": 9.5, "team": "Ops"},
    )
    changed = await client.patch(
        address, json={"metadata": {"team": None}, "features": {"pagerank": 2}}
    )
    assert changed.json()["metadata"] == {"price_float": 9.5}
    assert changed.json()["features"] == {"pagerank": 2.0}
    body = {
        "query": "lodging",
        "k": 2,
        "alpha": 0,
        "threshold": 0.0,
        "rerank": False,
        "sort": "newest",
        "include_metadata": False,
        "until": "2999",
        "metadata": {"price_float": {"max": 3}},
    }
    answer = await client.post("/api/v1/search", json=body)
    assert answer.status_code == 200
    assert (answer.json()["hits"], "filters" in answer.json()["notice"]) == ([], True)
    query = {
        "query": "lodging rate",
        "k": "1",
        "include_metadata": "false",
        "language": ["en", "de"],
    }
    [hit] = (await client.get("/api/v1/search", params=query)).json()["hits"]
    assert list(hit) == FOUND_KEYS
    await client.delete(address)


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"since": "soon"}, "since"),
        ({"metadata": {"price_float": "x"}}, "price_float"),
        ({"alpha": 3}, "alpha"),
        ({"sort": "best"}, "sort"),
        ({"k": 0}, "k"),
        ({"tag": [1]}, "tag"),
    ],
)
async def test_a_wrong_filter_is_named(client, wrong: dict[str, object], field: str) -> None:
    for route, words in (("search", "query"), ("ask", "question")):
        if route == "ask" and set(wrong) & {"alpha", "sort", "k"}:
            continue
        answer = await client.post(f"/api/v1/{route}", json={words: "lodging", **wrong})
        assert answer.status_code == 422
        assert field in answer.text


async def test_search_settings_of_a_knowledge_base_are_read_set_and_reset(client) -> None:
    address = "/api/v1/knowledge_bases/team/search"
    changed = await client.patch(address, json={"alpha": 0.2, "top_k": 1, "rerank": False})
    assert changed.json()["search"] == {"alpha": 0.2, "top_k": 1, "rerank": False}
    found = await client.post("/api/v1/search", json={"query": "lodging rate", "kb": "team"})
    assert len(found.json()["hits"]) == 1
    assert (await client.patch(address, json={"alpha": None})).json()["search"] == {
        "top_k": 1,
        "rerank": False,
    }
    assert (await client.patch(address, json={"alpha": 2})).status_code == 422
    assert (await client.patch(address, json={"speed": 2})).status_code == 422
    assert (await client.delete(address, params={"setting": "top_k"})).json()["search"] == {
        "rerank": False
    }
    assert (await client.delete(address)).json()["search"] == {}
    assert (await client.get(address)).json()["search"] == {}


async def test_a_knowledge_base_takes_only_the_formats_it_names(client) -> None:
    address = "/api/v1/knowledge_bases/team"
    changed = await client.patch(address, json={"supported_formats": ["pdf"]})
    assert changed.json()["supported_formats"] == ["pdf"]
    files = {"file": ("a.md", b"# A\n")}
    refused = await client.post("/api/v1/documents", data={"kb": "team"}, files=files)
    assert (refused.status_code, "Supported are: pdf." in refused.json()["detail"]) == (422, True)
    await client.patch(address, json={"supported_formats": []})


async def test_a_nul_is_a_blank_in_a_body_and_a_fault_in_an_address(client) -> None:
    weights = {"feature_weights": {"new\0ness": 0.5}}
    there = "/api/v1/knowledge_bases/team/search"
    changed = await client.patch(there, json=weights)
    assert changed.json()["search"]["feature_weights"] == {"new ness": 0.5}
    assert (await client.delete(there)).json()["search"] == {}
    in_path = await client.get("/api/v1/knowledge_bases/te%00am")
    assert (in_path.status_code, in_path.json()["code"]) == (400, "bad_address")
    in_query = await client.get("/api/v1/documents?kb=te%00am")
    assert in_query.status_code == 404
    broken = await client.patch(
        there, content=b'{"a\\u0000', headers={"content-type": "application/json"}
    )
    assert (broken.status_code, broken.json()["field"]) == (422, "body")
    form = {"kb": "te\0am", "tag": "a\0b"}
    sent = await client.post("/api/v1/documents", files=[("file", ("a.md", b"x"))], data=form)
    assert sent.status_code == 404
