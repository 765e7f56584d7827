"""`admin`: the chat bots' admin commands at the command line, and the operator's own server.

A first word that is no subcommand begins a command of the table: `admin mode auto` is `admin run
mode auto`.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from cli.context import As, Json, Yes, invocation_of, opened, run

DEFAULT_PORT = 7338


class _Lines(TyperGroup):
    """A group whose subcommand `run` may be left out."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 (typer's own)
        """As click does, with `run` in front of anything else than a subcommand or `--help`."""
        if args and args[0] not in {*self.commands, "--help"}:
            args = ["run", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    name="admin",
    cls=_Lines,
    no_args_is_help=True,
    help="Run a chat bot command here, or serve those who run this installation.",
)


@app.command()
def serve(
    ctx: typer.Context,
    port: Annotated[
        int, typer.Option(metavar="PORT", min=0, max=65535, help="The port; 0: any free port.")
    ] = DEFAULT_PORT,
) -> None:
    """Start the operator's server: tenants over HTTP, on this machine's loopback address only."""
    from cli.operator_door import run as run_server

    raise typer.Exit(run_server(invocation_of(ctx).settings(), port))


@app.command()
def token(ctx: typer.Context, as_json: Json = False) -> None:
    """Print a token for the operator's server, for ten minutes."""
    run(_token(ctx, as_json=as_json))


async def _token(ctx: typer.Context, *, as_json: bool) -> None:
    from cli import output

    async with opened(ctx) as (engine, principal):
        made = await engine.people.sign_in.open_operator(principal)
    if as_json:
        output.show_json({"token": made.access_token, "expires_at": made.access_expires_at})
    else:
        output.show(made.access_token + "\n")


@app.command("run", context_settings={"ignore_unknown_options": False})
def admin(
    ctx: typer.Context,
    line: Annotated[
        list[str], typer.Argument(metavar="COMMAND…", help="A command, e.g. mode auto.")
    ],
    workspace: Annotated[
        str, typer.Option(metavar="NAME", help="The workspace; required if there are several.")
    ] = "",
    channel: Annotated[
        str, typer.Option(metavar="NAME", help="Channel to use where a command says “here”.")
    ] = "",
    yes: Yes = False,
    as_user: As = "",
    as_json: Json = False,
) -> None:
    """Run a chat bot command for a workspace; docs/reference/commands.md lists them."""
    said = " ".join(f'"{word}"' if " " in word else word for word in line)
    run(_admin(ctx, said, workspace, channel, as_user, yes=yes, as_json=as_json))


async def _admin(
    ctx: typer.Context,
    said: str,
    workspace: str,
    channel: str,
    as_user: str,
    *,
    yes: bool,
    as_json: bool,
) -> None:
    from cli import output, render
    from engine.commands import runner
    from engine.commands.table import Effect, Permission, parse
    from engine.errors import InvalidInput

    async with opened(ctx, as_user) as (engine, principal):
        parsed = parse(said)
        if parsed.command.permission is Permission.EVERYONE and parsed.command.name != "help":
            raise InvalidInput(f"Run `{parsed.command.name}` in a chat, as the person it concerns.")
        caller = await engine.chats.senders.admin(principal, workspace, channel)
        if parsed.command.effect is Effect.DESTROYS and not yes:
            typer.confirm(f"{parsed.command.help} Continue?", abort=True)
        result = await runner.run(engine, caller, parsed)
    if as_json:
        rows = [dict(zip(result.columns, row, strict=False)) for row in result.rows]
        output.show_json({"text": result.text, "rows": rows})
        return
    if result.text:
        typer.echo(render.plain(result.text))
    if result.rows:
        output.show(render.table(result.columns, result.rows, width=output.width()))
