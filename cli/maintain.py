"""`status`, `reconcile`, `backup`, `restore`: keeping an installation well."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.context import DONE, INCOMPLETE, Json, Yes, invocation_of, opened, run

if TYPE_CHECKING:
    from engine.status import KbStatus, Status


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command()(status)
    app.command()(reconcile)
    app.command()(backup)
    app.command()(restore)


def status(ctx: typer.Context, as_json: Json = False) -> None:
    """Show what is there and what is on its way."""
    run(_status(ctx, as_json=as_json))


def reconcile(
    ctx: typer.Context,
    repair: Annotated[bool, typer.Option(help="Repair what is found.")] = True,
    as_json: Json = False,
) -> None:
    """Compare the index with the database, and repair it."""
    raise typer.Exit(run(_reconcile(ctx, repair=repair, as_json=as_json)))


def backup(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="The file to write; must not exist.")],
    as_json: Json = False,
) -> None:
    """Write everything into one file.

    Left out are the keys and the index, which is rebuilt from the rest.
    """
    run(_backup(ctx, file, as_json=as_json))


def restore(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="A file that `backup` wrote.")],
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Fill an empty data folder from a backup."""
    if not yes:
        home = invocation_of(ctx).settings().home
        typer.confirm(f"Restore {file} into {home}?", abort=True, err=True)
    run(_restore(ctx, file, as_json=as_json))


async def _status(ctx: typer.Context, *, as_json: bool) -> None:
    from cli import output

    async with opened(ctx) as (engine, principal):
        found = await engine.status(principal)
    if as_json:
        output.show_json(asdict(found))
        return
    _show(found)


def _show(found: Status) -> None:
    from cli import output, render

    if not found.knowledge_bases:
        output.show("no knowledge base; add some documents with `scrubjay add FOLDER`\n")
        return
    rows = [
        (kb.name, f"{kb.documents:,}", f"{kb.chunks:,}", _on_its_way(kb), _size(kb))
        for kb in found.knowledge_bases
    ]
    output.show(render.table(("name", "documents", "passages", "on its way", "index"), rows))
    workers = ", ".join(found.workers) or "none: `scrubjay up` or `scrubjay add` starts one"
    output.show(f"\nworkers: {workers}\n")


def _on_its_way(kb: KbStatus) -> str:
    said = [
        f"{kb.states[state]:,} {state}"
        for state in ("pending", "running", "failed")
        if kb.states.get(state)
    ]
    if kb.without_vectors:
        said.append(f"{kb.without_vectors:,} found by words only")
    return ", ".join(said) or "nothing"


def _size(kb: KbStatus) -> str:
    return f"{kb.index_size_bytes / 1e6:.1f} MB"


async def _reconcile(ctx: typer.Context, *, repair: bool, as_json: bool) -> int:
    from cli import output
    from cli.add import finish_jobs

    async with opened(ctx) as (engine, principal):
        with output.working("comparing"):
            drift = await engine.reconcile(principal, repair=repair)
        if repair and not drift.clean:
            with output.working("repairing"):
                await finish_jobs(engine)
    if as_json:
        output.show_json(asdict(drift) | {"clean": drift.clean})
    elif drift.clean:
        output.show("the index holds what the database says\n")
    else:
        output.show(
            f"missing {drift.missing:,}, left over {drift.orphaned:,}, stranded "
            f"{drift.stranded:,}, miscounted {drift.miscounted:,}: "
            f"{'repaired' if repair else 'run `scrubjay reconcile` to repair'}\n"
        )
    return INCOMPLETE if not repair and not drift.clean else DONE


async def _backup(ctx: typer.Context, file: Path, *, as_json: bool) -> None:
    from cli import output, render
    from engine.backup import write_backup

    async with opened(ctx) as (engine, _):
        with output.working(f"writing {file}"):
            made = await write_backup(engine.db, engine.blobs, file)
    if as_json:
        output.show_json(asdict(made) | {"file": str(file)})
    else:
        held = f"{render.counted(made.rows, 'row')} and {render.counted(made.blobs, 'blob')}"
        output.note(f"wrote {held} to {file}; keep the secret key apart, it is not in there")


async def _restore(ctx: typer.Context, file: Path, *, as_json: bool) -> None:
    from cli import output, render
    from cli.add import finish_jobs
    from engine.backup import restore_backup
    from engine.locks import hold

    async with opened(ctx) as (engine, _):
        with (
            hold(engine.settings.home, "worker", "scrubjay restore"),
            output.working("restoring"),
        ):
            restored = await restore_backup(engine.db, engine.blobs, file)
    # Anew: the owner is another one now.
    async with opened(ctx) as (engine, principal):
        with output.working("rebuilding the index"):
            await engine.reconcile(principal, repair=True)
            await finish_jobs(engine)
    if as_json:
        output.show_json(asdict(restored))
    else:
        held = f"{render.counted(restored.rows, 'row')} and "
        output.note(f"restored {held}{render.counted(restored.blobs, 'blob')}")
