"""`kb set`, `kb search` and `kb reindex`: how documents are taken, split, searched, and split again."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.context import DONE, INCOMPLETE, As, Json, Yes, opened, run
from cli.kb import Name
from engine.wording import counted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from engine.documents.reindexing import Preview
    from engine.domain import Principal
    from engine.engine import Engine
    from engine.flow.graph import Graph


def register(app: typer.Typer) -> None:
    """Add the commands to the group `kb`."""
    app.command("set")(set_)
    app.command("search")(search)
    app.command()(reindex)


def set_(
    ctx: typer.Context,
    name: Name,
    pipeline: Annotated[
        str | None, typer.Option(metavar="FLOW", help="The pipeline; see `scrubjay flow list`.")
    ] = None,
    strategy: Annotated[
        str | None,
        typer.Option(
            metavar="STRATEGY",
            help="How to split: document_aware, fixed, recursive, semantic or sliding_window.",
        ),
    ] = None,
    size: Annotated[
        int | None, typer.Option(metavar="N", help="Maximum tokens in a chunk, including context.")
    ] = None,
    overlap: Annotated[
        int | None, typer.Option(metavar="N", help="Tokens a chunk repeats from the previous one.")
    ] = None,
    formats: Annotated[
        str | None,
        typer.Option(
            metavar="ENDINGS",
            help='Files it accepts, e.g. "pdf, md"; empty: as processing.supported_formats says.',
        ),
    ] = None,
    as_user: As = "",
    as_json: Json = False,
) -> None:
    """Set which files a knowledge base accepts, its pipeline, and how its documents are split."""
    chunking = {"strategy": strategy, "size": size, "overlap": overlap}
    given = {key: value for key, value in chunking.items() if value is not None}
    run(_set(ctx, name, pipeline, given, formats, as_user, as_json=as_json))


def search(
    ctx: typer.Context,
    name: Name,
    settings: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME=VALUE]...",
            help="What to set: mode, alpha, title_weight, fusion, top_k, threshold, rerank, weight, "
            "decay_half_life_s, feature_weights, spelling, acronyms, query_filters, clarify.",
        ),
    ] = None,
    reset: Annotated[
        list[str] | None,
        typer.Option(
            "--reset", metavar="NAME", help="Use the installation's setting again; all: every one."
        ),
    ] = None,
    as_user: As = "",
    as_json: Json = False,
) -> None:
    """Show or set how a knowledge base is searched, from the next search on."""
    run(_search(ctx, name, settings or [], reset or [], as_user, as_json=as_json))


def reindex(
    ctx: typer.Context,
    name: Name,
    preview: Annotated[
        bool, typer.Option("--preview", help="Only show what it would cost.")
    ] = False,
    wait: Annotated[bool, typer.Option(help="Wait until everything is done.")] = True,
    yes: Yes = False,
    as_user: As = "",
    as_json: Json = False,
) -> None:
    """Reindex a knowledge base with its present pipeline.

    Documents keep answering meanwhile, and unchanged results are reused.
    """
    code = run(
        _reindex(ctx, name, as_user, preview=preview, wait=wait, yes=yes, as_json=as_json),
        interrupted="interrupted; queued documents continue with the next `add` or `scrubjay up`",
    )
    raise typer.Exit(code)


async def _set(
    ctx: typer.Context,
    name: str,
    pipeline: str | None,
    chunking: dict[str, Any],
    formats: str | None,
    as_user: str,
    *,
    as_json: bool,
) -> None:
    from cli import output
    from engine.errors import InvalidInput
    from ingestion.pipelines import load_pipeline, offers_of, open_registry

    if pipeline is None and not chunking and formats is None:
        raise InvalidInput(
            "Give something to set: --pipeline, --strategy, --size, --overlap or --formats.",
            field="pipeline",
        )
    async with opened(ctx, as_user) as (engine, principal):
        found = await engine.knowledge_bases.get(principal, name)
        flow = await engine.pipelines.get(principal, pipeline or found.pipeline)
        graph = load_pipeline(
            flow.dsl,
            open_registry(engine.settings).registry,
            # A pipeline that needs a missing model would fail every document: refuse it.
            offers=offers_of(engine.model) if pipeline else None,
        )
        changes: dict[str, Any] = {"pipeline": pipeline, "formats": formats}
        if chunking:
            changes["chunking"] = {**found.chunking, **chunking}
        changed = await engine.knowledge_bases.update(principal, found.id, **changes)
    if as_json:
        output.show_json(asdict(changed))
        return
    output.note(
        f"{changed.name} uses the pipeline {changed.pipeline}{_cut(changed.chunking, graph)}"
    )
    if changed.formats:
        output.note(f"it accepts {', '.join(changed.formats)}")
    if found.document_count and (pipeline or chunking):
        output.note(
            "existing documents stay as they are; to see what a reindex would cost, run "
            f"`scrubjay kb reindex {changed.name} --preview`"
        )


async def _search(
    ctx: typer.Context,
    name: str,
    given: list[str],
    reset: list[str],
    as_user: str,
    *,
    as_json: bool,
) -> None:
    from cli import output, render
    from engine.documents.search_settings import describe_search, parse_setting
    from engine.errors import InvalidInput

    changes: dict[str, object] = {}
    for item in given:
        said, sign, value = item.partition("=")
        if not sign:
            raise InvalidInput(f"{item[:60]!r} is not NAME=VALUE.", field="settings")
        setting, parsed = parse_setting(said, value)
        changes[setting] = parsed
    async with opened(ctx, as_user) as (engine, principal):
        if changes or reset:
            found = await engine.knowledge_bases.set_search(principal, name, changes, reset=reset)
        else:
            found = await engine.knowledge_bases.get(principal, name)
        defaults = engine.settings.search
    if as_json:
        output.show_json({"id": found.id, "search": dict(found.search)})
        return
    output.show(render.facts(describe_search(found.search, defaults)))


def _cut(chunking: Mapping[str, Any], graph: Graph) -> str:
    """How documents are split; parameters of the pipeline's Splitter win and are marked."""
    own: dict[str, Any] = {}
    for node in graph.nodes.values():
        if node.component.type == "Splitter":
            given = node.param.model_dump(exclude_none=True)
            own |= {key: given[key] for key in ("strategy", "size", "overlap") if key in given}
    said = [f"{key} {value}" for key, value in chunking.items() if key not in own]
    said += [f"{key} {value} (the pipeline's own)" for key, value in own.items()]
    return f", split by {', '.join(said)}" if said else ""


async def _reindex(
    ctx: typer.Context,
    name: str,
    as_user: str,
    *,
    preview: bool,
    wait: bool,
    yes: bool,
    as_json: bool,
) -> int:
    from cli import output, render, serializers
    from cli.add import ingest
    from cli.docs import documents_of

    async with opened(ctx, as_user) as (engine, principal):
        found = await engine.knowledge_bases.preview_reindex(principal, name)
        extractors = await _extractors(engine, principal, found.pipeline)
        if preview:
            if as_json:
                output.show_json(asdict(found) | {"extractors": extractors})
            else:
                output.show(_cost(found, extractors))
            return DONE
        if found.documents and not yes:
            output.note(_cost(found, extractors))
            typer.confirm(f"Reindex {found.name}?", abort=True, err=True)
        ids = await engine.knowledge_bases.reindex(principal, found.kb_id)
        if wait:
            documents = await ingest(engine, principal, ids)
        else:
            documents = await documents_of(engine, principal, ids)
    failed = [document for document in documents if document.state != "ready"] if wait else []
    if as_json:
        output.show_json(serializers.documents(documents))
    elif wait:
        output.note(f"{counted(len(documents) - len(failed), 'document')} reindexed")
        for document in failed:
            output.note(f"  {render.one_line(document.title)}: {render.one_line(document.error)}")
    else:
        output.note(f"queued {counted(len(ids), 'document')}")
    return INCOMPLETE if failed else DONE


async def _extractors(engine: Engine, principal: Principal, pipeline: str) -> int:
    """How many components of the pipeline call the language model."""
    from ingestion.pipelines import load_pipeline, open_registry

    flow = await engine.pipelines.get(principal, pipeline)
    graph = load_pipeline(flow.dsl, open_registry(engine.settings).registry)
    return sum("language_model" in node.component.needs for node in graph.nodes.values())


def _cost(found: Preview, extractors: int) -> str:
    """What a reindex costs, one line per cost."""
    from cli import render

    documents = counted(found.documents, "document")
    again = f", {found.failed} of them failed before" if found.failed else ""
    lines = [f"{documents} of {found.name} go through {found.pipeline}{again}."]
    if not found.documents:
        return lines[0] + "\n"
    unread = found.documents - found.parsed
    megabytes = found.read_bytes / 1e6
    size = f"{megabytes:,.1f} MB" if megabytes >= 0.1 else f"{found.read_bytes / 1e3:,.1f} kB"
    lines.append(f"parse: {unread:,} again ({size}), {found.parsed:,} from the cache")
    lines.append(
        f"embed: at most about {found.tokens:,} tokens; unchanged passages keep their vectors"
    )
    if extractors:
        lines.append(
            f"language model: {extractors} x {documents} of about {found.tokens:,} tokens in all; "
            "earlier results for the same text and parameters are reused"
        )
    if found.took_s is not None:
        lines.append(f"last time it kept workers busy for {render.duration(found.took_s)}")
    if found.pending:
        lines.append(f"{found.pending:,} more are waiting and will use this pipeline")
    return "\n".join(lines) + "\n"
