"""Sources of an answer that not everybody may open: a button, and a link for whoever presses it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import delete

from bots import replies
from bots.replies import Button, Reply
from cli.serve import build_host
from engine.db.tables import ChannelMember
from tests.fakes.chat import Room, Shown
from tests.fakes.installations import Installation, open_installation, parse_inline
from tests.fakes.rooms import furnish

URL = "https://kb.example"
MOVE = "@bot where does the office move to?"
PERSON = {"accept": "text/html", "sec-fetch-user": "?1"}


@pytest.fixture
async def notes(home: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Installation]:
    parse_inline(monkeypatch)
    async with open_installation(home, {"server.public_url": URL}) as opened:
        yield opened


@pytest.fixture
async def room(notes: Installation) -> Room:
    room = await Room(notes.engine, notes.owner.tenant_id).open()
    await furnish(room, notes)
    return room


@pytest.fixture
def browse(notes: Installation) -> Any:
    """Opens a URL in a new browser."""
    app = build_host(notes.engine, notes.engine.settings)
    transport = httpx2.ASGITransport(app, client=("203.0.113.5", 40000))

    async def browse(url: str, browser: httpx2.AsyncClient | None = None) -> httpx2.Response:
        if browser is not None:
            return await browser.get(url, headers=PERSON)
        async with httpx2.AsyncClient(transport=transport, base_url=URL) as fresh:
            return await fresh.get(url, headers=PERSON)

    browse.transport = transport  # type: ignore[attr-defined]
    return browse


def openers(reply: Reply) -> list[Button]:
    return [button for button in reply.buttons if button.action == replies.OPEN]


def url_of(shown: Shown) -> str:
    [source] = shown.reply.sources
    return source.url


async def leave(room: Room, who: str) -> None:
    """Someone leaves every channel."""
    sender = await room.person(who)
    async with room.engine.db.write() as session:
        await session.execute(
            delete(ChannelMember).where(ChannelMember.identity_id == sender.identity_id)
        )


async def asked_in_leads(room: Room) -> Shown:
    await room.say(MOVE, by="bob", channel="P1")
    return room.chat.last


async def test_a_source_without_an_address_has_a_button_and_no_link(room):
    answer = await asked_in_leads(room)
    assert "Lisbon" in answer.reply.text
    [source] = answer.reply.sources
    [button] = openers(answer.reply)
    assert (source.url, source.opens) == ("", button.value)
    assert (button.label, len(button.value)) == ("Open [1]", 34)
    assert URL not in str(answer.reply)


async def test_who_presses_gets_a_link_of_their_own_that_one_browser_opens(room, browse):
    answer = await asked_in_leads(room)
    [link] = await room.press("Open [1]", by="ada", on=answer)
    assert link.whom == "ada"
    url = url_of(link)
    assert url.startswith(f"{URL}/v/a")
    async with httpx2.AsyncClient(transport=browse.transport, base_url=URL) as mine:
        opened = await browse(url, mine)
        assert opened.status_code == 200
        assert "Lisbon" in opened.text
        assert (await browse(url, mine)).status_code == 200
    replayed = await browse(url)
    assert replayed.status_code == 410
    assert "Lisbon" not in replayed.text
    [others] = await room.press("Open [1]", by="bob", on=answer)
    assert url_of(others) != url
    assert (await browse(url_of(others))).status_code == 200


async def test_who_left_a_private_channel_opens_nothing_and_is_told_so_alone(room, browse):
    answer = await asked_in_leads(room)
    [before] = await room.press("Open [1]", by="bob", on=answer)
    await leave(room, "bob")
    [refused] = await room.press("Open [1]", by="bob", on=answer)
    assert (refused.whom, refused.reply.kind, list(refused.reply.sources)) == ("bob", "trouble", [])
    assert "I can't open this for you" in refused.reply.text
    assert "Lisbon" not in refused.reply.text
    # Nor with the link they got while they were in it.
    late = await browse(url_of(before))
    assert late.status_code == 404
    assert "Lisbon" not in late.text


async def test_a_press_by_someone_who_may_not_read_it_looks_like_one_on_nothing(room):
    answer = await asked_in_leads(room)
    [forbidden] = await room.press("Open [1]", by="gus", on=answer)
    for value in (f"{'0' * 32}.1", "nonsense", "", "../../secret.key", "a" * 99):
        forged = Shown("C1", "", Reply("", buttons=[Button(replies.OPEN, "Open [1]", value)]))
        [absent] = await room.press("Open [1]", by="ada", on=forged)
        assert absent.reply == forbidden.reply


async def test_a_link_ends_in_minutes(room, browse, monkeypatch):
    from datetime import timedelta

    from engine import clock

    answer = await asked_in_leads(room)
    [link] = await room.press("Open [1]", by="ada", on=answer)
    now = clock.now
    monkeypatch.setattr(clock, "now", lambda: now() + timedelta(minutes=11, seconds=1))
    ended = await browse(url_of(link))
    assert ended.status_code == 410
    assert "ask again" in ended.text


async def test_what_a_search_finds_is_opened_by_buttons_too(room):
    await room.command("search office move to Lisbon", by="bob", channel="P1")
    found = room.chat.last.reply
    assert [source.n for source in found.sources if source.opens] == [
        int(button.label.removeprefix("Open [").removesuffix("]")) for button in openers(found)
    ]
    assert openers(found)


async def test_a_page_of_the_web_stays_a_link_that_everybody_opens(room, notes):
    await notes.add("# Tea\n\nTea is served at five.", "tea.md", url="https://docs.example/tea")
    await notes.drain()
    await room.say("@bot when is tea served?", by="bob")
    answer = room.chat.last.reply
    assert [source.url for source in answer.sources] == ["https://docs.example/tea"]
    assert openers(answer) == []
