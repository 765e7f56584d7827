"""Fixtures of the Discord bot: the fake Discord, and discord.py turned to it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.fakes.discord import FakeDiscord, open_discord


@pytest.fixture
async def discord() -> AsyncIterator[FakeDiscord]:
    async with open_discord() as fake:
        yield fake
