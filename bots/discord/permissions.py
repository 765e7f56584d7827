"""What the bot needs to be allowed, and what it lacks where. Pure.

`engine.access.discord_access` decides who reads what; payloads are Discord's own, of the gateway or
of REST.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.access import discord_access
from engine.access.discord_access import ADMINISTRATOR, HISTORY, VIEW, Server, role_bits

Payload = Mapping[str, Any]

MANAGE_GUILD, REACT, SEND, ATTACH = 1 << 5, 1 << 6, 1 << 11, 1 << 15
CREATE_THREADS, SEND_IN_THREADS = 1 << 35, 1 << 38

# What the bot is invited with, each with what needs it; nothing more.
NEEDED: Mapping[int, str] = {
    VIEW: "View Channels",
    SEND: "Send Messages",
    HISTORY: "Read Message History",
    CREATE_THREADS: "Create Public Threads",
    SEND_IN_THREADS: "Send Messages in Threads",
    ATTACH: "Attach Files",
    REACT: "Add Reactions",
}
INVITE = sum(NEEDED)

TEXT, DIRECT, VOICE, GROUP, NEWS, STAGE, FORUM, MEDIA = 0, 1, 2, 3, 5, 13, 15, 16
THREADS = frozenset({10, 11, 12})  # of an announcement, public, private
FORUMS = frozenset({FORUM, MEDIA})
TALK = frozenset({TEXT, VOICE, NEWS, STAGE, FORUM, MEDIA})


def server_of(guild: Payload) -> Server:
    """A server with what decides who may what."""
    return Server(
        str(guild.get("id", "")),
        owner=str(guild.get("owner_id") or ""),
        roles=role_bits(guild.get("roles") or ()),
    )


def held(guild: Payload, channel: Payload | None, member: Payload) -> int:
    """The permission bits of a member, in a channel or in the server as a whole."""
    return discord_access.held(server_of(guild), channel or {}, member)


def is_manager(bits: int) -> bool:
    """Whether these bits allow setting the bot up: Manage Server."""
    return bool(bits & (ADMINISTRATOR | MANAGE_GUILD))


def missing(bits: int, channel: Payload) -> list[str]:
    """What the bot lacks in a channel, in Discord's words; not seeing it at all says enough."""
    if not bits & VIEW:
        return [NEEDED[VIEW]]
    wanted = dict(NEEDED)
    if channel.get("type") in FORUMS | {VOICE, STAGE}:
        wanted.pop(CREATE_THREADS)  # there are none to make, or posts are threads already
    return [name for bit, name in wanted.items() if not bits & bit]
