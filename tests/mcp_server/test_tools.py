"""The tools as a model meets them: what they return, and what they say when they can't."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mcp_types import CallToolResult

from engine.chats.accounts import NewPerson
from engine.chats.channels import NewChannel
from engine.chats.places import NewWorkspace
from engine.domain import Scope
from engine.engine import Engine
from engine.runtime import open_engine
from ingestion.host import run_worker
from mcp_server.server import INSTRUCTIONS
from tests.fakes.chats import START, say, ts
from tests.fakes.homes import fill, home_settings, make_member_token, make_token
from tests.mcp_server.conftest import Assistant

GOLDEN = Path(__file__).parents[1] / "golden" / "mcp"
QUESTION = "How many hours of advanced sick leave can I request?"


def text_of(result: CallToolResult) -> str:
    [block] = result.content
    return block.text


def value_of(result: CallToolResult) -> dict[str, Any]:
    assert not result.is_error, text_of(result)
    value = json.loads(text_of(result))
    assert value == result.structured_content  # nothing may stand in only one of the two
    return value


async def error_of(client: Assistant, name: str, **arguments: object) -> str:
    result = await client.call_tool(name, arguments)
    assert result.is_error
    return text_of(result)


PLACED = ["url", "where", "author", "posted_at"]
FOUND = ["id", "title", *PLACED, "snippet", "score", "confidence", "knowledge_base"]
READING = [
    "search",
    "fetch",
    "ask",
    "list_knowledge_bases",
    "list_documents",
    "get_ingestion",
    "run_workflow",
]
WRITING = ["add_document", "delete_document"]
REFUSED_BY_CLIENTS = ("anyOf", "oneOf", "allOf", '"const"', ":null", "null]", "$ref", "$defs")


async def published(assistant: Assistant) -> dict[str, dict[str, Any]]:
    listed = (await assistant.list_tools()).tools
    return {
        tool.name: tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in listed
    }


def size(tools: dict[str, dict[str, Any]]) -> int:
    """Bytes of the whole answer to `tools/list`, as it goes over the wire."""
    answer = {"jsonrpc": "2.0", "id": 1, "result": {"tools": list(tools.values())}}
    return len(json.dumps(answer, separators=(",", ":"), ensure_ascii=False).encode())


async def test_each_definition_is_as_published(engine: Engine) -> None:
    """To change one on purpose: `SCRUBJAY_TEST_WRITE_GOLDEN=1 pytest` writes what is there."""
    owner = await engine.people.owner()
    found = await published(Assistant(engine, owner, write_tools=True, statistics=True))
    found |= {
        f"chatgpt-{name}": tool
        for name, tool in (await published(Assistant(engine, owner, profile="chatgpt"))).items()
    }
    if os.environ.get("SCRUBJAY_TEST_WRITE_GOLDEN"):
        for name, tool in found.items():
            text = json.dumps(tool, indent=2, ensure_ascii=False) + "\n"
            (GOLDEN / f"{name}.json").write_text(text, encoding="utf-8")
    kept = {file.stem: json.loads(file.read_text("utf-8")) for file in GOLDEN.glob("*.json")}
    assert found == kept


async def test_numbers_are_offered_where_a_setting_says_so_and_to_those_who_manage(
    engine: Engine,
) -> None:
    """Off by default, so that what a client reads each time does not grow."""
    owner = await engine.people.owner()
    assert "get_statistics" not in await published(Assistant(engine, owner))
    offered = Assistant(engine, owner, statistics=True)
    reader = replace(owner, scopes=frozenset({Scope.KB_READ, Scope.KB_ASK}))
    assert list(await published(offered)) == [*READING, "get_statistics"]
    assert "get_statistics" not in await published(Assistant(engine, reader, statistics=True))
    await offered.call_tool("search", {"query": "sick leave"})
    log = engine._query_log
    assert log is not None
    await log.flush()
    found = value_of(await offered.call_tool("get_statistics", {"days": 3, "by": "kb"}))
    assert found["total"]["searches"] >= 1
    assert found["left_out"] == 0
    assert sum(group["searches"] for group in found["groups"]) == found["total"]["searches"]
    refused = await offered.call_tool("get_statistics", {"knowledge_base": "nowhere"})
    assert refused.is_error


async def test_the_surface_stays_small(engine: Engine) -> None:
    owner = await engine.people.owner()
    reading = await published(Assistant(engine, owner))
    everything = await published(Assistant(engine, owner, write_tools=True))
    chatgpt = await published(Assistant(engine, owner, profile="chatgpt"))
    assert list(reading) == READING
    assert list(everything) == READING + WRITING
    assert list(chatgpt) == ["search", "fetch"]
    assert size(reading) <= 7_700
    assert size(everything) <= 9_600
    for tools in (everything, chatgpt):
        compact = json.dumps(tools, separators=(",", ":"))
        assert [word for word in REFUSED_BY_CLIENTS if word in compact] == []


async def test_names_descriptions_and_hints_keep_to_what_clients_take(engine: Engine) -> None:
    assistant = Assistant(engine, await engine.people.owner(), write_tools=True)
    hints = {}
    for tool in (await assistant.list_tools()).tools:
        assert len(tool.name) <= 24
        assert len(tool.description or "") <= 400
        given = tool.annotations
        assert given is not None
        hints[tool.name] = (
            given.read_only_hint,
            given.destructive_hint,
            given.idempotent_hint,
            given.open_world_hint,
        )
    assert len(INSTRUCTIONS) <= 600
    assert hints == dict.fromkeys(READING, (True, False, True, False)) | {
        "run_workflow": (False, False, False, False),
        "add_document": (False, False, True, True),
        "delete_document": (False, True, True, False),
    }


async def test_search_gives_ids_that_fetch_takes_and_urls_to_cite(client: Assistant) -> None:
    found = value_of(await client.call_tool("search", {"query": "lodging rate", "limit": 1}))
    [hit] = found["results"]
    page = value_of(await client.call_tool("fetch", {"id": hit["id"]}))
    assert list(hit) == FOUND
    assert hit["url"].startswith("http://127.0.0.1:7337/d/")
    assert list(page) == ["id", "title", "text", "url", "metadata"]
    assert "lodging rate" in page["text"]
    assert all(isinstance(item, str) for item in page["metadata"].values())


async def test_fetch_takes_the_url_of_a_result_and_an_address_of_a_resource(
    client: Assistant,
) -> None:
    found = value_of(await client.call_tool("search", {"query": "lodging rate", "limit": 1}))
    [hit] = found["results"]
    by_id = value_of(await client.call_tool("fetch", {"id": hit["id"]}))
    by_url = value_of(await client.call_tool("fetch", {"id": hit["url"]}))
    address = f"kb://team/documents/{by_id['metadata']['document_id']}"
    by_address = value_of(await client.call_tool("fetch", {"id": address}))
    assert by_url == by_id
    assert by_address["text"] == by_id["text"]
    assert by_id["metadata"]["prev_id"] == ""


async def test_search_goes_on_where_the_cursor_says(client: Assistant) -> None:
    query = {"query": "sick leave hotels backup", "limit": 1}
    seen = []
    cursor = ""
    for _ in range(10):
        page = value_of(await client.call_tool("search", query | {"cursor": cursor}))
        seen += [hit["title"] for hit in page["results"]]
        if not (cursor := page["next_cursor"]):
            break
    whole = value_of(await client.call_tool("search", query | {"limit": 50}))
    assert sorted(seen) == sorted({hit["title"] for hit in whole["results"]})
    assert len(seen) >= 3


async def test_a_filter_narrows_what_is_searched_and_asked(client: Assistant) -> None:
    query = {"query": "sick leave hotels backup"}
    titles = []
    for line in ("", "language:en", "since:2999", "tag:nobody-has-this", 'meta:"team_keyword=x"'):
        found = value_of(await client.call_tool("search", query | {"filter": line}))
        titles.append([hit["title"] for hit in found["results"]])
    assert titles[0] == titles[1] != []
    assert titles[2:] == [[], [], []]
    asked = {"question": QUESTION, "filter": "since:2999"}
    assert value_of(await client.call_tool("ask", asked))["outcome"] == "not_found"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("hotels", "filter: 'hotels' is not NAME:VALUE."),
        ("since:yesterdayish", "since: "),
        ("meta:team", "metadata: 'team' is not NAME=VALUE"),
    ],
)
async def test_a_wrong_filter_is_named(client: Assistant, line: str, said: str) -> None:
    assert (await error_of(client, "search", query="sick leave", filter=line)).startswith(said)
    assert (await error_of(client, "ask", question=QUESTION, filter=line)).startswith(said)


async def test_a_cursor_of_another_filter_is_refused(client: Assistant) -> None:
    query = {"query": "sick leave hotels", "limit": 1}
    first = value_of(await client.call_tool("search", query))
    said = await error_of(
        client, "search", **query, filter="language:en", cursor=first["next_cursor"]
    )
    assert said.startswith("This cursor does not belong to this call.")


async def test_a_cursor_of_another_search_is_refused(client: Assistant) -> None:
    first = value_of(await client.call_tool("search", {"query": "sick leave hotels", "limit": 1}))
    said = await error_of(client, "search", query="other", cursor=first["next_cursor"])
    assert said.startswith("This cursor does not belong to this call.")


async def test_ask_cites_what_it_says(client: Assistant) -> None:
    answer = value_of(await client.call_tool("ask", {"question": QUESTION}))
    assert list(answer) == [
        *("answer", "citations", "grounded", "outcome", "confidence", "conversation_id"),
        *("follow_up", "read_as", "choices"),
    ]
    assert answer["outcome"] == "answered"
    assert 0.5 <= answer["confidence"] <= 1
    assert answer["grounded"]
    assert "240 hours" in answer["answer"]
    assert list(answer["citations"][0]) == ["n", "id", "title", *PLACED, "quote"]


async def test_a_follow_up_continues_its_conversation(client: Assistant, engine: Engine) -> None:
    first = value_of(await client.call_tool("ask", {"question": QUESTION}))
    arguments = {"question": "And hotels?", "conversation_id": first["conversation_id"]}
    second = value_of(await client.call_tool("ask", arguments))
    turns = await engine.answers.list_turns(await engine.people.owner(), first["conversation_id"])
    theirs = await engine.people.authenticate(await make_member_token(engine))
    said = await error_of(Assistant(engine, theirs), "ask", **arguments)
    assert second["conversation_id"] == first["conversation_id"]
    assert [turn.question for turn in turns] == [QUESTION, "And hotels?"]
    assert said.startswith(f"No conversation {first['conversation_id']!r} of yours.")


async def test_what_was_said_in_a_chat_names_who_said_it_and_when(tmp_path: Path) -> None:
    settings = home_settings(tmp_path / "home")
    await fill(settings)
    message = "The zebra budget of the garden is 40 million rupees."
    async with open_engine(settings) as engine:
        owner = await engine.people.owner()
        team = await engine.knowledge_bases.get(owner, "team")
        workspace = NewWorkspace("slack", "T1", "Acme", imported=True, url="https://acme.slack.com")
        people = [NewPerson("U1", "Ada", is_full_member=True)]
        place = await engine.chats.history.begin_import(owner, workspace, people)
        channel = NewChannel("C1", "general", is_public=True)
        await engine.chats.history.import_channel(owner, place, team.id, channel, ["U1"])
        await engine.chats.history.import_messages(place, "C1", [say(0, message)])
        await run_worker(engine, asyncio.Event(), idle_exit_s=0)
        client = Assistant(engine, await engine.people.owner())
        found = value_of(await client.call_tool("search", {"query": "zebra budget sick leave"}))
        asked = value_of(
            await client.call_tool("ask", {"question": "What is the zebra budget of the garden?"})
        )
    placed = [{name: hit[name] for name in PLACED} for hit in found["results"]]
    told = {
        "url": f"https://acme.slack.com/archives/C1/p{ts(0).replace('.', '')}",
        "author": "Ada",
        "posted_at": START.isoformat(),
    }
    [said] = [hit for hit in placed if hit["author"]]
    assert said == told | {"where": said["where"]}
    assert {hit["posted_at"] for hit in placed if hit != said} == {""}
    [cited] = asked["citations"]
    assert {name: cited[name] for name in told} == told


async def test_a_result_says_where_in_its_document_it_stands(client: Assistant) -> None:
    found = value_of(await client.call_tool("search", {"query": "lodging rate", "limit": 1}))
    asked = value_of(await client.call_tool("ask", {"question": QUESTION}))
    assert found["results"][0]["where"] == "Hotels"
    assert asked["citations"][0]["where"] == "Sick leave"


async def test_nothing_found_says_what_was_searched(engine: Engine) -> None:
    owner = await engine.people.owner()
    await engine.knowledge_bases.create(owner, "attic")
    client = Assistant(engine, await engine.people.owner())
    try:
        arguments = {"query": "old maps", "knowledge_base": "attic"}
        found = value_of(await client.call_tool("search", arguments))
    finally:
        await engine.knowledge_bases.delete(owner, "attic")
    asked = value_of(await client.call_tool("ask", {"question": "What is the zyxwvut of qwerty?"}))
    assert found["results"] == []
    assert "attic" in found["notice"]
    assert asked["grounded"] is False
    assert asked["outcome"] == "not_found"
    assert asked["answer"]


async def test_hits_that_answer_nothing_come_with_a_warning(engine: Engine) -> None:
    owner = await engine.people.owner()
    poor, good = {"query": "who won the 1998 world cup"}, {"query": "lodging rate of the city"}
    for profile in ("full", "chatgpt"):
        client = Assistant(engine, owner, profile=profile)
        warned = value_of(await client.call_tool("search", poor))
        plain = value_of(await client.call_tool("search", good))
        assert warned["results"]
        assert all(hit["confidence"] < 0.2 for hit in warned["results"])
        assert warned["notice"].startswith("No result is likely to answer this")
        assert plain["results"][0]["confidence"] > 0.5
        assert plain["notice"] == ""


async def test_knowledge_bases_are_listed_with_what_they_hold(client: Assistant) -> None:
    listed = value_of(await client.call_tool("list_knowledge_bases", {}))["knowledge_bases"]
    assert [kb["name"] for kb in listed] == ["board", "team"]
    assert listed[1]["description"] == "What everyone needs."
    assert listed[1]["documents"] == 3


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        (
            "search",
            {"query": "x", "top_k": 3},
            (
                "Unknown argument top_k. Use limit instead."
                " search takes: cursor, filter, knowledge_base, limit, query."
            ),
        ),
        (
            "search",
            {},
            "The argument query is missing. search takes: cursor, filter, knowledge_base, limit, query.",
        ),
        (
            "search",
            {"query": "x", "limit": 51},
            (
                "The argument limit is not valid: input should be less than or equal to 50."
                " search takes: cursor, filter, knowledge_base, limit, query."
            ),
        ),
        (
            "fetch",
            {"id": 7},
            "The argument id is not valid: input should be a valid string. fetch takes: id.",
        ),
    ],
)
async def test_wrong_arguments_are_told_in_plain_words(
    client: Assistant, name: str, arguments: dict[str, object], said: str
) -> None:
    assert await error_of(client, name, **arguments) == said


async def test_an_unknown_knowledge_base_names_those_there_are(client: Assistant) -> None:
    said = await error_of(client, "search", query="x", knowledge_base="nope")
    assert "'nope'" in said
    assert "board, team" in said
    assert "list_knowledge_bases" in said


async def test_what_another_may_not_read_reads_like_what_is_absent(
    client: Assistant, engine: Engine
) -> None:
    found = value_of(await client.call_tool("search", {"query": "salary of the chief gardener"}))
    secret = found["results"][0]
    other = await engine.people.authenticate(await make_member_token(engine))
    absent = "0" * 32 + ".0"
    theirs = Assistant(engine, other)
    forbidden_text = await error_of(theirs, "fetch", id=secret["id"])
    absent_text = await error_of(theirs, "fetch", id=absent)
    hidden = await error_of(theirs, "search", query="x", knowledge_base="board")
    missing = await error_of(theirs, "search", query="x", knowledge_base="nope!")
    answer = value_of(await theirs.call_tool("ask", {"question": "salary of the gardener?"}))
    assert secret["title"] == "Salaries"
    ids = [id_.partition(".")[0] for id_ in (secret["id"], absent)]
    assert forbidden_text.replace(ids[0], "ID") == absent_text.replace(ids[1], "ID")
    assert hidden.replace("board", "KB") == missing.replace("nope!", "KB")
    assert "81,000" not in json.dumps(answer)


async def test_a_missing_scope_is_told(engine: Engine) -> None:
    reader = await engine.people.authenticate(await make_token(engine, Scope.KB_READ))
    said = await error_of(Assistant(engine, reader), "ask", question="x")
    assert "kb:ask" in said


async def test_a_crash_tells_the_model_an_incident_and_nothing_else(
    client: Assistant, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def crash(*_: object, **__: object) -> None:
        raise KeyError("password of the database")

    monkeypatch.setattr(engine.knowledge_bases, "list_readable", crash)
    result = await client.call_tool("list_knowledge_bases", {})
    assert result.is_error
    assert "password" not in text_of(result)
    assert result.meta is not None
    assert result.meta["incident"] in text_of(result)
