"""`widget`: assistants on pages of other sites."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.context import As, Json, opened, run

app = typer.Typer(
    name="widget", help="Manage assistants on pages of other sites: list, add, remove."
)


@app.command("list")
def list_(ctx: typer.Context, as_user: As = "", as_json: Json = False) -> None:
    """List the widgets."""
    run(_list(ctx, as_user, as_json=as_json))


@app.command()
def add(
    ctx: typer.Context,
    assistant: Annotated[str, typer.Argument(metavar="NAME", help="The assistant's slug or id.")],
    origin: Annotated[
        list[str],
        typer.Option(
            "--origin",
            metavar="URL",
            help="A site whose pages show it, such as https://www.example.com; repeat it.",
        ),
    ],
    key: Annotated[
        str,
        typer.Option(
            metavar="KEY",
            help="Answer anyone, as this service key (default: members alone, as themselves).",
        ),
    ] = "",
    as_user: As = "",
    as_json: Json = False,
) -> None:
    """Let pages of other sites show an assistant, and print the tag that they carry."""
    run(_add(ctx, assistant, origin, key, as_user, as_json=as_json))


@app.command()
def remove(
    ctx: typer.Context,
    widget: Annotated[str, typer.Argument(metavar="ID", help="Its id.")],
    as_user: As = "",
    as_json: Json = False,
) -> None:
    """Take a widget away: pages that show it answer nothing more."""
    run(_remove(ctx, widget, as_user, as_json=as_json))


async def _list(ctx: typer.Context, as_user: str, *, as_json: bool) -> None:
    from cli import output, render
    from engine import serializers

    async with opened(ctx, as_user) as (engine, principal):
        found = await engine.widgets.list_all(principal)
    if as_json:
        output.show_json({"widgets": [serializers.widget(item) for item in found]})
    elif not found:
        output.note("none yet; `scrubjay widget add NAME --origin URL` adds one")
    else:
        rows = [
            (item.id, item.assistant, item.key or item.readers, ", ".join(item.origins))
            for item in found
        ]
        output.show(render.table(("id", "assistant", "answers as", "sites"), rows))


async def _add(
    ctx: typer.Context,
    assistant: str,
    origins: list[str],
    key: str,
    as_user: str,
    *,
    as_json: bool,
) -> None:
    from cli import output
    from engine import serializers
    from engine.search.links import address_of

    async with opened(ctx, as_user) as (engine, principal):
        made = await engine.widgets.add(principal, assistant, origins, key=key)
        server = engine.settings.server
    base = server.public_url or address_of(server)
    if as_json:
        output.show_json(serializers.widget(made, base))
        return
    whom = f"anyone, as {made.key}" if made.key else "members who are signed in"
    output.note(f"{made.assistant} answers {whom}, on pages of {', '.join(made.origins)}:")
    output.show(serializers.widget_tag(made.id, base) + "\n")


async def _remove(ctx: typer.Context, widget: str, as_user: str, *, as_json: bool) -> None:
    from cli import output

    async with opened(ctx, as_user) as (engine, principal):
        gone = await engine.widgets.remove(principal, widget)
    if as_json:
        output.show_json({"deleted": gone})
    else:
        output.note(f"removed {gone}")
