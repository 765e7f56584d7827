"""`/api/v1/knowledge_bases`: collections of documents, from creating one to deleting it."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from api.operations import returns, takes_form
from api.replies import (
    AddedReply,
    DeletedReply,
    DocumentsReply,
    KnowledgeBaseReply,
    KnowledgeBasesReply,
    NewKnowledgeBaseReply,
    QueuedReply,
    SearchReply,
    SearchSettingsReply,
    StatsReply,
)
from api.routes.answers import find
from api.routes.documents import accept, list_page
from api.schemas import (
    KbBody,
    KbChanges,
    KbConfig,
    KbDocumentsQuery,
    KbSearchBody,
    ReembedQuery,
    ResetQuery,
    SearchSettingsChanges,
    read_body,
    read_query,
)
from api.service import Service, principal_of, service_of
from api.uploads import KbUploadForm
from engine import serializers
from engine.access.gate import require, require_verb
from engine.documents.reembedding import Reembedding
from engine.documents.reindexing import Preview
from engine.domain import Scope
from engine.errors import InvalidInput
from engine.models.catalogue import MODELS


@returns(KnowledgeBasesReply)
async def index(request: Request) -> Response:
    """The knowledge bases the caller may read."""
    principal = await principal_of(request)
    require(principal, Scope.KB_READ)
    listed = await service_of(request).engine.knowledge_bases.list_readable(principal)
    return JSONResponse({"knowledge_bases": [serializers.knowledge_base(kb) for kb in listed]})


@returns(NewKnowledgeBaseReply, status=201)
async def create(request: Request) -> Response:
    """A new knowledge base, which all members may read."""
    service = service_of(request)
    principal = await principal_of(request)
    require_verb(principal, "kb.create")
    body = await read_body(request, KbBody)
    made = await service.engine.knowledge_bases.create(
        principal,
        body.name,
        description=body.description,
        pipeline=body.pipeline,
        search=body.search,
        chunking=_chunking(service, body.config) | body.own_chunking,
        formats=body.supported_formats or (),
        model=_model(service, body.config),
    )
    shown = serializers.knowledge_base(made) | {"knowledge_base_id": made.id}
    headers = {"Location": f"/api/v1/knowledge_bases/{made.id}"}
    return JSONResponse(shown, status_code=201, headers=headers)


def _model(service: Service, config: KbConfig) -> str:
    """The model of this process that is asked for; empty for the one that is set."""
    space, settings = service.engine.embedder.space, service.settings
    if config.embedding_model in {None, space.name, settings.embedding.model}:
        return ""
    for model in MODELS.values():
        if config.embedding_model in {model.name, model.space.name}:
            return model.name
    others = ", ".join(MODELS)
    raise InvalidInput(
        f"config.embedding_model: this server embeds with {settings.embedding.model!r}, and a"
        f" knowledge base can use {others}.",
        field="config.embedding_model",
    )


def _chunking(service: Service, config: KbConfig) -> dict[str, Any]:
    """How documents are split; the engine is the installation's and can only be confirmed."""
    settings = service.settings
    if config.search_engine not in {None, settings.search.engine}:
        raise InvalidInput(
            f"config.search_engine: this server searches with {settings.search.engine!r}.",
            field="config.search_engine",
        )
    given = {"size": config.chunk_size, "overlap": config.chunk_overlap}
    return {name: value for name, value in given.items() if value is not None}


@returns(KnowledgeBaseReply)
async def show(request: Request) -> Response:
    """One knowledge base, by name or id."""
    principal = await principal_of(request)
    kbs = service_of(request).engine.knowledge_bases
    found = await kbs.get(principal, request.path_params["kb"])
    return JSONResponse(serializers.knowledge_base(found))


@returns(KnowledgeBaseReply)
async def change(request: Request) -> Response:
    """Rename or describe it; change its pipeline, how documents are split, or which files it takes.

    Pipeline and splitting hold for documents that are ingested from now on.
    """
    service = service_of(request)
    principal = await principal_of(request)
    require_verb(principal, "kb.update")
    body = await read_body(request, KbChanges)
    kbs, kb = service.engine.knowledge_bases, request.path_params["kb"]
    if model := _model(service, body.config):
        raise InvalidInput(
            f"config.embedding_model: move it with `POST /api/v1/knowledge_bases/{kb}/reembed"
            f"?model={model}`.",
            field="config.embedding_model",
        )
    changes: dict[str, Any] = {
        "name": body.name,
        "description": body.description,
        "formats": body.supported_formats,
        "pipeline": body.pipeline,
    }
    if chunking := _chunking(service, body.config) | body.own_chunking:
        changes["chunking"] = {**(await kbs.get(principal, kb)).chunking, **chunking}
    return JSONResponse(serializers.knowledge_base(await kbs.update(principal, kb, **changes)))


@returns(DeletedReply)
async def delete(request: Request) -> Response:
    """Delete a knowledge base with everything in it; no answer uses it from now on."""
    principal = await principal_of(request)
    kbs = service_of(request).engine.knowledge_bases
    gone = await kbs.delete(principal, request.path_params["kb"])
    return JSONResponse({"deleted": True, "id": gone.id})


@returns(StatsReply)
async def stats(request: Request) -> Response:
    """How much is in it, and when that changed; `index_size`, in bytes, is of its whole space."""
    engine = service_of(request).engine
    principal = await principal_of(request)
    found = await engine.knowledge_bases.get(principal, request.path_params["kb"])
    status = await engine.operations.status(principal)
    [kb] = [item for item in status.knowledge_bases if item.id == found.id]
    return JSONResponse(
        {
            "id": kb.id,
            "name": kb.name,
            "document_count": kb.documents,
            "chunk_count": kb.chunks,
            "token_count": kb.tokens,
            "index_size": kb.index_size_bytes,
            "last_updated": kb.updated_at.isoformat(timespec="seconds"),
            "states": dict(kb.states),
            "without_vectors": kb.without_vectors,
            "space": kb.space,
            "next_space": kb.next_space,
            "moved": kb.moved,
        }
    )


@returns(DocumentsReply)
async def documents(request: Request) -> Response:
    """Its documents, newest first."""
    principal = await principal_of(request)
    query = read_query(request, KbDocumentsQuery)
    return await list_page(request, principal, request.path_params["kb"], query)


@takes_form(KbUploadForm)
@returns(AddedReply, status=202)
async def add(request: Request) -> Response:
    """Accept files into it; ingestion follows."""
    principal = await principal_of(request)
    return await accept(request, principal, kb=request.path_params["kb"])


@returns(SearchReply)
async def search(request: Request) -> Response:
    """The best documents of this knowledge base for a query."""
    principal = await principal_of(request)
    body = await read_body(request, KbSearchBody)
    return await find(request, principal, body, kb=request.path_params["kb"])


@returns(Preview)
async def preview_reindex(request: Request) -> Response:
    """What reindexing it would come to."""
    principal = await principal_of(request)
    kbs = service_of(request).engine.knowledge_bases
    found = await kbs.preview_reindex(principal, request.path_params["kb"])
    return JSONResponse(serializers.plain(found))


@returns(QueuedReply, status=202)
async def reindex(request: Request) -> Response:
    """Reindex its documents with its present pipeline; they keep answering meanwhile."""
    principal = await principal_of(request)
    kbs = service_of(request).engine.knowledge_bases
    ids = await kbs.reindex(principal, request.path_params["kb"])
    return JSONResponse({"documents": ids}, status_code=202)


@returns(Reembedding, status=202)
async def reembed(request: Request) -> Response:
    """Move it to another embedding model: the one named or configured. It answers meanwhile."""
    principal = await principal_of(request)
    kbs = service_of(request).engine.knowledge_bases
    model = read_query(request, ReembedQuery).model
    queued = await kbs.reembed(principal, request.path_params["kb"], model=model)
    return JSONResponse(serializers.plain(queued), status_code=202)


@returns(SearchSettingsReply)
async def show_search(request: Request) -> Response:
    """What the knowledge base sets itself; the rest is as the installation says."""
    principal = await principal_of(request)
    require(principal, Scope.KB_READ)
    found = await service_of(request).engine.knowledge_bases.get(
        principal, request.path_params["kb"]
    )
    return JSONResponse({"id": found.id, "search": dict(found.search)})


@returns(SearchSettingsReply)
async def change_search(request: Request) -> Response:
    """Change some of it from the next search on; a setting of null is unset again."""
    principal = await principal_of(request)
    require_verb(principal, "kb.update")
    body = await read_body(request, SearchSettingsChanges)
    given = body.model_dump(exclude_unset=True)
    changed = await service_of(request).engine.knowledge_bases.set_search(
        principal,
        request.path_params["kb"],
        {name: value for name, value in given.items() if value is not None},
        reset=[name for name, value in given.items() if value is None],
    )
    return JSONResponse({"id": changed.id, "search": dict(changed.search)})


@returns(SearchSettingsReply)
async def reset_search(request: Request) -> Response:
    """Leave everything, or the settings named, to the installation again."""
    principal = await principal_of(request)
    require_verb(principal, "kb.update")
    named = read_query(request, ResetQuery).setting
    changed = await service_of(request).engine.knowledge_bases.set_search(
        principal,
        request.path_params["kb"],
        reset=([named] if isinstance(named, str) else named) or ["all"],
    )
    return JSONResponse({"id": changed.id, "search": dict(changed.search)})


ROUTES = (
    Route("/api/v1/knowledgebase", index, methods=["GET"], name="knowledgebase"),
    Route("/api/v1/knowledge_bases", index, methods=["GET"]),
    Route("/api/v1/knowledge_bases", create, methods=["POST"]),
    Route("/api/v1/knowledge_bases/{kb}", show, methods=["GET"]),
    Route("/api/v1/knowledge_bases/{kb}", change, methods=["PATCH"]),
    Route("/api/v1/knowledge_bases/{kb}", delete, methods=["DELETE"]),
    Route("/api/v1/knowledge_bases/{kb}/stats", stats, methods=["GET"]),
    Route("/api/v1/knowledge_bases/{kb}/documents", documents, methods=["GET"]),
    Route("/api/v1/knowledge_bases/{kb}/documents", add, methods=["POST"]),
    Route("/api/v1/knowledge_bases/{kb}/reindex", preview_reindex, methods=["GET"]),
    Route("/api/v1/knowledge_bases/{kb}/reindex", reindex, methods=["POST"]),
    Route("/api/v1/knowledge_bases/{kb}/reembed", reembed, methods=["POST"]),
    Route("/api/v1/knowledge_bases/{kb}/search", search, methods=["POST"]),
    Route("/api/v1/knowledge_bases/{kb}/search", show_search, methods=["GET"]),
    Route("/api/v1/knowledge_bases/{kb}/search", change_search, methods=["PATCH"]),
    Route("/api/v1/knowledge_bases/{kb}/search", reset_search, methods=["DELETE"]),
)
