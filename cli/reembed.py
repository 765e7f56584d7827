"""`kb reembed` and `index migrate`: moving to another embedding model, or another search engine."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Literal

import typer

from cli.context import As, Json, invocation_of, opened, run
from engine.wording import counted

app = typer.Typer(name="index", help="Manage the search index: migrate.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="Its name or id.")]


@app.callback()
def _group() -> None:
    """Keep `migrate` a separate command: with one command Typer would fold the group into it."""


def register(kb: typer.Typer) -> None:
    """Add `reembed` to the commands of knowledge bases."""
    kb.command()(reembed)


def reembed(
    ctx: typer.Context,
    name: Name,
    model: Annotated[
        str,
        typer.Option(
            metavar="MODEL", help="A model of this machine (see `model list`; default: as set)."
        ),
    ] = "",
    wait: Annotated[bool, typer.Option(help="Wait until it is done.")] = True,
    as_user: As = "",
    as_json: Json = False,
) -> None:
    """Move a knowledge base to another embedding model.

    It uses the stored texts, in the background; the old vectors answer until the switch.
    """
    run(
        _reembed(ctx, name, model, as_user, wait=wait, as_json=as_json),
        interrupted="interrupted; the move continues with the next `add` or `scrubjay up`",
    )


@app.command()
def migrate(
    ctx: typer.Context,
    to: Annotated[
        Literal["embedded", "vespa"], typer.Option("--to", help="The engine to migrate to.")
    ],
    as_json: Json = False,
) -> None:
    """Copy the index to another search engine from stored texts and vectors.

    The present engine keeps answering. Run it again to catch up, then set `search.engine`.
    """
    run(_migrate(ctx, to, as_json=as_json))


async def _reembed(
    ctx: typer.Context, name: str, model: str, as_user: str, *, wait: bool, as_json: bool
) -> None:
    from cli import output
    from cli.inline_worker import finish_jobs

    async with opened(ctx, as_user) as (engine, principal):
        queued = await engine.knowledge_bases.reembed(principal, name, model=model)
        if wait:
            with output.working(f"embedding {queued.name} with {queued.to_space}"):
                await finish_jobs(engine)
        found = await engine.knowledge_bases.get(principal, queued.kb_id)
    if as_json:
        output.show_json(asdict(queued) | {"done": found.space == queued.to_space})
        return
    held = counted(queued.documents, "document")
    if found.space == queued.to_space:
        output.note(f"{queued.name} now uses the vectors of {queued.to_space} ({held})")
    elif wait:
        output.note(
            f"{queued.name} still uses the vectors of {found.space}; see the worker's log, and "
            "run the command again to continue"
        )
    else:
        output.note(f"queued: {queued.name} moves to {queued.to_space} ({held})")


async def _migrate(ctx: typer.Context, to: Literal["embedded", "vespa"], *, as_json: bool) -> None:
    from cli import output
    from engine.config import load_settings
    from engine.locks import hold
    from engine.runtime import open_index
    from ingestion.migration import fill_index

    settings = invocation_of(ctx).settings()
    target = load_settings(settings.home, settings.config_file, {"search.engine": to})
    async with opened(ctx) as (engine, _):
        with (
            output.working(f"filling the {to} index"),
            # An index in the data folder has one writer, who holds the worker's lock.
            hold(settings.home, "worker", "scrubjay index migrate"),
        ):
            async with open_index(target, engine.db) as index:
                done = await fill_index(engine, index)
    if as_json:
        output.show_json(asdict(done))
        return
    output.note(
        f"{counted(done.fed, 'revision')} added, {done.kept:,} already present, "
        f"{done.removed:,} removed; {done.without_vectors:,} without vectors"
    )
    if to != settings.search.engine:
        output.note(
            f'now set search.engine = "{to}" and restart; `scrubjay reconcile` then picks up '
            "what was added since"
        )
