"""What arrives from Slack, before Bolt sees it: verified, read, and made safe to read.

Over HTTP `is_signed` and `read_body` come first; a socket is authenticated already. Every payload
passes `read_payload`, which the app dispatches. Pure.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

from bots.payload_fields import (
    Kind,
    as_identifier,
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

AGE_MAX_S = 300  # of a signature, after Slack's guide to verifying requests

_ts = matching(r"[0-9]{1,10}(\.[0-9]{1,9})?")
_id_or_object = either(as_identifier, as_object)
_text_or_object = either(as_text, as_object)


def _named(kind: Kind, *names: str) -> dict[str, Kind]:
    return dict.fromkeys(names, kind)


# By a field's name; Slack uses a name for one thing throughout.
KINDS: Mapping[str, Kind] = {
    **_named(
        as_object,
        *("assistant_thread", "bot_profile", "comment", "container", "edited", "event", "file"),
        *("function_data", "item", "message", "previous_message", "profile", "root"),
        *("selected_option", "state", "user_profile", "view"),
    ),
    **_named(
        as_objects,
        *("actions", "attachments", "authorizations", "blocks", "elements", "files"),
        *("reactions", "response_urls"),
    ),
    **_named(_id_or_object, "channel", "enterprise", "team", "user"),
    **_named(
        as_identifier,
        *("app_installed_team_id", "block_id", "bot_id", "channel_id", "channel_type"),
        *(
            "command",
            "enterprise_id",
            "event_ts",
            "id",
            "inviter",
            "new_channel_id",
            "old_channel_id",
            "subtype",
            "tab",
            "team_id",
        ),
        *("type", "user_id", "user_team", "source_team"),
    ),
    **_named(
        as_text,
        *("action_id", "action_token", "callback_id", "challenge", "display_name", "mimetype"),
        *("name", "private_metadata", "real_name", "response_url", "token"),
        *("trigger_id", "username"),
    ),
    **_named(_text_or_object, "text", "title", "value"),
    **_named(
        _ts,
        *("action_ts", "deleted_ts", "latest_reply", "message_ts", "thread_ts", "ts"),
    ),
    **_named(as_number, "count", "indent", "reply_count", "size"),
    "users": as_texts,
    "values": as_objects_by_name,
}
PRESSES = frozenset({"block_actions", "message_action", "view_submission"})
# Sent because of what the app is set up to do; it needs an acknowledgement and nothing else.
IGNORED = frozenset({"shortcut", "view_closed"})
SUGGESTIONS = frozenset(
    {"block_suggestion", "dialog_suggestion"}
)  # for menus, of which it has none


def is_signed(
    secret: str, headers: Mapping[str, Sequence[str]], body: bytes, *, now: float
) -> bool:
    """Whether Slack signed this body within the last five minutes; `headers` by lower-case name."""
    at = _first(headers, "x-slack-request-timestamp")
    if not (at.isascii() and at.isdigit() and len(at) <= 12) or abs(now - int(at)) > AGE_MAX_S:
        return False
    expected = hmac.new(secret.encode(), b"v0:%s:%s" % (at.encode(), body), hashlib.sha256)
    given = _first(headers, "x-slack-signature").encode("utf-8", "replace")
    return hmac.compare_digest(f"v0={expected.hexdigest()}".encode(), given)


def read_body(body: bytes, content_type: str) -> dict[str, Any] | None:
    """The payload in a body: JSON, a form, or JSON in a form's field; None where it is none."""
    text = body.decode("utf-8", "replace")
    if content_type.partition(";")[0].strip() == "application/json" or text.startswith("{"):
        return _json(text)
    try:
        fields = dict(parse_qsl(text, keep_blank_values=True))
    except ValueError:  # more fields than anything Slack sends
        return None
    return _json(fields["payload"]) if "payload" in fields else fields


def read_payload(raw: Mapping[str, Any]) -> dict[str, Any]:
    """A payload with each field as its name promises."""
    payload = clean(raw, KINDS)
    view = payload.get("view")
    if not isinstance(view, dict):
        return payload
    view.setdefault("type", "modal")  # Bolt expects it
    if isinstance(view.get("state"), dict):
        values = view["state"].get("values", {})
        view["state"]["values"] = {
            name: as_objects_by_name(fields) for name, fields in values.items()
        }
    return payload


def is_understood(payload: Mapping[str, Any]) -> bool:
    """Whether a payload has what one of the listeners needs."""
    if "command" in payload:
        return "user_id" in payload
    kind = payload.get("type")
    if kind == "event_callback":
        return "type" in payload.get("event", {})
    if kind == "url_verification":
        return "challenge" in payload
    return kind in PRESSES and _has_id(payload, "user") and _is_press(str(kind), payload)


def _is_press(kind: str, payload: Mapping[str, Any]) -> bool:
    if kind == "block_actions":
        return any("action_id" in action for action in payload.get("actions", ())[:1])
    if kind == "message_action":
        return "callback_id" in payload and _has_id(payload, "channel")
    return "callback_id" in payload.get("view", {})


def _has_id(payload: Mapping[str, Any], name: str) -> bool:
    value = payload.get(name)
    return isinstance(value, dict) and "id" in value


def _first(headers: Mapping[str, Sequence[str]], name: str) -> str:
    return next(iter(headers.get(name, ())), "")


def _json(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
