"""Adding, following, listing and deleting documents, as an assistant does it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from engine.domain import Scope
from engine.engine import Engine
from engine.runtime import open_engine
from ingestion.host import run_worker
from tests.fakes.homes import home_settings, make_member_token
from tests.mcp_server.conftest import Assistant
from tests.mcp_server.test_tools import error_of, value_of

NOTE = {"knowledge_base": "notes", "title": "Wombats", "text": "A wombat digs *at night*.\n"}


@pytest.fixture
async def writable(tmp_path: Path) -> AsyncIterator[Engine]:
    """An installation of its own, with an empty knowledge base."""
    async with open_engine(home_settings(tmp_path)) as opened:
        await opened.knowledge_bases.create(await opened.people.owner(), "notes")
        yield opened


@pytest.fixture
async def writer(writable: Engine) -> Assistant:
    return Assistant(writable, await writable.people.owner(), write_tools=True)


async def call(assistant: Assistant, name: str, **arguments: object) -> dict[str, Any]:
    return value_of(await assistant.call_tool(name, arguments))


async def test_a_document_is_added_followed_found_and_deleted(
    writable: Engine, writer: Assistant
) -> None:
    added = await call(writer, "add_document", **NOTE)
    assert (added["status"], added["progress"], added["error"]) == ("pending", 0.0, "")
    await run_worker(writable, asyncio.Event(), idle_exit_s=0)
    done = await call(writer, "get_ingestion", job_id=added["job_id"])
    found = await call(writer, "search", query="wombat")
    listed = await call(writer, "list_documents", knowledge_base="notes", status="ready")
    page = await call(writer, "fetch", id=listed["documents"][0]["id"])
    assert (done["status"], done["progress"]) == ("ready", 1.0)
    assert found["results"][0]["title"] == "Wombats"
    assert "digs" in page["text"]
    deleted = await call(writer, "delete_document", document_id=added["document_id"])
    assert deleted == {"deleted": True, "document_id": added["document_id"]}
    assert (await call(writer, "search", query="wombat"))["results"] == []
    assert (await call(writer, "list_documents"))["documents"] == []


async def test_the_same_text_again_adds_nothing(writable: Engine, writer: Assistant) -> None:
    first = await call(writer, "add_document", **NOTE)
    await run_worker(writable, asyncio.Event(), idle_exit_s=0)
    again = await call(writer, "add_document", **NOTE)
    assert again["document_id"] == first["document_id"]
    assert again["status"] == "ready"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"title": "x"}, "Give either text or url: one of them, not both."),
        ({"title": "x", "text": "a", "url": "https://example.com"}, "Give either text or url"),
        ({"text": "a"}, "A text needs a title."),
        ({"url": "ftp://example.com/a"}, "starts with http:// or https://"),
        ({"url": "https://user:secret@example.com/"}, "contains a user name or password"),
    ],
)
async def test_what_can_not_be_added_is_told(
    writer: Assistant, arguments: dict[str, object], said: str
) -> None:
    told = await error_of(writer, "add_document", knowledge_base="notes", **arguments)
    assert said in told
    assert "secret" not in told


async def test_lists_go_on_where_the_cursor_says_and_nothing_is_said_to_be_nothing(
    writable: Engine, writer: Assistant
) -> None:
    for n in range(60):
        await call(writer, "add_document", knowledge_base="notes", title=f"N{n}", text=f"Text {n}")
    first = await call(writer, "list_documents", status="pending")
    titles, page = [document["title"] for document in first["documents"]], first
    while page["next_cursor"]:
        cursor = page["next_cursor"]
        page = await call(writer, "list_documents", status="pending", cursor=cursor)
        titles += [document["title"] for document in page["documents"]]
    assert titles == [f"N{n}" for n in reversed(range(60))]
    assert len(first["documents"]) < 60
    none = await call(writer, "list_documents", status="failed")
    assert none["notice"].startswith("No failed document in what you may read.")
    other = await error_of(writer, "list_documents", status="any", cursor=first["next_cursor"])
    assert other.startswith("This cursor does not belong to this call.")


async def test_others_documents_can_be_neither_followed_nor_deleted(
    writable: Engine, writer: Assistant
) -> None:
    owner = await writable.people.owner()
    await writable.knowledge_bases.create(owner, "board", grants=[f"u:{owner.user_id}"])
    owned = Assistant(writable, await writable.people.owner(), write_tools=True)
    added = await call(owned, "add_document", **NOTE | {"knowledge_base": "board"})
    member = await writable.people.add_member(owner, "cy@example.com", role="admin")
    other = Assistant(
        writable, await writable.people.act_as(owner, member.user_id), write_tools=True
    )
    for tool, argument in (("delete_document", "document_id"), ("get_ingestion", "job_id")):
        theirs = await error_of(other, tool, **{argument: added["document_id"]})
        absent = await error_of(other, tool, **{argument: "0" * 32})
        assert theirs.replace(added["document_id"], "ID") == absent.replace("0" * 32, "ID")
    hidden = await error_of(other, "add_document", **NOTE | {"knowledge_base": "board"})
    missing = await error_of(other, "add_document", **NOTE | {"knowledge_base": "nope!"})
    assert hidden.replace("board", "KB") == missing.replace("nope!", "KB")


async def test_readers_see_no_tools_that_write(writable: Engine) -> None:
    member = await writable.people.authenticate(await make_member_token(writable))
    assistant = Assistant(writable, member, write_tools=True)
    names = [tool.name for tool in (await assistant.list_tools()).tools]
    assert names == [
        *("search", "fetch", "ask", "list_knowledge_bases", "list_documents", "run_workflow"),
    ]
    assert Scope.KB_WRITE in await error_of(assistant, "add_document", **NOTE)


async def test_without_the_setting_nothing_writes(writable: Engine) -> None:
    assistant = Assistant(writable, await writable.people.owner())
    told = await error_of(assistant, "delete_document", document_id="0" * 32)
    assert told.startswith("No tool 'delete_document' here. Available: search, fetch, ask,")


async def test_titles_of_documents_carry_no_line_ends(writer: Assistant, writable: Engine) -> None:
    await call(writer, "add_document", **NOTE | {"title": "A\nB ../../etc/passwd"})
    [document] = (await call(writer, "list_documents"))["documents"]
    assert "\n" not in document["title"]
    assert json.dumps(document)
