"""`tenant`: organisations, each walled off from the others."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from cli.context import Json, opened, run

app = typer.Typer(name="tenant", help="Manage tenants: create, list.")


@app.command()
def create(
    ctx: typer.Context,
    key: Annotated[
        str,
        typer.Argument(metavar="KEY", help="Its short name (a-z, 0-9 and _), which never changes."),
    ],
    name: Annotated[str, typer.Option(metavar="NAME", help="Its display name.")] = "",
    as_json: Json = False,
) -> None:
    """Create a tenant."""
    run(_create(ctx, key, name or key, as_json=as_json))


@app.command("list")
def list_(ctx: typer.Context, as_json: Json = False) -> None:
    """List the tenants."""
    run(_list(ctx, as_json=as_json))


async def _create(ctx: typer.Context, key: str, name: str, *, as_json: bool) -> None:
    from cli import output

    async with opened(ctx) as (engine, principal):
        made = await engine.people.create_tenant(principal, key, name=name)
    if as_json:
        output.show_json(asdict(made))
    else:
        output.note(f"created {made.key}")


async def _list(ctx: typer.Context, *, as_json: bool) -> None:
    from cli import output, render

    async with opened(ctx) as (engine, principal):
        found = await engine.people.list_tenants(principal)
    if as_json:
        output.show_json({"tenants": [asdict(tenant) for tenant in found]})
    else:
        output.show(render.table(("key", "name"), [(t.key, t.name) for t in found]))
