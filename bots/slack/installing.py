"""OAuth: how the app comes into more workspaces. Pure but for the exchange of the code.

An admin creates a link for their tenant (`scrubjay bot install-link`). The person who opens it
chooses a workspace at Slack and is sent back with a code, which is exchanged for a token that is
stored encrypted. The state in the link is ours and short-lived, so no one else can connect a
workspace to a tenant.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from bots.slack import manifest
from bots.slack.client import SlackApi
from engine.chats.installation_rows import NewInstallation, Reading
from engine.errors import InvalidInput
from engine.settings import Settings

PLATFORM = "slack"


def reading_of(settings: Settings) -> Reading:
    """Whether messages may be stored: Slack forbids it to a distributed app."""
    return "live" if settings.slack.app == "distributed" else "index"


def authorize_url(settings: Settings, api: SlackApi, state: str) -> str:
    """Slack's page to choose a workspace and consent."""
    query = {
        "client_id": settings.slack.client_id,
        "scope": ",".join(manifest.scopes_of(settings.slack)),
        "redirect_uri": redirect_uri(settings),
        "state": state,
    }
    return f"{api.base_url.removesuffix('/api/')}/oauth/v2/authorize?{urlencode(query)}"


def redirect_uri(settings: Settings) -> str:
    """Where Slack sends them back to."""
    return settings.server.public_url + manifest.REDIRECT_PATH


async def exchange(settings: Settings, api: SlackApi, code: str) -> NewInstallation:
    """What Slack hands out for a code. Raises `SlackTrouble`, or `InvalidInput` without a token."""
    given = await api.form_call(
        "oauth.v2.access",
        client_id=settings.slack.client_id,
        client_secret=settings.slack.client_secret.get_secret_value(),
        code=code,
        redirect_uri=redirect_uri(settings),
    )
    return read_access(given, settings)


def read_access(given: Mapping[str, Any], settings: Settings) -> NewInstallation:
    """The answer of `oauth.v2.access` as an installation."""
    token = str(given.get("access_token") or "")
    team: Mapping[str, Any] = given.get("team") or {}
    enterprise: Mapping[str, Any] = given.get("enterprise") or {}
    is_org = bool(given.get("is_enterprise_install"))
    if not token or not (team.get("id") or (is_org and enterprise.get("id"))):
        raise InvalidInput("Slack gave no token for a workspace; install the app again.")
    return NewInstallation(
        platform=PLATFORM,
        team_id="" if is_org else str(team.get("id")),
        enterprise_id=str(enterprise.get("id") or ""),
        client_id=settings.slack.client_id,
        token=token,
        refresh_token=str(given.get("refresh_token") or ""),
        name=str((enterprise if is_org else team).get("name") or ""),
        scopes=[scope for scope in str(given.get("scope") or "").split(",") if scope],
        app_id=str(given.get("app_id") or ""),
        bot_user_id=str(given.get("bot_user_id") or ""),
        installed_by=str((given.get("authed_user") or {}).get("id") or ""),
        reading=reading_of(settings),
    )


async def of_token(settings: Settings, api: SlackApi, token: str) -> NewInstallation:
    """The installation a token of one's own app speaks for; raises `SlackTrouble`."""
    account, scopes = await api.introduce(token)
    return NewInstallation(
        platform=PLATFORM,
        team_id=str(account.get("team_id") or ""),
        enterprise_id=str(account.get("enterprise_id") or ""),
        token=token,
        name=str(account.get("team") or ""),
        url=str(account.get("url") or ""),
        scopes=scopes,
        bot_id=str(account.get("bot_id") or ""),
        bot_user_id=str(account.get("user_id") or ""),
        reading=reading_of(settings),
    )
