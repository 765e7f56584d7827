"""What arrives from Discord's gateway, made safe to read before anything does. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bots.payload_fields import (
    MISSING,
    Kind,
    as_moment,
    as_number,
    as_object,
    as_objects,
    as_objects_by_name,
    as_text,
    as_texts,
    clean,
    either,
    matching,
)

_snowflake = matching(r"[0-9]{1,20}")


def _as_entities(value: object) -> object:
    """A list of objects that have an id; others are left out."""
    objects = as_objects(value)
    return [item for item in objects if "id" in item] if isinstance(objects, list) else MISSING


def _as_all_guilds(value: object) -> object:
    """The servers the bot is on. One that can't be read leaves it open which those are."""
    entities = _as_entities(value)
    return entities if isinstance(value, list) and entities == value else MISSING


def _as_members(value: object) -> object:
    """A list of members: their accounts have ids."""
    objects = as_objects(value)
    if not isinstance(objects, list):
        return MISSING
    return [item for item in objects if "id" in item.get("user", {})]


def _as_roles(value: object) -> object:
    """Roles as a server has them, or the ids of them as a member has them."""
    entities = _as_entities(value)
    return entities or as_texts(value)


def _as_shard(value: object) -> object:
    """The number of a shard, and how many there are."""
    match value:
        case [int(shard), int(shards)] if 0 <= shard < shards:
            return [shard, shards]
        case _:
            return MISSING


def _as_choice(value: object) -> object:
    """What an option was filled in with."""
    return value if isinstance(value, bool | float) else as_text(value)


def _named(kind: Kind, *names: str) -> dict[str, Kind]:
    return dict.fromkeys(names, kind)


# By a field's name; Discord uses a name for one thing throughout.
KINDS: Mapping[str, Kind] = {
    **_named(
        as_object,
        *("author", "channel", "component", "data", "emoji", "member", "message"),
        *("message_reference", "referenced_message", "resolved", "role", "thread"),
        *("thread_metadata", "user"),
    ),
    **_named(
        as_objects,
        *("attachments", "components", "embeds", "message_snapshots", "options", "reactions"),
        "sticker_items",
    ),
    **_named(
        _as_entities,
        *("available_tags", "channels", "mentions", "permission_overwrites", "threads"),
    ),
    **_named(
        _snowflake,
        *("application_id", "channel_id", "guild_id", "id", "last_message_id", "message_id"),
        *("owner_id", "parent_id", "role_id", "target_id", "user_id", "webhook_id"),
        *("allow", "deny", "permissions"),
    ),
    **_named(as_moment, "edited_timestamp", "joined_at", "timestamp"),
    **_named(as_number, "count", "flags", "position", "size", "type"),
    **_named(
        as_text,
        *("content", "content_type", "custom_id", "filename", "global_name", "locale", "name"),
        *("nick", "token", "username"),
    ),
    **_named(as_texts, "applied_tags", "ids", "mention_roles", "removed_member_ids", "values"),
    "guilds": _as_all_guilds,
    "members": _as_members,
    "messages": as_objects_by_name,
    "roles": _as_roles,
    "shard": _as_shard,
    "tags": either(as_object, as_text),
    "value": _as_choice,
}
# What an event can't be read without; an event that is not here needs nothing.
NEEDED: Mapping[str, tuple[str, ...]] = {
    "CHANNEL_CREATE": ("id", "guild_id"),
    "CHANNEL_DELETE": ("id", "guild_id"),
    "CHANNEL_UPDATE": ("id", "guild_id"),
    "GUILD_CREATE": ("id",),
    "GUILD_DELETE": ("id",),
    "GUILD_MEMBER_ADD": ("guild_id", "user"),
    "GUILD_MEMBER_REMOVE": ("guild_id", "user"),
    "GUILD_MEMBER_UPDATE": ("guild_id", "user"),
    "GUILD_ROLE_CREATE": ("guild_id", "role"),
    "GUILD_ROLE_DELETE": ("guild_id", "role_id"),
    "GUILD_ROLE_UPDATE": ("guild_id", "role"),
    "GUILD_UPDATE": ("id",),
    "INTERACTION_CREATE": ("id", "token", "type"),
    "MESSAGE_CREATE": ("id", "channel_id"),
    "MESSAGE_DELETE": ("id", "channel_id"),
    "MESSAGE_DELETE_BULK": ("ids", "channel_id"),
    "MESSAGE_REACTION_ADD": ("channel_id", "message_id"),
    "MESSAGE_REACTION_REMOVE": ("channel_id", "message_id"),
    "MESSAGE_REACTION_REMOVE_ALL": ("channel_id", "message_id"),
    "MESSAGE_REACTION_REMOVE_EMOJI": ("channel_id", "message_id"),
    "MESSAGE_UPDATE": ("id", "channel_id"),
    "READY": ("guilds", "user"),
    "THREAD_CREATE": ("id", "guild_id"),
    "THREAD_DELETE": ("id", "guild_id"),
    "THREAD_LIST_SYNC": ("guild_id",),
    "THREAD_MEMBERS_UPDATE": ("id", "guild_id"),
    "THREAD_UPDATE": ("id", "guild_id"),
}


def read_event(name: str, raw: object) -> dict[str, Any] | None:
    """An event's data with each field as its name promises; None where it can't be read."""
    data = clean(raw, KINDS) if isinstance(raw, Mapping) else {}
    needed = NEEDED.get(name, ())
    if any(field not in data for field in needed):
        return None
    for field in ("role", "user"):
        if field in needed and "id" not in data[field]:
            return None
    if name == "INTERACTION_CREATE" and not _person(data):
        return None
    return data


def _person(data: Mapping[str, Any]) -> object:
    """Who acts in an interaction."""
    account = data.get("member", {}).get("user") or data.get("user") or {}
    return account.get("id")
