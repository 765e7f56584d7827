"""Fixtures of the Slack bot: the fake Slack and a furnished room in it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bots.slack import streaming
from tests.fakes.installations import parse_inline
from tests.fakes.slack import FakeSlack, open_slack
from tests.fakes.slack_rooms import SlackRoom, open_slack_room


@pytest.fixture
async def slack() -> AsyncIterator[FakeSlack]:
    async with open_slack() as fake:
        yield fake


@pytest.fixture
async def place(
    home: Path, slack: FakeSlack, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[SlackRoom]:
    parse_inline(monkeypatch)
    # However slow the machine is, an answer that is ready at once is one message.
    monkeypatch.setattr(streaming, "FLUSH_S", 3600.0)
    monkeypatch.setattr(streaming, "UPDATE_S", 3600.0)
    async with open_slack_room(home, slack) as opened:
        yield opened
