"""`workflow trigger`: what starts a workflow by itself: add, list, pause, resume, remove."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from cli.context import As, Json, opened, run
from cli.graph_texts import quoted

app = typer.Typer(name="trigger", help="Start workflows on a schedule.")

Id = Annotated[
    str, typer.Argument(metavar="ID", help="Its id, as `workflow trigger list` shows it.")
]


class CatchUp(StrEnum):
    """What becomes of an instant that was missed."""

    SKIP = "skip"
    ONCE = "once"


class Overlap(StrEnum):
    """What becomes of an instant while the run before is at work."""

    SKIP = "skip"
    QUEUE = "queue"


@app.command()
def add(
    ctx: typer.Context,
    workflow: Annotated[str, typer.Argument(metavar="WORKFLOW", help="A published workflow.")],
    schedule: Annotated[
        str,
        typer.Option(
            metavar="CRON", help="Minute, hour, day, month, weekday: '0 9 * * 1'; or @daily."
        ),
    ],
    key: Annotated[str, typer.Option(metavar="NAME", help="The service key its runs work as.")],
    inputs: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME=VALUE", help="The inputs of its runs."),
    ] = None,
    zone: Annotated[
        str, typer.Option(metavar="ZONE", help="The schedule's time zone, as Europe/Berlin.")
    ] = "UTC",
    name: Annotated[str, typer.Option(metavar="NAME", help="Its name.")] = "",
    catch_up: Annotated[
        CatchUp, typer.Option(metavar="HOW", help="After a time without a worker: skip or once.")
    ] = CatchUp.SKIP,
    overlap: Annotated[
        Overlap, typer.Option(metavar="HOW", help="While a run is at work: skip or queue.")
    ] = Overlap.SKIP,
    as_user: As = "",
    as_json: Json = False,
) -> None:
    """Start a workflow on a schedule."""
    settings = {
        "schedule": schedule,
        "key": key,
        "zone": zone,
        "name": name,
        "catch_up": catch_up.value,
        "overlap": overlap.value,
    }
    run(_add(ctx, workflow, settings, inputs or [], as_user, as_json=as_json))


@app.command("list")
def list_(
    ctx: typer.Context,
    workflow: Annotated[
        str, typer.Argument(metavar="WORKFLOW", help="Of one workflow (default: all).")
    ] = "",
    as_user: As = "",
    as_json: Json = False,
) -> None:
    """List the triggers, with their next and their last run."""
    run(_list(ctx, workflow, as_user, as_json=as_json))


@app.command()
def pause(ctx: typer.Context, id_: Id, as_user: As = "", as_json: Json = False) -> None:
    """Start nothing until it is resumed."""
    run(_set(ctx, id_, as_user, active=False, as_json=as_json))


@app.command()
def resume(ctx: typer.Context, id_: Id, as_user: As = "", as_json: Json = False) -> None:
    """Start runs again, from its next instant on."""
    run(_set(ctx, id_, as_user, active=True, as_json=as_json))


@app.command()
def remove(ctx: typer.Context, id_: Id, as_user: As = "", as_json: Json = False) -> None:
    """Forget a trigger; its runs stay."""
    run(_remove(ctx, id_, as_user, as_json=as_json))


async def _add(
    ctx: typer.Context,
    workflow: str,
    settings: dict[str, str],
    inputs: list[str],
    as_user: str,
    *,
    as_json: bool,
) -> None:
    from cli import output
    from engine.commands.workflows import parse_inputs
    from engine.serializers import plain
    from engine.workflows.triggers import NewTrigger

    async with opened(ctx, as_user) as (engine, principal):
        schema = await engine.workflows.input_schema(principal, workflow)
        given = parse_inputs(" ".join(map(quoted, inputs)), schema["properties"])
        new = NewTrigger(**settings, inputs=given)  # type: ignore[arg-type]
        made = await engine.workflows.add_trigger(principal, workflow, new)
    if as_json:
        output.show_json(plain(made))
    else:
        output.note(f"added {made.id}; next run {made.next_at:%Y-%m-%d %H:%M} UTC")


async def _list(ctx: typer.Context, workflow: str, as_user: str, *, as_json: bool) -> None:
    from cli import output, render
    from engine.serializers import plain

    async with opened(ctx, as_user) as (engine, principal):
        found = await engine.workflows.list_triggers(principal, workflow)
    if as_json:
        output.show_json({"triggers": [plain(item) for item in found]})
        return
    if not found:
        output.note("no triggers; add one with `scrubjay workflow trigger add`")
        return
    rows = [
        (
            item.id,
            item.workflow,
            f"{item.schedule} {item.zone}",
            item.state,
            f"{item.next_at:%Y-%m-%d %H:%M}" if item.next_at else "",
            item.last_run,
            render.one_line(item.last_error),
        )
        for item in found
    ]
    heads = ("id", "workflow", "schedule", "state", "next (UTC)", "last run", "error")
    output.show(render.table(heads, rows, width=output.columns()))


async def _set(ctx: typer.Context, id_: str, as_user: str, *, active: bool, as_json: bool) -> None:
    from cli import output
    from engine.serializers import plain

    async with opened(ctx, as_user) as (engine, principal):
        changed = await engine.workflows.set_trigger(principal, id_, active=active)
    if as_json:
        output.show_json(plain(changed))
    else:
        output.note(f"{changed.name}: {changed.state}")


async def _remove(ctx: typer.Context, id_: str, as_user: str, *, as_json: bool) -> None:
    from cli import output

    async with opened(ctx, as_user) as (engine, principal):
        gone = await engine.workflows.remove_trigger(principal, id_)
    if as_json:
        output.show_json({"deleted": gone.id})
    else:
        output.note(f"removed {gone.name}")
