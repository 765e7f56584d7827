"""Files posted in kept channels: separate documents for the channel's readers, until they are deleted."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from engine.chats.message_files import SIZE_MAX
from engine.db.tables import Document, Message
from tests.bots.slack.test_slack_history import deletion, holding, keep
from tests.fakes.slack_rooms import said

PLAN = b"# Garden plan\n\nThe walnut tree is planted by the south gate in October.\n"
WHERE = "where is the walnut tree planted?"


async def post(place, channel: str = "C1", name: str = "plan.md", data: bytes = PLAN, **more):
    """Bob posts a file in a channel; the worker does what follows."""
    event = place.slack.post_file(place.team, channel, "UBOB", name, data, **more)
    await place.event(event)
    await place.notes.drain()
    return event


async def files(place) -> list[dict]:
    async with place.notes.engine.db.read() as session:
        rows = await session.scalars(select(Message.files).where(Message.deleted_at.is_(None)))
        return [cell for row in rows for cell in row]


async def test_a_posted_file_answers_those_who_read_its_channel(place):
    await keep(place)
    event = await post(place, text="the plan for the new garden, as we agreed")
    [shown] = await place.say("UADA", f"{place.mention} {WHERE}")
    assert "by the south gate in October" in said(shown)
    assert f"archives/C1/p{event['ts'].replace('.', '')}" in said(shown)
    host, authorization = place.slack.shown_to_files[0]
    assert host.startswith("127.0.0.1")
    assert authorization == f"Bearer {place.team.token}"


async def test_a_file_of_a_private_channel_stays_there(place):
    await keep(place, "P1")
    await post(place, "P1")
    [inside] = await place.say("UADA", f"{place.mention} {WHERE}", channel="P1")
    assert "south gate" in said(inside)
    [outside] = await place.say("UADA", f"{place.mention} {WHERE}", channel="C2")
    assert "south gate" not in said(outside)


async def test_a_file_goes_with_its_message(place):
    await keep(place)
    event = await post(place, text="the plan for the new garden")
    await place.say("UADA", f"{place.mention} {WHERE}")
    assert holding(place, b"south gate")
    await place.event(deletion(event))
    [second] = await place.say("UADA", f"{place.mention} {WHERE}?")
    assert "south gate" not in said(second)
    await place.notes.drain()
    assert holding(place, b"south gate") == []


async def test_a_file_is_fetched_once_however_often_its_message_is_delivered(place):
    await keep(place)
    event = await post(place, text="the plan for the new garden")
    reply = place.slack.write(place.team, "C1", "UADA", "Thank you, Bob!", thread_ts=event["ts"])
    for again in (event, reply, event):
        await place.event(again)
    await place.notes.drain()
    assert len(place.slack.called("files.info")) == 1
    async with place.notes.engine.db.read() as session:
        made = await session.scalars(
            select(Document.title).where(
                Document.external_id.startswith("attachment:"), Document.deleted_at.is_(None)
            )
        )
        assert len(list(made)) == 1


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"name": "run.exe"}, "files of this kind (.exe) are not read"),
        ({"name": "none"}, "files of this kind (none) are not read"),
        ({"served_at": "/moved"}, "a login page: the app lacks the scope files:read"),
    ],
)
async def test_what_is_not_read_says_why_and_holds_nothing_up(place, more, why):
    await keep(place)
    given = {"name": "plan.pdf"} | more
    await post(place, **given, text="here is what the gardeners sent us")
    [file] = await files(place)
    assert why in file["left"]
    _, [found] = await place.command("UADA", "search what the gardeners sent")
    assert "gardeners sent us" in said(found)


async def test_the_token_is_not_shown_where_a_redirect_leads(place):
    await keep(place)
    await post(place, name="plan.pdf", served_at="/moved")
    hosts = {host.partition(":")[0]: shown for host, shown in place.slack.shown_to_files}
    assert hosts == {"localhost": ""}


async def test_a_file_elsewhere_or_too_large_is_not_asked_for(place):
    await keep(place)
    event = place.slack.post_file(place.team, "C1", "UBOB", "plan.md", PLAN)
    place.slack.files_info["F1"]["url_private_download"] = "https://files.example/plan.md"
    await place.event(event)
    await place.notes.drain()
    event = place.slack.post_file(place.team, "C1", "UBOB", "big.md", PLAN)
    place.slack.files_info["F2"]["size"] = SIZE_MAX + 1
    await place.event(event)
    await place.notes.drain()
    left = [file["left"] for file in await files(place)]
    assert left == [
        "it is not stored at Slack",
        "it is too large: it has 20,971,521 bytes, and the limit is 20,971,520",
    ]
    assert place.slack.shown_to_files == []


async def test_pictures_are_not_asked_for(place):
    await keep(place)
    await post(place, name="tree.png", data=b"x", mimetype="image/png", text="how it looks today")
    assert place.slack.called("files.info") == []
