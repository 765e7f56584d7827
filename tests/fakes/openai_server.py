"""A scripted model server on loopback: OpenAI's chat and embeddings, Cohere's and TEI's rerank.

It is strict about what it is sent: a request OpenAI would refuse is answered 400 and kept in
`violations`, which `open_server` turns into a failure at the end of the test. Replies of chat
are what the test enqueues, in order, else what `answer` makes of the request.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import h11

from engine.models.hashing import HashingEmbedder

KEY = "sk-test-0123456789"
Json = dict[str, Any]


@dataclass(frozen=True)
class Text:
    """A chat answer; streamed, it comes in `pieces` of about equal length."""

    text: str
    pieces: int = 3
    input_tokens: int = 11
    output_tokens: int = 7


@dataclass(frozen=True)
class ToolCall:
    """A call of the tool `name`; an empty name means the only tool that was offered."""

    arguments: Mapping[str, object]
    name: str = ""


@dataclass(frozen=True)
class ToolCalls:
    """Several calls in one turn."""

    calls: Sequence[ToolCall]


@dataclass(frozen=True)
class Fault:
    """An HTTP error, with a body that must never be shown to anyone."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = '{"error": {"message": "SECRET UPSTREAM TEXT", "type": "server_error"}}'


@dataclass(frozen=True)
class Raw:
    """A 200 with exactly this body."""

    body: str
    content_type: str = "application/json"


@dataclass(frozen=True)
class Drop:
    """The connection closes: at once, or after that many pieces of a stream of `text`."""

    after_pieces: int = 0
    text: str = "one two three four"


@dataclass(frozen=True)
class Hang:
    """No answer until the server closes; in a stream, after that many pieces."""

    after_pieces: int = 0
    text: str = "one two three four"


Reply = Text | ToolCall | ToolCalls | Fault | Raw | Drop | Hang


@dataclass(frozen=True)
class Recorded:
    """A request as it came."""

    path: str
    headers: Mapping[str, str]
    body: Json


class _Refused(Exception):
    """What the caller sent is not what the API takes."""


class OpenAIServer:
    """See the module. `base_url` ends in /v1; `requests` holds what came, oldest first."""

    def __init__(
        self, *, dimension: int = 384, max_inputs: int = 64, key: str | None = KEY
    ) -> None:
        self.base_url = ""
        self.key = key  # None: any, or none
        self.dimension = dimension
        self.max_inputs = max_inputs
        self.requests: list[Recorded] = []
        self.violations: list[str] = []
        self.answer: Callable[[Json], Reply] | None = None
        self.closing = asyncio.Event()
        self._replies: deque[Reply] = deque()
        self._hashing = HashingEmbedder(max_tokens=100_000)

    def enqueue(self, *replies: Reply) -> None:
        """Script the next answers, whatever they are asked at; `Fault` and such fit everywhere."""
        self._replies.extend(replies)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, one request at a time."""
        connection = h11.Connection(h11.SERVER)
        try:
            while (request := await _read_request(connection, reader)) is not None:
                head, data = request
                if not await self._respond(connection, writer, head, data):
                    break
                connection.start_next_cycle()
        except (ConnectionError, h11.RemoteProtocolError):
            pass
        finally:
            writer.close()

    async def _respond(
        self,
        connection: h11.Connection,
        writer: asyncio.StreamWriter,
        head: h11.Request,
        data: bytes,
    ) -> bool:
        """Answer; False when the connection is to close."""
        headers = {name.decode().lower(): value.decode() for name, value in head.headers}
        path = head.target.decode()
        try:
            body = self._check(head.method.decode(), path, headers, data)
            reply = await self._choose(path, body)
        except _Refused as error:
            self.violations.append(f"{path}: {error}")
            body, reply = {}, Fault(400)
        self.requests.append(Recorded(path, headers, body))
        return await self._send(connection, writer, reply, body)

    def _check(self, method: str, path: str, headers: Mapping[str, str], data: bytes) -> Json:
        _require(method == "POST", f"method {method}")
        _require(headers.get("content-type", "").startswith("application/json"), "content type")
        _require(self.key is None or headers.get("authorization") == f"Bearer {self.key}", "key")
        try:
            body = json.loads(data)
        except ValueError:
            raise _Refused("the body is not JSON") from None
        _require(isinstance(body, dict), "the body is not an object")
        check = {
            "/v1/chat/completions": _check_chat,
            "/v1/embeddings": self._check_embeddings,
            "/v1/rerank": _check_rerank,
        }.get(path)
        if check is None:
            raise _Refused("no such path")
        check(body)
        checked: Json = body
        return checked

    def _check_embeddings(self, body: Json) -> None:
        _require(set(body) <= {"model", "input", "encoding_format", "dimensions"}, "unknown fields")
        texts = body.get("input")
        _require(isinstance(body.get("model"), str), "model")
        _require(body.get("encoding_format", "float") == "float", "encoding_format")
        _require(body.get("dimensions", self.dimension) == self.dimension, "dimensions")
        _require(isinstance(texts, list) and 0 < len(texts) <= self.max_inputs, "input")
        _require(all(isinstance(text, str) and text for text in body["input"]), "empty input")

    async def _choose(self, path: str, body: Json) -> Reply:
        if self._replies:
            return self._replies.popleft()
        if path == "/v1/embeddings":
            return Raw(json.dumps(await self._embeddings(body)))
        if path == "/v1/rerank":
            return Raw(json.dumps(_rerank(body)))
        if self.answer is None:
            raise _Refused("no reply was enqueued")
        return self.answer(body)

    async def _embeddings(self, body: Json) -> Json:
        vectors = await self._hashing.embed_documents(body["input"])
        rows = [  # not of unit length, and not in order: a client must not rely on either
            {"object": "embedding", "index": index, "embedding": (3 * vector).tolist()}
            for index, vector in enumerate(vectors[:, : self.dimension])
        ]
        usage = {"prompt_tokens": 1, "total_tokens": 1}
        return {"object": "list", "model": body["model"], "data": rows[::-1], "usage": usage}

    async def _send(
        self, connection: h11.Connection, writer: asyncio.StreamWriter, reply: Reply, body: Json
    ) -> bool:
        if isinstance(reply, Fault):
            return await _send_whole(connection, writer, reply.status, reply.headers, reply.body)
        if isinstance(reply, Raw):
            head = {"content-type": reply.content_type}
            return await _send_whole(connection, writer, 200, head, reply.body)
        if isinstance(reply, (Drop, Hang)) and not reply.after_pieces:
            if isinstance(reply, Hang):
                await self.closing.wait()
            return False
        if not body.get("stream"):
            text = json.dumps(_completion(body, reply))
            return await _send_whole(connection, writer, 200, {}, text)
        return await self._stream(connection, writer, reply, body)

    async def _stream(
        self, connection: h11.Connection, writer: asyncio.StreamWriter, reply: Reply, body: Json
    ) -> bool:
        kind = [("content-type", "text/event-stream"), ("transfer-encoding", "chunked")]
        writer.write(connection.send(h11.Response(status_code=200, headers=kind)) or b"")
        for number, chunk in enumerate(_chunks(body, reply)):
            if isinstance(reply, (Drop, Hang)) and number == reply.after_pieces:
                await writer.drain()
                if isinstance(reply, Hang):
                    await self.closing.wait()
                return False
            data = f"data: {json.dumps(chunk)}\n\n".encode()
            writer.write(connection.send(h11.Data(data=data)) or b"")
            await writer.drain()
        writer.write(connection.send(h11.Data(data=b"data: [DONE]\n\n")) or b"")
        writer.write(connection.send(h11.EndOfMessage()) or b"")
        await writer.drain()
        return True


@asynccontextmanager
async def open_server(
    *, dimension: int = 384, max_inputs: int = 64, key: str | None = KEY
) -> AsyncIterator[OpenAIServer]:
    """A server on a free loopback port; leaving fails if a request was not well-formed."""
    fake = OpenAIServer(dimension=dimension, max_inputs=max_inputs, key=key)
    connections: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        try:
            await fake.serve(reader, writer)
        except asyncio.CancelledError:  # by the end below; asyncio's streams would log it
            writer.close()
        finally:
            connections.discard(task)

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    fake.base_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    try:
        yield fake
    finally:
        fake.closing.set()
        server.close()
        for task in list(connections):
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
    assert fake.violations == []


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise _Refused(message)


def _check_chat(body: Json) -> None:
    known = {"model", "messages", "stream", "stream_options", "max_tokens", "max_completion_tokens"}
    known |= {"temperature", "tools", "tool_choice", "response_format", "parallel_tool_calls", "n"}
    _require(set(body) <= known, f"unknown fields {sorted(set(body) - known)}")
    _require(isinstance(body.get("model"), str) and bool(body["model"]), "model")
    messages = body.get("messages")
    _require(isinstance(messages, list) and bool(messages), "messages")
    for message in body["messages"]:
        role = message.get("role")
        _require(role in {"system", "developer", "user", "assistant", "tool"}, f"role {role}")
        _require("content" in message or "tool_calls" in message, "a message without content")
    for name in ("max_tokens", "max_completion_tokens"):
        _require(name not in body or body[name] > 0, name)


def _check_rerank(body: Json) -> None:
    if "texts" in body:  # text-embeddings-inference
        _require(set(body) <= {"query", "texts", "truncate", "raw_scores"}, "unknown fields")
        _require(0 < len(body["texts"]) <= 32, "batch size")
    else:
        _require(set(body) <= {"model", "query", "documents", "top_n"}, "unknown fields")
        _require(isinstance(body.get("model"), str) and bool(body.get("documents")), "documents")
    _require(isinstance(body.get("query"), str) and bool(body["query"]), "query")


def _rerank(body: Json) -> Any:
    """Scores by shared words, best first, as both APIs order them."""
    wanted = set(body["query"].lower().split())
    texts: Sequence[str] = body.get("texts") or body["documents"]
    scores = [len(wanted & set(text.lower().split())) / len(wanted) for text in texts]
    order = sorted(range(len(texts)), key=lambda index: -scores[index])
    if "texts" in body:
        return [{"index": index, "score": scores[index]} for index in order]
    return {"results": [{"index": index, "relevance_score": scores[index]} for index in order]}


def _completion(body: Json, reply: Reply) -> Json:
    message: Json = {"role": "assistant", "content": None}
    finish, usage = "stop", (11, 7)
    if isinstance(reply, Text):
        message["content"], usage = reply.text, (reply.input_tokens, reply.output_tokens)
    elif isinstance(reply, (ToolCall, ToolCalls)):
        message["tool_calls"], finish = _tool_calls(body, reply), "tool_calls"
    choice = {"index": 0, "message": message, "finish_reason": finish}
    return _envelope(body, "chat.completion", choices=[choice], usage=_usage(*usage))


def _chunks(body: Json, reply: Reply) -> Iterator[Json]:
    """The stream's events: one a piece, then the finish, then the usage if it was asked for."""
    finish, usage = "stop", (11, 7)
    if isinstance(reply, (ToolCall, ToolCalls)):
        finish = "tool_calls"
        calls = [{"index": n, **call} for n, call in enumerate(_tool_calls(body, reply))]
        yield _delta(body, {"role": "assistant", "tool_calls": calls}, None)
    elif isinstance(reply, (Text, Drop, Hang)):
        size = 4
        if isinstance(reply, Text):
            size = max(1, -(-len(reply.text) // reply.pieces))
            usage = (reply.input_tokens, reply.output_tokens)
        for start in range(0, len(reply.text), size):
            piece = {"role": "assistant", "content": reply.text[start : start + size]}
            yield _delta(body, piece, None)
    yield _delta(body, {}, finish)
    if body.get("stream_options", {}).get("include_usage"):
        yield _envelope(body, "chat.completion.chunk", choices=[], usage=_usage(*usage))


def _delta(body: Json, delta: Json, finish: str | None) -> Json:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return _envelope(body, "chat.completion.chunk", choices=[choice])


def _envelope(body: Json, kind: str, **rest: object) -> Json:
    return {"id": "chatcmpl-1", "object": kind, "created": 1, "model": body["model"], **rest}


def _usage(given: int, written: int) -> Json:
    total = given + written
    return {"prompt_tokens": given, "completion_tokens": written, "total_tokens": total}


def _tool_calls(body: Json, reply: ToolCall | ToolCalls) -> list[Json]:
    calls = reply.calls if isinstance(reply, ToolCalls) else (reply,)
    return [_tool_call(body, call, n) for n, call in enumerate(calls, start=1)]


def _tool_call(body: Json, reply: ToolCall, number: int) -> Json:
    name = reply.name or body["tools"][0]["function"]["name"]
    function = {"name": name, "arguments": json.dumps(reply.arguments)}
    return {"id": f"call_{number}", "type": "function", "function": function}


async def _read_request(
    connection: h11.Connection, reader: asyncio.StreamReader
) -> tuple[h11.Request, bytes] | None:
    """The next request with its body; None when the client has gone."""
    head: h11.Request | None = None
    data = bytearray()
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(65536))
        elif isinstance(event, h11.Request):
            head = event
        elif isinstance(event, h11.Data):
            data += event.data
        elif isinstance(event, h11.EndOfMessage) and head is not None:
            return head, bytes(data)
        else:
            return None


async def _send_whole(
    connection: h11.Connection,
    writer: asyncio.StreamWriter,
    status: int,
    headers: Mapping[str, str],
    body: str,
) -> bool:
    data = body.encode()
    rest = {"content-type": "application/json", **headers, "content-length": str(len(data))}
    writer.write(
        connection.send(h11.Response(status_code=status, headers=list(rest.items()))) or b""
    )
    writer.write(connection.send(h11.Data(data=data)) or b"")
    writer.write(connection.send(h11.EndOfMessage()) or b"")
    await writer.drain()
    return True
