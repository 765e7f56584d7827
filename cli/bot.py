"""`bot`: the chat bots: run one, connect workspaces, link accounts."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.context import As, Json, invocation_of, opened, run

if TYPE_CHECKING:
    from bots.discord.rest import DiscordApi
    from engine.engine import Engine
    from engine.settings import Settings

app = typer.Typer(name="bot", help="Manage chat bots: run them, connect workspaces, link accounts.")

SLACK_HINT = (
    "Slack is not configured: set slack.bot_token and slack.app_token (Socket Mode), or "
    "slack.signing_secret (HTTP). docs/how-to/slack.md has the steps."
)

DISCORD_HINT = (
    "Discord is not configured: set discord.bot_token to your application's bot token. "
    "docs/how-to/discord.md has the steps."
)


@app.command()
def slack(ctx: typer.Context) -> None:
    """Run only the Slack bot; `up` and `serve` run it, too, once it is configured."""
    settings = invocation_of(ctx).settings()
    run(_slack(settings), interrupted="stopped")


@app.command()
def discord(ctx: typer.Context) -> None:
    """Run only the Discord bot; `up` and `serve` run it, too, once it is configured."""
    settings = invocation_of(ctx).settings()
    run(_discord(settings), interrupted="stopped")


@app.command("discord-key")
def discord_key(ctx: typer.Context, as_user: As = "") -> None:
    """Print the bot's invitation link, and a key that connects one server within an hour."""
    run(_discord_key(ctx, as_user))


@app.command()
def register(
    ctx: typer.Context,
    server: Annotated[str, typer.Argument(metavar="SERVER_ID", help="The Discord server's id.")],
    as_user: As = "",
) -> None:
    """Connect a Discord server that the bot has joined."""
    run(_register(ctx, server, as_user))


@app.command()
def manifest(ctx: typer.Context) -> None:
    """Print the manifest for the Slack app."""
    import json

    from bots.slack.manifest import manifest as make

    settings = invocation_of(ctx).settings()
    made = make(settings.slack, public_url=settings.server.public_url)
    typer.echo(json.dumps(made, indent=2))


@app.command("install-link")
def install_link(ctx: typer.Context, as_user: As = "") -> None:
    """Print a link, valid for ten minutes, that installs the Slack app into another workspace."""
    run(_install_link(ctx, as_user))


@app.command()
def link(
    ctx: typer.Context,
    code: Annotated[
        str, typer.Argument(metavar="CODE", help="The code that the bot's `link` printed.")
    ],
    as_user: As = "",
) -> None:
    """Link the chat account of a code to your membership."""
    run(_link(ctx, code, as_user))


@app.command("list")
def list_(ctx: typer.Context, as_json: Json = False) -> None:
    """List the workspaces the bots are installed in."""
    run(_list(ctx, as_json=as_json))


async def _slack(settings: Settings) -> None:
    from cli.slack_door import load_slack

    await _run_alone(settings, load_slack, "" if settings.slack.is_set_up else SLACK_HINT)


async def _discord(settings: Settings) -> None:
    from cli.discord_door import load_discord

    await _run_alone(settings, load_discord, "" if settings.discord.is_set_up else DISCORD_HINT)


async def _run_alone(
    settings: Settings, load: Callable[[], Callable[..., Any]], fault: str
) -> None:
    """Run one bot until a signal stops it; `fault` is why it can't run."""
    from cli.hangup import reload_on_hangup
    from engine.errors import ConfigurationError
    from engine.runtime import open_engine
    from engine.telemetry import configure_logging
    from ingestion.connectors.kinds import open_connectors

    if fault:
        raise ConfigurationError(fault)
    configure_logging(level=settings.system.log_level, style=settings.system.log_format)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):  # Windows: Ctrl-C raises instead
            loop.add_signal_handler(name, stop.set)
    async with (
        open_engine(settings, connectors=open_connectors()) as engine,
        load()(engine) as bot,
    ):
        reload_on_hangup(engine)
        await engine.operations.check_index_home()
        await bot.run(stop)


async def _discord_key(ctx: typer.Context, as_user: str) -> None:
    async with opened(ctx, as_user) as (engine, principal), _discord_api(engine) as api:
        from bots.discord.onboarding import invite_link

        typer.echo(f"Invite the bot: {await invite_link(api)}")
        typer.echo("Then someone with Manage Server runs there, within an hour:")
        typer.echo(f"/kb register key:{engine.chats.installations.sign_key(principal)}")


async def _register(ctx: typer.Context, server: str, as_user: str) -> None:
    from engine.errors import InvalidInput

    if not server.isdecimal():
        raise InvalidInput(
            "A server's id is a number: turn on Developer Mode, right-click the server and "
            "choose Copy ID.",
            field="server",
        )
    async with opened(ctx, as_user) as (engine, principal), _discord_api(engine) as api:
        from bots.discord.onboarding import install
        from engine.access import gate
        from engine.domain import Scope

        gate.require(principal, Scope.KB_ADMIN)
        name = await install(engine, api, principal.tenant_id, server)
        typer.echo(f"{name} is connected. Run `/kb-admin setup` there to set up a channel.")


@contextlib.asynccontextmanager
async def _discord_api(engine: Engine) -> AsyncIterator[DiscordApi]:
    """Discord's REST API for one command; its errors become ours."""
    from cli.discord_door import load_discord
    from engine.errors import ConfigurationError, Unavailable

    if not engine.settings.discord.is_set_up:
        raise ConfigurationError(DISCORD_HINT)
    load_discord()
    from bots.discord.rest import DiscordTrouble, open_api

    async with open_api(engine.settings.discord) as api:
        try:
            yield api
        except DiscordTrouble as trouble:
            if trouble.status == 401:
                raise ConfigurationError("Discord rejected discord.bot_token.") from None
            raise Unavailable(f"{trouble}.") from None


async def _install_link(ctx: typer.Context, as_user: str) -> None:
    from urllib.parse import urlencode

    from bots.slack.manifest import INSTALL_PATH
    from engine.errors import ConfigurationError

    async with opened(ctx, as_user) as (engine, principal):
        settings = engine.settings
        if not (settings.slack.client_id and settings.server.public_url):
            raise ConfigurationError(
                "Installing by link needs slack.client_id, slack.client_secret and "
                "server.public_url."
            )
        state = engine.chats.installations.sign_install(principal)
        typer.echo(f"{settings.server.public_url}{INSTALL_PATH}?{urlencode({'state': state})}")


async def _link(ctx: typer.Context, code: str, as_user: str) -> None:
    async with opened(ctx, as_user) as (engine, principal):
        name = await engine.chats.senders.link(principal, code)
        typer.echo(f"{name} is linked to {principal.name}.")


async def _list(ctx: typer.Context, *, as_json: bool) -> None:
    from cli import output, render

    async with opened(ctx) as (engine, principal):
        found = [
            item
            for item in await engine.chats.installations.list_all()
            if item.tenant_id == principal.tenant_id
        ]
    if as_json:
        output.show_json(
            [
                {
                    "platform": item.platform,
                    "team": item.team_id,
                    "enterprise": item.enterprise_id,
                    "name": item.name,
                    "state": item.state,
                    "reading": item.reading,
                }
                for item in found
            ]
        )
        return
    rows = [[item.platform, item.name, item.team_id, item.state, item.reading] for item in found]
    output.show(render.table(("platform", "workspace", "id", "state", "reading"), rows))
