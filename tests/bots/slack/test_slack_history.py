"""Channel history through the bot: kept on an admin's word, live and from before, for who was there."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing

import pytest
from sqlalchemy import event, select

from bots import replies
from bots.slack import blocks
from engine.chats.installation_rows import RETENTION
from engine.db.tables import Channel, Message
from tests.fakes.slack import form
from tests.fakes.slack_rooms import said

ASKED = "How do I reset the coffee machine?"
TOLD = "Hold both keys of the coffee machine for ten seconds to reset it."


async def keep(place, channel: str = "C1", since: str = "", by: str = "UADA") -> str:
    """Have a channel's history kept in notes; what came of it."""
    await place.command("UADA", f"bind <#{channel}> notes", channel=channel)
    _, responses = await place.command(by, f"ingest add <#{channel}> {since}", channel=channel)
    return said(responses)


async def talk(place, channel: str = "C1", *, more: str = "") -> dict:
    """A question and its answer, as they are written there."""
    root = place.slack.write(place.team, channel, "UGUS", ASKED)
    await place.event(root)
    reply = place.slack.write(place.team, channel, "UBOB", TOLD + more, thread_ts=root["ts"])
    await place.event(reply)
    await place.drain()
    await place.notes.drain()
    return reply


async def stored(place) -> list[str]:
    async with place.notes.engine.db.read() as session:
        talk = select(Message.text).where(Message.kind == "message")
        found = await session.scalars(talk.order_by(Message.position))
        return [text for text in found if text]


async def test_nothing_is_kept_until_an_admin_says_so_and_that_is_said_in_the_channel(place):
    await talk(place)
    assert await stored(place) == []
    assert "Messages of #help are now stored in **notes** from now on" in await keep(place)
    [notice] = place.slack.shown(place.team, "C1")
    assert "I store this channel's messages from now on" in said(notice)
    await talk(place)
    assert await stored(place) == [ASKED, TOLD]


async def test_what_was_said_is_cited_to_its_message_with_author_and_age(place):
    await keep(place)
    reply = await talk(place)
    [shown] = await place.say("UADA", f"{place.mention} how do I reset the coffee machine?")
    link = f"https://acme.slack.com/archives/C1/p{reply['ts'].replace('.', '')}"
    assert "Hold both keys of the coffee machine" in said(shown)
    assert link in said(shown)
    assert "Ubob" in said(shown)


async def test_a_search_leads_to_the_message_and_not_to_its_thread(place):
    await keep(place)
    reply = await talk(place, more=" It takes a while." * 60)
    _, found = await place.command("UADA", "search it takes a while")
    assert f"https://acme.slack.com/archives/C1/p{reply['ts'].replace('.', '')}" in said(found)


async def test_an_edit_and_a_deletion_reach_the_next_answer(place):
    await keep(place)
    reply = await talk(place)
    new = {k: reply[k] for k in ("type", "user", "ts", "thread_ts", "team")}
    new |= {
        "text": "Hold one key of the coffee machine to reset it.",
        "edited": {"user": "UBOB", "ts": "1900000000.000000"},
    }
    edit = {
        "type": "message",
        "subtype": "message_changed",
        "channel": "C1",
        "channel_type": "channel",
        "message": new,
        "previous_message": {"text": reply["text"], "ts": reply["ts"]},
        "ts": "1900000000.000000",
    }
    await place.event(edit)
    await place.notes.drain()
    [shown] = await place.say("UADA", f"{place.mention} how do I reset the coffee machine?")
    assert "Hold one key of the coffee machine" in said(shown)
    gone = {
        "type": "message",
        "subtype": "message_deleted",
        "channel": "C1",
        "channel_type": "channel",
        "deleted_ts": reply["ts"],
        "previous_message": new,
        "ts": "1900000001.000000",
    }
    await place.event(gone)
    [shown] = await place.say("UADA", f"{place.mention} how do I reset the coffee machine??")
    assert "Hold one key" not in said(shown)


async def test_history_from_before_is_read_back_with_the_bots_own_token(place):
    root = place.slack.write(place.team, "C1", "UGUS", ASKED)
    place.slack.write(place.team, "C1", "UBOB", TOLD, thread_ts=root["ts"])
    await keep(place, since="all")
    await place.notes.drain()
    assert {ASKED, TOLD} <= set(await stored(place))
    _, [status] = await place.command("UADA", "ingest status")
    assert "#help" in said(status)
    [shown] = await place.say("UADA", f"{place.mention} how do I reset the coffee machine?")
    assert "Hold both keys" in said(shown)


async def test_a_distributed_app_refuses_to_keep_anything(place):
    from bots.slack import installing

    engine = place.notes.engine
    new = await installing.of_token(engine.settings, place.bot.api, place.team.token)
    from dataclasses import replace

    await engine.chats.installations.install(
        place.notes.owner.tenant_id, replace(new, reading="live")
    )
    assert "don't let such an app store messages" in await keep(place)
    assert await stored(place) == []


async def test_a_distributed_app_answers_with_what_slacks_own_search_finds_and_keeps_none(place):
    from dataclasses import replace

    from bots.slack import installing

    engine = place.notes.engine
    new = await installing.of_token(engine.settings, place.bot.api, place.team.token)
    await engine.chats.installations.install(
        place.notes.owner.tenant_id, replace(new, reading="live")
    )
    place.bot.app.forget()
    await talk(place)
    place.slack.write(place.team, "P1", "UADA", "the coffee budget is secret")
    live = {"assistant_thread": {"action_token": "act-1"}}
    question = "how do I reset the coffee machine?"
    [shown] = await place.say("UBOB", question, channel="DUBOB", **live)
    assert "Matching messages, found just now: " in said(shown)
    assert "Hold both keys of the coffee machine" in said(shown)
    assert "budget is secret" not in said(shown)
    [guests] = await place.say("UBOB", f"{place.mention} {question}", channel="C1", **live)
    assert "found just now" not in said(guests)  # a guest is in #help
    [members] = await place.say("UBOB", f"{place.mention} {question}", channel="C2", **live)
    assert "found just now" in said(members)
    [without] = await place.say("UBOB", question + "?", channel="DUBOB")
    assert "found just now" not in said(without)
    assert await stored(place) == []


@pytest.mark.parametrize(
    ("line", "gone"),
    [
        ("forget <@UBOB>", [TOLD]),
        ("ingest remove <#C1>", [ASKED, TOLD]),
        ("forget <#C1|help>", [ASKED, TOLD]),
    ],
)
async def test_what_is_forgotten_is_out_of_the_next_answer(place, line, gone):
    await keep(place)
    await talk(place)
    _, [asked] = await place.command("UADA", line)
    await place.press("UADA", asked, "Yes, do it")
    [shown] = await place.say("UADA", f"{place.mention} how do I reset the coffee machine?")
    assert "Hold both keys" not in said(shown)
    await place.notes.drain()
    assert not set(gone) & set(await stored(place))


async def test_one_message_is_forgotten_by_its_link(place):
    await keep(place)
    reply = await talk(place)
    link = f"<https://acme.slack.com/archives/C1/p{reply['ts'].replace('.', '')}>"
    _, [asked] = await place.command("UADA", f"forget {link}")
    done = await place.press("UADA", asked, "Yes, do it")
    assert "#help: Forgotten" in said(done)
    assert await stored(place) == [ASKED]


async def test_what_a_removed_bot_kept_is_hidden_at_once_and_gone_after_a_week(place, monkeypatch):
    from engine import clock
    from engine.db.tables import Document, Workspace

    await keep(place)
    await talk(place)
    engine = place.notes.engine
    await place.event({"type": "app_uninstalled"})
    found = await engine.search.find(place.notes.owner, "coffee machine keys")
    assert TOLD not in said([hit.text for hit in found.hits])
    later = clock.now() + 2 * RETENTION
    with monkeypatch.context() as patch:
        patch.setattr(clock, "now", lambda: later)
        assert await engine.chats.installations.purge_due() == 0
        await place.notes.drain()
        assert await engine.chats.installations.purge_due() == 1
    assert await stored(place) == []
    async with engine.db.read() as session:
        titles = list(await session.scalars(select(Document.title)))
        left = select(Workspace.id).where(Workspace.platform == "slack")
        assert await session.scalar(left) is None
    assert not [title for title in titles if "coffee" in title]


# Who is there


async def synced(place, channel: str) -> bool:
    async with place.notes.engine.db.read() as session:
        at = await session.scalar(
            select(Channel.members_synced_at).where(Channel.external_id == channel)
        )
    return at is not None


async def test_who_joins_a_private_channel_narrows_its_answers_from_that_moment(place):
    await keep(place, "P1")
    event = place.slack.write(place.team, "P1", "UADA", "The office moves to Lisbon in May.")
    await place.event(event | {"channel_type": "group"})
    await place.notes.drain()
    question = f"{place.mention} When does the office move to Lisbon?"
    [shown] = await place.say("UBOB", question, channel="P1")
    assert "Lisbon in May" in said(shown)
    [leave] = await place.say(
        "UBOB", f"{place.mention} how many hours of sick leave?", channel="P1"
    )
    assert "240 hours" in said(leave)
    place.slack.add_user(place.team, "UEXT", is_stranger=True, team_id="T77")
    place.team.channels["P1"]["members"].append("UEXT")
    place.slack.faults["conversations.members"] = []
    joined = {"type": "member_joined_channel", "user": "UEXT", "channel": "P1"}
    await place.event(joined)
    await place.bot.app.aclose()
    [leave] = await place.say(
        "UBOB", f"{place.mention} how many hours of sick leave??", channel="P1"
    )
    assert "240 hours" not in said(leave)


async def test_where_slack_does_not_tell_who_joined_nothing_of_before_is_assumed(place):
    from tests.fakes.slack import Fault

    await place.say("UBOB", f"{place.mention} hi", channel="P1")
    await place.say("UBOB", f"{place.mention} how many hours of sick leave?", channel="P1")
    assert await synced(place, "P1")
    place.slack.faults["conversations.members"] = [Fault("internal_error", status=500)] * 9
    await place.event({"type": "member_joined_channel", "user": "UEXT", "channel": "P1"})
    await place.bot.app.aclose()
    assert not await synced(place, "P1")
    [shown] = await place.say(
        "UBOB", f"{place.mention} how many hours of sick leave??", channel="P1"
    )
    assert "240 hours" not in said(shown)
    assert "I can't check right now who can see this channel" in said(shown)


@pytest.mark.parametrize("kind", ["channel_archive", "channel_deleted", "channel_left"])
async def test_a_channel_that_is_lost_is_read_by_no_one(place, kind):
    await keep(place)
    await talk(place)
    place.team.channels["C1"]["members"].remove(place.team.bot_user_id)
    await place.event({"type": kind, "channel": "C1"})
    [shown] = await place.say("UBOB", "how do I reset the coffee machine?", channel="DUBOB")
    assert "Hold both keys" not in said(shown)


async def test_a_question_in_a_kept_channel_takes_one_transaction(place):
    """Acknowledging Slack after it costs nothing more."""
    await keep(place)
    seen: list[str] = []
    async with place.notes.engine.db.write() as session:
        engine = session.get_bind().engine
    event.listen(engine, "begin", lambda _: seen.append("begin"))
    asked = place.slack.write(place.team, "C1", "UGUS", f"{place.mention} {ASKED}")
    await place.event(asked)
    assert seen == ["begin"]
    [kept] = await stored(place)
    assert ASKED in kept


async def test_where_authors_are_unnamed_pseudonyms_stand_for_them_everywhere(place):
    await keep(place)
    root = place.slack.write(place.team, "C1", "UGUS", ASKED)
    reply_text = f"{TOLD} Ask <@UGUS> for the keys."
    reply = place.slack.write(place.team, "C1", "UBOB", reply_text, thread_ts=root["ts"])
    for message in (root, reply):
        await place.event(message)
    await place.notes.drain()
    question = "how do I reset the coffee machine?"
    [named] = await place.say("UADA", f"{place.mention} {question}")
    assert "Ubob" in said(named)
    _, [done] = await place.command("UADA", "anonymous on")
    assert "I don't name authors when I quote their messages" in said(done)
    [meanwhile] = await place.say("UADA", f"{place.mention} {question}?")
    assert "Hold both keys" not in said(meanwhile)
    await place.notes.drain()
    [shown] = await place.say("UADA", f"{place.mention} {question}??")
    assert "Hold both keys" in said(shown)
    _, [found] = await place.command("UADA", "search who has the keys")
    for name in ("Ubob", "Ugus"):
        assert name not in said(shown) + said(found)
        rows = [row for row in holding(place, name.encode()) if '"identity"' not in row]
        assert rows == []
    assert re.search(r"Person \w{5} · ", said(shown))
    await place.command("UADA", "anonymous off")
    await place.notes.drain()
    [again] = await place.say("UADA", f"{place.mention} {question}???")
    assert "Ubob" in said(again)


def holding(place, words: bytes) -> list[str]:
    """Every file of the installation with these words in it, and every row of its database."""
    home = place.notes.engine.settings.home
    found = [
        str(path.relative_to(home))
        for path in sorted(home.rglob("*"))
        if path.is_file() and ".db" not in path.name and words in path.read_bytes()
    ]
    with closing(sqlite3.connect(home / "scrubjay.db")) as db:
        return found + [line[:300] for line in db.iterdump() if words.decode() in line]


async def save(place, message: dict) -> None:
    """A curator saves a message as an answer."""
    body = {
        "type": "message_action",
        "callback_id": f"{blocks.PREFIX}{replies.SAVE}",
        "action_ts": "1.5",
        "trigger_id": "t1",
        "user": {"id": "UADA"},
        "team": {"id": place.team.id},
        "channel": {"id": "C1", "name": "help"},
        "message": message,
    }
    await place.post(form(body))
    await place.drain()


def deletion(message: dict, at: str = "1900000001.000000") -> dict:
    return {
        "type": "message",
        "subtype": "message_deleted",
        "channel": "C1",
        "channel_type": "channel",
        "deleted_ts": message["ts"],
        "previous_message": {k: message[k] for k in ("type", "user", "ts", "text")},
        "ts": at,
    }


async def test_a_deleted_messages_words_are_nowhere_any_more(place):
    """Not in answers given before, saved answers, derived documents, caches, index or blobs."""
    await keep(place)
    reply = await talk(place)
    [shown] = await place.say("UADA", f"{place.mention} how do I reset the coffee machine?")
    await place.press("UADA", shown, "More detail")
    await save(place, reply)
    await place.notes.drain()
    words = b"Hold both keys"
    assert len(holding(place, words)) > 4
    await place.event(deletion(reply))
    [second] = await place.say("UADA", f"{place.mention} how do I reset the coffee machine?!")
    assert "Hold both keys" not in said(second)
    await place.notes.drain()
    assert holding(place, words) == []


async def test_a_forgotten_person_leaves_no_words_not_even_questions(place):
    await keep(place)
    await talk(place)
    await place.say("UBOB", f"{place.mention} which gnomes guard the coffee machine?")
    [shown] = await place.say("UADA", f"{place.mention} how do I reset the coffee machine?")
    assert "Hold both keys" in said(shown)
    assert holding(place, b"which gnomes")
    _, [asked] = await place.command("UADA", "forget <@UBOB>")
    await place.press("UADA", asked, "Yes, do it")
    await place.notes.drain()
    assert holding(place, b"which gnomes") == []
    assert holding(place, b"Hold both keys") == []


async def test_a_deleted_question_takes_its_words_along(place):
    asked = place.slack.write(place.team, "C1", "UADA", f"{place.mention} which gnomes sleep here?")
    await place.event(asked)
    await place.drain()
    assert holding(place, b"which gnomes")
    await place.event(deletion(asked))
    await place.drain()
    assert holding(place, b"which gnomes") == []
