"""What comes with a question, and bots that ask: read for this answer, or told that it was not."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from sqlalchemy import select

from bots.conversation import ABOUT_THIS, Ask, Ignore, InboundMessage, Known, Refuse, decide
from bots.discord import payloads as discord
from bots.discord.directory import Where
from bots.slack import payloads as slack
from engine.db.tables import Job, Post, Turn

SICK = "How many hours of advanced sick leave can I request?"
NOW = datetime(2026, 6, 1, tzinfo=UTC)
CALLED = InboundMessage("slack", "T1", "C1", "channel", "1.0", "B1", "why?", calls_bot=True)


def message(**values: object) -> InboundMessage:
    return InboundMessage(
        **({name: getattr(CALLED, name) for name in CALLED.__dataclass_fields__} | values)
    )


async def test_what_is_forwarded_alone_is_answered_and_not_kept(room):
    [shown] = await room.say("@bot", by="bob", forwarded=SICK)
    assert "240 hours" in shown.reply.text
    async with room.engine.db.read() as session:
        kept = [
            *await session.scalars(select(Post.question)),
            *await session.scalars(select(Turn.question)),
            *map(str, await session.scalars(select(Job.payload))),
        ]
    assert ABOUT_THIS in kept
    assert not [item for item in kept if "sick leave" in item]


async def test_what_is_forwarded_with_a_question_is_what_it_is_about(room):
    [shown] = await room.say("@bot how many hours is that", by="bob", forwarded=f"Gus: {SICK}")
    assert "240 hours" in shown.reply.text


async def test_what_is_forwarded_widens_nobodys_rights(room):
    words = "What is the salary of the chief gardener?"
    [shown] = await room.say("@bot", by="ada", forwarded=words)
    assert "81,000" not in repr(shown)


async def test_a_file_alone_is_said_not_to_be_read_and_why(room):
    [shown] = await room.say("@bot", by="bob", files=["plan.pdf"])
    assert "I did not read what is attached (plan.pdf)" in shown.reply.text
    [direct] = await room.say("", by="bob", channel="D1", files=["plan.pdf", "b.txt"])
    assert "(plan.pdf, b.txt)" in direct.reply.text
    await room.say(f"@bot {SICK}", by="bob")
    thread = room.chat.last.thread
    [ours] = await room.say("", by="bob", thread=thread, files=["c.txt"])
    assert "(c.txt)" in ours.reply.text


async def test_an_answer_says_that_the_file_beside_its_question_was_not_read(room):
    [shown] = await room.say(f"@bot {SICK}", by="bob", files=["plan.pdf"])
    assert "240 hours" in shown.reply.text
    assert "I did not read what is attached (plan.pdf)" in shown.reply.note


# Bots


async def test_a_bot_on_the_list_is_answered_from_what_its_channel_may_read(room):
    ask = {"by": "B77", "by_bot": True, "bot_ids": ["B77", "A77"]}
    assert await room.say(f"@bot {SICK}", **ask) == []
    await room.command("answer-bots A77")
    [shown] = await room.say(f"@bot {SICK}", **ask)
    assert (shown.whom, "240 hours" in shown.reply.text) == ("", True)
    [secret] = await room.say("@bot What is the salary of the chief gardener?", **ask)
    assert "81,000" not in repr(secret)
    await room.command("answer-bots none")
    assert await room.say(f"@bot {SICK}", **ask) == []


async def test_no_talk_with_a_bot_comes_of_its_question(room):
    await room.command("answer-bots B77")
    ask = {"by": "B77", "by_bot": True, "bot_ids": ["B77"]}
    [shown] = await room.say(f"@bot {SICK}", **ask)
    assert await room.say(f"@bot {SICK}", thread=shown.thread, **ask) == []
    assert await room.say("tell me more", thread=shown.thread, **ask) == []
    assert await room.say(f"@bot {SICK}", thread="q99", **ask) == []


@pytest.mark.parametrize(
    "change",
    [
        {"by_us": True},
        {"calls_bot": False},
        {"thread": "0.9"},
        {"kind": "edited"},
        {"place": "direct"},
        {"bot_ids": ["B2"]},
        {"text": ""},
        {"is_notice": True},
    ],
)
def test_a_bot_asks_by_a_mention_that_opens_a_thread_and_in_no_other_way(change):
    listed = Known(answer_bots=["B1"])
    asked = {"by_bot": True, "bot_ids": ["B1"]}
    assert decide(message(**asked), listed) == Ask("why?")
    assert isinstance(decide(message(**asked), Known()), Ignore)
    assert isinstance(decide(message(**(asked | change)), listed), Ignore)


def test_a_bot_is_not_answered_where_the_bot_is_off():
    listed = Known(answer_bots=["B1"], mode="off")
    assert isinstance(decide(message(by_bot=True, bot_ids=["B1"]), listed), Ignore)


# Payloads


def test_slacks_shared_messages_and_files_are_read_and_previews_of_links_are_not():
    share = {
        "is_share": True,
        "author_name": "Gus",
        "text": "old text",
        "message_blocks": [
            {
                "message": {
                    "blocks": [
                        {
                            "type": "rich_text",
                            "elements": [
                                {
                                    "type": "rich_text_section",
                                    "elements": [{"type": "text", "text": "the door is open"}],
                                }
                            ],
                        }
                    ]
                }
            }
        ],
        "files": [{"name": "door.png"}],
    }
    plain = {"is_msg_unfurl": True, "author_subname": "Bob", "text": "a &lt;b&gt;"}
    preview = {"title": "A page", "text": "not this", "from_url": "https://a.example"}
    event = {
        "type": "message",
        "channel": "C1",
        "channel_type": "channel",
        "user": "U1",
        "ts": "1.000001",
        "text": "",
        "attachments": [share, plain, preview, "damaged"],
        "files": [{"title": "Plan", "name": "plan.pdf"}, None],
    }
    found = slack.read_event(event, slack.Whose("T1", bot_user_id="UB"), now=NOW)
    assert isinstance(found, InboundMessage)
    assert found.forwarded == "Gus: the door is open\n\nBob: a <b>"
    assert found.files == ["Plan", "door.png"]
    assert found.bot_ids == []


def test_a_workflow_of_slack_is_named_by_its_bot_app_and_account():
    event = {
        "type": "message",
        "subtype": "bot_message",
        "channel": "C1",
        "ts": "1.000001",
        "text": "<@UB> why?",
        "bot_id": "B1",
        "app_id": "A1",
        "bot_profile": {"app_id": "A2"},
    }
    found = slack.read_event(event, slack.Whose("T1", bot_user_id="UB"), now=NOW)
    assert isinstance(found, InboundMessage)
    assert found.bot_ids == ["B1", "A1", "A2"]
    assert decide(found, Known(answer_bots=["A2"])) == Ask("why?")


def test_discords_snapshots_and_attachments_are_read():
    data = {
        "id": "1",
        "author": {"id": "5"},
        "content": "",
        "type": 0,
        "message_reference": {"type": 1, "message_id": "9"},
        "message_snapshots": [
            {"message": {"content": "the door is open", "attachments": [{"filename": "a.png"}]}},
            {"message": None},
            "damaged",
        ],
        "attachments": [{"filename": "plan.pdf"}],
    }
    found = discord.read_message(data, Where("7", place="direct"), "3", discord.Us("8"), now=NOW)
    assert found is not None
    assert found.forwarded == "the door is open"
    assert found.files == ["plan.pdf", "a.png"]
    assert decide(found, Known()) == Ask(ABOUT_THIS, context="the door is open")


def test_a_webhook_of_discord_is_named_by_its_id():
    data = {"id": "1", "author": {"id": "5"}, "content": "hi", "webhook_id": "5", "type": 0}
    found = discord.read_message(data, Where("7"), "3", discord.Us("8"), now=NOW)
    assert found is not None
    assert (found.by_bot, found.bot_ids) == (True, ["5"])


@pytest.mark.parametrize("place", ["direct", "channel"])
def test_files_alone_are_no_silence(place):
    found = decide(message(text="", files=["a.pdf"], place=place), Known())
    assert found == Refuse("files alone")
