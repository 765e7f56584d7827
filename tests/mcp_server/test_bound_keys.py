"""Keys bound to assistants at the MCP door: they ask these, and find and reach nothing else."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp.client import Client
from mcp.shared.exceptions import MCPError
from mcp_types import PromptReference, ResourceTemplateReference

from cli.serve import build_host
from engine.access import gate
from engine.domain import Scope
from engine.engine import Engine
from engine.people.api_tokens import TokenKind
from engine.runtime import open_engine
from mcp_server.apps import ANSWER
from tests.fakes.homes import fill, home_settings, this_user
from tests.mcp_server.conftest import OpenHttp
from tests.mcp_server.test_http import ACCEPT, call_of, headers_of
from tests.mcp_server.test_tools import text_of, value_of

QUESTION = "How many hours of advanced sick leave can I request?"
REFUSED = "This key asks its assistants, and can do nothing else."
ERAS = pytest.mark.parametrize("mode", ["legacy", "auto"])
KINDS = pytest.mark.parametrize("kind", list(TokenKind))
# Arguments that are right, of every tool that there is beside `ask`.
OTHER_TOOLS: dict[str, dict[str, object]] = {
    "add_document": {"knowledge_base": "team", "title": "x", "text": "x"},
    "delete_document": {"document_id": "0" * 32},
    "fetch": {"id": "0" * 32},
    "get_ingestion": {"job_id": "0" * 32},
    "get_statistics": {},
    "list_documents": {},
    "list_knowledge_bases": {},
    "run_workflow": {},
    "search": {"query": "sick leave"},
}


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    """A data folder of one's own with two assistants, and every tool switched on."""
    settings = home_settings(tmp_path, mcp__write_tools=True, mcp__statistics=True)
    await fill(settings)
    async with open_engine(settings) as opened:
        owner = await opened.people.owner()
        await opened.assistants.create(owner, {"name": "Travel help", "kbs": ["team"]})
        await opened.assistants.create(owner, {"name": "Other"})
        yield opened


async def make_key(
    engine: Engine, *assistants: str, kind: TokenKind = TokenKind.PERSONAL, **bounds: Any
) -> str:
    """A key with every scope that its kind can have, bound to assistants."""
    beyond = {Scope.KB_ADMIN} if kind is TokenKind.SERVICE else set()
    secret, _ = await engine.people.create_token(
        await engine.people.owner(),
        "bound",
        scopes=set(Scope) - beyond,
        kind=kind,
        assistants=assistants,
        **bounds,
    )
    return secret


async def said(client: Client, name: str, **arguments: object) -> tuple[str, str]:
    """The code and the text of a refused call."""
    result = await client.call_tool(name, arguments)
    assert result.is_error, text_of(result)
    assert result.meta is not None
    return result.meta["code"], text_of(result)


@ERAS
@KINDS
async def test_a_bound_key_asks_its_assistant_named_or_not(
    open_http: OpenHttp, engine: Engine, mode: str, kind: TokenKind
) -> None:
    key = await make_key(engine, "travel-help", kind=kind)
    async with open_http(token=key, mode=mode) as client:
        [tool] = (await client.list_tools()).tools
        named = value_of(
            await client.call_tool("ask", {"question": QUESTION, "assistant": "travel-help"})
        )
        plain = value_of(await client.call_tool("ask", {"question": QUESTION}))
        more = {"question": "And for others?", "conversation_id": plain["conversation_id"]}
        value_of(await client.call_tool("ask", more))
    assert (tool.name, tool.meta) == ("ask", None)
    for answer in (named, plain):
        assert "240 hours" in answer["answer"]
        assert "fetch" not in answer["follow_up"]
    begun = await _assistant_of(engine, key, plain["conversation_id"])
    assert begun == "travel-help"


async def _assistant_of(engine: Engine, key: str, conversation_id: str) -> str:
    asker = gate.for_assistant(await engine.people.authenticate(key), "", "travel-help")
    found = await engine.answers.get_conversation(asker, conversation_id)
    return found.assistant


async def test_what_it_does_not_find_sends_it_to_no_other_tool(
    open_http: OpenHttp, engine: Engine
) -> None:
    async with open_http(token=await make_key(engine, "travel-help")) as client:
        answer = value_of(await client.call_tool("ask", {"question": "Zyx qwv?"}))
        told = await said(client, "ask", question=QUESTION, assistant="nowhere")
    assert answer["follow_up"] == "Call ask with other words."
    assert told == ("not_found", "No assistant 'nowhere' that you may use.")


@ERAS
async def test_another_assistant_of_the_tenant_is_as_good_as_absent(
    open_http: OpenHttp, engine: Engine, mode: str
) -> None:
    other = await engine.assistants.get(await engine.people.owner(), "other")
    async with open_http(token=await make_key(engine, "travel-help"), mode=mode) as client:
        for name in ("other", other.id, "nowhere"):
            told = await said(client, "ask", question=QUESTION, assistant=name)
            assert told == ("not_found", f"No assistant {name!r} that you may use.")


async def test_an_assistant_of_another_tenant_is_as_good_as_absent(
    open_http: OpenHttp, engine: Engine
) -> None:
    owner = await engine.people.owner()
    tenant = await engine.people.create_tenant(owner, "lab")
    there = await engine.people._principal(tenant.id, owner.user_id or "")
    theirs = await engine.assistants.create(there, {"name": "Lab help"})
    for bound in ("travel-help", "lab-help", theirs.id):  # even where a key is bound to its name
        async with open_http(token=await make_key(engine, bound)) as client:
            for name in ("lab-help", theirs.id):
                told = await said(client, "ask", question=QUESTION, assistant=name)
                assert told == ("not_found", f"No assistant {name!r} that you may use.")


async def test_a_key_bound_to_two_must_name_one(open_http: OpenHttp, engine: Engine) -> None:
    key = await make_key(engine, "travel-help", "other")
    async with open_http(token=key) as client:
        told = await said(client, "ask", question=QUESTION)
        answer = value_of(
            await client.call_tool("ask", {"question": QUESTION, "assistant": "travel-help"})
        )
        began = answer["conversation_id"]
        again = await said(client, "ask", question="And?", conversation_id=began)
    assert told == again
    assert told == (
        "invalid_input",
        "This key asks several assistants: name one of other, travel-help.",
    )


async def test_its_assistant_opens_no_knowledge_base_that_is_not_its_own(
    open_http: OpenHttp, engine: Engine
) -> None:
    async with open_http(token=await make_key(engine, "travel-help")) as client:
        secret = await client.call_tool("ask", {"question": "What is the gardener's salary?"})
        code, _ = await said(client, "ask", question="Salary?", knowledge_base="board")
    assert "81,000" not in text_of(secret)
    assert code == "not_found"


async def test_a_key_without_the_scope_to_ask_asks_nothing(
    open_http: OpenHttp, engine: Engine
) -> None:
    secret, _ = await engine.people.create_token(
        await engine.people.owner(), "t", scopes=[Scope.KB_READ], assistants=["travel-help"]
    )
    async with open_http(token=secret, mode="legacy") as client:
        assert (await client.list_tools()).tools == []
        code, _ = await said(client, "ask", question=QUESTION, assistant="travel-help")
    assert code == "forbidden"


@ERAS
@KINDS
async def test_every_other_tool_is_refused(
    open_http: OpenHttp, engine: Engine, mode: str, kind: TokenKind
) -> None:
    key = await make_key(engine, "travel-help", kind=kind)
    async with open_http(token=key, mode=mode) as client:
        for name, arguments in OTHER_TOOLS.items():
            if name != "delete_document" or kind is TokenKind.PERSONAL:  # no service key may
                assert await said(client, name, **arguments) == ("forbidden", REFUSED)


def test_every_tool_but_ask_is_tried() -> None:
    from mcp_server.tools import build_tools

    tools = build_tools(write_tools=True, statistics=True)
    assert {tool.name for tool in tools if not tool.asks} == set(OTHER_TOOLS)
    assert [tool.name for tool in tools if tool.asks] == ["ask"]
    assert not any(tool.asks for tool in build_tools("chatgpt"))


async def test_naming_tools_shows_it_no_more(open_http: OpenHttp, engine: Engine) -> None:
    key = await make_key(engine, "travel-help")
    async with open_http(token=key, toolsets="search,fetch") as client:
        assert (await client.list_tools()).tools == []
        assert await said(client, "search", query="x") == ("forbidden", REFUSED)
        assert await said(client, "ask", question=QUESTION) == (
            "unknown_tool",
            "No tool 'ask' here. Available: none.",
        )


@ERAS
async def test_the_profile_for_chatgpt_has_nothing_for_it(
    open_http: OpenHttp, engine: Engine, mode: str
) -> None:
    key = await make_key(engine, "travel-help")
    async with open_http(token=key, path="/mcp/chatgpt", mode=mode) as client:
        assert (await client.list_tools()).tools == []
        assert await said(client, "search", query="sick leave") == ("forbidden", REFUSED)
        assert await said(client, "fetch", id="0" * 32) == ("forbidden", REFUSED)
        code, _ = await said(client, "ask", question=QUESTION)
    assert code == "unknown_tool"


@ERAS
async def test_no_resource_and_no_prompt_is_there_for_it(
    open_http: OpenHttp, engine: Engine, mode: str
) -> None:
    owner = await engine.people.owner()
    leave = next(
        found
        for found in (await engine.documents.page(owner)).documents
        if found.title != "Salaries"
    )
    template = ResourceTemplateReference(
        type="ref/resource", uri="kb://{knowledge_base}/documents/{id}"
    )
    async with open_http(token=await make_key(engine, "travel-help"), mode=mode) as client:
        assert (await client.list_resources()).resources == []
        assert (await client.list_resource_templates()).resource_templates == []
        assert (await client.list_prompts()).prompts == []
        for refused in (
            client.read_resource(f"kb://team/documents/{leave.id}"),
            client.read_resource(ANSWER),
            client.read_resource("kb://team/documents/none"),
            client.get_prompt("research", {"question": "x"}),
            client.complete(template, {"name": "knowledge_base", "value": ""}),
            client.complete(template, {"name": "id", "value": leave.id[:8]}),
            client.complete(
                PromptReference(type="ref/prompt", name="research"),
                {"name": "knowledge_base", "value": "te"},
            ),
        ):
            with pytest.raises(MCPError) as error:
                await refused
            assert error.value.error.message == REFUSED


async def test_others_have_their_tools_resources_and_prompts_beside_it(
    open_http: OpenHttp, engine: Engine
) -> None:
    key = await make_key(engine, "travel-help")
    async with open_http(token=key) as bound, open_http() as owner:
        assert len((await bound.list_tools()).tools) == 1
        tools = (await owner.list_tools()).tools
        assert (await owner.list_prompts()).prompts
        assert (await owner.list_resource_templates()).resource_templates
        assert (await owner.list_resources()).resources
        assert len((await bound.list_tools()).tools) == 1
    assert next(tool for tool in tools if tool.name == "ask").meta is not None


@ERAS
async def test_a_key_revoked_between_two_calls_is_refused(
    open_http: OpenHttp, engine: Engine, mode: str
) -> None:
    key = await make_key(engine, "travel-help")
    async with open_http(token=key, mode=mode) as client:
        value_of(await client.call_tool("ask", {"question": QUESTION}))
        await engine.people.revoke_token(await engine.people.owner(), key[:10])
        for refused in (client.call_tool("ask", {"question": QUESTION}), client.list_tools()):
            with pytest.raises(MCPError):
                await refused


async def test_an_assistant_hidden_or_deleted_between_two_calls_is_gone(
    open_http: OpenHttp, engine: Engine
) -> None:
    key = await make_key(engine, "travel-help", kind=TokenKind.SERVICE)
    owner = await engine.people.owner()
    gone = ("not_found", "No assistant 'travel-help' that you may use.")
    async with open_http(token=key) as client:
        value_of(await client.call_tool("ask", {"question": QUESTION}))
        mine = {"visible_to": [f"user:{owner.user_id}"]}
        await engine.assistants.update(owner, "travel-help", mine)
        assert await said(client, "ask", question=QUESTION) == gone
        await engine.assistants.remove(owner, "travel-help")
        assert await said(client, "ask", question=QUESTION) == gone


@pytest.mark.parametrize(("peer", "is_let_in"), [("198.51.100.7", True), ("203.0.113.9", False)])
async def test_a_bound_key_for_a_network_asks_from_there_alone(
    engine: Engine, peer: str, is_let_in: bool
) -> None:
    key = await make_key(engine, "travel-help", networks=["198.51.100.0/24"])
    settings = home_settings(engine.settings.home, server__public_url="https://kb.example")
    app = build_host(engine, settings, keyless=this_user)
    headers = headers_of("2026-07-28", "ask") | {"authorization": f"Bearer {key}"}
    transport = httpx2.ASGITransport(app, client=(peer, 40000))
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=transport, base_url="https://kb.example") as http,
    ):
        asked = call_of("ask", question=QUESTION)
        reply = await http.post("/mcp", json=asked, headers=ACCEPT | headers)
    assert reply.status_code == (200 if is_let_in else 401)
    assert ("240 hours" in reply.text) is is_let_in
    assert "198.51" not in reply.text


async def test_a_bound_key_is_counted_and_written_down_like_any_other(
    open_http: OpenHttp, engine: Engine
) -> None:
    async with open_http(token=await make_key(engine, "travel-help")) as client:
        await client.call_tool("ask", {"question": QUESTION})
        await client.call_tool("search", {"query": "x"})
        with contextlib.suppress(MCPError):
            await client.read_resource("kb://team/documents/none")
    await engine.operations._call_log.flush()
    newest = (await engine.operations.list_calls(await engine.people.owner()))[:3]
    assert [(call.tool, call.code) for call in newest] == [
        ("resources/read", "forbidden"),
        ("search", "forbidden"),
        ("ask", ""),
    ]
