"""`/api/v1/documents` and `/api/v1/status`: the documents and their progress."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from api.operations import returns, takes_form
from api.permitted import permitted
from api.replies import (
    AddedPageReply,
    AddedReply,
    DeletedReply,
    DocumentDetailsReply,
    DocumentReply,
    DocumentsReply,
    HiddenReply,
    StatusReply,
)
from api.schemas import (
    DocumentChanges,
    DocumentsQuery,
    EventsQuery,
    KbDocumentsQuery,
    PassageChange,
    read_body,
    read_query,
    without_nul,
)
from api.service import principal_of, service_of
from api.streams import COMMENT, MEDIA_TYPE, event, failure, stream
from api.uploads import UploadForm, is_yes, open_form, read_documents
from engine import serializers
from engine.access.gate import require
from engine.documents.adding import Added, NewDocument
from engine.documents.metadata import parse_change
from engine.documents.progress import DocumentProgress
from engine.documents.upload_options import KEY
from engine.domain import Principal, Scope, parse_chunk_id
from engine.engine import Engine
from engine.errors import InvalidInput
from engine.telemetry import correlation_id

STREAM_S = 600.0  # then the client must open the stream again: permissions are checked again


@returns(DocumentsReply)
async def index(request: Request) -> Response:
    """Documents the caller may see, newest first."""
    principal = await principal_of(request)
    require(principal, Scope.KB_READ)
    query = read_query(request, DocumentsQuery)
    return await list_page(request, principal, query.kb, query)


async def list_page(
    request: Request, principal: Principal, kb: str, query: KbDocumentsQuery
) -> Response:
    """A page of the documents of one knowledge base, or where it is empty of all."""
    page = await service_of(request).engine.documents.page(
        principal, kb, state=query.state, limit=query.limit, cursor=query.cursor
    )
    return JSONResponse(serializers.documents(page.documents) | {"next_cursor": page.next_cursor})


@returns(AddedReply, status=202)
@takes_form(UploadForm)
async def add(request: Request) -> Response:
    """Accept files into a knowledge base; ingestion follows."""
    return await accept(request, await principal_of(request))


async def accept(request: Request, principal: Principal, *, kb: str = "") -> Response:
    """Take in the files of a form, whose field `kb` names the knowledge base unless it is given."""
    service = service_of(request)
    require(principal, Scope.KB_WRITE)  # before any byte of the files is read
    max_bytes = int(service.settings.processing.max_file_size)
    async with open_form(request, max_bytes=max_bytes) as form:
        named = kb or without_nul(form.get("kb", ""))
        if not isinstance(named, str) or not named:
            raise InvalidInput("kb: name the knowledge base for the files.", field="kb")
        new = await read_documents(form)
        folder = without_nul(form.get("folder", ""))
        replaces = is_yes(form, "replace")
    added = await _add(service.engine, principal, named, new, str(folder), replaces=replaces)
    handles = [
        {
            "id": item.document_id,
            "title": document.filename,
            "state": str(item.state),
            "job_id": item.job_id,
            "unchanged": item.unchanged,
            "chunks_created": item.chunks,
        }
        for document, item in zip(new, added, strict=True)
    ]
    return JSONResponse({"documents": handles}, status_code=202)


async def _add(
    engine: Engine,
    principal: Principal,
    kb: str,
    new: Sequence[NewDocument],
    folder: str,
    *,
    replaces: bool,
) -> Sequence[Added]:
    """Add documents, and where a folder is named store their files there."""
    correlation = correlation_id()
    if not folder:
        return await engine.documents.add_many(principal, kb, new, correlation_id=correlation)
    stored = await engine.files.add(
        principal, new, folder=folder, kb=kb, replace_same=replaces, correlation_id=correlation
    )
    return [one.document for one in stored if one.document is not None]


@returns(DocumentDetailsReply)
async def show(request: Request) -> Response:
    """One document with its state, explained in a sentence."""
    engine = service_of(request).engine
    principal = await principal_of(request)
    require(principal, Scope.KB_READ)
    document = await engine.documents.get(principal, request.path_params["id"])
    why = await engine.documents.explain(principal, document.id)
    asked = {"upload_options": document.details.get(KEY, {})}
    known = serializers.document(document) | {"progress": document.progress, "message": why}
    return JSONResponse(known | asked)


@returns(None, media_type=MEDIA_TYPE)
async def events(request: Request) -> Response:
    """Follow one document into the index: events `document` and `log`, finally `end`."""
    engine = service_of(request).engine
    principal = await principal_of(request)
    require(principal, Scope.KB_READ)
    document = await engine.documents.get(principal, request.path_params["id"])
    watching = engine.documents.watch(principal, [document.id])
    return stream(_as_events(permitted(request, principal, watching)))


@returns(None, media_type=MEDIA_TYPE)
async def all_events(request: Request) -> Response:
    """Follow all documents in progress, of one knowledge base or of all."""
    engine = service_of(request).engine
    principal = await principal_of(request)
    require(principal, Scope.KB_READ)
    query = read_query(request, EventsQuery)
    if query.kb:
        await engine.knowledge_bases.get(
            principal, query.kb
        )  # a wrong name fails before the stream
    watching = engine.documents.watch(principal, kb=query.kb)
    return stream(_as_events(permitted(request, principal, watching)))


async def _as_events(watching: AsyncIterator[list[DocumentProgress]]) -> AsyncIterator[str]:
    ends_at = time.monotonic() + STREAM_S
    try:
        async for changed in watching:
            if time.monotonic() > ends_at:
                yield event("again", {})
                return
            if not changed:
                yield COMMENT
            for item in changed:
                for entry in item.entries:
                    yield event("log", {"id": item.id, **entry})
                yield event("document", serializers.document_progress(item))
        yield event("end", {})
    except Exception as error:  # noqa: BLE001 (the reader of the stream still gets a reason)
        yield failure(error)


@returns(DocumentReply)
async def change(request: Request) -> Response:
    """Set tags, metadata and features of a document; hide it, or show it again."""
    documents = service_of(request).engine.documents
    principal = await principal_of(request)
    require(principal, Scope.KB_WRITE)
    body = await read_body(request, DocumentChanges)
    wanted = parse_change(tags=body.tags, metadata=body.metadata, features=body.features)
    document = await documents.get(principal, request.path_params["id"])
    if wanted:
        document = await documents.change(principal, document.id, wanted)
    if body.hidden is not None:
        document = await documents.hide(principal, document.id, hidden=body.hidden)
    return JSONResponse(serializers.document(document))


@returns(HiddenReply)
async def change_passage(request: Request) -> Response:
    """Hide one passage of a document, or show it again."""
    principal = await principal_of(request)
    require(principal, Scope.KB_WRITE)
    body = await read_body(request, PassageChange)
    id_ = request.path_params["id"]
    if parse_chunk_id(id_) is None:
        raise InvalidInput(f"{id_!r} is no passage: use the id of a hit or citation.", field="id")
    await service_of(request).engine.documents.hide(principal, id_, hidden=body.hidden)
    return JSONResponse({"id": id_, "hidden": body.hidden})


@returns(AddedPageReply, status=202)
async def retry(request: Request) -> Response:
    """Ingest a document again that failed or was cancelled."""
    principal = await principal_of(request)
    documents = service_of(request).engine.documents
    return added_reply(await documents.retry(principal, request.path_params["id"]))


@returns(DocumentReply)
async def cancel(request: Request) -> Response:
    """Stop the ingestion of a document; its previous revision keeps answering."""
    principal = await principal_of(request)
    documents = service_of(request).engine.documents
    cancelled = await documents.cancel(principal, request.path_params["id"])
    return JSONResponse(serializers.document(cancelled))


def added_reply(added: Added) -> Response:
    """The handle of a document that is to be ingested."""
    handle = {
        "id": added.document_id,
        "state": str(added.state),
        "job_id": added.job_id,
        "unchanged": added.unchanged,
    }
    return JSONResponse(handle, status_code=202)


@returns(DeletedReply)
async def delete(request: Request) -> Response:
    """Delete a document; no answer uses it from now on."""
    principal = await principal_of(request)
    document = await service_of(request).engine.documents.delete(
        principal, request.path_params["id"]
    )
    return JSONResponse({"deleted": True, "id": document.id})


@returns(StatusReply)
async def status(request: Request) -> Response:
    """Counts by knowledge base and the work in progress."""
    principal = await principal_of(request)
    return JSONResponse(
        serializers.status(await service_of(request).engine.operations.status(principal))
    )


ROUTES = (
    Route("/api/v1/documents", index, methods=["GET"]),
    Route("/api/v1/documents", add, methods=["POST"]),
    Route("/api/v1/documents/events", all_events, methods=["GET"]),
    Route("/api/v1/documents/{id}", show, methods=["GET"]),
    Route("/api/v1/documents/{id}/events", events, methods=["GET"]),
    Route("/api/v1/documents/{id}/cancel", cancel, methods=["POST"]),
    Route("/api/v1/documents/{id}/retry", retry, methods=["POST"]),
    Route("/api/v1/documents/{id}", change, methods=["PATCH"]),
    Route("/api/v1/documents/{id}", delete, methods=["DELETE"]),
    Route("/api/v1/passages/{id}", change_passage, methods=["PATCH"]),
    Route("/api/v1/status", status, methods=["GET"]),
)
