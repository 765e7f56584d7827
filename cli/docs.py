"""`docs`: the documents, their progress, and why something is missing."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from cli.context import As, Json, Kb, opened, run

if TYPE_CHECKING:
    from engine.documents.documents import DocumentInfo
    from engine.domain import Principal
    from engine.engine import Engine

app = typer.Typer(
    name="docs",
    help="Manage documents: list, show, watch, why, set, hide, unhide, retry, cancel, delete.",
)

Document = Annotated[str, typer.Argument(metavar="DOCUMENT", help="The document's id.")]
Documents = Annotated[list[str], typer.Argument(metavar="DOCUMENT", help="Document ids.")]
Shown = Annotated[
    list[str],
    typer.Argument(metavar="ID", help="Ids of documents or passages, or documents' URLs."),
]
EXCERPT = 80  # characters of a hidden passage
PAGE = 500  # documents fetched at a time


class StateFilter(StrEnum):
    """The states of a document."""

    PENDING = "pending"
    RUNNING = "running"
    READY = "ready"
    FAILED = "failed"
    CANCELLED = "cancelled"


STATES = "Only documents in this state: pending, running, ready, failed or cancelled."


@app.command("list")
def list_(
    ctx: typer.Context,
    kb: Kb = "",
    state: Annotated[StateFilter | None, typer.Option(metavar="STATE", help=STATES)] = None,
    limit: Annotated[
        int, typer.Option(metavar="N", min=0, help="Maximum number of documents; 0: all.")
    ] = 0,
    as_user: As = "",
    as_json: Json = False,
) -> None:
    """List the documents, newest first."""
    chosen = state.value if state else ""
    run(_list(ctx, kb, chosen, limit, as_user, as_json=as_json))


@app.command()
def show(
    ctx: typer.Context,
    document: Annotated[
        str, typer.Argument(metavar="ID", help="Id of a document, hit or citation.")
    ],
    text: Annotated[bool, typer.Option("--text", help="Print the text instead.")] = False,
    as_user: As = "",
    as_json: Json = False,
) -> None:
    """Show a document's details, or its text."""
    show_it = _text if text else _show
    run(show_it(ctx, document, as_user, as_json=as_json))


@app.command()
def why(ctx: typer.Context, document: Document, as_user: As = "", as_json: Json = False) -> None:
    """Explain a document's status and what to do."""
    run(_why(ctx, document, as_user, as_json=as_json))


@app.command()
def delete(
    ctx: typer.Context, documents: Documents, as_user: As = "", as_json: Json = False
) -> None:
    """Delete documents; no answer uses them from now on."""
    run(_each(ctx, "deleted", documents, as_user, as_json=as_json))


@app.command()
def hide(ctx: typer.Context, documents: Shown, as_user: As = "", as_json: Json = False) -> None:
    """Hide documents or single passages: nothing hidden is found, cited or read."""
    run(_each(ctx, "hidden", documents, as_user, as_json=as_json))


@app.command()
def unhide(ctx: typer.Context, documents: Shown, as_user: As = "", as_json: Json = False) -> None:
    """Show hidden documents or passages again."""
    run(_each(ctx, "shown", documents, as_user, as_json=as_json))


@app.command("set")
def set_(
    ctx: typer.Context,
    document: Annotated[str, typer.Argument(metavar="ID", help="The document's id or URL.")],
    tag: Annotated[
        list[str] | None,
        typer.Option("--tag", metavar="TAG", help="Its tags from now on; an empty one: none."),
    ] = None,
    meta: Annotated[
        list[str] | None,
        typer.Option("--meta", metavar="NAME=VALUE", help="A field of its own; NAME= removes it."),
    ] = None,
    feature: Annotated[
        list[str] | None,
        typer.Option(
            "--feature", metavar="NAME=NUMBER", help="A feature to rank by; NAME= removes it."
        ),
    ] = None,
    as_user: As = "",
    as_json: Json = False,
) -> None:
    """Set the tags, metadata and ranking features of a document."""
    run(_set(ctx, document, tag, meta or [], feature or [], as_user, as_json=as_json))


@app.command()
def retry(
    ctx: typer.Context, documents: Documents, as_user: As = "", as_json: Json = False
) -> None:
    """Retry failed or cancelled documents."""
    run(_each(ctx, "queued", documents, as_user, as_json=as_json))


@app.command()
def cancel(
    ctx: typer.Context, documents: Documents, as_user: As = "", as_json: Json = False
) -> None:
    """Cancel processing; the previous version keeps answering."""
    run(_each(ctx, "cancelled", documents, as_user, as_json=as_json))


async def all_documents(
    engine: Engine, principal: Principal, *, kb: str = "", state: str = "", limit: int = 0
) -> list[DocumentInfo]:
    """Every document (the newest `limit`, where that is not 0), newest first."""
    found: list[DocumentInfo] = []
    cursor = ""
    while True:
        size = min(PAGE, limit - len(found)) if limit else PAGE
        page = await engine.documents.page(principal, kb=kb, state=state, limit=size, cursor=cursor)
        found += page.documents
        cursor = page.next_cursor
        if not cursor or (limit and len(found) >= limit):
            return found


async def documents_of(
    engine: Engine, principal: Principal, document_ids: Sequence[str]
) -> list[DocumentInfo]:
    """These documents, in the order given; those deleted meanwhile are left out."""
    from engine.errors import NotFound

    found = []
    for document_id in document_ids:
        with contextlib.suppress(NotFound):
            found.append(await engine.documents.get(principal, document_id))
    return found


async def _list(
    ctx: typer.Context, kb: str, state: str, limit: int, as_user: str, *, as_json: bool
) -> None:
    from cli import output, render, serializers

    async with opened(ctx, as_user) as (engine, principal):
        found = await all_documents(engine, principal, kb=kb, state=state, limit=limit)
    if as_json:
        output.show_json(serializers.documents(found))
        return
    if not found:
        output.note("no documents; add some with `scrubjay add FOLDER`")
        return
    rows = [
        (document.id, _state(document), document.vectors, document.title, document.error)
        for document in found
    ]
    width = output.columns()  # `docs why` has the whole reason
    output.show(render.table(("id", "state", "vectors", "title", "what to do"), rows, width=width))


async def _set(
    ctx: typer.Context,
    ref: str,
    tags: list[str] | None,
    metadata: list[str],
    features: list[str],
    as_user: str,
    *,
    as_json: bool,
) -> None:
    from cli import output, render
    from cli.inline_worker import finish_jobs
    from engine.custom_fields import parse_assignments
    from engine.documents.metadata import parse_change

    wanted = parse_change(
        tags=tags,
        metadata=parse_assignments(metadata),
        features=parse_assignments(features, field="features"),
    )
    async with opened(ctx, as_user) as (engine, principal):
        document = await engine.documents.change(principal, ref, wanted)
        if wanted.tags is not None or wanted.features:
            with output.working("updating the index"):
                await finish_jobs(engine)
    if as_json:
        output.show_json(asdict(document))
    else:
        output.note(f"set {render.one_line(document.title)}")


def _state(document: DocumentInfo) -> str:
    return f"{document.state}, hidden" if document.hidden else document.state


async def _show(ctx: typer.Context, id_: str, as_user: str, *, as_json: bool) -> None:
    from cli import output, render
    from engine.domain import Scope
    from engine.errors import Forbidden

    async with opened(ctx, as_user) as (engine, principal):
        document = await engine.documents.find(principal, id_)
        hidden = []
        if Scope.KB_WRITE in principal.scopes:
            with contextlib.suppress(Forbidden):
                hidden = await engine.documents.hidden_chunks(principal, document.id)
    if as_json:
        output.show_json(asdict(document) | {"hidden_passages": [asdict(item) for item in hidden]})
        return
    output.show(render.facts(asdict(document)))
    for item in hidden:
        output.show(f"hidden: {item.id}  {render.one_line(item.text)[:EXCERPT]}\n")


async def _text(ctx: typer.Context, id_: str, as_user: str, *, as_json: bool) -> None:
    from cli import output, render

    pages = []
    async with opened(ctx, as_user) as (engine, principal):
        # From the start: the id of a hit leads to the page it is on.
        document_id = next_id = (await engine.search.fetch(principal, id_)).document_id
        while next_id:
            page = await engine.search.fetch(principal, next_id)
            pages.append(page.text)
            next_id = page.next_id
    if as_json:
        output.show_json({"document_id": document_id, "text": "".join(pages)})
    else:
        output.show(render.plain("".join(pages)).rstrip("\n") + "\n")


async def _why(ctx: typer.Context, document_id: str, as_user: str, *, as_json: bool) -> None:
    from cli import output

    async with opened(ctx, as_user) as (engine, principal):
        reason = await engine.documents.explain(principal, document_id)
    if as_json:
        output.show_json({"id": document_id, "why": reason})
    else:
        output.show(reason + "\n")


async def _each(
    ctx: typer.Context, outcome: str, documents: list[str], as_user: str, *, as_json: bool
) -> None:
    from cli import output

    async with opened(ctx, as_user) as (engine, principal):
        verbs: dict[str, Callable[[Principal, str], Awaitable[object]]] = {
            "deleted": engine.documents.delete,
            "hidden": engine.documents.hide,
            "shown": partial(engine.documents.hide, hidden=False),
            "queued": engine.documents.retry,
            "cancelled": engine.documents.cancel,
        }
        for document_id in documents:
            await verbs[outcome](principal, document_id)
            if not as_json:
                output.note(f"{outcome} {document_id}")
    if as_json:
        output.show_json({"documents": documents, "outcome": outcome})
