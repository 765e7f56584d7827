"""Who may read what on Discord, held against discord.py's own reading of the same payloads."""

from __future__ import annotations

from typing import Any

import discord
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.access.discord_access import (
    ADMINISTRATOR,
    CONNECT,
    HISTORY,
    MANAGE_THREADS,
    STAGE,
    TEXT,
    VIEW,
    VOICE,
    Server,
    decides,
    is_public,
    may_read,
    may_read_thread,
    role_bits,
)
from tests.fakes.discord_world import World

GUILD, OWNER = "700", "1"
ROLES, PEOPLE = ("50", "51", "52"), ("11", "12", "13", OWNER)
BITS = (VIEW, HISTORY, CONNECT, ADMINISTRATOR, MANAGE_THREADS, 1 << 11)
bits = st.lists(st.sampled_from(BITS), unique=True).map(sum)
ordinary = bits.map(lambda item: item & ~ADMINISTRATOR)  # most people administrate nothing


@st.composite
def overwrites(draw: st.DrawFn) -> list[dict[str, Any]]:
    ids = draw(st.lists(st.sampled_from((GUILD, *ROLES, *PEOPLE)), unique=True, max_size=5))
    made = []
    for id_ in ids:
        allow, deny = draw(ordinary), draw(ordinary)
        kind = 1 if id_ in PEOPLE else 0
        made.append({"id": id_, "type": kind, "allow": str(allow), "deny": str(deny & ~allow)})
    return made


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """A server with roles, people, and channels of three kinds."""
    world = World()
    guild = world.add_guild(GUILD, "Radio", owner_id=OWNER)
    guild.roles[GUILD]["permissions"] = str(draw(ordinary))
    for role in ROLES:
        world.add_role(guild, role, role, draw(st.one_of(ordinary, ordinary, bits)))
    for person in PEOPLE:
        world.add_user(person, person)
        world.add_member(guild, person, *draw(st.sets(st.sampled_from(ROLES))))
    for number, kind in enumerate((TEXT, VOICE, STAGE, TEXT)):
        channel = world.add_channel(guild, str(100 + number), f"c{number}", kind)
        channel |= {"permission_overwrites": draw(overwrites()), "bitrate": 64000, "user_limit": 0}
        channel |= {"rtc_region": None}
    return world


def told(world: World) -> Server:
    guild = world.guilds[GUILD]
    roles = role_bits(list(guild.roles.values()))
    return Server(GUILD, owner=OWNER, roles=roles, channels=dict(guild.channels))


def theirs(world: World) -> discord.Guild:
    guild = world.guilds[GUILD]
    payload: Any = {
        "id": GUILD,
        "name": "Radio",
        "owner_id": OWNER,
        "roles": list(guild.roles.values()),
        "channels": list(guild.channels.values()),
        "members": list(guild.members.values()),
    }
    state = discord.Client(intents=discord.Intents.all())._connection
    state.user = discord.ClientUser(state=state, data=world.users[world.bot_id])
    return discord.Guild(data=payload, state=state)


@given(worlds())
def test_a_member_reads_what_discord_py_says_they_read(world):
    server, guild = told(world), theirs(world)
    for id_, channel in server.channels.items():
        known = guild.get_channel(int(id_))
        for person, member in world.guilds[GUILD].members.items():
            held = known.permissions_for(guild.get_member(int(person)))
            expected = held.view_channel and held.read_message_history
            if channel["type"] in {VOICE, STAGE}:
                expected = expected and held.connect
            assert may_read(server, channel, member) == expected, (channel, member)


@given(worlds())
def test_a_public_channel_is_read_by_whoever_there_is_or_comes(world):
    server = told(world)
    members = list(world.guilds[GUILD].members.values())
    newcomer = {"user": {"id": "99"}, "roles": []}
    with_roles = [{"user": {"id": "99"}, "roles": [role]} for role in ROLES]
    for channel in server.channels.values():
        if is_public(server, channel):
            for member in (*members, newcomer, *with_roles):
                assert may_read(server, channel, member)


@given(worlds(), st.sets(st.sampled_from(PEOPLE)))
def test_a_private_thread_is_read_by_its_members_and_its_moderators(world, inside):
    server, guild = told(world), theirs(world)
    parent = server.channels["100"]
    for person, member in world.guilds[GUILD].members.items():
        held = guild.get_channel(100).permissions_for(guild.get_member(int(person)))
        reads = held.view_channel and held.read_message_history
        expected = reads and (person in inside or held.manage_threads)
        assert may_read_thread(server, parent, member, frozenset(inside)) == expected


@given(worlds(), overwrites())
def test_channels_that_are_decided_alike_have_the_same_readers(world, other):
    server = told(world)
    first = server.channels["100"]
    second = {**first, "permission_overwrites": other, "name": "other"}
    if decides(first) == decides(second):
        for member in world.guilds[GUILD].members.values():
            assert may_read(server, first, member) == may_read(server, second, member)


@pytest.mark.parametrize("bad", [None, "x", [{"id": 5}], [{"id": GUILD, "deny": "many"}], [7]])
def test_overwrites_that_make_no_sense_give_nobody_anything(bad):
    server = Server(GUILD, roles={GUILD: 0})
    channel = {"id": "1", "type": TEXT, "permission_overwrites": bad}
    assert not may_read(server, channel, {"user": {"id": "11"}, "roles": []})
    assert not is_public(server, channel)
