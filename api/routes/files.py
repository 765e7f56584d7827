"""`/api/v1/files`: folders and files, the knowledge bases they are in, and whom they are shared with."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from api.file_replies import (
    AddedFilesReply,
    DeletedFilesReply,
    FileReply,
    FilesReply,
    FileUnlinkedReply,
    LinkedReply,
    file_reply,
    files_reply,
    linked_reply,
)
from api.operations import returns, takes_form
from api.replies import GrantedReply, GrantsReply, RevokedReply
from api.schemas import Body, Name, read_body, read_query, without_nul
from api.service import principal_of, service_of
from api.uploads import FILES_MAX, FolderName, Yes, is_yes, open_form, read_documents
from engine.access.gate import require
from engine.access.permissions import GrantLevel
from engine.domain import Principal
from engine.domain import Scope as TokenScope
from engine.errors import HasDocuments
from engine.files.files import AtDeletion, Files
from engine.telemetry import correlation_id

BINARY = "application/octet-stream"


class FilesQuery(Body):
    """`GET /api/v1/files`; `folder` is an id or a path, and empty the top."""

    folder: FolderName = ""
    limit: Annotated[int, Field(ge=1, le=1000)] = 100
    cursor: Annotated[str, Field(max_length=2000)] = ""


class FileUploadForm(BaseModel):
    """`POST /api/v1/files`; `kb` links the files to a knowledge base at once."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: Annotated[list[bytes], Field(min_length=1, max_length=FILES_MAX)]
    folder: FolderName = ""
    kb: Name = ""
    replace: Yes = ""


class FolderBody(Body):
    """`POST /api/v1/folders`; `folder` is where to make it, an id or a path."""

    name: Annotated[str, Field(min_length=1, max_length=300)]
    folder: FolderName = ""


class FileChanges(Body):
    """`PATCH /api/v1/files/{id}`: another name, another folder (empty: the top), or both."""

    name: Annotated[str, Field(min_length=1, max_length=300)] | None = None
    folder: FolderName | None = None


class FileDeletionQuery(Body):
    """`DELETE /api/v1/files/{id}`: what becomes of the documents that were made of it."""

    documents: AtDeletion = "refuse"


class FileGrantBody(Body):
    """`PUT /api/v1/files/{id}/grants/{to}`."""

    level: GrantLevel = GrantLevel.READ


class Download(Response):
    """A file of the tree, whole or the range asked for, always to be saved and never shown."""

    def __init__(self, files: Files, principal: Principal, id_: str) -> None:
        super().__init__()
        self._opened = files.open(principal, id_)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it, held open until the last byte."""
        async with self._opened as (info, path):
            response = FileResponse(path, filename=info.name, media_type=BINARY)
            await response(scope, receive, send)


def _files(request: Request) -> Files:
    return service_of(request).engine.files


def _id(request: Request) -> str:
    return str(request.path_params["id"])


@returns(FilesReply)
async def index(request: Request) -> Response:
    """What is in a folder, or where the caller's view begins: their own, and what is shared."""
    principal = await principal_of(request)
    query = read_query(request, FilesQuery)
    page = await _files(request).page(
        principal, query.folder, limit=query.limit, cursor=query.cursor
    )
    return JSONResponse(files_reply(page))


@returns(AddedFilesReply, status=201)
@takes_form(FileUploadForm)
async def add(request: Request) -> Response:
    """Store files in a folder; with `kb` each becomes a document there."""
    principal = await principal_of(request)
    require(principal, TokenScope.KB_WRITE)  # before any byte of the files is read
    service = service_of(request)
    max_bytes = int(service.settings.processing.max_file_size)
    async with open_form(request, max_bytes=max_bytes) as form:
        new = await read_documents(form)
        folder, kb = text_of(form, "folder"), text_of(form, "kb")
        replaces = is_yes(form, "replace")
    added = await service.engine.files.add(
        principal,
        new,
        folder=folder,
        kb=kb,
        replace_same=replaces,
        correlation_id=correlation_id(),
    )
    stored = [
        {
            "file": file_reply(one.file),
            "replaced": one.replaced,
            "document": None if one.document is None else linked_reply(one.document),
        }
        for one in added
    ]
    return JSONResponse({"files": stored}, status_code=201)


def text_of(form: FormData, name: str) -> str:
    """A text field of a form."""
    value = without_nul(form.get(name, ""))
    return value if isinstance(value, str) else ""


@returns(FileReply, status=201)
async def create_folder(request: Request) -> Response:
    """Make a folder."""
    principal = await principal_of(request)
    body = await read_body(request, FolderBody)
    made = await _files(request).create_folder(principal, body.name, body.folder)
    return JSONResponse(file_reply(made), status_code=201)


@returns(FileReply)
async def show(request: Request) -> Response:
    """A folder or file, with the knowledge bases that it is in."""
    principal = await principal_of(request)
    files = _files(request)
    info = await files.get(principal, _id(request))
    return JSONResponse(file_reply(info, await files.links(principal, info.id)))


@returns(None, media_type=BINARY)
@returns(None, status=206, media_type=BINARY)
async def content(request: Request) -> Response:
    """The bytes of a file; `Range` is understood."""
    principal = await principal_of(request)
    files = _files(request)
    info = await files.get(principal, _id(request))  # refused before anything is sent
    return Download(files, principal, info.id)


@returns(FileReply)
async def change(request: Request) -> Response:
    """Rename a folder or file, or move it."""
    principal = await principal_of(request)
    body = await read_body(request, FileChanges)
    info = await _files(request).change(principal, _id(request), name=body.name, folder=body.folder)
    return JSONResponse(file_reply(info, await _files(request).links(principal, info.id)))


@returns(DeletedFilesReply)
async def delete(request: Request) -> Response:
    """Delete a file, or a folder with all that is in it."""
    principal = await principal_of(request)
    query = read_query(request, FileDeletionQuery)
    try:
        gone = await _files(request).delete(principal, _id(request), documents=query.documents)
    except HasDocuments as error:
        raise HasDocuments(
            f"{error} Set the query parameter documents to delete or keep."
        ) from None
    return JSONResponse({"deleted": True} | asdict(gone))


@returns(LinkedReply, status=202)
async def link(request: Request) -> Response:
    """Make a document of a file in a knowledge base."""
    principal = await principal_of(request)
    added = await _files(request).link(
        principal, _id(request), request.path_params["kb"], correlation_id=correlation_id()
    )
    return JSONResponse(linked_reply(added), status_code=202)


@returns(FileUnlinkedReply)
async def unlink(request: Request) -> Response:
    """Delete the document that a file is in a knowledge base; the file and its others stay."""
    principal = await principal_of(request)
    gone = await _files(request).unlink(principal, _id(request), request.path_params["kb"])
    return JSONResponse({"deleted": True, "document_id": gone})


@returns(GrantsReply)
async def grants(request: Request) -> Response:
    """Whom a folder or file is shared with."""
    principal = await principal_of(request)
    found = await _files(request).grants(principal, _id(request))
    return JSONResponse({"grants": [asdict(grant) for grant in found]})


@returns(GrantedReply)
async def grant(request: Request) -> Response:
    """Share a folder with all that is in it, or a file."""
    principal = await principal_of(request)
    body = await read_body(request, FileGrantBody)
    to = request.path_params["to"]
    await _files(request).grant(principal, _id(request), to, body.level)
    return JSONResponse({"granted": to, "level": body.level})


@returns(RevokedReply)
async def revoke(request: Request) -> Response:
    """Share it no longer, from now on."""
    principal = await principal_of(request)
    to = request.path_params["to"]
    await _files(request).revoke(principal, _id(request), to)
    return JSONResponse({"revoked": to})


ROUTES = (
    Route("/api/v1/files", index, methods=["GET"]),
    Route("/api/v1/files", add, methods=["POST"]),
    Route("/api/v1/folders", create_folder, methods=["POST"]),
    Route("/api/v1/files/{id}", show, methods=["GET"]),
    Route("/api/v1/files/{id}", change, methods=["PATCH"]),
    Route("/api/v1/files/{id}", delete, methods=["DELETE"]),
    Route("/api/v1/files/{id}/content", content, methods=["GET"]),
    Route("/api/v1/files/{id}/knowledge_bases/{kb}", link, methods=["PUT"]),
    Route("/api/v1/files/{id}/knowledge_bases/{kb}", unlink, methods=["DELETE"]),
    Route("/api/v1/files/{id}/grants", grants, methods=["GET"]),
    Route("/api/v1/files/{id}/grants/{to}", grant, methods=["PUT"]),
    Route("/api/v1/files/{id}/grants/{to}", revoke, methods=["DELETE"]),
)
