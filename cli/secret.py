"""`secret`: what workflows use by name, `{{secret.NAME}}`, and nobody reads again."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from cli.context import As, Json, opened, run

app = typer.Typer(name="secret", help="Manage the secrets of workflows: set, list, remove.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="The secret's name.")]


@app.command("set")
def set_(
    ctx: typer.Context,
    name: Name,
    host: Annotated[
        list[str] | None,
        typer.Option(
            "--host", metavar="HOST", help="Where HTTP may send it: a host, or *.example.com."
        ),
    ] = None,
    value: Annotated[
        bool, typer.Option(help="Read the value from standard input, or ask for it.")
    ] = True,
    as_user: As = "",
    as_json: Json = False,
) -> None:
    """Set a secret. Its value is read from standard input, so that no shell keeps it."""
    run(_set(ctx, name, _read_value() if value else None, host, as_user, as_json=as_json))


@app.command("list")
def list_(ctx: typer.Context, as_user: As = "", as_json: Json = False) -> None:
    """List the secrets and where each may be sent; never a value."""
    run(_list(ctx, as_user, as_json=as_json))


@app.command()
def remove(ctx: typer.Context, name: Name, as_user: As = "", as_json: Json = False) -> None:
    """Forget a secret; workflows that use it fail until it is set again."""
    run(_remove(ctx, name, as_user, as_json=as_json))


async def _set(
    ctx: typer.Context,
    name: str,
    value: str | None,
    hosts: list[str] | None,
    as_user: str,
    *,
    as_json: bool,
) -> None:
    from cli import output
    from engine.serializers import plain

    async with opened(ctx, as_user) as (engine, principal):
        kept = await engine.workflows.set_secret(principal, name, value=value, hosts=hosts)
    if as_json:
        output.show_json(plain(kept))
    else:
        places = ", ".join(kept.hosts) or "no host: add one with --host"
        output.note(f"{kept.name} is set; HTTP may send it to {places}")


async def _list(ctx: typer.Context, as_user: str, *, as_json: bool) -> None:
    from cli import output, render
    from engine.serializers import plain

    async with opened(ctx, as_user) as (engine, principal):
        found = await engine.workflows.list_secrets(principal)
    if as_json:
        output.show_json({"secrets": [plain(item) for item in found]})
        return
    rows = [
        (item.name, ", ".join(item.hosts), item.updated_by, f"{item.updated_at:%Y-%m-%d %H:%M}")
        for item in found
    ]
    output.show(render.table(("name", "sent to", "set by", "at"), rows, width=output.columns()))


async def _remove(ctx: typer.Context, name: str, as_user: str, *, as_json: bool) -> None:
    from cli import output

    async with opened(ctx, as_user) as (engine, principal):
        await engine.workflows.remove_secret(principal, name)
    if as_json:
        output.show_json({"removed": name})
    else:
        output.note(f"{name} is removed")


def _read_value() -> str:
    if sys.stdin.isatty():
        return str(typer.prompt("Value", hide_input=True, err=True))
    return sys.stdin.read().rstrip("\r\n")
