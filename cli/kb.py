"""`kb`: knowledge bases, the collections of documents."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated

import typer

from cli.context import As, Json, Yes, opened, run
from engine.wording import counted

app = typer.Typer(
    name="kb",
    help="Manage knowledge bases: create, list, show, set, search, grant, revoke, grants, owner, reindex, "
    "reembed, delete.",
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="Its name or id.")]


@app.command()
def create(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its name.")],
    description: Annotated[
        str, typer.Option(metavar="TEXT", help="What it contains, in a sentence.")
    ] = "",
    pipeline: Annotated[
        str, typer.Option(metavar="FLOW", help="The pipeline for its documents (see `flow list`).")
    ] = "general",
    model: Annotated[
        str, typer.Option(metavar="MODEL", help="Its embedding model (see `model list`).")
    ] = "",
    as_user: As = "",
    as_json: Json = False,
) -> None:
    """Create a knowledge base."""
    settings = {"description": description, "pipeline": pipeline, "model": model}
    run(_create(ctx, name, settings, as_user, as_json=as_json))


@app.command("list")
def list_(ctx: typer.Context, as_user: As = "", as_json: Json = False) -> None:
    """List the knowledge bases you may read."""
    run(_list(ctx, as_user, as_json=as_json))


@app.command()
def show(ctx: typer.Context, name: Name, as_user: As = "", as_json: Json = False) -> None:
    """Show a knowledge base."""
    run(_show(ctx, name, as_user, as_json=as_json))


@app.command()
def delete(
    ctx: typer.Context, name: Name, yes: Yes = False, as_user: As = "", as_json: Json = False
) -> None:
    """Delete a knowledge base with all its documents."""
    run(_delete(ctx, name, as_user, yes=yes, as_json=as_json))


async def _create(
    ctx: typer.Context, name: str, settings: Mapping[str, str], as_user: str, *, as_json: bool
) -> None:
    from cli import output

    async with opened(ctx, as_user) as (engine, principal):
        made = await engine.knowledge_bases.create(principal, name, **settings)
    if as_json:
        output.show_json(asdict(made))
    else:
        output.note(
            f"created {made.name}; add documents with `scrubjay add FOLDER --kb {made.name}`"
        )


async def _list(ctx: typer.Context, as_user: str, *, as_json: bool) -> None:
    from cli import output, render

    async with opened(ctx, as_user) as (engine, principal):
        found = await engine.knowledge_bases.list_readable(principal)
    if as_json:
        output.show_json({"knowledge_bases": [asdict(kb) for kb in found]})
        return
    if not found:
        output.note("no knowledge bases; create one with `scrubjay kb create NAME`")
        return
    rows = [
        (kb.name, f"{kb.document_count:,}", f"{kb.chunk_count:,}", kb.description) for kb in found
    ]
    output.show(render.table(("name", "documents", "passages", "description"), rows))


async def _show(ctx: typer.Context, name: str, as_user: str, *, as_json: bool) -> None:
    from cli import output, render

    async with opened(ctx, as_user) as (engine, principal):
        found = await engine.knowledge_bases.get(principal, name)
    if as_json:
        output.show_json(asdict(found))
        return
    output.show(render.facts(asdict(found)))


async def _delete(ctx: typer.Context, name: str, as_user: str, *, yes: bool, as_json: bool) -> None:
    from cli import output

    async with opened(ctx, as_user) as (engine, principal):
        found = await engine.knowledge_bases.get(principal, name)
        held = counted(found.document_count, "document")
        if not yes:
            typer.confirm(f"Delete {found.name} with {held}?", abort=True, err=True)
        await engine.knowledge_bases.delete(principal, found.id)
    if as_json:
        output.show_json({"deleted": found.id})
    else:
        output.note(f"deleted {found.name} with {held}")
