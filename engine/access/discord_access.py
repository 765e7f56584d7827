"""Who may read what on a Discord server: its rules for roles, overwrites and private threads. Pure.

Payloads are Discord's own, of the gateway or of REST. Roles add up; then come a channel's
overwrites for @everyone, for the roles together, and for the member. Owners and administrators see
all. A public thread is read by everyone who reads its channel, a private one by those who are in it and
by its moderators.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Payload = Mapping[str, Any]

VIEW, HISTORY, CONNECT = 1 << 10, 1 << 16, 1 << 20
ADMINISTRATOR, MANAGE_THREADS = 1 << 3, 1 << 34
READS = VIEW | HISTORY
DECISIVE = READS | CONNECT | ADMINISTRATOR | MANAGE_THREADS  # other bits change no reader
EVERYTHING = (1 << 53) - 1

TEXT, VOICE, NEWS, STAGE, FORUM, MEDIA = 0, 2, 5, 13, 15, 16
KINDS: Mapping[int, str] = {
    TEXT: "text",
    VOICE: "voice",
    NEWS: "text",
    STAGE: "voice",
    FORUM: "forum",
    MEDIA: "forum",
}
PUBLIC_THREADS = frozenset({10, 11})  # of announcements, public
PRIVATE_THREAD = 12


@dataclass(slots=True)
class Server:
    """What decides who reads what; `roles` are permission bits by id, @everyone's has its own."""

    id: str
    owner: str = ""
    roles: dict[str, int] = field(default_factory=dict)
    channels: dict[str, Payload] = field(default_factory=dict)
    threads: dict[str, Payload] = field(default_factory=dict)  # private ones


def held(server: Server, channel: Payload, member: Payload) -> int:
    """The permission bits of a member in a channel, as far as they decide who reads."""
    subject, own = subject_of(member), [str(role) for role in member.get("roles") or ()]
    bits = server.roles.get(server.id, 0)
    for role in own:
        bits |= server.roles.get(role, 0)
    if subject == server.owner or bits & ADMINISTRATOR:
        return EVERYTHING
    written = {str(item.get("id")): item for item in overwrites_of(channel)}
    for layer in ([server.id], own, [subject]):
        bits = _overwritten(bits, [written[item] for item in layer if item in written])
    return bits


def may_read(server: Server, channel: Payload, member: Payload) -> bool:
    """Whether a member sees a channel and its history.

    Of a voice or stage channel Connect is needed as well: without it a client shows no text there.
    """
    return _reads(channel, held(server, channel, member))


def may_read_thread(
    server: Server, parent: Payload, member: Payload, inside: frozenset[str]
) -> bool:
    """Whether a member reads a private thread; `inside` are the ids of those who are in it."""
    bits = held(server, parent, member)
    is_in = subject_of(member) in inside or bool(bits & MANAGE_THREADS)
    return is_in and _reads(parent, bits)


def is_public(server: Server, channel: Payload) -> bool:
    """@everyone may read, and no overwrite takes that from some."""
    needed = _needed(channel)
    written = overwrites_of(channel)
    everyone = [item for item in written if str(item.get("id")) == server.id]
    others = [item for item in written if str(item.get("id")) != server.id]
    bits = _overwritten(server.roles.get(server.id, 0), everyone)
    denied = any(_bits(other, "deny") & needed for other in others)
    return bits & needed == needed and not denied


def overwrites_of(channel: Payload) -> list[Payload]:
    """A channel's overwrites."""
    listed = channel.get("permission_overwrites")
    return (
        [item for item in listed if isinstance(item, Mapping)] if isinstance(listed, list) else []
    )


def decides(channel: Payload) -> tuple[object, ...]:
    """What of a channel decides who reads it: two that are equal here have the same readers."""
    written = (
        (str(item.get("id")), _bits(item, "allow") & DECISIVE, _bits(item, "deny") & DECISIVE)
        for item in overwrites_of(channel)
    )
    return (channel.get("type"), *sorted(item for item in written if item[1] or item[2]))


def subject_of(member: Payload) -> str:
    """The id of a member."""
    user = member.get("user")
    return str(user.get("id", "")) if isinstance(user, Mapping) else ""


def is_bot(member: Payload) -> bool:
    """Whether a member is a bot: what bots see is nobody's reading."""
    user = member.get("user")
    return isinstance(user, Mapping) and bool(user.get("bot"))


def role_bits(roles: Sequence[Payload]) -> dict[str, int]:
    """Permission bits by role."""
    return {str(role.get("id")): _bits(role, "permissions") for role in roles}


def _needed(channel: Payload) -> int:
    return READS | (CONNECT if channel.get("type") in {VOICE, STAGE} else 0)


def _reads(channel: Payload, bits: int) -> bool:
    needed = _needed(channel)
    return bits & needed == needed


def _overwritten(bits: int, overwrites: Sequence[Payload]) -> int:
    """Bits after some overwrites that count together."""
    deny = allow = 0
    for overwrite in overwrites:
        deny |= _bits(overwrite, "deny")
        allow |= _bits(overwrite, "allow")
    return (bits & ~deny) | allow


def _bits(row: Payload, key: str) -> int:
    written = str(row.get(key) or 0)
    return int(written) if written.isdecimal() else 0
