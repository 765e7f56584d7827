"""`tenant`: organisations, each walled off from the others. For who runs the installation."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.context import Json, Yes, opened, run

if TYPE_CHECKING:
    from engine.domain import Principal
    from engine.engine import Engine
    from engine.people.tenants import TenantInfo

app = typer.Typer(
    name="tenant",
    help="Manage tenants: create, list, suspend, resume, credits, limit, llm, export, delete.",
)

POLL_S = 0.2
Key = Annotated[str, typer.Argument(metavar="KEY", help="Its key or id.")]


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


@app.command()
def suspend(ctx: typer.Context, tenant: Key, as_json: Json = False) -> None:
    """Let a tenant answer nothing, at no door, until it is resumed; its jobs wait."""
    run(_change(ctx, tenant, "suspend", as_json=as_json))


@app.command()
def resume(ctx: typer.Context, tenant: Key, as_json: Json = False) -> None:
    """Let a suspended tenant answer again, and its jobs run."""
    run(_change(ctx, tenant, "resume", as_json=as_json))


@app.command()
def export(
    ctx: typer.Context,
    tenant: Key,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The zip to write.")],
    as_json: Json = False,
) -> None:
    """Write everything of a tenant into a zip of JSON lines and files, without secrets."""
    from engine.errors import Conflict

    if file.exists():
        raise Conflict(f"{file} exists already: choose another name.")
    run(_export(ctx, tenant, file, as_json=as_json))


@app.command("credits")
def credits_(
    ctx: typer.Context,
    tenant: Key,
    add: Annotated[
        float | None,
        typer.Option(metavar="NUMBER", help="Credits to add; below 0 takes some away."),
    ] = None,
    enforced: Annotated[
        bool | None, typer.Option(help="Whether calls are refused once none are left.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Add credits for language models, the first time opening an account; 1 credit is 1 US dollar."""
    run(_credits(ctx, tenant, add, enforced, as_json=as_json))


@app.command()
def limit(
    ctx: typer.Context,
    tenant: Key,
    kind: Annotated[
        str,
        typer.Argument(
            metavar="KIND", help="requests-per-minute, tokens-per-day, documents or bytes."
        ),
    ],
    amount: Annotated[
        int | None, typer.Argument(metavar="[NUMBER]", min=0, help="How many; none: no bound.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Bound what a tenant may use; its admins see the bound and can't change it."""
    run(_limit(ctx, tenant, kind, amount, as_json=as_json))


@app.command("llm")
def allow_llm(
    ctx: typer.Context,
    tenant: Key,
    allowed: Annotated[
        bool, typer.Option("--allow/--refuse", help="Whether its answers may use it.")
    ],
    as_json: Json = False,
) -> None:
    """Let a tenant use the installation's own language model, or only models of its own."""
    run(_allow_llm(ctx, tenant, allowed=allowed, as_json=as_json))


@app.command()
def delete(ctx: typer.Context, tenant: Key, yes: Yes = False, as_json: Json = False) -> None:
    """Delete a tenant with everything it has; it answers nothing from the start."""
    if not yes:
        typer.confirm(f"Delete the tenant {tenant} with everything it has?", abort=True, err=True)
    run(_change(ctx, tenant, "delete", as_json=as_json))


async def _create(ctx: typer.Context, key: str, name: str, *, as_json: bool) -> None:
    async with opened(ctx) as (engine, principal):
        made = await engine.people.create_tenant(principal, key, name=name)
    _show(made, f"created {made.key}", as_json=as_json)


async def _list(ctx: typer.Context, *, as_json: bool) -> None:
    from cli import output, render

    async with opened(ctx) as (engine, principal):
        found = await engine.people.list_tenants(principal)
    if as_json:
        output.show_json({"tenants": [asdict(tenant) for tenant in found]})
        return
    rows = [(t.key, t.name, "suspended" if t.suspended_at else "") for t in found]
    output.show(render.table(("key", "name", ""), rows))


async def _change(ctx: typer.Context, tenant: str, verb: str, *, as_json: bool) -> None:
    async with opened(ctx) as (engine, principal):
        people = engine.people
        change = {
            "suspend": people.suspend_tenant,
            "resume": people.resume_tenant,
            "delete": people.delete_tenant,
        }[verb]
        changed = await change(principal, tenant)
        if verb == "delete":
            from cli.inline_worker import work_while

            await work_while(engine, _until_deleted(engine, principal, changed.id))
    said = {
        "suspend": f"{changed.key} is suspended",
        "resume": f"{changed.key} answers again",
        "delete": f"{changed.key} is deleted with everything it had",
    }
    _show(changed, said[verb], as_json=as_json)


async def _credits(
    ctx: typer.Context, tenant: str, add: float | None, enforced: bool | None, *, as_json: bool
) -> None:
    from cli import output

    async with opened(ctx) as (engine, principal):
        left = await engine.llms.grant(principal, tenant, credits=add, enforced=enforced)
    if as_json:
        output.show_json(asdict(left))
    else:
        bound = "" if left.enforced else ", without a limit"
        output.note(f"{tenant} has {left.balance:,.4f} credits{bound}")


async def _limit(
    ctx: typer.Context, tenant: str, kind: str, amount: int | None, *, as_json: bool
) -> None:
    from cli import output, render

    async with opened(ctx) as (engine, principal):
        held = await engine.quotas.bound(principal, tenant, kind, amount)
    if as_json:
        output.show_json({"quotas": [asdict(quota) for quota in held]})
        return
    rows = [
        (q.subject, q.kind, f"{q.amount:,}", "" if q.by_operator else "by its admins") for q in held
    ]
    output.show(render.table(("of", "what", "at most", ""), rows))


async def _allow_llm(ctx: typer.Context, tenant: str, *, allowed: bool, as_json: bool) -> None:
    from cli import output

    async with opened(ctx) as (engine, principal):
        await engine.llms.allow_operators(principal, tenant, on=allowed)
    if as_json:
        output.show_json({"allowed": allowed})
    else:
        output.note(f"{tenant} {'may' if allowed else 'may not'} use the installation's model")


async def _until_deleted(engine: Engine, principal: Principal, tenant_id: str) -> None:
    """Return when all is gone, here or by a worker elsewhere; `Conflict` where that failed."""
    from engine.errors import Conflict

    while state := await engine.people.tenant_deletion(principal, tenant_id):
        if state == "failed":
            raise Conflict("Not everything could be deleted: see the log, then run this again.")
        await asyncio.sleep(POLL_S)


async def _export(ctx: typer.Context, tenant: str, file: Path, *, as_json: bool) -> None:
    from cli import output

    async with opened(ctx) as (engine, principal):
        counts = await engine.operations.export_tenant(principal, tenant, file)
    if as_json:
        output.show_json({"file": str(file), "rows": counts})
    else:
        output.note(f"{sum(counts.values()):,} rows and files of {tenant} are in {file}")


def _show(tenant: TenantInfo, said: str, *, as_json: bool) -> None:
    from cli import output

    if as_json:
        output.show_json(asdict(tenant))
    else:
        output.note(said)
