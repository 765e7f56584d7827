"""Calls to Discord: its refusals in our words, waits obeyed, and no ban for too many refusals."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from bots.discord import rest
from bots.discord.components import OutgoingFile
from bots.discord.rest import DiscordApi, DiscordTrouble, bucket_of, open_api
from engine.settings import DiscordSettings
from tests.fakes.discord import Fault

HERE = "/channels/801/messages"


@pytest.fixture
async def api(discord) -> AsyncIterator[DiscordApi]:
    guild = discord.add_guild()
    discord.add_channel(guild, "801", "help")
    settings = DiscordSettings(bot_token=discord.token, api_base_url=discord.api_base_url)
    async with open_api(settings) as opened:
        yield opened


async def refused(api: DiscordApi, path: str = "channels/801/messages") -> DiscordTrouble:
    with pytest.raises(DiscordTrouble) as raised:
        await api.call("POST", path, {"content": "hello"})
    return raised.value


@pytest.mark.parametrize("via", [True, False])
async def test_a_rate_limit_says_when_to_come_back(api, discord, via):
    discord.rest.fail("POST", HERE, Fault(429, retry_after_s=7.5, via=via))
    trouble = await refused(api)
    assert (trouble.status, trouble.retry_in_s) == (429, 7.5)
    calls = len(discord.rest.calls)
    assert 0 < (await refused(api)).retry_in_s <= 7.5
    assert len(discord.rest.calls) == calls  # no call is made before it is over


async def test_cloudflares_limit_holds_for_everything(api, discord):
    discord.rest.fail("POST", HERE, Fault(429, retry_after_s=7.5, via=False))
    await refused(api)
    assert (await refused(api, "channels/802/messages")).retry_in_s


@pytest.mark.parametrize("fault", [Fault(500), Fault(502), Fault(503), Fault(drop=True)])
async def test_a_fault_of_discords_own_is_worth_another_try(api, discord, fault):
    discord.rest.fail("POST", HERE, fault)
    assert (await refused(api)).retry_in_s == rest.RETRY_S
    assert (await api.call("POST", "channels/801/messages", {"content": "hello"}))["id"]


async def test_what_is_forbidden_is_not_tried_again(api, discord):
    discord.rest.fail("POST", HERE, Fault(403, code=rest.MISSING_PERMISSIONS))
    trouble = await refused(api)
    assert (trouble.code, trouble.retry_in_s) == (rest.MISSING_PERMISSIONS, None)
    assert trouble.code in rest.SHUT
    assert "token" not in str(trouble)


async def test_before_discord_bans_the_address_calls_stop(api, discord, monkeypatch):
    monkeypatch.setattr(rest, "INVALID_MAX", 3)
    discord.rest.fail("POST", HERE, Fault(403, code=rest.MISSING_PERMISSIONS), times=9)
    for _ in range(3):
        await refused(api)
    calls = len(discord.rest.calls)
    assert (await refused(api)).retry_in_s
    assert len(discord.rest.calls) == calls


async def test_an_empty_bucket_is_waited_for_before_discord_refuses(api, discord):
    discord.rest.limits["POST /channels/{channel}/messages"] = (2, 0.2)
    for _ in range(6):
        await api.call("POST", "channels/801/messages", {"content": "hello"})
    assert discord.rest.refused_calls == 0


async def test_a_file_goes_with_its_message(api, discord):
    file = OutgoingFile("answer.md", "# Täglich".encode())
    sent = await api.call("POST", "channels/801/messages", {"content": "see"}, files=[file])
    assert sent["attachments"][0]["filename"] == "answer.md"
    assert discord.rest.calls[-1].files == {"answer.md": "# Täglich".encode()}


def test_routes_are_counted_as_discord_counts_them():
    a, b = "GET channels/12345678/messages/*", "PATCH webhooks/*/*/messages/@original"
    assert bucket_of("GET", "channels/12345678/messages/87654321") == a
    assert bucket_of("PATCH", "webhooks/12345678/a-token/messages/@original") == b
    assert "secret" not in bucket_of("POST", "interactions/123456/secret/callback")
