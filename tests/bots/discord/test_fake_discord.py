"""A real discord.py is content with the fake Discord, and the fake refuses what Discord refuses."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import aiohttp
import discord as dpy
import pytest
import yarl
from discord import app_commands
from discord.gateway import DiscordWebSocket
from discord.http import Route

from tests.fakes.discord import PRIVATE_THREAD, TOKEN, FakeDiscord, Fault, Json, text_of
from tests.fakes.discord_world import HISTORY, MANAGE_SERVER, SEND, VIEW

GUILD, TALK, STAFF, HELP = "700", "7100", "7300", "7200"
ADA, BROOK, CREW = "11", "12", "50"


@pytest.fixture
def fake(discord: FakeDiscord, monkeypatch: pytest.MonkeyPatch) -> FakeDiscord:
    """Ada of the crew and Brook, #talk, #staff for the crew, and the forum #help."""
    monkeypatch.setattr(Route, "BASE", discord.api_base_url)
    monkeypatch.setattr(DiscordWebSocket, "DEFAULT_GATEWAY", yarl.URL(discord.gateway_url))
    guild = discord.add_guild(GUILD)
    discord.add_role(guild, CREW, "crew", MANAGE_SERVER)
    discord.add_person(guild, ADA, "Ada", CREW)
    discord.add_person(guild, BROOK, "Brook")
    discord.add_channel(guild, TALK, "talk")
    bot = {discord.bot_id: VIEW}
    discord.add_channel(guild, STAFF, "staff", deny={GUILD: VIEW}, allow={CREW: VIEW} | bot)
    discord.add_forum(guild, HELP, "help", "build", "solved")
    return discord


def intents(**without: bool) -> dpy.Intents:
    chosen = dpy.Intents.default()
    chosen.message_content = chosen.members = True
    for name, value in without.items():
        setattr(chosen, name, value)
    return chosen


class Client(dpy.AutoShardedClient):
    """A client that notes every dispatch of the gateway."""

    def __init__(self, chosen: dpy.Intents | None = None, **options: Any) -> None:
        super().__init__(
            intents=chosen or intents(),
            guild_ready_timeout=0.1,
            chunk_guilds_at_startup=False,
            max_messages=None,
            enable_debug_events=True,
            **options,
        )
        self.events: list[tuple[str, Json]] = []
        self.tree = app_commands.CommandTree(self)
        self.errors: list[str] = []
        self.set_up: Callable[[Client], Awaitable[None]] | None = None

    async def setup_hook(self) -> None:
        if self.set_up is not None:
            await self.set_up(self)

    async def before_identify_hook(self, shard_id: int | None, *, initial: bool = False) -> None:
        """Shards need not wait for one another here."""

    async def on_socket_raw_receive(self, text: str) -> None:
        payload = dpy.utils._from_json(text)
        if payload["op"] == 0:
            self.events.append((payload["t"], payload["d"]))

    def received(self, event: str) -> list[Json]:
        return [data for name, data in self.events if name == event]


@asynccontextmanager
async def connected(
    fake: FakeDiscord, client: Client | None = None, *, shards: int = 1
) -> AsyncIterator[Client]:
    client = client or Client()
    fake.gateway.shards = shards
    running = asyncio.create_task(client.start(TOKEN))
    try:
        await fake.until(lambda: running.done() or client.is_ready())
        if running.done():
            running.result()
        yield client
        assert not running.done(), f"the client died: {running.exception()!r}"
    finally:
        await client.close()
        await asyncio.gather(running, return_exceptions=True)


# Gateway


async def test_a_client_logs_in_and_finds_its_server(fake):
    async with connected(fake) as client:
        [guild] = client.guilds
        assert (guild.name, guild.me.id) == ("Radio", int(fake.bot_id))
        assert {channel.name for channel in guild.channels} == {"talk", "staff", "help"}
        assert {member.name for member in guild.members} >= {"ada", "brook"}
        assert fake.gateway.identified[0]["intents"] & 1 << 15


async def test_heartbeats_are_acknowledged_and_a_silent_gateway_is_left(fake):
    fake.gateway.heartbeat_interval_ms = 100
    async with connected(fake) as client:
        await fake.until(lambda: fake.gateway.heartbeats >= 3)
        assert client.latency >= 0


async def test_a_dropped_socket_is_resumed_and_what_was_missed_is_replayed(fake):
    async with connected(fake) as client:
        first = fake.gateway.connected[0]
        await fake.gateway.drop()
        missed = [fake.talk.say(TALK, ADA, f"missed {number}")["id"] for number in range(3)]
        await fake.until(lambda: client.received("RESUMED"))
        fake.talk.say(TALK, ADA, "and on")
        await fake.until(lambda: len(client.received("MESSAGE_CREATE")) == 4)
        assert [item["id"] for item in client.received("MESSAGE_CREATE")][:3] == missed
        assert fake.gateway.resumed[0]["session_id"] == first.id
        assert len(fake.gateway.identified) == 1


async def test_reconnect_is_obeyed_and_an_invalid_session_starts_again(fake):
    async with connected(fake) as client:
        await fake.gateway.ask_to_reconnect()
        await fake.until(lambda: client.received("RESUMED"))
        old = fake.gateway.connected[0].id
        fake.gateway.sessions.clear()
        await next(iter(client.shards.values()))._parent.ws.close(code=4000)
        await fake.until(lambda: len(fake.gateway.identified) == 2, 20)
        await fake.until(lambda: bool(fake.gateway.connected))
        assert fake.gateway.connected[0].id != old


async def test_two_shards_have_their_own_servers(fake):
    fake.add_guild(str(1 << 22), "Second")
    async with connected(fake, shards=2) as client:
        assert sorted(item["shard"] for item in fake.gateway.identified) == [[0, 2], [1, 2]]
        assert {guild.name: guild.shard_id for guild in client.guilds} == {"Radio": 0, "Second": 1}
        fake.add_channel(fake.world.guilds[str(1 << 22)], "8100", "over there")
        fake.add_person(fake.world.guilds[str(1 << 22)], "13", "Cleo")
        fake.talk.say("8100", "13", "hello from the second")
        await fake.until(lambda: client.received("MESSAGE_CREATE"))
        await fake.gateway.drop(1)
        fake.talk.say("8100", "13", "while you were away")
        await fake.until(lambda: len(client.received("MESSAGE_CREATE")) == 2)
        assert fake.gateway.resumed[0]["session_id"] != fake.gateway.connected[0].id


async def test_intents_that_are_not_switched_on_are_disallowed(fake):
    fake.allow_intents(content=False)
    with pytest.raises(dpy.PrivilegedIntentsRequired):
        async with connected(fake):
            pass
    async with connected(fake, Client(intents(message_content=False))):
        assert len(fake.gateway.connected) == 1


async def test_a_wrong_token_is_refused_at_both_doors(fake):
    async with Client() as client:
        with pytest.raises(dpy.LoginFailure):
            await client.login("another")
    async with aiohttp.ClientSession() as http, http.ws_connect(fake.gateway_url) as socket:
        await socket.receive_json()
        await socket.send_json({"op": 2, "d": {"token": "another", "intents": 1}})
        await socket.receive()
        assert socket.close_code == 4004


async def test_without_the_intent_content_comes_only_where_the_bot_is_meant(fake):
    async with connected(fake, Client(intents(message_content=False))) as client:
        fake.talk.say(TALK, ADA, "between us")
        fake.talk.say(TALK, ADA, f"{fake.mention} can you help?")
        fake.talk.say(fake.dm(ADA), ADA, "in private")
        own = await client.get_channel(int(TALK)).send("from me")
        fake.talk.say(TALK, ADA, "a reply to you", reply_to=str(own.id))
        await fake.until(lambda: len(client.received("MESSAGE_CREATE")) == 5)
        texts = [item["content"] for item in client.received("MESSAGE_CREATE")]
        assert texts == ["", f"{fake.mention} can you help?", "in private", "from me", texts[4]]
        assert texts[4] == "a reply to you"


async def test_what_the_bot_may_not_see_sends_it_no_event(fake):
    fake.talk.overwrite(STAFF, deny={GUILD: VIEW}, allow={CREW: VIEW})
    async with connected(fake) as client:
        fake.talk.say(STAFF, ADA, "secret")
        hidden = fake.talk.start_thread(TALK, ADA, "between two", PRIVATE_THREAD)
        fake.talk.say(hidden["id"], ADA, "secret too")
        fake.talk.say(TALK, ADA, "open")
        await fake.until(lambda: client.received("MESSAGE_CREATE"))
        assert [item["content"] for item in client.received("MESSAGE_CREATE")] == ["open"]
        assert client.received("THREAD_CREATE") == []
        fake.talk.add_to_thread(hidden["id"], fake.bot_id)
        fake.talk.say(hidden["id"], ADA, "now with you")
        await fake.until(lambda: len(client.received("MESSAGE_CREATE")) == 2)


async def test_events_of_messages_that_are_not_cached(fake):
    old = fake.talk.say(TALK, ADA, "written before")
    rest = [fake.talk.say(TALK, ADA, f"spam {number}")["id"] for number in range(3)]
    async with connected(fake) as client:
        fake.talk.edit(TALK, old["id"], "written again")
        fake.talk.unfurl(TALK, old["id"], {"type": "link", "url": "https://example.test"})
        fake.talk.react(TALK, old["id"], BROOK, "✅")
        fake.talk.unreact(TALK, old["id"], BROOK, "✅")
        fake.talk.delete(TALK, old["id"])
        fake.talk.delete_many(TALK, rest)
        await fake.until(lambda: client.received("MESSAGE_DELETE_BULK"))
        edited, unfurled = client.received("MESSAGE_UPDATE")
        assert (edited["content"], edited["guild_id"]) == ("written again", GUILD)
        assert (unfurled["content"], len(unfurled["embeds"])) == ("written again", 1)
        assert unfurled["edited_timestamp"] == edited["edited_timestamp"]
        assert client.received("MESSAGE_REACTION_ADD")[0]["message_id"] == old["id"]
        assert client.received("MESSAGE_REACTION_REMOVE")[0]["user_id"] == BROOK
        assert client.received("MESSAGE_DELETE")[0]["id"] == old["id"]
        assert client.received("MESSAGE_DELETE_BULK")[0]["ids"] == rest


async def test_members_roles_channels_and_threads_are_followed(fake):
    async with connected(fake) as client:
        guild = client.guilds[0]
        fake.world.add_user("13", "Cleo")
        fake.talk.join(GUILD, "13")
        fake.talk.change_member(GUILD, "13", roles=[CREW], nick="Cle")
        fake.talk.change_role(GUILD, "51", name="readers", permissions=VIEW)
        fake.talk.create_channel(GUILD, "7400", "new")
        fake.talk.change_channel("7400", name="newer")
        post = fake.talk.post(HELP, ADA, "How do I build?", "It fails.", tags=["build"])
        fake.talk.change_thread(post["id"], archived=True)
        await fake.until(lambda: client.received("THREAD_UPDATE"))
        member = guild.get_member(13)
        assert (member.nick, [role.name for role in member.roles][1:]) == ("Cle", ["crew"])
        assert guild.get_channel(7400).name == "newer"
        assert guild.get_role(51).permissions.view_channel
        assert client.received("MESSAGE_CREATE")[0]["id"] == post["id"]
        fake.talk.leave(GUILD, "13")
        fake.talk.delete_role(GUILD, "51")
        fake.talk.delete_channel("7400")
        fake.talk.delete_thread(post["id"])
        await fake.until(lambda: client.received("THREAD_DELETE"))
        assert guild.get_member(13) is None
        assert guild.get_role(51) is None
        assert guild.get_channel(7400) is None


async def test_thread_members_come_whole_only_with_the_members_intent(fake):
    thread = fake.talk.start_thread(TALK, ADA, "between us", PRIVATE_THREAD)
    fake.talk.add_to_thread(thread["id"], fake.bot_id)
    async with connected(fake, Client(intents(members=False))) as client:
        fake.talk.add_to_thread(thread["id"], BROOK)
        fake.talk.remove_from_thread(thread["id"], fake.bot_id)
        await fake.until(lambda: client.received("THREAD_MEMBERS_UPDATE"))
        [payload] = client.received("THREAD_MEMBERS_UPDATE")
        assert payload["removed_member_ids"] == [fake.bot_id]


async def test_the_bot_is_invited_and_thrown_out(fake):
    async with connected(fake) as client:
        fake.talk.invite("701", "Another")
        await fake.until(lambda: len(client.guilds) == 2)
        fake.talk.remove_bot("701")
        await fake.until(lambda: len(client.guilds) == 1)
        with pytest.raises(dpy.NotFound):
            await client.fetch_guild(701)


# Commands and interactions


class Thumb(dpy.ui.DynamicItem[dpy.ui.Button], template=r"fb:(?P<kind>up|down):(?P<answer>\w+)"):
    """A button that outlives its process."""

    def __init__(self, kind: str, answer: str) -> None:
        label = "Helpful" if kind == "up" else "Not helpful"
        super().__init__(dpy.ui.Button(label=label, custom_id=f"fb:{kind}:{answer}"))
        self.kind, self.answer = kind, answer

    @classmethod
    async def from_custom_id(cls, interaction: Any, item: Any, match: Any) -> Thumb:
        return cls(match["kind"], match["answer"])

    async def callback(self, interaction: Any) -> None:
        text = f"{self.kind} {self.answer} by {interaction.user.id}"
        await interaction.response.send_message(text, ephemeral=True)


class Card(dpy.ui.LayoutView):
    """Sources and buttons, as Components V2."""

    def __init__(self) -> None:
        super().__init__(timeout=None)
        text, source = dpy.ui.TextDisplay("## Sources"), dpy.ui.TextDisplay("1. install.md")
        self.add_item(dpy.ui.Container(text, dpy.ui.Separator(), source))
        self.add_item(dpy.ui.ActionRow(Thumb("up", "abc"), Thumb("down", "abc")))


class Form(dpy.ui.Modal, title="Connect"):
    """A form with one field."""

    key = dpy.ui.Label(text="Key", component=dpy.ui.TextInput(custom_id="key", max_length=40))

    async def on_submit(self, interaction: dpy.Interaction) -> None:
        await interaction.response.send_message(f"key {self.key.component.value}", ephemeral=True)


async def furnish(client: Client) -> None:
    client.add_dynamic_items(Thumb)

    @client.tree.command(description="Ask the knowledge base")
    @app_commands.checks.cooldown(1, 60.0, key=lambda item: (item.user.id, item.type))
    async def ask(interaction: dpy.Interaction, question: str, source: str = "all") -> None:
        await interaction.response.defer(thinking=True)
        for text in ("Searching", "42 is", f"42 is the answer to {question} from {source}."):
            await interaction.edit_original_response(content=text)
        await interaction.followup.send(view=Card(), ephemeral=True)

    @ask.autocomplete("source")
    async def pick(_: Any, typed: str) -> list[app_commands.Choice[str]]:
        names = ("docs", "discord-history", "tickets")
        return [app_commands.Choice(name=name, value=name) for name in names if typed in name]

    rights = dpy.Permissions(manage_guild=True)
    kb = app_commands.Group(
        name="kb", description="Knowledge bases", default_permissions=rights, guild_only=True
    )

    @kb.command(description="Bind a channel")
    @app_commands.checks.has_permissions(manage_guild=True)
    async def bind(interaction: dpy.Interaction, channel: dpy.TextChannel, name: str) -> None:
        await interaction.response.send_message(f"bound {channel.name} to {name}", ephemeral=True)

    @kb.command(description="Connect this server")
    async def connect(interaction: dpy.Interaction) -> None:
        await interaction.response.send_modal(Form())

    client.tree.add_command(kb)

    @client.tree.context_menu(name="Ask about this")
    async def about(interaction: dpy.Interaction, message: dpy.Message) -> None:
        await interaction.response.send_message(f"about {message.content}")

    @client.tree.error
    async def failed(interaction: dpy.Interaction, error: app_commands.AppCommandError) -> None:
        client.errors.append(type(error).__name__)
        await interaction.response.send_message(type(error).__name__, ephemeral=True)

    await client.tree.sync()


@pytest.fixture
async def client(fake: FakeDiscord) -> AsyncIterator[Client]:
    made = Client()
    made.set_up = furnish
    async with connected(fake, made) as ready:
        yield ready


async def test_commands_are_registered_and_used_as_a_person_would(fake, client):
    assert [command["name"] for command in fake.interactions.commands[""]] == [
        "ask",
        "kb",
        "Ask about this",
    ]
    used = fake.interactions.slash(ADA, TALK, "kb bind", channel=STAFF, name="handbook")
    await fake.answered(used)
    assert (used.text, used.is_private) == ("bound staff to handbook", True)
    with pytest.raises(AssertionError, match="hidden"):
        fake.interactions.slash(BROOK, TALK, "kb bind", channel=STAFF, name="handbook")
    with pytest.raises(AssertionError, match="needed"):
        fake.interactions.slash(ADA, TALK, "kb bind", name="handbook")


async def test_a_permission_hint_that_was_overridden_leaves_the_check(fake, client):
    fake.interactions.commands[""][1]["default_member_permissions"] = None
    used = fake.interactions.slash(BROOK, TALK, "kb bind", channel=STAFF, name="handbook")
    await fake.answered(used)
    assert used.text == "MissingPermissions"


async def test_autocomplete_offers_choices(fake, client):
    typed = fake.interactions.complete(ADA, TALK, "ask", "source", "dis", question="why?")
    await fake.answered(typed)
    assert [choice["name"] for choice in typed.choices] == ["discord-history"]


async def test_a_deferred_answer_is_streamed_and_followed_by_a_card(fake, client):
    used = fake.interactions.slash(BROOK, TALK, "ask", question="life")
    await fake.until(lambda: used.followups)
    assert [edit["content"] for edit in used.edits][-1] == "42 is the answer to life from all."
    assert fake.shown(TALK)[0]["content"] == "42 is the answer to life from all."
    [card] = used.followups
    assert card["flags"] == 1 << 15 | 1 << 6
    assert text_of(card).splitlines()[0] == "## Sources"
    assert card["id"] not in {item["id"] for item in fake.shown(TALK)}
    pressed = fake.interactions.press(BROOK, card, "Helpful")
    await fake.answered(pressed)
    assert pressed.text == f"up abc by {BROOK}"
    again = fake.interactions.slash(BROOK, TALK, "ask", question="more")
    await fake.answered(again)
    assert client.errors == ["CommandOnCooldown"]


async def test_forms_and_context_menus(fake, client):
    opened = fake.interactions.slash(ADA, TALK, "kb connect")
    await fake.answered(opened)
    sent = fake.interactions.submit(opened, key="K-42")
    await fake.answered(sent)
    assert sent.text == "key K-42"
    message = fake.talk.say(TALK, BROOK, "the build fails")
    chosen = fake.interactions.choose(ADA, TALK, "Ask about this", message["id"])
    await fake.answered(chosen)
    assert (chosen.text, chosen.is_private) == ("about the build fails", False)


async def answer(fake: FakeDiscord, used: Any, body: Json) -> tuple[int, int]:
    url = f"{fake.api_base_url}/interactions/{used.id}/{used.token}/callback?with_response=1"
    async with aiohttp.ClientSession() as http, http.post(url, json=body) as got:
        payload = await got.json()
        return got.status, payload.get("code", 0)


async def test_interactions_are_answered_once_and_in_time(fake):
    fake.interactions.commands[""] = [{"name": "ask", "type": 1, "id": "1"}]
    body = {"type": 4, "data": {"content": "here"}}
    late = fake.interactions.slash(ADA, TALK, "ask")
    fake.world.advance(4)
    assert await answer(fake, late, body) == (404, 10062)
    used = fake.interactions.slash(ADA, TALK, "ask")
    assert await answer(fake, used, {"type": 4, "data": {"content": "x" * 2001}}) == (400, 50035)
    assert await answer(fake, used, {"type": 7, "data": {"content": "x"}}) == (400, 50035)
    assert await answer(fake, used, body) == (200, 0)
    assert await answer(fake, used, body) == (400, 40060)
    url = f"{fake.api_base_url}/webhooks/{fake.world.application_id}/{used.token}"
    async with aiohttp.ClientSession() as http:
        async with http.patch(f"{url}/messages/@original", json={"content": "there"}) as got:
            assert (await got.json())["content"] == "there"
        async with http.delete(f"{url}/messages/@original") as got:
            assert got.status == 204
        async with http.get(f"{url}/messages/@original") as got:
            assert (await got.json())["code"] == 10008
        fake.world.advance(900)
        async with http.post(url, json={"content": "too late"}) as got:
            assert (got.status, (await got.json())["code"]) == (401, 50027)


# Messages


async def refused(sent: Awaitable[object]) -> int:
    with pytest.raises(dpy.HTTPException) as error:
        await sent
    return error.value.code


async def test_messages_beyond_discords_limits_are_refused(fake, client):
    channel = client.get_channel(int(TALK))
    assert await refused(channel.send("x" * 2001)) == 50035
    assert await refused(channel.send("")) == 50006
    view = dpy.ui.View()
    view.add_item(dpy.ui.Button(label="x" * 81, custom_id="a"))
    assert await refused(channel.send("x", view=view)) == 50035
    view = dpy.ui.View()
    view.add_item(dpy.ui.Button(label="x", custom_id="a" * 101))
    assert await refused(channel.send("x", view=view)) == 50035
    long = dpy.ui.LayoutView()
    for _ in range(2):
        long.add_item(dpy.ui.TextDisplay("x" * 2500))
    assert await refused(channel.send(view=long)) == 50035
    assert await refused(channel.send(embed=dpy.Embed(description="x" * 4097))) == 50035
    plain = await client.http.request(
        Route("POST", "/channels/{channel_id}/messages", channel_id=TALK),
        json={"flags": 1 << 15, "components": [{"type": 10, "content": "V2"}]},
    )
    edit = Route("PATCH", "/channels/{channel_id}/messages/{m}", channel_id=TALK, m=plain["id"])
    assert await refused(client.http.request(edit, json={"content": "back"})) == 50035
    assert await refused(client.http.request(edit, json={"flags": 0})) == 50035
    both = {"allowed_mentions": {"parse": ["users"], "users": [ADA]}, "content": "x"}
    post = Route("POST", "/channels/{channel_id}/messages", channel_id=TALK)
    assert await refused(client.http.request(post, json=both)) == 50035
    assert await refused(client.http.request(post, json={"content": "x", "flags": 64})) == 50035
    assert fake.shown(TALK) == [fake.world.messages[TALK][0]]


async def test_a_message_is_sent_edited_fetched_and_deleted(fake, client):
    channel = client.get_channel(int(TALK))
    quiet = dpy.AllowedMentions.none()
    file = dpy.File(io.BytesIO(b"# answer"), "answer.md")
    sent = await channel.send(f"<@{ADA}> look", allowed_mentions=quiet, file=file)
    assert sent.mentions == []
    assert await sent.attachments[0].read() == b"# answer"
    await sent.edit(content="look here")
    assert (await channel.fetch_message(sent.id)).content == "look here"
    reply = await sent.reply("to myself")
    assert reply.reference.message_id == sent.id
    theirs = fake.talk.say(TALK, ADA, "mine")
    partial = channel.get_partial_message(int(theirs["id"]))
    assert await refused(partial.edit(content="taken over")) == 50005
    assert await refused(partial.delete()) == 50013
    await sent.delete()
    assert await refused(channel.fetch_message(sent.id)) == 10008
    assert await refused(sent.reply("to nothing")) == 50035


async def test_the_same_nonce_is_the_same_message(fake, client):
    post = Route("POST", "/channels/{channel_id}/messages", channel_id=TALK)
    body = {"content": "once", "nonce": "job-1", "enforce_nonce": True}
    first = await client.http.request(post, json=body)
    assert (await client.http.request(post, json=body))["id"] == first["id"]
    assert len(fake.shown(TALK)) == 1


async def test_permissions_come_from_the_overwrites(fake, client):
    fake.talk.overwrite(STAFF, deny={GUILD: VIEW}, allow={CREW: VIEW})
    channel = client.get_channel(int(STAFF))
    assert await refused(channel.send("x")) == 50001
    assert await refused(anext(channel.history(limit=1))) == 50001
    fake.talk.overwrite(STAFF, deny={GUILD: SEND | HISTORY})
    assert await refused(channel.send("x")) == 50013
    fake.talk.say(STAFF, ADA, "kept")
    assert [item async for item in channel.history(limit=5)] == []
    with pytest.raises(dpy.HTTPException):
        await channel.fetch_message(int(fake.world.messages[STAFF][0]["id"]))


async def test_who_may_read_agrees_with_discord_py(fake, client):
    guild = client.guilds[0]
    for channel in guild.channels:
        for member in guild.members:
            held = fake.world.permissions(str(channel.id), str(member.id))
            theirs = channel.permissions_for(member)
            assert bool(held & VIEW) == theirs.view_channel, (channel, member)
            assert bool(held & VIEW and held & HISTORY) == (
                theirs.view_channel and theirs.read_message_history
            )


async def test_a_message_grows_a_thread(fake, client):
    asked = fake.talk.say(TALK, ADA, "help me")
    await fake.until(lambda: client.received("MESSAGE_CREATE"))
    message = await client.get_channel(int(TALK)).fetch_message(int(asked["id"]))
    thread = await message.create_thread(name="Answer")
    async with thread.typing():
        await thread.send("short answer")
    assert str(thread.id) == asked["id"]
    assert fake.routes.typing == [asked["id"]]
    assert [item["content"] for item in fake.shown(asked["id"])][-1] == "short answer"
    assert await refused(message.create_thread(name="Again")) == 160004
    assert await refused(client.get_channel(int(TALK)).create_thread(name="x" * 101)) == 50035


async def test_forums_have_posts_and_archives_in_pages(fake, client):
    forum = client.get_channel(int(HELP))
    tag = forum.available_tags[0]
    made = await forum.create_thread(name="From the bot", content="hello", applied_tags=[tag])
    assert made.message.id == made.thread.id
    fake.routes.archived_page = 3
    for number in range(8):
        post = fake.talk.post(HELP, ADA, f"post {number}", "text")
        fake.world.advance(60)
        fake.talk.change_thread(post["id"], archived=True)
    found = [thread async for thread in forum.archived_threads(limit=None)]
    assert [item.name for item in found] == [f"post {number}" for number in reversed(range(8))]
    assert [thread.name for thread in await client.guilds[0].active_threads()] == ["From the bot"]


async def test_archived_private_threads_are_for_those_who_are_in_them(fake, client):
    channel = client.get_channel(int(TALK))
    for name, members in (("theirs", []), ("ours", [fake.bot_id])):
        thread = fake.talk.start_thread(TALK, ADA, name, PRIVATE_THREAD)
        for member in members:
            fake.talk.add_to_thread(thread["id"], member)
        fake.talk.change_thread(thread["id"], archived=True)
    assert await refused(anext(channel.archived_threads(private=True))) == 50013
    joined = [thread async for thread in channel.archived_threads(private=True, joined=True)]
    assert [item.name for item in joined] == ["ours"]
    assert {member.id for member in await joined[0].fetch_members()} == {int(ADA), int(fake.bot_id)}


# Rate limits and faults


def fill(fake: FakeDiscord, number: int) -> None:
    start = fake.world.now() - timedelta(days=1)
    for at in range(number):
        fake.talk.say(TALK, ADA, f"m{at}", at=start + timedelta(seconds=at))


async def test_history_comes_in_pages_through_a_429(fake, client):
    fill(fake, 250)
    channel = client.get_channel(int(TALK))
    fake.rest.fail("GET", "/channels/*/messages", Fault(429, retry_after_s=0.05))
    first = [item async for item in channel.history(limit=120, oldest_first=True)]
    assert [first[0].content, first[-1].content] == ["m0", "m119"]
    after = dpy.Object(first[-1].id)
    rest = [item async for item in channel.history(limit=None, after=after)]
    assert [rest[0].content, rest[-1].content, len(rest)] == ["m120", "m249", 130]
    assert fake.rest.called("GET", f"/channels/{TALK}/messages")[0].status == 429
    assert fake.rest.refused_calls == 1


async def test_a_429_of_cloudflares_raises_at_once(fake, client):
    fake.rest.fail("GET", "/channels/*/messages", Fault(429, via=False, retry_after_s=60))
    with pytest.raises(dpy.HTTPException) as error:
        await anext(client.get_channel(int(TALK)).history(limit=1))
    assert error.value.status == 429


async def test_faults_of_discords_own_are_tried_again(fake, client, monkeypatch):
    monkeypatch.setattr("discord.http.asyncio.sleep", _no_time(asyncio.sleep))
    fake.rest.fail("POST", "/channels/*/messages", Fault(502), times=2)
    await client.get_channel(int(TALK)).send("at last")
    assert [item["content"] for item in fake.shown(TALK)] == ["at last"]


def _no_time(sleep: Callable[[float], Awaitable[None]]) -> Callable[[float], Awaitable[None]]:
    return lambda _: sleep(0)


async def test_buckets_are_announced_and_kept_to(fake, client):
    fake.rest.limits["POST /channels/{channel}/messages"] = (2, 0.2)
    for number in range(5):
        await client.get_channel(int(TALK)).send(str(number))
    calls = fake.rest.called("POST", f"/channels/{TALK}/messages")
    assert [call.status for call in calls if call.status != 429] == [200] * 5


async def test_a_client_that_ignores_a_bucket_is_limited(fake):
    fake.rest.limits["GET /channels/{channel}"] = (1, 30)
    head = {"Authorization": f"Bot {TOKEN}"}
    async with aiohttp.ClientSession(headers=head) as http:
        got = [await http.get(f"{fake.api_base_url}/channels/{TALK}") for _ in range(2)]
    assert [item.status for item in got] == [200, 429]
    assert got[0].headers["X-RateLimit-Remaining"] == "0"
    assert "Via" in got[1].headers
    assert float(got[1].headers["Retry-After"]) > 0


async def test_commands_discord_would_refuse_are_refused(fake, client):
    async def put(*commands: Json) -> int:
        return await refused(
            client.http.bulk_upsert_global_commands(client.application_id, list(commands))
        )

    good: Json = {"name": "ask", "description": "Ask", "type": 1}
    option: Json = {"name": "a", "description": "A", "type": 3}
    nested: Json = {**option, "type": 2, "options": [{**option, "type": 2}]}
    assert await put({**good, "name": "Ask"}) == 50035
    assert await put({**good, "description": "x" * 101}) == 50035
    assert await put(good, good) == 50035
    assert await put({**good, "options": [{**option, "name": f"a{n}"} for n in range(26)]}) == 50035
    assert await put({**good, "options": [option, {**option, "name": "b", "required": True}]})
    assert await put({**good, "options": [nested]}) == 50035
    assert await put(*({**good, "name": f"c{number}"} for number in range(101))) == 30032
