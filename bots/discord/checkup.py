"""Whether Discord accepts the settings: asked by `doctor`, before the bot runs."""

from __future__ import annotations

from bots.discord.client import CONTENT, MEMBERS
from bots.discord.rest import DiscordTrouble, open_api
from engine.settings import DiscordSettings

# Flags of an application; the second of each pair is that of one on fewer than a hundred servers.
_FLAGS = {MEMBERS: (1 << 14) | (1 << 15), CONTENT: (1 << 18) | (1 << 19)}


async def check(settings: DiscordSettings) -> tuple[str, str]:
    """The state of the token and the intents, and what to do; empty where nothing is to do."""
    try:
        async with open_api(settings) as api:
            application = await api.call("GET", "oauth2/applications/@me")
    except DiscordTrouble as trouble:
        if trouble.status == 401:
            return "the token is rejected", "copy it again from your application's Bot page"
        return str(trouble), "check the network"
    flags = int(application.get("flags") or 0)
    wanted = {MEMBERS: settings.members, CONTENT: settings.message_content}
    off = [name for name, is_wanted in wanted.items() if is_wanted and not flags & _FLAGS[name]]
    if off:
        portal = "turn it on in the Developer Portal (Bot), or off in the settings"
        return f"the {' and the '.join(off)} is off", portal
    return f"the token of {application.get('name')} is accepted", ""
