"""`admin`: the chat bots' admin commands at the command line, from the same table."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.context import As, Json, Yes, opened, run


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command(context_settings={"ignore_unknown_options": False})(admin)


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
