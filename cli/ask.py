"""`ask` and `search`: what the product is for."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from enum import StrEnum
from typing import Annotated

import typer

from cli.context import As, Json, Kb, opened, run


class Mode(StrEnum):
    """Search mode: keyword, semantic, both, or chosen by the query."""

    HYBRID = "hybrid"
    SEMANTIC = "semantic"
    KEYWORD = "keyword"
    ADAPTIVE = "adaptive"


MODES = "Search mode: hybrid, semantic, keyword or adaptive."


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
    conversation: Annotated[
        str,
        typer.Option(metavar="ID", help="Continue a conversation: conversation_id of --json."),
    ] = "",
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
    run(_ask(ctx, asked, kb, as_user, conversation=conversation, tools=tools, as_json=as_json))


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
    mode: Annotated[Mode, typer.Option(metavar="MODE", help=MODES)] = Mode.HYBRID,
    explain: Annotated[bool, typer.Option("--explain", help="Explain each score.")] = False,
    as_user: As = "",
    as_json: Json = False,
) -> None:
    """Find documents, best first."""
    run(_search(ctx, " ".join(query), kb, limit, mode, as_user, explain=explain, as_json=as_json))


async def _ask(
    ctx: typer.Context,
    question: str,
    kb: str,
    as_user: str,
    *,
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
                conversation_id=conversation,
                door="cli",
                toolbox=toolbox,
            ):
                if isinstance(event, Answered):
                    found = event.answer
    if found is None:
        raise RuntimeError("ask ended without an answer")
    if as_json:
        output.show_json(serializers.answer(found))
    else:
        output.show(render.answer(found, width=output.width()))


async def _search(
    ctx: typer.Context,
    query: str,
    kb: str,
    limit: int | None,
    mode: Mode,
    as_user: str,
    *,
    explain: bool,
    as_json: bool,
) -> None:
    from cli import output, render, serializers

    async with opened(ctx, as_user) as (engine, principal):
        with output.working("searching"):
            result = await engine.search.find(principal, query, kb=kb, limit=limit, mode=mode.value)
            result = replace(result, hits=await engine.search.at_messages(principal, result.hits))
    if as_json:
        output.show_json(serializers.search(result))
    else:
        output.show(render.hits(result, explain=explain, width=output.width()))
