"""Who may do what in a channel: Discord's rules for roles and overwrites. Pure.

Payloads are Discord's own, of the gateway or of REST. A thread has the permissions of its channel;
who is in a private one is another matter, which no permission tells.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Payload = Mapping[str, Any]

ADMINISTRATOR, MANAGE_GUILD = 1 << 3, 1 << 5
REACT, VIEW, SEND, EMBED, ATTACH, HISTORY = 1 << 6, 1 << 10, 1 << 11, 1 << 14, 1 << 15, 1 << 16
MANAGE_THREADS, CREATE_THREADS, SEND_IN_THREADS = 1 << 34, 1 << 35, 1 << 38
EVERYTHING = (1 << 53) - 1
READS = VIEW | HISTORY

# What the bot is invited with, each with what needs it; nothing more.
NEEDED: Mapping[int, str] = {
    VIEW: "View Channels",
    SEND: "Send Messages",
    HISTORY: "Read Message History",
    CREATE_THREADS: "Create Public Threads",
    SEND_IN_THREADS: "Send Messages in Threads",
    EMBED: "Embed Links",
    ATTACH: "Attach Files",
    REACT: "Add Reactions",
}
INVITE = sum(NEEDED)

TEXT, DIRECT, VOICE, GROUP, NEWS, STAGE, FORUM, MEDIA = 0, 1, 2, 3, 5, 13, 15, 16
THREADS = frozenset({10, 11, 12})  # of an announcement, public, private
FORUMS = frozenset({FORUM, MEDIA})
TALK = frozenset({TEXT, VOICE, NEWS, STAGE, FORUM, MEDIA})


def held(guild: Payload, channel: Payload | None, member: Payload) -> int:
    """The permission bits of a member, in a channel or in the server as a whole.

    Roles add up; then a channel's overwrites for @everyone, for the roles together, and for the
    member. Owners and administrators hold everything.
    """
    id_ = str(guild.get("id", ""))
    own = [str(role) for role in member.get("roles") or ()]
    bits = 0
    for role in guild.get("roles") or ():
        if str(role.get("id")) in {id_, *own}:
            bits |= int(role.get("permissions") or 0)
    subject = subject_of(member)
    if subject == str(guild.get("owner_id", "")) or bits & ADMINISTRATOR:
        return EVERYTHING
    if channel is None:
        return bits
    overwrites = {str(one.get("id")): one for one in channel.get("permission_overwrites") or ()}
    bits = overwritten(bits, _of(overwrites, [id_]))
    bits = overwritten(bits, _of(overwrites, own))
    return overwritten(bits, _of(overwrites, [subject]))


def overwritten(bits: int, overwrites: Iterable[Payload]) -> int:
    """Bits after some overwrites that count together."""
    deny = allow = 0
    for one in overwrites:
        deny |= int(one.get("deny") or 0)
        allow |= int(one.get("allow") or 0)
    return (bits & ~deny) | allow


def is_public(guild: Payload, channel: Payload) -> bool:
    """@everyone may read the channel, and no overwrite takes that from some."""
    id_ = str(guild.get("id", ""))
    everyone: Payload = next((r for r in guild.get("roles") or () if str(r.get("id")) == id_), {})
    overwrites: Sequence[Payload] = channel.get("permission_overwrites") or ()
    own = [one for one in overwrites if str(one.get("id")) == id_]
    bits = overwritten(int(everyone.get("permissions") or 0), own)
    others = [one for one in overwrites if str(one.get("id")) != id_]
    return bits & READS == READS and not any(int(one.get("deny") or 0) & READS for one in others)


def is_manager(bits: int) -> bool:
    """Whether somebody with these bits may set the bot up: Manage Server."""
    return bool(bits & (ADMINISTRATOR | MANAGE_GUILD))


def missing(bits: int, channel: Payload) -> list[str]:
    """What the bot lacks in a channel, in Discord's words; not seeing it at all says enough."""
    if not bits & VIEW:
        return [NEEDED[VIEW]]
    wanted = dict(NEEDED)
    if channel.get("type") in FORUMS | {VOICE, STAGE}:
        wanted.pop(CREATE_THREADS)  # there are none to make, or posts are threads already
    return [name for bit, name in wanted.items() if not bits & bit]


def subject_of(member: Payload) -> str:
    """The id of a member."""
    user = member.get("user")
    return str(user.get("id", "")) if isinstance(user, Mapping) else ""


def _of(overwrites: Mapping[str, Payload], ids: Iterable[str]) -> list[Payload]:
    return [overwrites[one] for one in ids if one in overwrites]
