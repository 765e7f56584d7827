"""A real server and a real browser: Debian's Chromium, driven by Playwright.

    SCRUBJAY_TEST_CHROMIUM   the browser's program, which `.ci/run` installs

Every page fails its test that breaks the content security policy, writes an error to the console or
asks another host for anything.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.fakes.databases import service_url
from tests.fakes.homes import fill, home_settings

PATIENCE_S = 120.0  # on a busy machine
WATCH = (
    "window.violations = [];"
    "addEventListener('securitypolicyviolation', (e) => violations.push(e.violatedDirective));"
)

OpenPage = Callable[..., Page]


class Served:
    """A server process on a data folder; `kill` and `start` as often as a test likes."""

    def __init__(self, home: Path, gate: Path) -> None:
        self._home, self._gate = home, gate
        self.papers = home.parent / f"{home.name}-papers"  # a folder that sources may read
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            self.port = found.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        program = [sys.executable, "-m", "tests.fakes.held_server"]
        self._process = subprocess.Popen(
            [*program, str(self._home), str(self.port), str(self._gate)],
            env=os.environ  # its worker's, too
            | {
                "SCRUBJAY_EMBEDDING__MODEL": "hashing",
                "SCRUBJAY_SOURCES__FOLDERS": str(self.papers),
            },
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        ends_at = time.monotonic() + PATIENCE_S
        while time.monotonic() < ends_at:
            with suppress(OSError), urllib.request.urlopen(f"{self.url}/ready", timeout=5):
                return
            assert self._process.poll() is None, "the server ended"
            time.sleep(0.1)
        raise AssertionError("the server did not answer")

    def kill(self, sign: signal.Signals = signal.SIGKILL) -> None:
        """End it with its worker."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, sign)
            self._process.wait(PATIENCE_S)
            self._process = None

    def hold(self) -> None:
        """Answers stop halfway from now on."""
        self._gate.unlink(missing_ok=True)

    def let_go(self) -> None:
        """Answers come to their end."""
        self._gate.touch()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home = tmp_path_factory.mktemp("browser-home")
    asyncio.run(fill(home_settings(home)))
    server = Served(home, tmp_path_factory.mktemp("gate") / "open")
    server.let_go()
    server.papers.mkdir()
    (server.papers / "tides.md").write_text("# Tides\n\nHigh tide is at noon.", "utf-8")
    (server.papers / "broken.pdf").write_bytes(b"%PDF-1.7 nothing")
    server.start()
    try:
        yield server
    finally:
        server.kill(signal.SIGTERM)


@pytest.fixture(scope="module")
def browser(served: Served) -> Iterator[Browser]:
    del served  # made first: Playwright keeps an event loop running
    program = service_url("SCRUBJAY_TEST_CHROMIUM")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox"], timeout=PATIENCE_S * 1000
        )
        yield opened
        opened.close()


@pytest.fixture
def open_page(browser: Browser, served: Served) -> Iterator[OpenPage]:
    """Opens pages, each in a context of its own, and holds them to what pages promise."""
    contexts: list[tuple[BrowserContext, list[str]]] = []

    def opened(path: str = "/", **options: object) -> Page:
        context = browser.new_context(base_url=served.url, **options)  # type: ignore[arg-type]
        context.set_default_timeout(PATIENCE_S * 1000)
        said: list[str] = []
        context.add_init_script(WATCH)
        page = context.new_page()
        page.on("console", lambda m: said.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on(
            "request",
            lambda r: None if r.url.startswith(served.url) else said.append(f"asked {r.url}"),
        )
        contexts.append((context, said))
        page.goto(path)
        return page

    yield opened
    for context, said in contexts:
        for page in list(context.pages):  # one that opens while others are asked
            if runs_scripts(page):
                said.extend(page.evaluate("window.violations ?? []"))
        context.close()
        # A server that a test stops is no fault of the page; a 409 is an answer that it handles.
        answers = ("net::ERR_", "status of 409")
        assert [text for text in said if not any(one in text for one in answers)] == []


def runs_scripts(page: Page) -> bool:
    """Whether the page runs scripts: those of a browser without them can't be asked."""
    with suppress(Exception):
        return bool(page.evaluate("true"))
    return False
