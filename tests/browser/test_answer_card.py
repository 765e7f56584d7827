"""The card of an answer, as a host shows it: a sandboxed frame that speaks JSON-RPC with its page."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client
from playwright.sync_api import Frame, Page, Route

from mcp_server.apps import ANSWER
from tests.browser.conftest import OpenPage, Served
from tests.browser.test_console import QUESTION, faults_of

pytestmark = pytest.mark.timeout(900)

HOST = """<!doctype html><html lang="en"><title>A host</title><link rel="icon" href="data:,"><main>
<iframe title="card" sandbox="allow-scripts" style="width:100%;height:600px;border:0"></iframe>
</main><script>
const given = /*GIVEN*/;
const frame = document.querySelector("iframe");
window.heard = [];
const tell = (message) => frame.contentWindow.postMessage({ jsonrpc: "2.0", ...message }, "*");
addEventListener("message", ({ source, data }) => {
  if (source !== frame.contentWindow) return;
  heard.push(data);
  if (data.method === "ui/initialize")
    tell({ id: data.id, result: { protocolVersion: "2026-01-26", hostInfo: { name: "t", version: "1" },
      hostCapabilities: given.offers, hostContext: { theme: given.theme } } });
  else if (data.method === "ui/notifications/initialized") {
    tell({ method: "ui/notifications/tool-input", params: { arguments: { question: given.question } } });
    tell({ method: "ui/notifications/tool-result", params: given.answer });
  } else if (data.method === "tools/call") tell({ id: data.id, result: given.found });
  else if (data.id !== undefined) tell({ id: data.id, result: {} });
});
frame.srcdoc = given.card;
</script>"""


@dataclass(frozen=True)
class Called:
    """What a host has got from the server."""

    card: str
    mime_type: str
    uri: str
    answer: dict[str, Any]
    found: dict[str, Any]


@pytest.fixture(scope="module")
def called(served: Served) -> Called:
    """One client's calls, in a thread of its own: the browser's driver holds this one's loop."""
    got: list[Called] = []

    async def call() -> None:
        async with Client(streamable_http_client(f"{served.url}/mcp")) as client:
            tools = {tool.name: tool for tool in (await client.list_tools()).tools}
            uri = tools["ask"].meta["ui"]["resourceUri"]  # type: ignore[index]
            [content] = (await client.read_resource(uri)).contents
            answer = await client.call_tool("ask", {"question": QUESTION})
            found = await client.call_tool("search", {"query": QUESTION})
            dumped = [one.model_dump(mode="json", by_alias=True) for one in (answer, found)]
            got.append(Called(content.text, content.mime_type or "", uri, *dumped))  # type: ignore[union-attr]

    worker = threading.Thread(target=lambda: asyncio.run(call()))
    worker.start()
    worker.join(120)
    return got[0]


@pytest.fixture
def hosted(open_page: OpenPage, called: Called) -> Callable[..., tuple[Page, Frame]]:
    """Shows the card in a host's page: the page, and the card's frame."""

    def shown(**changes: Any) -> tuple[Page, Frame]:
        given = {
            "card": called.card,
            "question": QUESTION,
            "answer": called.answer,
            "found": called.found,
            "offers": {"openLinks": {}, "serverTools": {}},
            "theme": "light",
        } | changes
        text = HOST.replace("/*GIVEN*/", json.dumps(given).replace("<", "\\u003c"))
        page = open_page("/", viewport={"width": 360, "height": 700})

        def serve(route: Route) -> None:
            route.fulfill(body=text, content_type="text/html")

        page.route("**/host", serve)
        page.goto("/host")
        frame = page.frames[1]
        frame.wait_for_selector("#answer > *")
        return page, frame

    return shown


def heard(page: Page, method: str) -> list[dict[str, Any]]:
    said: list[dict[str, Any]] = page.evaluate("heard")
    return [message["params"] for message in said if message.get("method") == method]


def test_an_answer_is_shown_with_its_numbered_quotes(
    hosted: Callable[..., tuple[Page, Frame]], called: Called
) -> None:
    page, card = hosted()
    said = called.answer["structuredContent"]
    assert called.mime_type == "text/html;profile=mcp-app"
    assert called.uri == ANSWER
    assert card.inner_text("#question") == QUESTION
    assert card.inner_text("#outcome") == "Answer"
    first = said["citations"][0]
    assert first["quote"] in card.inner_text("#source-1 blockquote")
    assert first["title"] in card.inner_text("#source-1 h2")

    card.click("button.mark >> nth=0")

    assert card.evaluate("document.activeElement.id") == "source-1"
    assert heard(page, "ui/notifications/size-changed")
    assert card.evaluate("document.documentElement.scrollWidth") <= 360
    assert card.evaluate("window.violations") == []


def test_a_source_is_opened_and_more_like_it_is_searched_by_the_host(
    hosted: Callable[..., tuple[Page, Frame]], called: Called
) -> None:
    page, card = hosted()
    card.click("text=Open >> nth=0")
    card.click("text=More like this >> nth=0")
    card.wait_for_selector("#source-1 .more li")

    [link] = heard(page, "ui/open-link")
    assert link["url"] == called.answer["structuredContent"]["citations"][0]["url"]
    [call] = heard(page, "tools/call")
    assert call["name"] == "search"
    assert call["arguments"]["query"] in called.answer["structuredContent"]["citations"][0]["quote"]


def test_a_host_that_offers_nothing_sees_no_buttons_that_need_it(
    hosted: Callable[..., tuple[Page, Frame]],
) -> None:
    _, card = hosted(offers={})
    assert card.query_selector_all(".doing button") == []


def test_what_a_document_says_is_text_and_never_markup(
    hosted: Callable[..., tuple[Page, Frame]], called: Called
) -> None:
    evil = "<img src=x onerror=\"parent.postMessage('out','*')\"><script>alert(1)</script> [1] [99]"
    cited = {
        "n": 1, "id": "a", "title": evil, "url": "javascript:alert(1)", "where": evil,
        "author": evil, "posted_at": "2026-01-01", "quote": evil,
    }  # fmt: skip
    answer = {
        **called.answer,
        "structuredContent": {
            "answer": evil,
            "citations": [cited],
            "outcome": "maybe",
            "choices": [],
        },
    }
    page, card = hosted(answer=answer)
    assert card.query_selector_all("img, #answer script, .source script") == []
    assert "<img src=x" in card.inner_text("#answer")
    assert "[99]" in card.inner_text("#answer")  # a mark without a source is text
    assert [b.inner_text() for b in card.query_selector_all(".doing button")] == ["More like this"]
    assert "may be it" in card.inner_text("#outcome")
    assert "out" not in page.evaluate("heard.filter((one) => typeof one === 'string')")


def test_a_refusal_and_an_empty_answer_say_so(
    hosted: Callable[..., tuple[Page, Frame]],
) -> None:
    refused = {"isError": True, "content": [{"type": "text", "text": "Try again in 5 s."}]}
    _, card = hosted(answer=refused)
    assert (card.inner_text("#outcome"), card.inner_text("#answer")) == (
        "No answer",
        "Try again in 5 s.",
    )
    nothing = {
        "structuredContent": {
            "answer": "Nothing found.", "citations": [], "outcome": "not_found", "choices": ["Which?"]
        }
    }  # fmt: skip
    page, card = hosted(answer=nothing)
    assert card.inner_text("#outcome") == "Not found in what you may read"
    card.click("text=Which?")
    page.wait_for_function("heard.some((one) => one.method === 'ui/message')")
    assert heard(page, "ui/message") == [
        {"role": "user", "content": [{"type": "text", "text": "Which?"}]}
    ]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_card_is_accessible_in_both_themes(
    hosted: Callable[..., tuple[Page, Frame]], theme: str
) -> None:
    _, card = hosted(theme=theme)
    assert faults_of(card) == []
