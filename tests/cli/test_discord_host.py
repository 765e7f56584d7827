"""The Discord bot next to the server and at the command line."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from cli.discord_door import load_discord
from cli.doctor import _discord
from cli.main import main
from cli.serve import build_host
from engine.errors import ConfigurationError
from engine.runtime import open_engine
from tests.fakes.discord import open_discord, text_of
from tests.fakes.discord_rooms import ADA, GUILD, HELP, build_guild
from tests.fakes.homes import home_settings


async def test_the_bot_answers_next_to_the_server(tmp_path: Path) -> None:
    async with open_discord() as discord:
        build_guild(discord)
        settings = home_settings(
            tmp_path,
            discord__api_base_url=discord.api_base_url,
            discord__gateway_url=discord.gateway_url,
            discord__bot_token=discord.token,
        )
        async with open_engine(settings) as engine:
            app = build_host(engine, settings)
            async with app.router.lifespan_context(app):
                await discord.ready()
                discord.talk.say(HELP, ADA, f"{discord.mention} hello")
                message = await discord.reply(HELP)
                assert f"scrubjay bot register {GUILD}" in text_of(message)
                key = engine.chats.installations.sign_key(await engine.people.owner())
                done = discord.interactions.slash(ADA, HELP, "kb register", key=key)
                await discord.answered(done)
                assert "is connected" in done.text
                discord.talk.say(HELP, ADA, f"{discord.mention} hello")
                await discord.until(
                    lambda: any("Ask me anything" in text_of(m) for m in discord.shown(HELP))
                )
        await discord.until(lambda: not discord.gateway.connected)


async def test_doctor_names_what_is_off_in_the_portal(tmp_path: Path) -> None:
    async with open_discord() as discord:
        settings = home_settings(
            tmp_path, discord__api_base_url=discord.api_base_url, discord__bot_token=discord.token
        )
        assert "accepted" in (await _discord(settings)).detail
        discord.allow_intents(content=False)
        found = await _discord(settings)
        assert "message content intent" in found.detail
        assert "Developer Portal" in found.todo
        refused = settings.model_copy(
            update={
                "discord": settings.discord.model_copy(update={"bot_token": SecretStr("wrong")})
            }
        )
        assert "rejected" in (await _discord(refused)).detail


async def test_a_server_is_connected_at_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SCRUBJAY_EMBEDDING__MODEL", "hashing")
    monkeypatch.setenv("SCRUBJAY_HOME", str(tmp_path))
    assert await asyncio.to_thread(main, ["bot", "discord"]) == 4
    assert "discord.bot_token" in capsys.readouterr().err
    async with open_discord() as discord:
        build_guild(discord)
        monkeypatch.setenv("SCRUBJAY_DISCORD__API_BASE_URL", discord.api_base_url)
        monkeypatch.setenv("SCRUBJAY_DISCORD__BOT_TOKEN", discord.token)
        assert await asyncio.to_thread(main, ["bot", "discord-key"]) == 0
        said = capsys.readouterr().out
        assert f"client_id={discord.world.application_id}" in said
        assert "permissions=" in said
        assert "/kb register key:" in said
        assert await asyncio.to_thread(main, ["bot", "register", GUILD]) == 0
        assert "Radio is connected" in capsys.readouterr().out
        assert await asyncio.to_thread(main, ["bot", "list"]) == 0
        assert "Radio" in capsys.readouterr().out
        assert await asyncio.to_thread(main, ["bot", "register", "42"]) == 1
        assert "invite it there first" in capsys.readouterr().err
        assert await asyncio.to_thread(main, ["bot", "register", "Radio"]) == 1
        monkeypatch.setenv("SCRUBJAY_DISCORD__BOT_TOKEN", "wrong")
        assert await asyncio.to_thread(main, ["bot", "discord-key"]) == 4
        assert "rejected" in capsys.readouterr().err


def test_without_the_library_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "bots.discord.bot", None)
    with pytest.raises(ConfigurationError, match="extra `discord`"):
        load_discord()
