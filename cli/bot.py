"""`bot`: the chat bots: run one, connect workspaces, link accounts."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from typing import TYPE_CHECKING, Annotated

import typer

from cli.context import As, Json, invocation_of, opened, run

if TYPE_CHECKING:
    from engine.settings import Settings

app = typer.Typer(name="bot", help="Chat bots: run them, connect workspaces, link accounts.")

SETUP_HINT = (
    "Slack is not set up: set slack.bot_token and slack.app_token (Socket Mode), or"
    " slack.signing_secret (HTTP). docs/how-to/slack.md has the steps."
)


@app.command()
def slack(ctx: typer.Context) -> None:
    """Run the Slack bot alone; `up` and `serve` run it too when it is set up."""
    settings = invocation_of(ctx).settings()
    run(_slack(settings), interrupted="stopped")


@app.command()
def manifest(ctx: typer.Context) -> None:
    """Print the manifest to make the Slack app from."""
    import json

    from bots.slack.manifest import manifest as make

    settings = invocation_of(ctx).settings()
    made = make(settings.slack, public_url=settings.server.public_url)
    typer.echo(json.dumps(made, indent=2))


@app.command("install-link")
def install_link(ctx: typer.Context, as_user: As = "") -> None:
    """Print a link that installs the Slack app into one more workspace, for ten minutes."""
    run(_install_link(ctx, as_user))


@app.command()
def link(
    ctx: typer.Context,
    code: Annotated[str, typer.Argument(metavar="CODE", help="What the bot's `link` said.")],
    as_user: As = "",
) -> None:
    """Link the chat account a code was made for to your membership."""
    run(_link(ctx, code, as_user))


@app.command("list")
def list_(ctx: typer.Context, as_json: Json = False) -> None:
    """List the workspaces the bots are installed in."""
    run(_list(ctx, as_json=as_json))


async def _slack(settings: Settings) -> None:
    from cli.slack_door import load_slack
    from engine.errors import ConfigurationError
    from engine.runtime import open_engine
    from engine.telemetry import configure_logging

    configure_logging(level=settings.system.log_level, style=settings.system.log_format)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):  # Windows: Ctrl-C raises instead
            loop.add_signal_handler(name, stop.set)
    if not settings.slack.is_set_up:
        raise ConfigurationError(SETUP_HINT)
    async with open_engine(settings) as engine, load_slack()(engine) as bot:
        await bot.run(stop)


async def _install_link(ctx: typer.Context, as_user: str) -> None:
    from urllib.parse import urlencode

    from bots.slack.manifest import INSTALL_PATH
    from engine.errors import ConfigurationError

    async with opened(ctx, as_user) as (engine, principal):
        settings = engine.settings
        if not (settings.slack.client_id and settings.server.public_url):
            raise ConfigurationError(
                "Installing by link needs slack.client_id, slack.client_secret and"
                " server.public_url."
            )
        state = engine.chat.sign_install(principal)
        typer.echo(f"{settings.server.public_url}{INSTALL_PATH}?{urlencode({'state': state})}")


async def _link(ctx: typer.Context, code: str, as_user: str) -> None:
    async with opened(ctx, as_user) as (engine, principal):
        name = await engine.chat.link(principal, code)
        typer.echo(f"{name} is linked to {principal.name}.")


async def _list(ctx: typer.Context, *, as_json: bool) -> None:
    from cli import output, render

    async with opened(ctx) as (engine, principal):
        found = [
            one
            for one in await engine.chat.list_installations()
            if one.tenant_id == principal.tenant_id
        ]
    if as_json:
        output.show_json(
            [
                {
                    "platform": one.platform,
                    "team": one.team_id,
                    "enterprise": one.enterprise_id,
                    "name": one.name,
                    "state": one.state,
                    "reading": one.reading,
                }
                for one in found
            ]
        )
        return
    rows = [[one.platform, one.name, one.team_id, one.state, one.reading] for one in found]
    output.show(render.table(("platform", "workspace", "id", "state", "reading"), rows))
