"""Arguments as assistants send them: nulls, and names that are nearly right."""

from __future__ import annotations

import pytest

from mcp_server.arguments import near
from tests.mcp_server.conftest import Assistant
from tests.mcp_server.test_tools import error_of, value_of

SEARCH = ["query", "knowledge_base", "limit", "cursor"]


async def test_null_stands_for_an_optional_argument_that_is_not_given(client: Assistant) -> None:
    plain = value_of(await client.call_tool("search", {"query": "lodging rate"}))
    nulls = {"query": "lodging rate", "knowledge_base": None, "limit": None, "cursor": None}
    assert value_of(await client.call_tool("search", nulls)) == plain
    value_of(await client.call_tool("list_documents", {"status": None, "cursor": None}))
    value_of(await client.call_tool("ask", {"question": "Hotels?", "conversation_id": None}))


async def test_null_for_a_required_argument_is_missing(client: Assistant) -> None:
    said = await error_of(client, "search", query=None)
    assert said.startswith("The argument query is missing.")


@pytest.mark.parametrize(
    ("tool", "arguments", "said"),
    [
        ("search", {"query": "x", "top_k": 3}, "Unknown argument top_k. Use limit instead."),
        ("search", {"q": "x"}, "Unknown argument q. Use query instead."),
        ("ask", {"query": "x"}, "Unknown argument query. Use question instead."),
        ("fetch", {"document_id": "x"}, "Unknown argument document_id. Use id instead."),
        ("fetch", {"url": "http://x"}, "Unknown argument url. Use id instead."),
        ("list_documents", {"kb": "team"}, "Unknown argument kb. Use knowledge_base instead."),
        ("search", {"query": "x", "colour": "red"}, "Unknown argument colour. search takes:"),
    ],
)
async def test_a_wrong_name_is_answered_with_the_right_one(
    client: Assistant, tool: str, arguments: dict[str, object], said: str
) -> None:
    assert (await error_of(client, tool, **arguments)).startswith(said)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("query_text", "query"),
        ("Query", "query"),
        ("knowledgeBase", "knowledge_base"),
        ("knowledge_bases", "knowledge_base"),
        ("knowledge_base_id", "knowledge_base"),
        ("kb_id", "knowledge_base"),
        ("kb_ids", "knowledge_base"),
        ("dataset_ids", "knowledge_base"),
        ("max_results", "limit"),
        ("topK", "limit"),
        ("k", "limit"),
        ("pageToken", "cursor"),
        ("next_cursor", "cursor"),
        ("colour", ""),
        ("", ""),
    ],
)
def test_names_of_other_servers_and_slips_are_understood(name: str, meant: str) -> None:
    assert near(name, SEARCH) == meant
