"""`/api/v1/documents` and `/api/v1/status`: the documents and their progress."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from api.permitted import permitted
from api.schemas import (
    DocumentChanges,
    DocumentsQuery,
    EventsQuery,
    PassageChange,
    read_body,
    read_query,
)
from api.service import principal_of, service_of
from api.streams import COMMENT, event, failure, stream
from api.uploads import open_form, read_documents
from engine import serializers
from engine.access.gate import require
from engine.documents.metadata import parse_change
from engine.documents.progress import DocumentProgress
from engine.documents.upload_options import KEY
from engine.domain import Scope, parse_chunk_id
from engine.errors import InvalidInput
from engine.telemetry import correlation_id

STREAM_S = 600.0  # then the client must open the stream again: permissions are checked again


async def index(request: Request) -> Response:
    """Documents the caller may see, newest first."""
    principal = await principal_of(request)
    require(principal, Scope.KB_READ)
    query = read_query(request, DocumentsQuery)
    page = await service_of(request).engine.documents.page(
        principal, query.kb, state=query.state, limit=query.limit, cursor=query.cursor
    )
    return JSONResponse(serializers.documents(page.documents) | {"next_cursor": page.next_cursor})


async def add(request: Request) -> Response:
    """Accept files into a knowledge base; ingestion follows."""
    service = service_of(request)
    principal = await principal_of(request)
    require(principal, Scope.KB_WRITE)  # before any byte of the files is read
    max_bytes = int(service.settings.processing.max_file_size)
    async with open_form(request, max_bytes=max_bytes) as form:
        kb = form.get("kb", "")
        if not isinstance(kb, str) or not kb:
            raise InvalidInput("kb: name the knowledge base for the files.", field="kb")
        new = await read_documents(form)
    added = await service.engine.documents.add_many(
        principal, kb, new, correlation_id=correlation_id()
    )
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


async def events(request: Request) -> Response:
    """Follow one document into the index: events `document` and `log`, finally `end`."""
    engine = service_of(request).engine
    principal = await principal_of(request)
    require(principal, Scope.KB_READ)
    document = await engine.documents.get(principal, request.path_params["id"])
    watching = engine.documents.watch(principal, [document.id])
    return stream(_as_events(permitted(request, principal, watching)))


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


async def delete(request: Request) -> Response:
    """Delete a document; no answer uses it from now on."""
    principal = await principal_of(request)
    document = await service_of(request).engine.documents.delete(
        principal, request.path_params["id"]
    )
    return JSONResponse({"deleted": True, "id": document.id})


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
    Route("/api/v1/documents/{id}", change, methods=["PATCH"]),
    Route("/api/v1/documents/{id}", delete, methods=["DELETE"]),
    Route("/api/v1/passages/{id}", change_passage, methods=["PATCH"]),
    Route("/api/v1/status", status, methods=["GET"]),
)
