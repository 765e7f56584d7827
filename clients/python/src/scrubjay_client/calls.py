"""The one core: each verb as a request and how its response is read. Nothing here sends anything.

`Client` and `AsyncClient` send what these functions return.
"""

from __future__ import annotations

import json
import mimetypes
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar
from urllib.parse import quote

from scrubjay_client import models
from scrubjay_client.errors import ProblemError, problem
from scrubjay_client.models import (
    Added,
    Answer,
    Document,
    FileInfo,
    FileLink,
    KnowledgeBase,
    SearchResult,
    Stats,
)

T = TypeVar("T")
File = str | Path | tuple[str, bytes]  # a path, or a name and its content
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """A request, and what its JSON means."""

    method: str
    path: str
    read: Callable[[Any], T]
    body: Json | None = None
    query: Mapping[str, str] = field(default_factory=dict)
    files: Sequence[tuple[str, tuple[str, bytes, str]]] = ()
    fields: Mapping[str, str] = field(default_factory=dict)
    wants_bytes: bool = False  # `read` is given the body as it is, in place of its JSON

    @property
    def is_safe(self) -> bool:
        """Whether sending it twice is as good as once, whatever came of the first."""
        return self.method in {"GET", "PUT", "DELETE"}


def _same(data: Any) -> Any:  # noqa: ANN401 (JSON)
    return data


def _nothing(data: Any) -> None:  # noqa: ANN401 (JSON)
    del data


def _path(*parts: str) -> str:
    return "/api/v1/" + "/".join(quote(part, safe="") for part in parts)


def _given(**fields: Any) -> Json:  # noqa: ANN401 (JSON)
    return {name: value for name, value in fields.items() if value is not None}


def raw(method: str, path: str, body: Json | None, query: Mapping[str, str]) -> Call[Any]:
    """Any operation."""
    return Call(method.upper(), path, _same, body, query)


def list_knowledge_bases() -> Call[list[KnowledgeBase]]:
    """Those the token may read."""

    def read(data: Any) -> list[KnowledgeBase]:  # noqa: ANN401 (JSON)
        return [models.read(KnowledgeBase, item) for item in data["knowledge_bases"]]

    return Call("GET", _path("knowledge_bases"), read)


def create_knowledge_base(
    name: str, description: str, config: Mapping[str, Any] | None
) -> Call[KnowledgeBase]:
    """A new one."""
    body = _given(name=name, description=description, config=dict(config) if config else None)
    return Call("POST", _path("knowledge_bases"), _knowledge_base, body)


def get_knowledge_base(kb: str) -> Call[KnowledgeBase]:
    """One, by name or id."""
    return Call("GET", _path("knowledge_bases", kb), _knowledge_base)


def update_knowledge_base(
    kb: str, name: str | None, description: str | None
) -> Call[KnowledgeBase]:
    """Another name or description."""
    body = _given(name=name, description=description)
    return Call("PATCH", _path("knowledge_bases", kb), _knowledge_base, body)


def delete_knowledge_base(kb: str) -> Call[None]:
    """Gone, with everything in it."""
    return Call("DELETE", _path("knowledge_bases", kb), _nothing)


def _knowledge_base(data: Any) -> KnowledgeBase:  # noqa: ANN401 (JSON)
    return models.read(KnowledgeBase, data)


def upload(
    kb: str, files: Sequence[File], processing_config: Mapping[str, Any] | None
) -> Call[list[Added]]:
    """Files into a knowledge base."""

    def read(data: Any) -> list[Added]:  # noqa: ANN401 (JSON)
        return [models.read(Added, item) for item in data["documents"]]

    fields = {"processing_config": json.dumps(processing_config)} if processing_config else {}
    parts = [("file", _part(file)) for file in files]
    return Call("POST", _path("knowledge_bases", kb, "documents"), read, files=parts, fields=fields)


def _part(file: File) -> tuple[str, bytes, str]:
    name, content = file if isinstance(file, tuple) else (Path(file).name, Path(file).read_bytes())
    return name, content, mimetypes.guess_type(name)[0] or "application/octet-stream"


def list_documents(kb: str, state: str, cursor: str) -> Call[tuple[list[Document], str]]:
    """Some of them, newest first, and the cursor of the next."""

    def read(data: Any) -> tuple[list[Document], str]:  # noqa: ANN401 (JSON)
        found = [models.read(Document, item) for item in data["documents"]]
        return found, str(data["next_cursor"])

    given = {"kb": kb, "state": state, "cursor": cursor}
    query = {name: value for name, value in given.items() if value}
    return Call("GET", _path("documents"), read, query=query)


def get_document(document: str) -> Call[Document]:
    """One, with its state explained."""
    return Call("GET", _path("documents", document), lambda data: models.read(Document, data))


def delete_document(document: str) -> Call[None]:
    """Out of every answer."""
    return Call("DELETE", _path("documents", document), _nothing)


def list_files(folder: str, cursor: str) -> Call[tuple[list[FileInfo], str]]:
    """Some of a folder, and the cursor of the next."""

    def read(data: Any) -> tuple[list[FileInfo], str]:  # noqa: ANN401 (JSON)
        return [_file_info(item) for item in data["files"]], str(data["next_cursor"])

    given = {"folder": folder, "cursor": cursor}
    query = {name: value for name, value in given.items() if value}
    return Call("GET", _path("files"), read, query=query)


def add_files(files: Sequence[File], folder: str, kb: str, replace: bool) -> Call[list[FileInfo]]:
    """Files into a folder."""

    def read(data: Any) -> list[FileInfo]:  # noqa: ANN401 (JSON)
        return [_file_info(item["file"]) for item in data["files"]]

    given = {"folder": folder, "kb": kb, "replace": "true" if replace else ""}
    fields = {name: value for name, value in given.items() if value}
    parts = [("file", _part(file)) for file in files]
    return Call("POST", _path("files"), read, files=parts, fields=fields)


def create_folder(name: str, folder: str) -> Call[FileInfo]:
    """A new folder."""
    return Call("POST", _path("folders"), _file_info, {"name": name, "folder": folder})


def get_file(file: str) -> Call[FileInfo]:
    """A folder or file, by id."""
    return Call("GET", _path("files", file), _file_info)


def download_file(file: str) -> Call[bytes]:
    """The content of a file."""
    return Call("GET", _path("files", file, "content"), bytes, wants_bytes=True)


def change_file(file: str, name: str | None, folder: str | None) -> Call[FileInfo]:
    """Another name or place."""
    return Call("PATCH", _path("files", file), _file_info, _given(name=name, folder=folder))


def delete_file(file: str, documents: str) -> Call[None]:
    """A file, or a folder with all that is in it, gone."""
    return Call("DELETE", _path("files", file), _nothing, query={"documents": documents})


def link_file(file: str, kb: str) -> Call[str]:
    """A file into a knowledge base; the id of the document it is there."""
    path = _path("files", file, "knowledge_bases", kb)
    return Call("PUT", path, lambda data: str(data["document_id"]))


def unlink_file(file: str, kb: str) -> Call[None]:
    """A file out of a knowledge base."""
    return Call("DELETE", _path("files", file, "knowledge_bases", kb), _nothing)


def _file_info(data: Any) -> FileInfo:  # noqa: ANN401 (JSON)
    links = [models.read(FileLink, item) for item in data.get("knowledge_bases", ())]
    return models.read(FileInfo, {**data, "knowledge_bases": links})


def search(
    query: str, kb: str, limit: int | None, mode: str | None, filters: Mapping[str, Any]
) -> Call[SearchResult]:
    """Documents, best first."""
    body = _given(query=query, kb=kb, limit=limit, mode=mode) | dict(filters)
    return Call("POST", _path("search"), models.search_result, body)


def ask(
    question: str, kb: str, conversation_id: str, assistant: str, filters: Mapping[str, Any]
) -> Call[Answer]:
    """An answer."""
    body = {"question": question, "kb": kb, "conversation_id": conversation_id, **filters}
    if assistant:  # servers before there were assistants don't know the field
        body["assistant"] = assistant
    return Call("POST", _path("ask"), models.answer, body)


def stats(kb: str) -> Call[Stats]:
    """What is in a knowledge base."""
    path = _path("knowledge_bases", kb, "stats")
    return Call("GET", path, lambda data: models.read(Stats, data))


class EventReader:
    """Server-sent events out of the lines of a response."""

    def __init__(self) -> None:
        self._kind, self._data = "", [""]
        self._data.clear()

    def feed(self, line: str) -> Iterator[models.AnswerEvent]:
        """What a line completes; raises the error that the server sends as an event."""
        if line:
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if name == "event":
                self._kind = value
            elif name == "data":
                self._data.append(value)
            return
        kind, text = self._kind, "\n".join(self._data)
        self._kind = ""
        self._data.clear()
        if not text:
            return
        data = json.loads(text)
        if kind == "error":
            raise _stream_error(data)
        found = models.answer_event(kind, data)
        if found is not None:
            yield found


def _stream_error(data: Mapping[str, Any]) -> ProblemError:
    statuses = {"conflict": 409, "unauthenticated": 401, "rate_limited": 429, "unavailable": 503}
    status = statuses.get(str(data.get("code", "")), 500)
    return problem(status, {}, json.dumps(data).encode())
