"""The readers of the platforms that are connected: each speaks with the bot's own installation."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec

from engine.chats.places import Place
from engine.engine import Engine
from engine.errors import NotFound
from ingestion.sources.discord import DiscordReader
from ingestion.sources.discord_rest import API, DiscordAccess
from ingestion.sources.reader import Reader, ReadingRefused
from ingestion.sources.slack import SlackAccess, SlackReader

_NO_TOKEN = "There is no Discord bot: set discord.bot_token."  # noqa: S105


def open_readers(engine: Engine) -> Mapping[str, Reader]:
    """A reader for each platform that can be read; it opens nothing until it reads."""
    readers: dict[str, Reader] = {"discord": _discord(engine)}
    if find_spec("slack_sdk") is not None:
        readers["slack"] = _slack(engine)
    return readers


def _slack(engine: Engine) -> SlackReader:
    chosen = engine.settings.slack

    async def access_of(place: Place) -> SlackAccess:
        try:
            found = await engine.chats.installations.find(
                place.platform,
                team_id=place.external_id,
                enterprise_id=str(place.settings.get("enterprise_id", "")),
            )
        except NotFound:
            raise ReadingRefused("The Slack app is no longer installed there.", lost=True) from None
        return SlackAccess(
            token=found.token,
            base_url=f"{chosen.api_base_url}/" if chosen.api_base_url else "",
            reading=found.reading,
            timeout_s=chosen.timeout_s,
        )

    return SlackReader(access_of, engine.limits)


def _discord(engine: Engine) -> DiscordReader:
    """One token serves every server that invited the bot."""
    chosen = engine.settings.discord

    async def access_of(_: Place) -> DiscordAccess:
        token = chosen.bot_token.get_secret_value()
        if not token:
            raise ReadingRefused(_NO_TOKEN)
        base_url = chosen.api_base_url.rstrip("/") or API
        return DiscordAccess(token, base_url, chosen.timeout_s)

    return DiscordReader(access_of, engine.limits)
