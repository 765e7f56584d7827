"""The readers of the platforms that are connected: each speaks with the bot's own installation."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec

from engine.channels import Place
from engine.engine import Engine
from engine.errors import NotFound
from ingestion.sources.reader import Reader, Refused
from ingestion.sources.slack import SlackAccess, SlackReader


def open_readers(engine: Engine) -> Mapping[str, Reader]:
    """A reader for each platform whose library is installed; it opens nothing until it reads."""
    if find_spec("slack_sdk") is None:
        return {}
    chosen = engine.settings.slack

    async def access_of(place: Place) -> SlackAccess:
        try:
            found = await engine.chat.find_installation(
                place.platform,
                team_id=place.external_id,
                enterprise_id=str(place.settings.get("enterprise_id", "")),
            )
        except NotFound:
            raise Refused("The Slack app is not installed there any more.", lost=True) from None
        return SlackAccess(
            token=found.token,
            base_url=f"{chosen.api_base_url}/" if chosen.api_base_url else "",
            reading=found.reading,
            timeout_s=chosen.timeout_s,
        )

    return {"slack": SlackReader(access_of, engine.limits)}
