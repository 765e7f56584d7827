"""A widget on a page of another site, in a real browser: two origins, neither of which reads the other."""

from __future__ import annotations

import http.server
import json
import threading
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import PATIENCE_S, WATCH, Served
from tests.browser.test_console import faults_of

QUESTION = "How many hours of advanced sick leave can I request?"
PAGE = """<!doctype html><html lang="en"><head><title>Shop</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'self'; script-src {server}; frame-src {server}; style-src 'none'"></head>
<body><main><h1>Our shop</h1></main>{tag}</body></html>"""


@dataclass
class Site:
    """A site of somebody else, on a port and so an origin of its own; `page` is what it shows."""

    url: str
    page: str = ""


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    shown = Site("")

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = shown.page.encode() if self.path == "/" else b""
            self.send_response(200 if self.path == "/" else 204)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    shown.url = f"http://localhost:{server.server_port}"
    try:
        yield shown
    finally:
        server.shutdown()
        thread.join(PATIENCE_S)
        server.server_close()


def call(served: Served, path: str, body: dict[str, object]) -> dict[str, str]:
    request = urllib.request.Request(
        served.url + path,
        data=json.dumps(body).encode(),
        headers={"content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=PATIENCE_S) as reply:
        found: dict[str, str] = json.load(reply)
        return found


@pytest.fixture(scope="module")
def tag(served: Served, site: Site) -> str:
    """What the site's page carries, for an assistant that offers a question."""
    opener = {"name": "Help", "opener": "What is it about?", "examples": [QUESTION]}
    call(served, "/api/v1/assistants", opener)
    return call(served, "/api/v1/widgets", {"assistant": "help", "origins": [site.url]})["tag"]


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 320, "height": 640})
    context.set_default_timeout(PATIENCE_S * 1000)
    context.add_init_script(WATCH)
    yield context.new_page()
    context.close()


def test_a_visitor_asks_reads_the_source_and_closes_it_by_keyboard(
    page: Page, served: Served, site: Site, tag: str
) -> None:
    said: list[str] = []
    page.on("console", lambda m: said.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    site.page = PAGE.format(server=served.url, tag=tag)
    page.goto(site.url)
    opens = page.get_by_role("button", name="Ask a question")
    opens.focus()
    page.keyboard.press("Enter")
    frame = page.frame_locator("iframe")
    frame.get_by_role("button", name=QUESTION).click()
    answer = frame.locator("article")
    expect(answer).to_contain_text("240 hours")
    answer.locator("summary").click()
    expect(answer.locator("blockquote")).to_be_visible()
    inner = page.frames[-1]
    assert inner.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert faults_of(inner) == []
    frame.get_by_role("textbox").press("Escape")
    expect(page.locator("iframe")).to_be_hidden()
    expect(opens).to_be_focused()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert [page.evaluate("violations"), inner.evaluate("violations"), said] == [[], [], []]


def test_another_site_cannot_show_it(page: Page, served: Served, site: Site, tag: str) -> None:
    other = site.url.replace("localhost", "127.0.0.1")
    site.page = PAGE.format(server=served.url, tag=tag)
    page.goto(other)
    with page.expect_console_message(lambda m: "frame-ancestors" in m.text):
        page.get_by_role("button", name="Ask a question").click()
    assert not page.frames[-1].url.startswith(served.url)
