"""`status`, `reconcile`, `backup`, `restore`: operating an installation."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.context import DONE, INCOMPLETE, Json, Yes, invocation_of, opened, run
from engine.wording import counted

if TYPE_CHECKING:
    from engine.config import Settings
    from engine.operations.backup import BackupManifest
    from engine.operations.status import KbStatus, Status


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command()(status)
    app.command()(reconcile)
    app.command()(backup)
    app.command()(restore)


def status(ctx: typer.Context, as_json: Json = False) -> None:
    """Show what is stored and what is pending."""
    run(_status(ctx, as_json=as_json))


def reconcile(
    ctx: typer.Context,
    repair: Annotated[bool, typer.Option(help="Repair any differences.")] = True,
    tenant: Annotated[
        str, typer.Option(metavar="KEY", help="One tenant only (default: all of them).")
    ] = "",
    adopt_index: Annotated[
        bool,
        typer.Option(
            "--adopt-index",
            help="Keep the index in this data folder from now on; another one with the same "
            "database is refused.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Compare the index with the database, and repair it."""
    raise typer.Exit(
        run(_reconcile(ctx, tenant, repair=repair, adopt_index=adopt_index, as_json=as_json))
    )


def backup(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write.")],
    with_key: Annotated[
        bool,
        typer.Option(
            "--with-key", help="Include the secret key, which decrypts stored credentials."
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Back up everything into one file.

    The secret key and the index are not included; `restore` rebuilds the index.
    """
    run(_backup(ctx, file, with_key=with_key, as_json=as_json))


def restore(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file that `backup` wrote.")],
    force: Annotated[bool, typer.Option("--force", help="Replace existing data.")] = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Fill an empty data folder from a backup."""
    settings = invocation_of(ctx).settings()
    if force and not yes:
        typer.confirm(f"Replace everything in {settings.home}?", abort=True, err=True)
    run(_restore(ctx, settings, file, force=force, as_json=as_json))


async def _status(ctx: typer.Context, *, as_json: bool) -> None:
    from cli import output

    async with opened(ctx) as (engine, principal):
        found = await engine.operations.status(principal)
    if as_json:
        output.show_json(asdict(found))
        return
    _show(found)


def _show(found: Status) -> None:
    from cli import output, render

    if not found.knowledge_bases:
        output.show("no knowledge bases; add documents with `scrubjay add FOLDER`\n")
        return
    rows = [
        (kb.name, f"{kb.documents:,}", f"{kb.chunks:,}", _on_its_way(kb), _size(kb), kb.space)
        for kb in found.knowledge_bases
    ]
    output.show(
        render.table(("name", "documents", "passages", "pending", "index", "vectors"), rows)
    )
    workers = ", ".join(found.workers) or "none: `scrubjay up` or `scrubjay add` starts one"
    output.show(f"\nworkers: {workers}\n")


def _on_its_way(kb: KbStatus) -> str:
    said = [
        f"{kb.states[state]:,} {state}"
        for state in ("pending", "running", "failed")
        if kb.states.get(state)
    ]
    if kb.without_vectors:
        said.append(f"{kb.without_vectors:,} searchable by keywords only")
    if kb.next_space:
        said.append(f"{kb.moved:,} of {kb.documents:,} moved to {kb.next_space}")
    return ", ".join(said) or "nothing"


def _size(kb: KbStatus) -> str:
    return f"{kb.index_size_bytes / 1e6:.1f} MB"


async def _reconcile(
    ctx: typer.Context, tenant: str, *, repair: bool, adopt_index: bool, as_json: bool
) -> int:
    from cli import output
    from cli.inline_worker import finish_jobs

    async with opened(ctx) as (engine, principal):
        if adopt_index:
            await engine.operations.adopt_index(principal)
        with output.working("comparing"):
            drift = await engine.operations.reconcile(principal, tenant=tenant, repair=repair)
        if repair and not drift.clean:
            with output.working("repairing"):
                await finish_jobs(engine)
    if as_json:
        output.show_json(asdict(drift) | {"clean": drift.clean})
    elif drift.clean:
        output.show("the index matches the database\n")
    else:
        output.show(
            f"missing {drift.missing:,}, left over {drift.orphaned:,}, stranded "
            f"{drift.stranded:,}, miscounted {drift.miscounted:,}, damaged {drift.damaged:,}, "
            f"unfinished deletions {drift.unfinished:,}, outdated {drift.outdated:,}: "
            f"{'repaired' if repair else 'run `scrubjay reconcile` to repair'}\n"
        )
    return INCOMPLETE if not repair and not drift.clean else DONE


async def _backup(ctx: typer.Context, file: Path, *, with_key: bool, as_json: bool) -> None:
    from cli import output
    from engine.operations.backup import backup as write_backup

    async with opened(ctx) as (engine, _):
        settings = engine.settings
        with output.working(f"writing {file}"):
            made = await write_backup(
                settings.database_url,
                engine.blobs,
                file,
                key_file=_key_file(settings) if with_key else None,
            )
    if as_json:
        output.show_json(_manifest_json(made) | {"file": str(file)})
    else:
        key = "" if with_key else "; keep the secret key separately: it is not included"
        output.note(f"wrote {counted(sum(made.rows.values()), 'row')} to {file}{key}")


async def _restore(
    ctx: typer.Context, settings: Settings, file: Path, *, force: bool, as_json: bool
) -> None:
    from cli import output
    from cli.inline_worker import finish_jobs
    from engine.errors import Blocked
    from engine.locks import hold
    from engine.operations.backup import restore as read_backup
    from engine.runtime import build_blobs

    # Before the engine is opened, which would create a first tenant if there is none.
    with (
        hold(settings.home, "server", "scrubjay restore"),
        hold(settings.home, "worker", "scrubjay restore"),
        output.working("restoring"),
    ):
        restored = await read_backup(
            file,
            settings.database_url,
            build_blobs(settings),
            key_file=_key_file(settings),
            force=force,
        )
    async with opened(ctx) as (engine, principal):
        try:
            await engine.operations.check_index_home()
        except Blocked:  # it is another folder's, and this one is being filled
            await engine.operations.adopt_index(principal)
        with output.working("rebuilding the index"):
            await engine.operations.reconcile(principal, repair=True)
            await finish_jobs(engine)
    if as_json:
        output.show_json(_manifest_json(restored))
    else:
        output.note(f"restored {counted(sum(restored.rows.values()), 'row')}")


def _key_file(settings: Settings) -> Path:
    return settings.home / "secret.key"


def _manifest_json(manifest: BackupManifest) -> dict[str, object]:
    return {
        "created_at": manifest.created_at,
        "revision": manifest.revision,
        "rows": manifest.rows,
        "blobs": sum(name.startswith("blobs/") for name in manifest.checksums),
    }
