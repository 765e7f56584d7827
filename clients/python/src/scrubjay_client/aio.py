"""The client that is awaited; `client.py` has the one that waits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx2

from scrubjay_client import calls
from scrubjay_client.calls import Call, EventReader, File
from scrubjay_client.errors import ConnectionFailed, ProblemError, problem
from scrubjay_client.models import (
    Added,
    Answer,
    AnswerEvent,
    Document,
    FileInfo,
    KnowledgeBase,
    SearchResult,
    Stats,
)
from scrubjay_client.policy import Policy

T = TypeVar("T")
POLL_S = 0.5


class AsyncClient:
    """A Scrubjay server. `base_url` is its address; `token` an API token, or empty under `up`.

    Close it, or use it in an `async with`. `http` replaces the HTTP client, with its own settings.
    """

    def __init__(
        self,
        base_url: str,
        *,
        token: str = "",
        timeout_s: float = 60.0,
        retries: int = 3,
        longest_wait_s: float = 30.0,
        http: httpx2.AsyncClient | None = None,
    ) -> None:
        self._http = http or httpx2.AsyncClient(timeout=timeout_s)
        self._base = base_url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._policy = Policy(retries, longest_wait_s)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    # Knowledge bases

    async def list_knowledge_bases(self) -> list[KnowledgeBase]:
        """Those the token may read."""
        return await self._send(calls.list_knowledge_bases())

    async def create_knowledge_base(
        self, name: str, *, description: str = "", config: Mapping[str, Any] | None = None
    ) -> KnowledgeBase:
        """A new one. `config`: chunk_size, chunk_overlap, search_engine, embedding_model."""
        return await self._send(calls.create_knowledge_base(name, description, config))

    async def get_knowledge_base(self, kb: str) -> KnowledgeBase:
        """One, by name or id."""
        return await self._send(calls.get_knowledge_base(kb))

    async def update_knowledge_base(
        self, kb: str, *, name: str | None = None, description: str | None = None
    ) -> KnowledgeBase:
        """Another name or description."""
        return await self._send(calls.update_knowledge_base(kb, name, description))

    async def delete_knowledge_base(self, kb: str) -> None:
        """Delete it with everything in it."""
        await self._send(calls.delete_knowledge_base(kb))

    async def stats(self, kb: str) -> Stats:
        """What is in it."""
        return await self._send(calls.stats(kb))

    # Documents

    async def upload(
        self,
        kb: str,
        files: Sequence[File],
        *,
        processing_config: Mapping[str, Any] | None = None,
    ) -> list[Added]:
        """Add files: paths, or pairs of a name and bytes. Ingestion follows: see `wait`."""
        return await self._send(calls.upload(kb, files, processing_config))

    async def wait(
        self, documents: Sequence[Added | str], *, timeout_s: float = 600.0
    ) -> list[Document]:
        """Return once each is ready, failed or cancelled; raises `TimeoutError`."""
        ends_at = time.monotonic() + timeout_s
        found = []
        for item in documents:
            id_ = item if isinstance(item, str) else item.id
            while not (document := await self.get_document(id_)).has_ended:
                if time.monotonic() > ends_at:
                    raise TimeoutError(f"{document.title} is {document.state}.")
                await asyncio.sleep(POLL_S)
            found.append(document)
        return found

    async def list_documents(self, kb: str = "", *, state: str = "") -> AsyncIterator[Document]:
        """All of them, newest first, fetched as they are needed."""
        cursor = ""
        while True:
            page, cursor = await self._send(calls.list_documents(kb, state, cursor))
            for item in page:
                yield item
            if not cursor:
                return

    async def get_document(self, document: str) -> Document:
        """One, by id, with its state explained."""
        return await self._send(calls.get_document(document))

    async def delete_document(self, document: str) -> None:
        """Take it out of every answer."""
        await self._send(calls.delete_document(document))

    # Files and folders

    async def list_files(self, folder: str = "") -> AsyncIterator[FileInfo]:
        """What is in a folder, its id or path; without one, your own and what is shared."""
        cursor = ""
        while True:
            page, cursor = await self._send(calls.list_files(folder, cursor))
            for item in page:
                yield item
            if not cursor:
                return

    async def add_files(
        self, files: Sequence[File], *, folder: str = "", kb: str = "", replace: bool = False
    ) -> list[FileInfo]:
        """Store files in a folder; with `kb` each becomes a document there."""
        return await self._send(calls.add_files(files, folder, kb, replace))

    async def create_folder(self, name: str, *, folder: str = "") -> FileInfo:
        """A new folder."""
        return await self._send(calls.create_folder(name, folder))

    async def get_file(self, file: str) -> FileInfo:
        """A folder or file, by id."""
        return await self._send(calls.get_file(file))

    async def download_file(self, file: str) -> bytes:
        """The content of a file."""
        return await self._send(calls.download_file(file))

    async def change_file(
        self, file: str, *, name: str | None = None, folder: str | None = None
    ) -> FileInfo:
        """Rename it, or move it to another folder (empty: the top)."""
        return await self._send(calls.change_file(file, name, folder))

    async def delete_file(self, file: str, *, documents: str = "refuse") -> None:
        """Delete it with all that is in it; `documents` made of it: refuse, delete or keep."""
        await self._send(calls.delete_file(file, documents))

    async def link_file(self, file: str, kb: str) -> str:
        """Put a file into a knowledge base; the id of the document that it is there."""
        return await self._send(calls.link_file(file, kb))

    async def unlink_file(self, file: str, kb: str) -> None:
        """Delete that document; the file and its other documents stay."""
        await self._send(calls.unlink_file(file, kb))

    # Finding and answering

    async def search(
        self,
        query: str,
        *,
        kb: str = "",
        limit: int | None = None,
        mode: str | None = None,
        **filters: Any,  # noqa: ANN401 (JSON)
    ) -> SearchResult:
        """Documents, best first; `filters` as in `since`, `tag`, `source`, `metadata`."""
        return await self._send(calls.search(query, kb, limit, mode, filters))

    async def ask(
        self,
        question: str,
        *,
        kb: str = "",
        conversation_id: str = "",
        assistant: str = "",
        **filters: Any,  # noqa: ANN401 (JSON)
    ) -> Answer:
        """An answer with its citations, in a conversation and by an assistant where these are given."""
        return await self._send(calls.ask(question, kb, conversation_id, assistant, filters))

    async def ask_stream(
        self,
        question: str,
        *,
        kb: str = "",
        conversation_id: str = "",
        assistant: str = "",
        **filters: Any,  # noqa: ANN401 (JSON)
    ) -> AsyncIterator[AnswerEvent]:
        """The answer as it comes about; `Answered` is last and replaces what came before."""
        call = calls.ask(question, kb, conversation_id, assistant, filters)
        headers = {**self._headers, "Accept": "text/event-stream"}
        attempt = 0
        try:
            while True:
                async with self._http.stream(
                    call.method, self._base + call.path, json=call.body, headers=headers
                ) as response:
                    if response.status_code < 400:
                        reader = EventReader()
                        async for line in response.aiter_lines():
                            for event in reader.feed(line):
                                yield event
                        return
                    await response.aread()
                await self._pause(_problem(response), attempt, is_safe=False)
                attempt += 1
        except httpx2.TransportError as error:
            raise ConnectionFailed(f"{self._base}: {error}") from error

    # Everything else

    async def request(
        self,
        method: str,
        path: str,
        *,
        json: dict[str, Any] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> Any:  # noqa: ANN401 (JSON)
        """The JSON of any operation in the server's `/openapi.json`."""
        return await self._send(calls.raw(method, path, json, query or {}))

    async def _send(self, call: Call[T]) -> T:
        attempt = 0
        while True:
            try:
                response = await self._http.request(
                    call.method,
                    self._base + call.path,
                    params=dict(call.query) or None,
                    json=call.body,
                    data=dict(call.fields) or None,
                    files=list(call.files) or None,
                    headers=self._headers,
                )
            except httpx2.TransportError as error:
                raise ConnectionFailed(f"{self._base}: {error}") from error
            if response.status_code < 400:
                return call.read(response.content if call.wants_bytes else response.json())
            await self._pause(_problem(response), attempt, is_safe=call.is_safe)
            attempt += 1

    async def _pause(self, error: ProblemError, attempt: int, *, is_safe: bool) -> None:
        """Wait before the next attempt, or raise the error where there is none."""
        wait_s = self._policy.wait_s(error, attempt=attempt, is_safe=is_safe)
        if wait_s is None:
            raise error
        await asyncio.sleep(wait_s)


def _problem(response: httpx2.Response) -> ProblemError:
    return problem(response.status_code, response.headers, response.content)
