"""`audit`: who changed what; exported as JSON lines, and verified."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from cli.context import As, Json, opened, run
from engine.wording import counted

app = typer.Typer(name="audit", help="Who changed what: list, export, verify.")


@app.command("list")
def list_(
    ctx: typer.Context,
    limit: Annotated[int, typer.Option(metavar="N", min=1, max=1000, help="How many.")] = 20,
    as_user: As = "",
    as_json: Json = False,
) -> None:
    """List the newest changes."""
    run(_list(ctx, limit, as_user, as_json=as_json))


@app.command()
def export(ctx: typer.Context, as_user: As = "") -> None:
    """Print every change in order, a JSON object a line."""
    run(_export(ctx, as_user))


@app.command()
def verify(ctx: typer.Context, as_user: As = "", as_json: Json = False) -> None:
    """Check that no row was edited, removed or added; each holds a digest of the one before."""
    run(_verify(ctx, as_user, as_json=as_json))


async def _list(ctx: typer.Context, limit: int, as_user: str, *, as_json: bool) -> None:
    from cli import output, render

    async with opened(ctx, as_user) as (engine, principal):
        found = await engine.operations.list_audit(principal, limit=limit)
    if as_json:
        rows = [
            {"at": item.at.isoformat(), "actor": item.actor, "action": item.action}
            | {"detail": dict(item.detail)}
            for item in found
        ]
        output.show_json({"changes": rows})
        return
    shown = [
        (f"{item.at:%Y-%m-%d %H:%M}", item.actor, item.action, json.dumps(dict(item.detail)))
        for item in found
    ]
    output.show(render.table(("when (UTC)", "who", "what", "details"), shown))


async def _export(ctx: typer.Context, as_user: str) -> None:
    from cli import output

    async with opened(ctx, as_user) as (engine, principal):
        async for row in engine.operations.export_audit(principal):
            output.show(json.dumps(row, ensure_ascii=False) + "\n")


async def _verify(ctx: typer.Context, as_user: str, *, as_json: bool) -> None:
    from cli import output
    from engine.errors import Conflict

    async with opened(ctx, as_user) as (engine, principal):
        found = await engine.operations.verify_audit(principal)
    if as_json:
        output.show_json({"rows": found.rows, "faults": list(found.faults)})
    if found.faults:
        raise Conflict("The audit log was changed: " + "; ".join(found.faults[:20]) + ".")
    if not as_json:
        output.note(f"{counted(found.rows, 'row')}, all as they were written")
