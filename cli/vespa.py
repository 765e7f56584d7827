"""`vespa`: the application package of a Vespa cluster: render, plan, deploy, status."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from cli.context import DONE, REFUSED, Json, opened, run
from engine.wording import counted

if TYPE_CHECKING:
    from engine.operations.vespa_admin import ClusterStatus, PlacedSpace
    from vespa_app.deploy import Action, DeployPlan

app = typer.Typer(name="vespa", help="Manage the Vespa application: render, plan, deploy, status.")


class FollowUpKind(StrEnum):
    """Kinds of work that a change may leave to an operator."""

    RESTART = "restart"
    REFEED = "refeed"
    REINDEX = "reindex"


@app.command()
def render(
    ctx: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where to write the package.")],
    as_json: Json = False,
) -> None:
    """Write the application package as a deploy would send it, without contacting Vespa."""
    if folder.exists() and not folder.is_dir():
        raise typer.BadParameter(f"{folder} is a file: name a folder.", param_hint="FOLDER")
    if not _may_be_replaced(folder):
        raise typer.BadParameter(
            f"{folder} contains other files: name a new folder, or one of an earlier `render`.",
            param_hint="FOLDER",
        )
    run(_render(ctx, folder, as_json=as_json))


def _may_be_replaced(folder: Path) -> bool:
    """Whether a folder is new, empty, or a package of ours: writing takes away older schemas."""
    if not folder.exists() or not any(folder.iterdir()):
        return True
    return (folder / "services.xml").is_file() and (folder / "schemas/placeholder.sd").is_file()


@app.command()
def plan(ctx: typer.Context, as_json: Json = False) -> None:
    """Show what a deploy would change, and whether it would go ahead. It changes nothing."""
    raise typer.Exit(run(_plan(ctx, as_json=as_json)))


@app.command()
def deploy(
    ctx: typer.Context,
    accept: Annotated[
        list[FollowUpKind] | None,
        typer.Option(
            "--accept",
            metavar="KIND",
            help="Deploy although you must restart, refeed or reindex afterwards.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Deploy the application, and wait until it is in use.

    New and deleted tenants are deployed automatically. Use this after an upgrade, or to see why
    that failed.
    """
    run(_deploy(ctx, accept or [], as_json=as_json))


@app.command()
def status(ctx: typer.Context, as_json: Json = False) -> None:
    """Show where each tenant's documents are, and whether the cluster is up to date."""
    raise typer.Exit(run(_status(ctx, as_json=as_json)))


async def _render(ctx: typer.Context, folder: Path, *, as_json: bool) -> None:
    from cli import output
    from engine.errors import InvalidInput
    from engine.operations.vespa_admin import render_package

    async with opened(ctx) as (engine, _):
        package = await render_package(engine.settings, engine.db)
    try:
        package.write(folder)
    except OSError as error:
        raise InvalidInput(
            f"{folder} can't be written ({error.strerror}): name another folder.", field="folder"
        ) from None
    if as_json:
        schemas = [schema.name for schema in package.schemas]
        facts = {"folder": folder, "digest": package.digest, "files": sorted(package.files)}
        output.show_json({**facts, "schemas": schemas})
        return
    files = counted(len(package.files), "file")
    output.note(f"wrote {files} with {counted(len(package.schemas), 'schema')} to {folder}")


async def _plan(ctx: typer.Context, *, as_json: bool) -> int:
    from cli import output
    from engine.operations.vespa_admin import plan_deploy

    with output.working("preparing"):
        async with opened(ctx) as (engine, _):
            found = await plan_deploy(engine.settings, engine.db)
    if as_json:
        output.show_json({**asdict(found), "is_safe": found.is_safe})
    else:
        output.show("".join(f"{line}\n" for line in _planned(found)))
    return DONE if found.is_safe else REFUSED


async def _deploy(ctx: typer.Context, accept: list[FollowUpKind], *, as_json: bool) -> None:
    from cli import output
    from engine.operations.vespa_admin import deploy as deploy_now
    from vespa_app.deploy import ActionKind

    kinds = [kind for kind in get_args(ActionKind) if kind in accept]
    with output.working("deploying"):
        async with opened(ctx) as (engine, _):
            done = await deploy_now(engine.settings, engine.db, accept=kinds)
    if as_json:
        output.show_json(asdict(done))
        return
    output.show("".join(f"{line}\n" for line in _deployed(done)))


async def _status(ctx: typer.Context, *, as_json: bool) -> int:
    from cli import output
    from engine.operations.vespa_admin import read_status

    async with opened(ctx) as (engine, _):
        found = await read_status(engine.settings, engine.db)
    if as_json:
        output.show_json(asdict(found))
    else:
        _show_status(found)
    is_well = found.convergence is not None and found.convergence.converged
    all_there = all(space.state == "deployed" for space in found.spaces)
    return DONE if is_well and all_there and not found.unknown else REFUSED


def _planned(found: DeployPlan) -> list[str]:
    """A plan as lines: what would change, then what prevents it."""
    lines = []
    if found.first:
        lines.append("Nothing is deployed yet.")
    elif found.changes_nothing:
        lines.append("Nothing would change.")
    lines += [f"+ {name}" for name in found.added]
    lines += [f"- {name}  with all its documents" for name in found.removed]
    lines += [f"~ {path}" for path in found.changed]
    lines += [f"! {_action(action)}" for action in found.actions]
    lines += [f"warning: {warning}" for warning in found.warnings]
    if found.unasked:
        lines += [
            f"! {name}  would be removed, but no removal was requested" for name in found.unasked
        ]
        lines.append(
            "A deploy would be refused: another installation uses this Vespa, or tenants are "
            "missing here."
        )
    elif found.refusal:
        lines.append(f"A deploy would be refused: {found.refusal}")
    elif found.actions:
        kinds = " ".join(f"--accept {kind}" for kind in sorted({a.kind for a in found.actions}))
        lines.append(f"A deploy waits for your consent: `scrubjay vespa deploy {kinds}`")
    elif not found.changes_nothing:
        lines.append("A deploy would go ahead: `scrubjay vespa deploy`")
    return lines


def _deployed(done: DeployPlan) -> list[str]:
    """What a deploy did, and what is left to do."""
    lines = [f"+ {name}" for name in done.added]
    lines += [f"- {name}  removed" for name in done.removed]
    lines += [f"~ {path}" for path in done.changed]
    lines += [f"warning: {warning}" for warning in done.warnings]
    lines += [f"left to do: {_action(action)}" for action in done.actions]
    return [*lines, "Deployed and in use."]


def _action(action: Action) -> str:
    where = f" ({', '.join(sorted(set(action.services)))})" if action.services else ""
    return f"{action.kind} {action.document_type}{where}: {'; '.join(action.messages)}"


def _show_status(found: ClusterStatus) -> None:
    from cli import output
    from cli import render as rendering

    if found.spaces:
        rows = [_row(space) for space in found.spaces]
        columns = ("tenant", "space", "dimension", "placement", "schema", "state")
        output.show(rendering.table(columns, rows))
    else:
        output.note("no tenant's documents are placed in Vespa")
    for name in found.unknown:
        output.note(f"{name} exists in Vespa but not in this installation")
    state = found.convergence
    if state is None:
        output.note("nothing is deployed: run `scrubjay vespa deploy`")
    elif state.converged:
        output.note(f"every service uses generation {state.wanted}")
    else:
        behind = ", ".join(state.behind) or "unidentified services"
        output.note(f"generation {state.wanted} is not in use everywhere; behind: {behind}")


def _row(space: PlacedSpace) -> tuple[str, ...]:
    dimension = str(space.dimension)
    return (space.tenant, space.space, dimension, space.kind, space.schema, space.state)
