"""`add`: files, folders, globs, URLs and standard input become documents; it waits for them.

If no live worker holds the data folder, this process is the worker until the jobs end; with
`scrubjay up` running it only enqueues and follows.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from pathlib import PurePath
from typing import TYPE_CHECKING, Annotated

import typer

from cli.context import DONE, INCOMPLETE, As, Json, opened, principal_of, run
from cli.inline_worker import work_while
from engine.wording import counted

if TYPE_CHECKING:
    from cli.inputs import InputItem
    from engine.documents.adding import NewDocument
    from engine.documents.documents import DocumentInfo
    from engine.domain import Principal
    from engine.engine import Engine
    from engine.settings import Settings

DEFAULT_KB = "default"
BATCH = 50  # documents accepted in one transaction
ENDED = frozenset({"ready", "failed", "cancelled"})
FAULTS_SHOWN = 20  # lines about failed documents; `scrubjay docs list --state failed` has them all


@dataclass(frozen=True, slots=True)
class AddOptions:
    """Options for all documents of one command."""

    stdin_name: str
    extraction_strategy: str
    _: KW_ONLY
    quality_control: bool
    tags: Sequence[str]
    metadata: Sequence[str]
    date: str


@dataclass(frozen=True, slots=True)
class RefusedDocument:
    """A document that was not accepted; it has the fields that `docs list` shows."""

    title: str
    error: str
    id: str = ""
    state: str = "failed"
    vectors: str = "none"
    chunk_count: int = 0


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command()(add)


def add(
    ctx: typer.Context,
    what: Annotated[
        list[str], typer.Argument(metavar="WHAT", help="Files, folders, globs, URLs, or -.")
    ],
    kb: Annotated[
        str, typer.Option("--kb", metavar="NAME", help="The knowledge base; created if missing.")
    ] = DEFAULT_KB,
    name: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="File name for standard input; its extension sets the type."
        ),
    ] = "stdin.txt",
    wait: Annotated[bool, typer.Option(help="Wait until everything is searchable.")] = True,
    chat_url: Annotated[
        str,
        typer.Option(
            metavar="URL",
            help="Address of the Slack workspace of an export (https://acme.slack.com), so that "
            "sources link to its messages.",
        ),
    ] = "",
    extraction_strategy: Annotated[
        str,
        typer.Option(
            metavar="STRATEGY",
            help="standard (follow the pipeline) or comprehensive (index everything).",
        ),
    ] = "standard",
    quality_control: Annotated[
        bool,
        typer.Option(
            "--quality-control", help="Flag faulty chunks in any pipeline; no chunk is dropped."
        ),
    ] = False,
    tag: Annotated[
        list[str] | None, typer.Option("--tag", metavar="TAG", help="A tag for the documents.")
    ] = None,
    meta: Annotated[
        list[str] | None,
        typer.Option(
            "--meta",
            metavar="NAME=VALUE",
            help="Metadata for the documents; the name's ending sets the type, e.g. price_float.",
        ),
    ] = None,
    date: Annotated[
        str, typer.Option(metavar="DATE", help="The documents' date, if they don't say it.")
    ] = "",
    as_user: As = "",
    as_json: Json = False,
) -> None:
    """Add documents, or exports of Slack and Discord, and wait until they are searchable."""
    from cli.inputs import expand

    given = expand(what)
    options = AddOptions(
        name,
        extraction_strategy,
        quality_control=quality_control,
        tags=tag or (),
        metadata=meta or (),
        date=date,
    )
    code = run(
        _add(ctx, given, kb, options, as_user, chat_url, wait=wait, as_json=as_json),
        interrupted="interrupted: run the command again, or `scrubjay up`, to continue",
    )
    raise typer.Exit(code)


async def _add(
    ctx: typer.Context,
    given: Sequence[InputItem],
    kb_name: str,
    options: AddOptions,
    as_user: str,
    chat_url: str,
    *,
    wait: bool,
    as_json: bool,
) -> int:
    from cli import exports, output, serializers
    from cli.docs import documents_of
    from engine.custom_fields import parse_assignments, parse_moment
    from engine.documents.metadata import parse_change

    # What is wrong with them is said before anything is made.
    parse_change(tags=options.tags, metadata=parse_assignments(options.metadata))
    if options.date:
        parse_moment("date", options.date)
    faulty = [RefusedDocument(item.label, item.fault) for item in given if item.fault]
    given = [item for item in given if not item.fault]
    chats, given = await asyncio.to_thread(exports.part, given)
    async with opened(ctx, as_user) as (engine, asker):
        kb = await _knowledge_base(engine, asker, kb_name)
        principal = await principal_of(engine, as_user)  # a new knowledge base is a new grant
        imported, damaged = await exports.bring_in_all(engine, principal, kb, chats, chat_url)
        faulty += [RefusedDocument(name, reason) for name, reason in damaged]
        whole = True
        if wait and imported:
            whole = await exports.settle(engine, principal, imported)
        ids, refused = await _accept(engine, principal, kb, given, options)
        refused = [*faulty, *refused]
        if not as_json:  # before the wait for the others
            _tell_faults((item.title, item.error) for item in refused)
        if wait:
            documents = await ingest(engine, principal, ids)
        else:
            documents = await documents_of(engine, principal, ids)
    failed = [document for document in documents if document.state != "ready"] if wait else []
    if as_json:
        output.show_json(serializers.documents([*documents, *refused]))
    elif given or refused or not imported:
        _summarise(documents, refused, wait=wait)
        if wait and len(documents) < len(ids):
            known = counted(len(ids) - len(documents), "address", "addresses")
            output.note(f"{known} led to documents that are there already")
    return INCOMPLETE if failed or refused or not whole else DONE


async def _knowledge_base(engine: Engine, principal: Principal, name: str) -> str:
    """The id of the knowledge base named, created if it does not exist."""
    from cli import output
    from engine.errors import NotFound

    try:
        return (await engine.knowledge_bases.get(principal, name)).id
    except NotFound:
        made = await engine.knowledge_bases.create(principal, name)
        output.note(f"created knowledge base {made.name}")
        return made.id


async def _accept(
    engine: Engine, principal: Principal, kb: str, given: Sequence[InputItem], options: AddOptions
) -> tuple[list[str], list[RefusedDocument]]:
    """Add documents a batch at a time; a refused one does not stop the others."""
    from cli import output

    ids: list[str] = []
    refused: list[RefusedDocument] = []
    with output.Bar("reading", len(given)) as bar:
        for start in range(0, len(given), BATCH):
            batch = [
                (item, _document(item, options, engine.settings))
                for item in given[start : start + BATCH]
            ]
            accepted, faults = await _accept_batch(engine, principal, kb, batch)
            ids += accepted
            refused += faults
            bar.advance_to(min(start + BATCH, len(given)))
    return list(dict.fromkeys(ids)), refused


async def _accept_batch(
    engine: Engine, principal: Principal, kb: str, batch: Sequence[tuple[InputItem, NewDocument]]
) -> tuple[list[str], list[RefusedDocument]]:
    """All at once; one by one where the batch as a whole was refused because of some of it."""
    from engine.errors import Conflict, DocumentError, InvalidInput, TooLarge
    from engine.telemetry import correlation_id

    try:
        new = [document for _, document in batch]
        added = await engine.documents.add_many(principal, kb, new, correlation_id=correlation_id())
        return [item.document_id for item in added], []
    except (Conflict, DocumentError, InvalidInput, TooLarge, OSError) as error:
        if len(batch) == 1:
            reason = f"can't be read: {error.strerror}" if isinstance(error, OSError) else error
            return [], [RefusedDocument(batch[0][0].label, str(reason))]
    ids: list[str] = []
    refused: list[RefusedDocument] = []
    for item in batch:
        accepted, faults = await _accept_batch(engine, principal, kb, [item])
        ids += accepted
        refused += faults
    return ids, refused


def _document(given: InputItem, options: AddOptions, settings: Settings) -> NewDocument:
    from cli.inputs import storable
    from engine.custom_fields import parse_assignments, parse_moment
    from engine.documents.adding import NewDocument

    if given.path is not None:
        new = NewDocument(
            path=given.path,
            filename=storable(given.path.name),
            external_id=given.external_id,
            details={"path": given.label},
        )
    elif given.url:
        new = NewDocument(url=given.url)
    else:
        # One byte more than is allowed says that it is too large; a pipe may never end.
        data = sys.stdin.buffer.read(int(settings.processing.max_file_size) + 1)
        new = NewDocument(data=data, filename=PurePath(options.stdin_name).name)
    return replace(
        new,
        extraction_strategy=options.extraction_strategy,
        quality_control=options.quality_control,
        tags=options.tags or None,
        metadata=parse_assignments(options.metadata),
        updated_at=parse_moment("date", options.date) if options.date else None,
    )


async def ingest(
    engine: Engine, principal: Principal, document_ids: Sequence[str]
) -> list[DocumentInfo]:
    """The documents once each has ended; be the worker meanwhile, unless another process is."""
    if not document_ids:
        return []
    return await work_while(engine, _follow(engine, principal, document_ids))


async def _follow(
    engine: Engine, principal: Principal, document_ids: Sequence[str]
) -> list[DocumentInfo]:
    from cli import output

    documents: list[DocumentInfo] = []
    with output.Bar("indexing", len(document_ids)) as bar:
        async for documents in engine.documents.follow(principal, document_ids):
            bar.advance_to(sum(1.0 if d.state in ENDED else d.progress for d in documents))
    return documents


def _summarise(
    documents: Sequence[DocumentInfo], refused: Sequence[RefusedDocument], *, wait: bool
) -> None:
    from cli import output, render

    if not wait:
        output.note(f"queued {counted(len(documents), 'document')}")
    else:
        ready = [document for document in documents if document.state == "ready"]
        passages = sum(document.chunk_count for document in ready)
        if ready or not (documents or refused):
            output.note(f"{counted(len(ready), 'document')} ready, {counted(passages, 'passage')}")
    bad = [d for d in documents if wait and d.state != "ready"]
    faults = [(d.title, d.error or f"is {d.state}") for d in bad]
    _tell_faults(faults)
    noticed = [(d, str(d.details.get("notice", ""))) for d in documents if d.state == "ready"]
    noticed = [(document, notice) for document, notice in noticed if notice]
    for document, notice in noticed[:FAULTS_SHOWN]:
        output.note(f"  {render.one_line(document.title)}: {render.one_line(notice)}")
    if len(noticed) > FAULTS_SHOWN:
        output.note(f"  and {len(noticed) - FAULTS_SHOWN:,} more documents with a notice")


def _tell_faults(faults: Iterable[tuple[str, str]]) -> None:
    from cli import output, render

    faults = list(faults)
    if not faults:
        return
    output.note(f"{counted(len(faults), 'document')} failed:")
    for title, error in faults[:FAULTS_SHOWN]:
        output.note(f"  {render.one_line(title)}: {render.one_line(error)}")
    if len(faults) > FAULTS_SHOWN:
        output.note(f"  and {len(faults) - FAULTS_SHOWN:,} more: scrubjay docs list --state failed")
