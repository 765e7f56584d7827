"""What a bot does for people: one story for every platform it is on.

Each story is played on Slack and on Discord through one rig. What a platform can't do is in `CANNOT`,
with its reason; nothing is left out without one.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from sqlalchemy import delete, select

from bots import replies
from engine.access import gate
from engine.db.tables import Channel, ChannelMember
from tests.fakes.bot_rigs import DiscordRig, Rig, SlackRig
from tests.fakes.discord import open_discord
from tests.fakes.discord_rooms import FORUM, GUS, open_discord_room
from tests.fakes.installations import parse_inline
from tests.fakes.slack import open_slack
from tests.fakes.slack_rooms import open_slack_room

SICK = "How many hours of advanced sick leave can I request?"
SALARY = "What is the salary of the chief gardener?"
BACKUP = "When does the backup of the shop run?"

CANNOT: Mapping[tuple[str, str], str] = {
    ("discord", "a_guest_is_held_to_their_channel"): "Discord has no guests: everyone on a server"
    " is a member, and roles decide what they read",
    ("slack", "a_post_in_a_forum_is_answered_unasked"): "Slack has no forums",
}


async def a_mention_is_answered_with_its_source(rig: Rig) -> None:
    reply = await rig.say("bob", SICK, calls=True)
    assert "240 hours" in reply.public
    assert "docs.example/leave" in reply.public
    assert reply.thread


async def a_follow_up_needs_no_mention(rig: Rig) -> None:
    reply = await rig.say("bob", SICK, calls=True)
    more = await rig.say("gus", BACKUP, thread=reply.thread)
    assert "four in the morning" in more.public
    assert more.thread == reply.thread
    assert not (await rig.say("gus", "ah, so early", thread=reply.thread)).text


async def talk_of_others_is_left_alone(rig: Rig) -> None:
    assert not (await rig.say("bob", SICK)).text
    assert not (await rig.say("bob", "the backup ran again")).text


async def a_direct_message_is_answered_from_what_the_asker_may_read(rig: Rig) -> None:
    assert "240 hours" in (await rig.say("bob", SICK, "bob")).public
    assert "81,000" not in (await rig.say("bob", SALARY, "bob")).text
    assert "81,000" in (await rig.say("ada", SALARY, "ada")).public


async def a_channel_hears_nothing_that_not_all_of_it_may_read(rig: Rig) -> None:
    reply = await rig.say("ada", SALARY, calls=True)
    assert not [word for word in ("81,000", "Salaries", "board") if word in reply.text]


async def a_closed_channel_is_answered_from_what_its_people_may_read(rig: Rig) -> None:
    assert "240 hours" in (await rig.say("bob", SICK, "leads", calls=True)).public
    assert "81,000" not in (await rig.say("ada", SALARY, "leads", calls=True)).text


async def a_guest_is_held_to_their_channel(rig: Rig) -> None:
    assert "240 hours" in (await rig.say("gus", SICK, calls=True)).public
    reply = await rig.command("ada", "revoke notes #help")
    assert "can no longer read" in reply.private
    assert "240 hours" not in (await rig.say("gus", SICK, "gus")).text


async def a_command_is_answered_for_its_asker(rig: Rig) -> None:
    reply = await rig.command("bob", f"ask {SICK}")
    assert "240 hours" in reply.private
    assert not reply.public


async def a_private_answer_is_shared_once_its_asker_has_seen_what_all_will_see(rig: Rig) -> None:
    reply = await rig.command("bob", f"ask {SICK}")
    preview = await rig.press("bob", reply, replies.SHARE)
    assert not preview.public
    for words in ("everyone in #help will see", SICK, "240 hours", "Shared by"):
        assert words in preview.private
    shared = await rig.press("bob", preview, replies.POST_ANSWER)
    for words in (SICK, "240 hours", "Shared by"):
        assert words in shared.public
    assert not shared.private
    assert "already" in (await rig.press("bob", preview, replies.POST_ANSWER)).private


async def a_share_that_not_all_may_read_is_refused_in_private_and_says_why(rig: Rig) -> None:
    secret = await rig.command("ada", f"ask {SALARY}")
    assert "81,000" in secret.private
    refused = await rig.press("ada", secret, replies.SHARE)
    assert not refused.public
    assert "not everyone in #help may read" in refused.private
    assert "81,000" not in refused.private


async def a_private_question_calls_for_help_only_after_a_yes(rig: Rig) -> None:
    secret = await rig.command("ada", f"ask {SALARY}")
    preview = await rig.press("ada", secret, replies.HUMAN)
    assert not preview.public
    assert SALARY in preview.private
    assert not (await rig.press("ada", preview, replies.KEEP)).public
    called = await rig.press("ada", preview, replies.POST_CALL)
    assert f"Someone asked for help with: “{SALARY}”" in called.public
    assert "already" in (await rig.press("ada", secret, replies.HUMAN)).private


async def a_channel_that_may_be_told_nothing_says_why_and_answers_in_private(rig: Rig) -> None:
    await rig.say("ada", "hello", "team", calls=True)
    await rig.command("ada", "bind #team board", "team")
    refused = await rig.say("ada", SALARY, "team", calls=True)
    assert "not everyone there may read" in refused.text
    assert "grant <knowledge base> #team" in refused.text
    assert "81,000" not in refused.text
    answered = await rig.press("ada", refused, replies.PRIVATELY)
    assert not answered.public
    assert "81,000" in answered.private


async def where_answers_are_private_an_unasked_one_is_too(rig: Rig) -> None:
    await rig.say("ada", "hello", calls=True)
    await rig.command("ada", "mode auto")
    await rig.command("ada", "private on")
    reply = await rig.say("ada", SALARY)
    assert not reply.public
    assert "81,000" in reply.private


async def an_answer_is_rated_and_the_reason_is_reported(rig: Rig) -> None:
    reply = await rig.say("bob", SICK, calls=True)
    assert "Thank you" in (await rig.press("gus", reply, replies.RATE_UP)).private
    await rig.explain("bob", reply, "outdated", "it is 300 now")
    report = (await rig.command("ada", "feedback report")).private
    assert "outdated" in report
    assert "it is 300 now" in report


async def more_detail_quotes_what_the_answer_rests_on(rig: Rig) -> None:
    reply = await rig.say("bob", SICK, calls=True)
    assert (
        "> You can request up to 240 hours" in (await rig.press("bob", reply, replies.MORE)).public
    )


async def a_source_of_ours_opens_for_who_may_read_it_when_they_press(rig: Rig) -> None:
    reply = await rig.say("ada", SALARY, "ada")
    assert "kb.example" not in reply.text
    opened = await rig.press("ada", reply, replies.OPEN)
    assert "https://kb.example/v/a" in opened.private
    assert not opened.public
    asked = await rig.command("ada", f"ask {SALARY}")
    refused = await rig.press("bob", asked, replies.OPEN)
    assert "I can't open this for you" in refused.private
    assert "Salaries" not in refused.text


async def who_left_a_channel_opens_nothing_of_it(rig: Rig) -> None:
    room = rig.room  # type: ignore[attr-defined]  # both have one
    await rig.say("bob", SICK, "leads", calls=True)  # so that the channel is known
    async with room.notes.engine.db.read() as session:
        leads = await session.scalar(select(Channel.id).where(Channel.name == "leads"))
    text = "# Move\n\nThe office moves to Lisbon on the third of May.\n"
    await room.notes.add(text, "move.md", acl=[gate.channel_token(leads)])
    await room.notes.drain()
    reply = await rig.say("bob", "Where does the office move to?", "leads", calls=True)
    assert "Lisbon" in reply.public
    assert "https://kb.example/v/a" in (await rig.press("bob", reply, replies.OPEN)).private
    async with room.notes.engine.db.write() as session:
        await session.execute(delete(ChannelMember).where(ChannelMember.channel_id == leads))
    refused = await rig.press("bob", reply, replies.OPEN)
    assert "I can't open this for you" in refused.private
    assert "kb.example" not in refused.text


async def a_human_is_called_once_and_the_matter_is_closed(rig: Rig) -> None:
    reply = await rig.say("bob", SICK, calls=True)
    called = await rig.press("gus", reply, replies.HUMAN)
    assert "Someone asked for help with" in called.public
    assert "already" in (await rig.press("gus", reply, replies.HUMAN)).private
    await rig.press("ada", called, replies.RESOLVED)


async def only_who_asked_or_an_admin_deletes_an_answer(rig: Rig) -> None:
    reply = await rig.say("bob", SICK, calls=True)
    assert "Only the person who asked" in (await rig.press("gus", reply, replies.DELETE)).private
    assert rig.is_shown(reply)
    await rig.press("bob", reply, replies.DELETE)
    assert not rig.is_shown(reply)


async def an_edited_question_is_answered_again_if_its_author_wants(rig: Rig) -> None:
    reply = await rig.say("bob", SICK, calls=True)
    offer = await rig.edit(reply, BACKUP)
    assert "Should I answer the new one?" in offer.text
    assert "four in the morning" in (await rig.press("bob", offer, replies.RERUN)).public
    assert not rig.is_shown(reply)


async def a_deleted_question_takes_its_answer_along(rig: Rig) -> None:
    reply = await rig.say("bob", SICK, calls=True)
    await rig.delete(reply)
    assert not rig.is_shown(reply)


async def unasked_the_bot_speaks_only_where_it_is_set_and_sure(rig: Rig) -> None:
    await rig.say("ada", "hello", calls=True)
    await rig.command("ada", "mode auto")
    assert "240 hours" in (await rig.say("bob", SICK)).public
    assert not (await rig.say("bob", "Where do swallows sleep in winter?")).text


async def a_post_in_a_forum_is_answered_unasked(rig: Rig) -> None:
    assert isinstance(rig, DiscordRig)
    await rig.command("ada", "mode auto workspace")
    rig.discord.talk.post(FORUM, GUS, "Hours of advanced sick leave I can request", "Anybody?")
    await rig.room.settle()
    assert "240 hours" in "".join(str(item) for item in rig.room.shown())


async def turned_off_it_says_so(rig: Rig) -> None:
    await rig.say("ada", "hello", calls=True)
    await rig.command("ada", "mode off")
    assert "I am turned off" in (await rig.say("bob", SICK, calls=True)).text


async def what_destroys_is_confirmed_by_who_said_it(rig: Rig) -> None:
    reply = await rig.command("ada", "delete board")
    assert "This can't be undone" in reply.private
    refused = await rig.press("bob", reply, replies.CONFIRM)
    assert "only the person who asked for it can" in refused.private
    assert "Deleted **board**" in (await rig.press("ada", reply, replies.CONFIRM)).private


async def settings_are_for_admins(rig: Rig) -> None:
    for who in ("bob", "gus"):
        assert "for admins" in (await rig.command(who, "mode auto workspace")).private
        assert "answered from" not in (await rig.set_up(who, kb="board", mode="auto")).text
    assert "well" in (await rig.command("ada", "health")).private


async def a_form_sets_a_channel_up(rig: Rig) -> None:
    await rig.say("ada", "hello", calls=True)
    reply = await rig.set_up("ada", kb="notes", mode="auto", question=SICK)
    assert "are now answered from **notes**" in reply.private
    assert "240 hours" in reply.private
    assert "auto" in (await rig.command("ada", "show")).private


async def a_limit_is_told_with_its_end(rig: Rig) -> None:
    await rig.command("ada", "limits set user 1")
    await rig.say("bob", SICK, calls=True)
    reply = await rig.say("bob", BACKUP, calls=True)
    assert "which is the limit" in reply.text
    assert "Ask again in" in reply.text


async def a_greeting_and_words_that_are_commands_are_understood(rig: Rig) -> None:
    assert "Ask me anything" in (await rig.say("bob", "hello", calls=True)).text
    assert "what I stored about you" in (await rig.say("bob", "privacy", "bob")).text
    assert "notes" in (await rig.say("bob", "sources", "bob")).text


async def nothing_found_says_what_was_searched(rig: Rig) -> None:
    reply = await rig.say("bob", "Where do swallows sleep in winter?", calls=True)
    assert "notes" in reply.public
    assert "240 hours" not in reply.public


async def a_messages_menu_asks_finds_sums_up_and_saves(rig: Rig) -> None:
    asked = (await rig.say("gus", SICK)).asked
    assert "240 hours" in (await rig.choose("gus", replies.ABOUT, asked)).private
    assert "Sick leave" in (await rig.choose("gus", replies.SIMILAR, asked)).private
    assert "sick leave" in (await rig.choose("gus", replies.SUMMARISE, asked)).private
    assert "Only curators" in (await rig.choose("gus", replies.SAVE, asked)).private
    await rig.say("ada", "hello", calls=True)
    await rig.command("ada", "bind #help notes")
    assert "Saved in" in (await rig.choose("ada", replies.SAVE, asked)).private


async def thrown_out_it_forgets_the_place(rig: Rig) -> None:
    await rig.say("bob", SICK, calls=True)
    await rig.remove_bot()
    room = rig.room  # type: ignore[attr-defined]  # both have one
    [installed] = await room.notes.engine.chats.installations.list_all()
    assert installed.state == "paused"


Story = Callable[[Rig], Awaitable[None]]
STORIES: Mapping[str, Story] = {
    name: story
    for name, story in list(globals().items())
    if inspect.iscoroutinefunction(story) and not name.startswith("test_")
}
PLATFORMS = ("slack", "discord")


@pytest.fixture(params=PLATFORMS)
async def rig(
    request: pytest.FixtureRequest, home: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Rig]:
    parse_inline(monkeypatch)
    # However slow the machine is, an answer that is ready at once is one message.
    monkeypatch.setattr("bots.slack.streaming.FLUSH_S", 3600.0)
    monkeypatch.setattr("bots.slack.streaming.UPDATE_S", 3600.0)
    monkeypatch.setattr("bots.discord.streaming.EDIT_S", 3600.0)
    async with AsyncExitStack() as stack:
        if request.param == "slack":
            slack = await stack.enter_async_context(open_slack())
            yield SlackRig(await stack.enter_async_context(open_slack_room(home, slack)))
        else:
            discord = await stack.enter_async_context(open_discord())
            yield DiscordRig(await stack.enter_async_context(open_discord_room(home, discord)))


@pytest.mark.parametrize("story", STORIES)
async def test_story(rig: Rig, story: str) -> None:
    if reason := CANNOT.get((rig.name, story)):
        pytest.skip(reason)
    await STORIES[story](rig)


def test_what_a_platform_cannot_do_is_a_story_of_another_with_a_reason() -> None:
    for (platform, story), reason in CANNOT.items():
        assert platform in PLATFORMS
        assert story in STORIES
        assert len(reason.split()) >= 4
        assert any((other, story) not in CANNOT for other in PLATFORMS)
