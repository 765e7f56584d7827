"""Discord's payloads and permissions, read; the fake's own reading of the rules is the measure."""

from __future__ import annotations

from datetime import timedelta
from random import Random

from bots.conversation import InboundMessage
from bots.discord import payloads, permissions
from bots.discord.directory import Directory, Where
from bots.discord.payloads import Us
from engine import clock
from engine.access.discord_access import ADMINISTRATOR
from tests.fakes.discord import FakeDiscord
from tests.fakes.discord_world import HISTORY, MANAGE_SERVER, SEND, VIEW

US = Us("1", "77")
HERE = Where("801")


def message(content: str, **more: object) -> dict[str, object]:
    id_ = str(payloads.snowflake(clock.now()))
    author = {"id": "5", "username": "bob", "global_name": "Bob"}
    return {"id": id_, "content": content, "author": author, "type": 0} | more


def read(data: dict[str, object], where: Where = HERE, **more: object) -> InboundMessage:
    found = payloads.read_message(data, where, "700", US, now=clock.now(), **more)
    assert found is not None
    return found


def test_a_mention_of_the_bot_or_of_its_role_calls_it():
    bot = [{"id": "1", "username": "scrubjay"}]
    assert read(message("<@1> why?", mentions=bot)).calls_bot
    assert read(message("<@1> why?", mentions=bot)).text == "why?"
    assert read(message("<@&77> why?", mention_roles=["77"])).calls_bot
    assert not read(message("<@&78> why?", mention_roles=["78"])).calls_bot
    assert read(message("<@6> why?", mentions=[{"id": "6", "username": "ada"}])).calls_others


def test_a_reply_to_the_bot_calls_it_unless_its_words_are_hidden():
    ours = {"author": {"id": "1"}}
    assert read(message("why?", type=19, referenced_message=ours)).calls_bot
    assert not read(message("", type=19, referenced_message=ours)).calls_bot
    assert not read(message("why?", type=19, referenced_message=None)).calls_bot


def test_a_post_in_a_forum_asks_by_its_title():
    data = message("It blinks.")
    where = Where("804", str(data["id"]), title="Radio is off", in_forum=True)
    found = read(data, where)
    assert found.text == "Radio is off?\n\nIt blinks."
    assert found.thread == ""  # it opens the thread it is in
    later = str(int(where.thread) + 1)
    assert read(message("me too", id=later), where).thread == where.thread


def test_a_preview_is_no_edit_and_old_edits_are_known_by_their_age():
    assert (
        payloads.read_message(
            message("hi", edited_timestamp=None), HERE, "700", US, now=clock.now(), kind="edited"
        )
        is None
    )
    old = str(payloads.snowflake(clock.now() - timedelta(hours=1)))
    edited = message("hi", id=old, edited_timestamp="2026-01-01T00:00:00+00:00")
    assert read(edited, kind="edited").age > timedelta(minutes=59)


def test_joins_pins_and_other_bots_are_not_taken_for_questions():
    assert read(message("", type=7)).is_notice
    assert read(message("", type=21)).is_notice
    bot = {"id": "9", "username": "rss", "bot": True}
    assert read(message("news?", author=bot)).by_bot
    assert read(message("news?", webhook_id="3")).by_bot


def test_threads_belong_to_their_channels_wherever_they_were_announced():
    directory = Directory()
    directory.on_event(
        "GUILD_CREATE",
        {
            "id": "700",
            "channels": [{"id": "801", "type": 0}, {"id": "804", "type": 15}],
            "threads": [{"id": "900", "type": 11, "parent_id": "801", "name": "t"}],
        },
    )
    post = {"id": "901", "type": 11, "parent_id": "804", "name": "Radio is off", "guild_id": "700"}
    directory.on_event("THREAD_CREATE", post)
    assert directory.where(directory.channel("900") or {}) == Where("801", "900")
    found = directory.where(directory.channel("901") or {})
    assert (found.channel, found.title, found.in_forum) == ("804", "Radio is off", True)
    directory.on_event("THREAD_DELETE", {"id": "900"})
    assert directory.channel("900") is None
    directory.on_event("GUILD_DELETE", {"id": "700", "unavailable": True})
    assert directory.guild("700") is not None
    directory.on_event("GUILD_DELETE", {"id": "700"})
    assert (directory.guild("700"), directory.channel("801")) == (None, None)


def test_permissions_are_what_discords_own_rules_make_of_roles_and_overwrites():
    random = Random(5)
    bits = (VIEW, SEND, HISTORY)

    def some() -> int:
        return sum(bit for bit in bits if random.random() < 0.5)

    for _ in range(200):
        discord = FakeDiscord()
        guild = discord.add_guild("700", "Radio", owner_id=random.choice(["1", "101"]))
        guild.roles["700"]["permissions"] = str(some())
        roles = [discord.add_role(guild, str(n), permissions=some()) for n in (901, 902)]
        if random.random() < 0.1:
            guild.roles["902"]["permissions"] = str(ADMINISTRATOR)
        own = [role for role in roles if random.random() < 0.5]
        discord.add_person(guild, "101", "Ada", *own)
        whom = ["700", *roles, "101"]
        chosen = [item for item in whom if random.random() < 0.6]
        allow, deny = ({choice: some() for choice in chosen} for _ in range(2))
        discord.add_channel(guild, "801", "help", allow=allow, deny=deny)
        channel, member = guild.channels["801"], guild.members["101"]
        server = {"id": "700", "owner_id": guild.owner_id, "roles": list(guild.roles.values())}
        ours = permissions.held(server, channel, member)
        theirs = discord.world.permissions("801", "101")
        assert (ours & VIEW == VIEW) == (theirs & VIEW == VIEW)
        if theirs & VIEW:
            assert [ours & bit for bit in bits] == [theirs & bit for bit in bits]


def test_who_may_set_up_manages_the_server():
    assert permissions.is_manager(MANAGE_SERVER)
    assert permissions.is_manager(ADMINISTRATOR)
    assert not permissions.is_manager(SEND | VIEW)
