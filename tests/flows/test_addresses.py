"""Pages by their addresses: one page is one document, and a login form is none."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from engine import clock
from engine.documents.adding import Added, NewDocument
from tests.engine.net.test_fetching import reply, serving
from tests.fakes.installations import Installation, open_installation, parse_inline

PAGE = b"<html><title>Otters</title><body><p>The otter sleeps at noon.</p></body></html>"
LOGIN = (
    b"<html><title>Sign in</title><body><form action=/login method=post><label>User name</label>"
    b"<input name=u><label>Password</label><input type=password name=p></form></body></html>"
)


def answer(path: str, headers: dict[str, str]) -> bytes:
    if path.startswith("/short"):
        return reply("301 Moved", Location="/hop")
    if path == "/hop":
        return reply("302 Found", Location="/page.html#part")
    if path == "/busy":
        return reply("503 Busy", Retry_After="3600")
    if path == "/secret":
        return reply("302 Found", Location="/login?next=/secret")
    if path.startswith("/login"):
        return reply("200 OK", LOGIN, Content_Type="text/html")
    return reply("200 OK", PAGE + path.encode(), Content_Type="text/html")


@pytest.fixture
async def web(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Installation, str]]:
    parse_inline(monkeypatch)
    async with serving(answer) as port:
        settings = {"processing.allow_private_urls": True}
        async with open_installation(home, settings) as opened:
            yield opened, f"http://127.0.0.1:{port}"


async def fetched(notes: Installation, *urls: str) -> list[Added]:
    added = []
    for url in urls:
        added.append(await notes.engine.documents.add(notes.owner, "notes", NewDocument(url=url)))
        await notes.drain()
    return added


async def addresses(notes: Installation) -> list[str]:
    page = await notes.engine.documents.page(notes.owner, "notes")
    return sorted(document.external_id for document in page.documents)


@pytest.mark.parametrize(
    "order",
    [
        ("/page.html", "/page.html#part", "/short", "/short", "/page.html"),
        ("/short", "/page.html", "/short#top", "/hop", "/page.html#other"),
        ("/hop", "/short", "/short"),
    ],
)
async def test_a_page_its_parts_and_what_leads_to_it_are_one_document(
    web: tuple[Installation, str], order: tuple[str, ...]
) -> None:
    notes, root = web
    await fetched(notes, *(f"{root}{path}" for path in order))
    assert await addresses(notes) == [f"{root}/page.html"]
    assert len(await notes.found("otter")) == 1


async def test_addresses_that_are_spelt_differently_are_one(web: tuple[Installation, str]) -> None:
    notes, root = web
    port = root.rpartition(":")[2]
    first, second = await fetched(notes, f"{root}#a", f"HTTP://127.0.0.1:{port}/")
    assert first.document_id == second.document_id
    assert await addresses(notes) == [f"{root}/"]


async def test_pages_of_different_queries_stay_apart(web: tuple[Installation, str]) -> None:
    notes, root = web
    await fetched(notes, f"{root}/page.html?id=1", f"{root}/page.html?id=2")
    assert len(await addresses(notes)) == 2


async def test_a_redirect_to_a_page_of_other_readers_shows_it_to_nobody_new(
    web: tuple[Installation, str],
) -> None:
    notes, root = web
    await fetched(notes, f"{root}/page.html")
    new = NewDocument(url=f"{root}/short", acl=[f"u:{notes.owner.user_id}"])
    await notes.engine.documents.add(notes.owner, "notes", new)
    await notes.drain()
    assert f"{root}/page.html" in await addresses(notes)


async def test_a_page_behind_a_login_is_not_the_login(web: tuple[Installation, str]) -> None:
    notes, root = web
    (added,) = await fetched(notes, f"{root}/secret")
    document = await notes.get(added)
    assert document.state == "failed"
    assert "asks for a login" in document.error
    assert await notes.found("password") == []


async def test_a_busy_server_is_asked_again_when_it_said(web: tuple[Installation, str]) -> None:
    notes, root = web
    new = NewDocument(url=f"{root}/busy")
    async with notes.working():
        added = await notes.engine.documents.add(notes.owner, "notes", new)
        await notes.until(added, lambda document: "503" in document.message)
    due = await notes.engine.operations.next_job_due_at()
    assert due is not None
    assert timedelta(minutes=50) < due - clock.now() <= timedelta(hours=1)
    assert (await notes.get(added)).state == "pending"
