"""`add`: files, folders, globs, URLs and standard input become documents, and are waited for.

Where no live worker holds the data folder this process is the worker until the jobs end; with
`scrubjay up` running it only enqueues and follows.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from pathlib import PurePath
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from cli.context import DONE, INCOMPLETE, As, Json, opened, principal_of, run

if TYPE_CHECKING:
    from cli.inputs import Given
    from engine.documents.adding import NewDocument
    from engine.documents.documents import DocumentInfo
    from engine.domain import Principal
    from engine.engine import Engine

T = TypeVar("T")

DEFAULT_KB = "default"
BATCH = 50  # documents accepted in one transaction
ENDED = frozenset({"ready", "failed", "cancelled"})
LOOK_AGAIN_S = 1.0  # between looks whether another process still works on the data folder
FAULTS_SHOWN = 20  # lines about failed documents; `scrubjay docs list --state failed` has them all


@dataclass(frozen=True, slots=True)
class Asked:
    """What holds for all documents of one command."""

    stdin_name: str
    extraction_strategy: str
    _: KW_ONLY
    quality_control: bool


@dataclass(frozen=True, slots=True)
class Refused:
    """A document that was not taken at all; shaped as `docs list` shows one."""

    title: str
    error: str
    id: str = ""
    state: str = "failed"
    vectors: str = "none"


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command()(add)


def add(
    ctx: typer.Context,
    what: Annotated[
        list[str], typer.Argument(metavar="WHAT", help="Files, folders, globs, URLs, or -.")
    ],
    kb: Annotated[
        str, typer.Option("--kb", metavar="NAME", help="The knowledge base; made if missing.")
    ] = DEFAULT_KB,
    name: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="File name of what comes from standard input; tells its type."
        ),
    ] = "stdin.txt",
    wait: Annotated[bool, typer.Option(help="Wait until all of it can be found.")] = True,
    chat_url: Annotated[
        str,
        typer.Option(
            metavar="URL",
            help="Where the workspace of a Slack export lives (https://acme.slack.com): sources "
            "then lead to its messages.",
        ),
    ] = "",
    extraction_strategy: Annotated[
        str,
        typer.Option(
            metavar="STRATEGY",
            help="standard (what the pipeline takes) or comprehensive (all that was read).",
        ),
    ] = "standard",
    quality_control: Annotated[
        bool,
        typer.Option(
            "--quality-control", help="Flag faulty chunks, whatever the pipeline; none is left out."
        ),
    ] = False,
    as_user: As = "",
    as_json: Json = False,
) -> None:
    """Add documents, or exports of Slack and Discord, and wait until they can be found."""
    from cli.inputs import expand

    given = expand(what)
    asked = Asked(name, extraction_strategy, quality_control=quality_control)
    code = run(
        _add(ctx, given, kb, asked, as_user, chat_url, wait=wait, as_json=as_json),
        interrupted="interrupted; the same command goes on from here, as does `scrubjay up`",
    )
    raise typer.Exit(code)


async def _add(
    ctx: typer.Context,
    given: Sequence[Given],
    kb_name: str,
    asked: Asked,
    as_user: str,
    chat_url: str,
    *,
    wait: bool,
    as_json: bool,
) -> int:
    from cli import exports, output, render, shapes
    from cli.docs import documents_of

    faulty = [Refused(item.label, item.fault) for item in given if item.fault]
    given = [item for item in given if not item.fault]
    chats, given = await asyncio.to_thread(exports.part, given)
    async with opened(ctx, as_user) as (engine, asker):
        kb = await _knowledge_base(engine, asker, kb_name)
        principal = await principal_of(engine, as_user)  # a new knowledge base is a new grant
        imported, damaged = await exports.bring_in_all(engine, principal, kb, chats, chat_url)
        faulty += [Refused(name, reason) for name, reason in damaged]
        whole = True
        if wait and imported:
            whole = await exports.settle(engine, principal, imported)
        ids, refused = await _accept(engine, principal, kb, given, asked)
        refused = [*faulty, *refused]
        if wait:
            documents = await ingest(engine, principal, ids)
        else:
            documents = await documents_of(engine, principal, ids)
    failed = [document for document in documents if document.state != "ready"] if wait else []
    if as_json:
        output.show_json(shapes.documents([*documents, *refused]))
    elif given or refused or not imported:
        _summarise(documents, refused, wait=wait)
        if wait and len(documents) < len(ids):
            known = render.counted(len(ids) - len(documents), "address", "addresses")
            output.note(f"{known} led to documents that are there already")
    return INCOMPLETE if failed or refused or not whole else DONE


async def _knowledge_base(engine: Engine, principal: Principal, name: str) -> str:
    """The id of the knowledge base named, made where it does not exist."""
    from cli import output
    from engine.errors import NotFound

    try:
        return (await engine.knowledge_bases.get(principal, name)).id
    except NotFound:
        made = await engine.knowledge_bases.create(principal, name)
        output.note(f"created knowledge base {made.name}")
        return made.id


async def _accept(
    engine: Engine, principal: Principal, kb: str, given: Sequence[Given], asked: Asked
) -> tuple[list[str], list[Refused]]:
    """Hand documents over a batch at a time; one that is refused does not stop the others."""
    from cli import output

    ids: list[str] = []
    refused: list[Refused] = []
    with output.Bar("reading", len(given)) as bar:
        for start in range(0, len(given), BATCH):
            batch = [(item, _document(item, asked)) for item in given[start : start + BATCH]]
            accepted, faults = await _accept_batch(engine, principal, kb, batch)
            ids += accepted
            refused += faults
            bar.advance_to(min(start + BATCH, len(given)))
    return list(dict.fromkeys(ids)), refused


async def _accept_batch(
    engine: Engine, principal: Principal, kb: str, batch: Sequence[tuple[Given, NewDocument]]
) -> tuple[list[str], list[Refused]]:
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
            return [], [Refused(batch[0][0].label, str(reason))]
    ids: list[str] = []
    refused: list[Refused] = []
    for item in batch:
        accepted, faults = await _accept_batch(engine, principal, kb, [item])
        ids += accepted
        refused += faults
    return ids, refused


def _document(given: Given, asked: Asked) -> NewDocument:
    from cli.inputs import storable
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
        data = sys.stdin.buffer.read()
        new = NewDocument(data=data, filename=PurePath(asked.stdin_name).name)
    return replace(
        new,
        extraction_strategy=asked.extraction_strategy,
        quality_control=asked.quality_control,
    )


async def ingest(
    engine: Engine, principal: Principal, document_ids: Sequence[str]
) -> list[DocumentInfo]:
    """The documents once each has ended; be the worker meanwhile, where nobody else is."""
    if not document_ids:
        return []
    return await work_while(engine, _follow(engine, principal, document_ids))


async def work_while(engine: Engine, waiting: Coroutine[Any, Any, T]) -> T:
    """What `waiting` comes to; be the worker meanwhile, where nobody else is."""
    stop = asyncio.Event()
    following = asyncio.create_task(waiting)
    worker = None
    try:
        while not following.done():
            # Anew each time: the worker that held the folder may have been killed meanwhile.
            worker = asyncio.create_task(_be_worker(engine, stop))
            await asyncio.wait({worker, following}, return_when=asyncio.FIRST_COMPLETED)
            if worker.done():
                worker.result()  # one that broke ends the command: nobody would do the work
                await asyncio.wait({following}, timeout=LOOK_AGAIN_S)
        if worker is not None:
            await worker  # cleans up what was replaced
        return await following
    finally:
        stop.set()
        following.cancel()
        await asyncio.gather(*filter(None, (worker, following)), return_exceptions=True)


async def finish_jobs(engine: Engine) -> None:
    """Wait until nothing is queued; be the worker meanwhile, where nobody else is."""
    while await engine.operations.next_job_due_at() is not None:
        await _be_worker(engine, asyncio.Event())
        await asyncio.sleep(LOOK_AGAIN_S / 10)


async def _be_worker(engine: Engine, stop: asyncio.Event) -> None:
    """Work until idle; return at once where `scrubjay up` or another worker sees to it."""
    from engine.errors import AlreadyRunning
    from engine.locks import holder
    from ingestion.host import run_worker

    if (holder(engine.settings.home, "server") or "").startswith("scrubjay up"):
        return
    with contextlib.suppress(AlreadyRunning):
        await run_worker(engine, stop, idle_exit_s=0)


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
    documents: Sequence[DocumentInfo], refused: Sequence[Refused], *, wait: bool
) -> None:
    from cli import output, render

    if not wait:
        output.note(f"queued {render.counted(len(documents), 'document')}")
    else:
        ready = [document for document in documents if document.state == "ready"]
        passages = sum(document.chunk_count for document in ready)
        if ready or not (documents or refused):
            output.note(
                f"{render.counted(len(ready), 'document')} ready, "
                f"{render.counted(passages, 'passage')}"
            )
    bad = [d for d in documents if wait and d.state != "ready"]
    faults = [(d.title, d.error or f"is {d.state}") for d in bad]
    _tell_faults([*faults, *((item.title, item.error) for item in refused)])


def _tell_faults(faults: Iterable[tuple[str, str]]) -> None:
    from cli import output, render

    faults = list(faults)
    if not faults:
        return
    output.note(f"{render.counted(len(faults), 'document')} failed:")
    for title, error in faults[:FAULTS_SHOWN]:
        output.note(f"  {render.one_line(title)}: {render.one_line(error)}")
    if len(faults) > FAULTS_SHOWN:
        output.note(f"  and {len(faults) - FAULTS_SHOWN:,} more: scrubjay docs list --state failed")
