"""Fixtures of the Discord bot: the fake Discord and a furnished room in it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bots.discord import streaming
from tests.fakes.discord import FakeDiscord, open_discord
from tests.fakes.discord_rooms import DiscordRoom, open_discord_room
from tests.fakes.installations import parse_inline


@pytest.fixture
async def discord() -> AsyncIterator[FakeDiscord]:
    async with open_discord() as fake:
        yield fake


@pytest.fixture
async def room(
    home: Path, discord: FakeDiscord, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[DiscordRoom]:
    parse_inline(monkeypatch)
    # However slow the machine is, an answer that is ready at once is one message.
    monkeypatch.setattr(streaming, "EDIT_S", 3600.0)
    async with open_discord_room(home, discord) as opened:
        yield opened
