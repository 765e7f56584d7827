"""`scim`: identity providers that create, change and deactivate people."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from cli.context import As, Json, opened, run

app = typer.Typer(name="scim", help="Manage SCIM clients: create, list, revoke.")


@app.command()
def create(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Which provider, e.g. entra.")],
    as_user: As = "",
    as_json: Json = False,
) -> None:
    """Create a client and print its secret, only this once."""
    run(_create(ctx, name, as_user, as_json=as_json))


@app.command("list")
def list_(ctx: typer.Context, as_user: As = "", as_json: Json = False) -> None:
    """List the clients, without their secrets."""
    run(_list(ctx, as_user, as_json=as_json))


@app.command()
def revoke(
    ctx: typer.Context,
    client: Annotated[str, typer.Argument(metavar="ID", help="Its id, or how its secret begins.")],
    as_user: As = "",
    as_json: Json = False,
) -> None:
    """End a client at once; whom it provisioned stays."""
    run(_revoke(ctx, client, as_user, as_json=as_json))


async def _create(ctx: typer.Context, name: str, as_user: str, *, as_json: bool) -> None:
    from cli import output

    async with opened(ctx, as_user) as (engine, principal):
        secret, made = await engine.people.scim.create(principal, name)
    if as_json:
        output.show_json(asdict(made) | {"secret": secret})
    else:
        output.show(secret + "\n")
        output.note("store it now: it is not shown again")


async def _list(ctx: typer.Context, as_user: str, *, as_json: bool) -> None:
    from cli import output, render

    async with opened(ctx, as_user) as (engine, principal):
        found = await engine.people.scim.list_all(principal)
    if as_json:
        output.show_json({"clients": [asdict(client) for client in found]})
        return
    rows = [
        (
            client.id,
            client.prefix + "…",
            client.name,
            f"{client.last_used_at:%Y-%m-%d %H:%M}" if client.last_used_at else "never",
            "revoked" if client.revoked_at else "",
        )
        for client in found
    ]
    output.show(render.table(("id", "starts with", "name", "last used (UTC)", ""), rows))


async def _revoke(ctx: typer.Context, client: str, as_user: str, *, as_json: bool) -> None:
    from cli import output

    async with opened(ctx, as_user) as (engine, principal):
        ended = await engine.people.scim.revoke(principal, client)
    if as_json:
        output.show_json(asdict(ended))
    else:
        output.note(f"revoked {ended.name}")
