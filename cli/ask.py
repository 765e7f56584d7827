"""`ask` and `search`: what the product is for."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from cli.context import As, Json, Kb, opened, run
from cli.search_options import (
    Authors,
    Channels,
    DocumentIds,
    FusionChoice,
    Languages,
    Metadata,
    Since,
    Sort,
    Sources,
    Tags,
    Until,
    filters_of,
)

if TYPE_CHECKING:
    from engine.access.search_filters import SearchFilters
    from engine.access.search_scope import SearchOverrides


class Mode(StrEnum):
    """Search mode: keyword, semantic, both, or chosen by the query."""

    HYBRID = "hybrid"
    SEMANTIC = "semantic"
    KEYWORD = "keyword"
    ADAPTIVE = "adaptive"


MODES = (
    "Search mode: hybrid, semantic, keyword or adaptive (default: the knowledge base's, or hybrid)."
)


EMPTY = "add documents with `scrubjay add FOLDER`"
WAITING = "`scrubjay docs watch` follows them"


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command()(ask)
    app.command()(search)


def ask(
    ctx: typer.Context,
    question: Annotated[
        list[str], typer.Argument(metavar="QUESTION", help="The question; quotes are not needed.")
    ],
    kb: Kb = "",
    assistant: Annotated[
        str, typer.Option(metavar="NAME", help="The assistant that answers (see `assistant list`).")
    ] = "",
    conversation: Annotated[
        str,
        typer.Option(metavar="ID", help="Continue a conversation: conversation_id of --json."),
    ] = "",
    since: Since = "",
    until: Until = "",
    author: Authors = None,
    channel: Channels = None,
    source: Sources = None,
    tag: Tags = None,
    language: Languages = None,
    document: DocumentIds = None,
    meta: Metadata = None,
    tools: Annotated[
        bool,
        typer.Option(
            "--tools",
            help="Let the model call tools of connected MCP servers; you approve each call.",
        ),
    ] = False,
    as_user: As = "",
    as_json: Json = False,
) -> None:
    """Answer a question and cite the passages."""
    asked = " ".join(question)
    narrowed = partial(
        filters_of, since, until, author, channel, source, tag, language, document, meta
    )
    run(
        _ask(
            ctx,
            asked,
            kb,
            narrowed,
            as_user,
            assistant=assistant,
            conversation=conversation,
            tools=tools,
            as_json=as_json,
        )
    )


def search(
    ctx: typer.Context,
    query: Annotated[list[str], typer.Argument(metavar="QUERY", help="The text to search for.")],
    kb: Kb = "",
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit",
            "-n",
            metavar="N",
            min=1,
            max=1000,
            help="Maximum number of hits (default: search.top_k).",
        ),
    ] = None,
    mode: Annotated[Mode | None, typer.Option(metavar="MODE", help=MODES)] = None,
    since: Since = "",
    until: Until = "",
    author: Authors = None,
    channel: Channels = None,
    source: Sources = None,
    tag: Tags = None,
    language: Languages = None,
    document: DocumentIds = None,
    meta: Metadata = None,
    sort: Annotated[
        Sort, typer.Option(metavar="ORDER", help="Order of hits: relevance, newest or oldest.")
    ] = Sort.RELEVANCE,
    alpha: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE", min=0, max=1, help="Weight of semantic against keyword search."
        ),
    ] = None,
    title_weight: Annotated[
        float | None,
        typer.Option(metavar="SHARE", min=0, max=1, help="Weight of the title in keyword search."),
    ] = None,
    fusion: Annotated[
        FusionChoice | None,
        typer.Option(metavar="HOW", help="Fuse by score (linear) or rank (rrf)."),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(metavar="SHARE", min=0, max=1, help="Minimum confidence of a hit."),
    ] = None,
    rerank: Annotated[
        bool | None, typer.Option("--rerank/--no-rerank", help="Use the reranker or not.")
    ] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Explain each score.")] = False,
    as_user: As = "",
    as_json: Json = False,
) -> None:
    """Find documents, best first."""
    from engine.access.search_scope import SearchOverrides

    narrowed = partial(
        filters_of, since, until, author, channel, source, tag, language, document, meta
    )
    asked = SearchQuery(
        text=" ".join(query),
        kb=kb,
        limit=limit,
        mode=mode,
        sort=sort,
        filters=narrowed,
        overrides=SearchOverrides(
            alpha, title_weight, fusion.value if fusion else None, threshold, rerank
        ),
    )
    run(_search(ctx, asked, as_user, explain=explain, as_json=as_json))


@dataclass(frozen=True, slots=True)
class SearchQuery:
    """A search as the command line was given it."""

    text: str
    kb: str
    limit: int | None
    mode: Mode | None
    sort: Sort
    filters: Callable[[], SearchFilters]
    overrides: SearchOverrides


async def _ask(
    ctx: typer.Context,
    question: str,
    kb: str,
    narrowed: Callable[[], SearchFilters],
    as_user: str,
    *,
    assistant: str,
    conversation: str,
    tools: bool,
    as_json: bool,
) -> None:
    from cli import output, render, serializers
    from cli.external_tools import open_toolbox
    from engine.domain import Answered

    async with opened(ctx, as_user) as (engine, principal):
        found = None
        toolbox = await open_toolbox(engine, principal) if tools else None
        # With tools, a person approves calls in between: nothing may draw over the question.
        with nullcontext() if tools else output.working("searching"):
            audience = engine.people.audience_of_asker(principal)
            async for event in engine.answers.ask(
                principal,
                audience,
                question,
                kb=kb,
                assistant=assistant,
                conversation_id=conversation,
                door="cli",
                filters=narrowed(),
                toolbox=toolbox,
            ):
                if isinstance(event, Answered):
                    found = event.answer
    if found is None:
        raise RuntimeError("ask ended without an answer")
    if as_json:
        output.show_json(serializers.answer(found))
        return
    output.show(render.answer(found, width=output.width()))
    if not (found.grounded or found.searched_documents):
        output.note(EMPTY)


async def _search(
    ctx: typer.Context, asked: SearchQuery, as_user: str, *, explain: bool, as_json: bool
) -> None:
    from cli import output, render, serializers

    async with opened(ctx, as_user) as (engine, principal):
        with output.working("searching"):
            result = await engine.search.find(
                principal,
                asked.text,
                kb=asked.kb,
                limit=asked.limit,
                mode=asked.mode.value if asked.mode else None,
                filters=asked.filters(),
                order=asked.sort.value,
                overrides=asked.overrides,
            )
            result = replace(result, hits=await engine.search.at_messages(principal, result.hits))
    if as_json:
        output.show_json(serializers.search(result))
        return
    output.show(render.hits(result, explain=explain, width=output.width()))
    if not (result.hits or result.searched_documents or result.narrowed):
        output.note(EMPTY if not result.waiting else WAITING)
