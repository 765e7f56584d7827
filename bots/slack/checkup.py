"""Whether Slack accepts the settings: asked by `doctor`, before the bot runs."""

from __future__ import annotations

from bots.slack.client import REVOKED, SlackTrouble, open_api
from bots.slack.manifest import scopes_of
from engine.settings import SlackSettings


async def check(settings: SlackSettings) -> tuple[str, str]:
    """The state of the tokens, and what to do; empty where nothing is to do.

    An app that is installed by OAuth has no token in the settings to check.
    """
    bot, app = settings.bot_token.get_secret_value(), settings.app_token.get_secret_value()
    account = ""
    async with open_api(settings) as api:
        if app:
            try:
                await api.call(app, "apps.connections.open")
            except SlackTrouble as trouble:
                return _explain("app_token", trouble, "Basic Information, App-Level Tokens")
        if bot:
            try:
                found, scopes = await api.introduce(bot)
            except SlackTrouble as trouble:
                return _explain("bot_token", trouble, "OAuth & Permissions")
            account = str(found.get("team") or found.get("team_id") or "")
            missing = sorted(set(scopes_of(settings)) - set(scopes)) if scopes else []
            if missing:
                todo = "install the app again with the manifest of `scrubjay bot manifest`"
                return f"the bot lacks the scopes {', '.join(missing)}", todo
    return f"the tokens are accepted by {account}" if account else "set up", ""


def _explain(setting: str, trouble: SlackTrouble, place: str) -> tuple[str, str]:
    if trouble.code in REVOKED | {"not_authed", "not_allowed_token_type"}:
        return f"slack.{setting} is rejected ({trouble.code})", f"copy it again from {place}"
    return str(trouble), "check the network"
