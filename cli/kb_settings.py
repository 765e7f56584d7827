"""`kb set`: which pipeline a knowledge base's documents go through, and how they are cut."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.context import As, Json, opened, run
from cli.kb import Name

if TYPE_CHECKING:
    from engine.domain import Principal
    from engine.engine import Engine


def register(app: typer.Typer) -> None:
    """Add the command to the group `kb`."""
    app.command("set")(set_)


def set_(
    ctx: typer.Context,
    name: Name,
    pipeline: Annotated[
        str | None, typer.Option(metavar="FLOW", help="See `scrubjay flow list`.")
    ] = None,
    strategy: Annotated[
        str | None,
        typer.Option(
            metavar="STRATEGY",
            help="document_aware, fixed, recursive, semantic or sliding_window.",
        ),
    ] = None,
    size: Annotated[
        int | None, typer.Option(metavar="N", help="Most tokens in a chunk, context included.")
    ] = None,
    overlap: Annotated[
        int | None, typer.Option(metavar="N", help="Tokens a chunk repeats of the one before it.")
    ] = None,
    as_user: As = "",
    as_json: Json = False,
) -> None:
    """Choose the pipeline of a knowledge base, and how its documents are cut."""
    chunking = {"strategy": strategy, "size": size, "overlap": overlap}
    given = {key: value for key, value in chunking.items() if value is not None}
    run(_set(ctx, name, pipeline, given, as_user, as_json=as_json))


async def _set(
    ctx: typer.Context,
    name: str,
    pipeline: str | None,
    chunking: dict[str, Any],
    as_user: str,
    *,
    as_json: bool,
) -> None:
    from cli import output
    from engine.errors import InvalidInput

    if pipeline is None and not chunking:
        raise InvalidInput(
            "Say what to set: --pipeline, --strategy, --size or --overlap.", field="pipeline"
        )
    async with opened(ctx, as_user) as (engine, principal):
        found = await engine.get_kb(principal, name)
        if pipeline is not None:
            await _require_sound(engine, principal, pipeline)
        changes: dict[str, Any] = {"pipeline": pipeline}
        if chunking:
            changes["chunking"] = {**found.chunking, **chunking}
        changed = await engine.update_kb(principal, found.id, **changes)
    if as_json:
        output.show_json(asdict(changed))
        return
    cut = ", ".join(f"{key} {value}" for key, value in changed.chunking.items())
    output.note(
        f"{changed.name} goes through {changed.pipeline}" + (f", cut by {cut}" if cut else "")
    )
    if found.document_count:
        output.note(
            "what it holds stays as it is; see what changing it would cost with"
            f" `scrubjay kb reindex {changed.name} --preview`"
        )


async def _require_sound(engine: Engine, principal: Principal, pipeline: str) -> None:
    """Refuse a pipeline that would fail every document: one that needs a model there is not."""
    from ingestion.pipelines import load_pipeline, offers_of, open_registry

    flow = await engine.get_flow(principal, pipeline)
    registry = open_registry(engine.settings).registry
    load_pipeline(flow.dsl, registry, offers=offers_of(engine.model))
