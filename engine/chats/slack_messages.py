"""What Slack says of messages, people and channels, as the engine keeps it. Pure.

The same shapes come in exports, in answers of the Web API and in events.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from engine.access.principals import EXTERNAL, INVITED, ORGANISATION, SHARED
from engine.chats.accounts import NewPerson
from engine.chats.channels import NewChannel
from engine.chats.messages import MessageKind, NewMessage
from engine.markup.slack_text import to_markdown

TALK = frozenset({"", "file_comment", "file_share", "me_message", "thread_broadcast"})
BOTS = frozenset({"bot_message", "assistant_app_thread"})
GONE = "tombstone"  # the root of a thread that was deleted while it had replies
# Of what Slack sends only this is kept: addresses of files carry tokens, previews are others' text.
KEPT = (
    "app_id",
    "blocks",
    "bot_id",
    "client_msg_id",
    "latest_reply",
    "reply_count",
    "subtype",
    "team",
)


def to_message(raw: Mapping[str, Any]) -> NewMessage | None:
    """A message; None where `raw` is not a message, or says that a message is gone."""
    ts = str(raw.get("ts") or "")
    seconds, dot, fraction = ts.partition(".")
    if not (dot and seconds.isdecimal() and fraction.isdecimal()):
        return None
    if raw.get("subtype") == GONE or raw.get("type", "message") != "message":
        return None
    author, name = _author(raw)
    thread = str(raw.get("thread_ts") or "")
    if not thread and raw.get("reply_count"):
        thread = ts
    return NewMessage(
        external_id=ts,
        text=to_markdown(raw),
        author=author,
        author_name=name,
        thread=thread,
        kind=_kind(raw),
        edited_at=_edited_at(raw),
        reactions=_reactions(raw),
        files=_files(raw),
        raw={key: raw[key] for key in KEPT if key in raw},
    )


def is_gone(raw: Mapping[str, Any]) -> bool:
    """Whether this says that a message was deleted."""
    return raw.get("subtype") == GONE


def _kind(raw: Mapping[str, Any]) -> MessageKind:
    subtype = str(raw.get("subtype") or "")
    if subtype in BOTS or raw.get("bot_profile") or (raw.get("bot_id") and not raw.get("user")):
        return "bot"
    return "message" if subtype in TALK else "system"


def _author(raw: Mapping[str, Any]) -> tuple[str, str]:
    comment = raw.get("comment")
    user = raw.get("user") or (comment.get("user") if isinstance(comment, Mapping) else "")
    profile = raw.get("user_profile") or raw.get("bot_profile")
    shown = profile if isinstance(profile, Mapping) else {}
    name = shown.get("display_name") or shown.get("real_name") or shown.get("name")
    return str(user or raw.get("bot_id") or ""), str(name or raw.get("username") or "")


def _edited_at(raw: Mapping[str, Any]) -> datetime | None:
    edited = raw.get("edited")
    ts = str(edited.get("ts") or "") if isinstance(edited, Mapping) else ""
    return _time(ts)


def _time(ts: str) -> datetime | None:
    seconds, _, fraction = ts.partition(".")
    if not seconds.isdecimal() or len(seconds) > 11:
        return None
    micros = int(fraction.ljust(6, "0")[:6]) if fraction.isdecimal() else 0
    return datetime.fromtimestamp(int(seconds), UTC).replace(microsecond=micros)


def _reactions(raw: Mapping[str, Any]) -> dict[str, int]:
    """How many people other than the author gave each."""
    found: dict[str, int] = {}
    for item in raw.get("reactions") or ():
        if not isinstance(item, Mapping):
            continue
        people = item.get("users")
        count = int(item.get("count") or 0)
        if isinstance(people, list) and raw.get("user") in people:
            count -= 1
        if count > 0:
            found[str(item.get("name") or "")] = count
    return found


def _files(raw: Mapping[str, Any]) -> list[dict[str, Any]]:
    given = raw.get("files") or ([raw["file"]] if isinstance(raw.get("file"), Mapping) else [])
    return [
        {
            "id": str(item.get("id") or ""),
            "name": str(item.get("title") or item.get("name") or ""),
            "mime": str(item.get("mimetype") or ""),
            "size_bytes": int(item.get("size") or 0),
        }
        for item in given
        if isinstance(item, Mapping) and item.get("mode") != "tombstone"
    ]


def to_person(raw: Mapping[str, Any], team_id: str = "") -> NewPerson:
    """An account. Guests, strangers of other organisations, bots and the gone are no full members.

    With `team_id`, neither are people whom Slack places in another workspace only.
    """
    profile = raw.get("profile")
    shown = profile if isinstance(profile, Mapping) else {}
    name = shown.get("display_name") or shown.get("real_name") or raw.get("real_name")
    return NewPerson(
        subject=str(raw.get("id") or ""),
        name=str(name or raw.get("name") or raw.get("id") or ""),
        is_full_member=is_full_member(raw, team_id),
        is_external=is_external(raw, team_id),
        email=str(shown.get("email") or ""),
    )


def is_full_member(raw: Mapping[str, Any], team_id: str = "") -> bool:
    """Whether an account is of the workspace and no guest there; in doubt it is not."""
    flags = ("deleted", "is_bot", "is_restricted", "is_ultra_restricted")
    return not any(raw.get(flag) for flag in flags) and not is_external(raw, team_id)


def is_external(raw: Mapping[str, Any], team_id: str = "") -> bool:
    """Whether an account belongs to another organisation, or to other workspaces of this one only."""
    if raw.get("is_stranger"):
        return True
    home = str(raw.get("team_id") or "")
    grid = raw.get("enterprise_user")
    teams = (grid.get("teams") or ()) if isinstance(grid, Mapping) else ()
    return bool(team_id and home) and home != team_id and team_id not in teams


def shared_with(raw: Mapping[str, Any], team_id: str = "") -> list[str]:
    """Whom besides this workspace a channel is open to: external, invited, organisation; or nobody.

    `external`: other organisations (Slack Connect); `invited`: some that have not accepted yet;
    `organisation`: other workspaces of the same Enterprise organisation. A share whose kind Slack
    doesn't say counts as external.
    """
    own = {team_id, str(raw.get("enterprise_id") or ""), str(raw.get("context_team_id") or "")}
    connected = _ids(raw, "connected_team_ids") - own
    pending = _ids(raw, "pending_connected_team_ids") | _ids(raw, "pending_shared")
    internal = (_ids(raw, "internal_team_ids") | _ids(raw, "shared_team_ids")) - connected - own
    found = []
    if raw.get("is_ext_shared") or connected:
        found.append(EXTERNAL)
    if raw.get("is_pending_ext_shared") or pending:
        found.append(INVITED)
    if raw.get("is_org_shared") or raw.get("is_global_shared") or internal:
        found.append(ORGANISATION)
    if raw.get("is_shared") and not found:
        found.append(EXTERNAL)
    return found


def _ids(raw: Mapping[str, Any], name: str) -> set[str]:
    value = raw.get(name)
    return {str(item) for item in value} if isinstance(value, list | tuple) else set()


def to_channel(
    raw: Mapping[str, Any], *, is_public: bool | None = None, team_id: str = ""
) -> NewChannel:
    """A channel; public only where Slack says so in so many words."""
    if is_public is None:
        is_public = (
            raw.get("is_private") is False and not raw.get("is_im") and not raw.get("is_mpim")
        )
    settings: dict[str, Any] = {"archived": bool(raw.get("is_archived"))}
    created = _time(str(raw.get("created") or ""))
    if created is not None and created.timestamp() > 0:
        settings["created"] = created.isoformat()
    settings[SHARED] = shared_with(raw, team_id)
    return NewChannel(
        external_id=str(raw.get("id") or ""),
        name=str(raw.get("name") or raw.get("id") or ""),
        is_public=is_public,
        settings=settings,
    )
