"""The app's manifest, made from what the bot listens to and the command table. Pure.

`scrubjay bot manifest` prints it, to be pasted when the Slack app is created. A test checks that it
names every event, command and shortcut the bot handles, and no scope that nothing needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bots.slack import blocks, views
from engine.settings import SlackSettings

EVENTS_PATH, INSTALL_PATH, REDIRECT_PATH = (
    "/slack/events",
    "/slack/install",
    "/slack/oauth_redirect",
)
EVENTS = (
    "app_home_opened",
    "app_mention",
    "app_uninstalled",
    "channel_archive",
    "channel_deleted",
    "channel_id_changed",
    "channel_left",
    "channel_rename",
    "channel_shared",
    "channel_unarchive",
    "channel_unshared",
    "group_left",
    "member_joined_channel",
    "member_left_channel",
    "message.channels",
    "message.groups",
    "message.im",
    "message.mpim",
    "tokens_revoked",
    "user_change",
)
# Each scope with what needs it.
SCOPES: Mapping[str, str] = {
    "app_mentions:read": "app_mention",
    "assistant:write": "status lines and suggested prompts",
    "channels:history": "message.channels",
    "channels:read": "channels and who is in them",
    "chat:write": "answers",
    "commands": "the slash command and the shortcuts",
    "files:read": "files in channels whose messages are kept",
    "groups:history": "message.groups",
    "groups:read": "private channels and who is in them",
    "im:history": "message.im",
    "im:read": "direct messages",
    "mpim:history": "message.mpim",
    "mpim:read": "group messages and who is in them",
    "reactions:read": "reactions as a sign of quality, where messages are kept",
    "reactions:write": "eyes on a question that is looked up",
    "users:read": "names, guests and admins",
}


LIVE_SCOPES: Mapping[str, str] = {
    "search:read.public": "Slack's own search, where no messages may be kept",
}


def scopes_of(settings: SlackSettings) -> list[str]:
    """The scopes of the app: a distributed one searches instead of storing messages."""
    return sorted({**SCOPES, **(LIVE_SCOPES if settings.app == "distributed" else {})})


def manifest(
    settings: SlackSettings, *, public_url: str = "", name: str = "Scrubjay"
) -> dict[str, Any]:
    """The manifest of an app; events come over HTTP if there is a public address."""
    http = bool(public_url) and not settings.app_token.get_secret_value()
    features: dict[str, Any] = {
        "app_home": {
            "home_tab_enabled": True,
            "messages_tab_enabled": True,
            "messages_tab_read_only_enabled": False,
        },
        "agent_view": {
            "agent_description": "Answers from what your team has written, and shows where.",
            "suggested_prompts": views.prompts(),
        },
        "bot_user": {"display_name": name, "always_online": True},
        "shortcuts": [
            {
                "name": label,
                "type": "message",
                "callback_id": blocks.PREFIX + action,
                "description": label,
            }
            for action, label in blocks.SHORTCUTS.items()
        ],
        "slash_commands": [
            {
                "command": settings.command,
                "description": "Ask, search, and set the bot up",
                "usage_hint": "ask <question> | search <words> | help",
                "should_escape": True,
            }
        ],
    }
    subscriptions: dict[str, Any] = {"bot_events": list(EVENTS)}
    interactivity: dict[str, Any] = {"is_enabled": True}
    oauth: dict[str, Any] = {"scopes": {"bot": scopes_of(settings)}}
    if http:
        subscriptions["request_url"] = interactivity["request_url"] = public_url + EVENTS_PATH
        features["slash_commands"][0]["url"] = public_url + EVENTS_PATH
        oauth["redirect_urls"] = [public_url + REDIRECT_PATH]
    return {
        "_metadata": {"major_version": 1, "minor_version": 1},
        "display_information": {
            "name": name,
            "description": "Answers your team's questions from what it has written.",
            "background_color": "#1d4e89",
        },
        "features": features,
        "oauth_config": oauth,
        "settings": {
            "event_subscriptions": subscriptions,
            "interactivity": interactivity,
            "org_deploy_enabled": True,
            "socket_mode_enabled": not http,
            "token_rotation_enabled": False,
        },
    }
