"""A web service on loopback that a test's world answers for, with the faults that a test plans."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit


@dataclass(frozen=True)
class Asked:
    """A request."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Reply:
    """An answer; `data` is sent as JSON where it is not bytes."""

    data: Any = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


Answer = Callable[[Asked], Reply]
FAULTS: Mapping[str, Reply] = {
    "429": Reply({"message": "slow down"}, 429, {"retry-after": "0"}),
    "429 by date": Reply({}, 429, {"retry-after": "Thu, 01 Jan 1970 00:00:00 GMT"}),
    "limit": Reply({}, 403, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1"}),
    "500": Reply({"message": "oops"}, 500),
    "403": Reply({"message": "no"}, 403),
    "login": Reply(b"<html>Sign in</html>", 200, {"content-type": "text/html"}),
}


@dataclass
class ApiServer:
    """Asks `answer` for each request, unless a fault is planned for it."""

    answer: Answer
    port: int = 0
    asked: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)  # of the next requests; "" is none
    before: Callable[[Asked], None] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            method, target, _ = head[0].split(" ")
            headers = {
                name.lower(): value
                for name, value in (line.split(": ", 1) for line in head[1:] if ": " in line)
            }
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            parts = urlsplit(target)
            query = dict(parse_qsl(parts.query, keep_blank_values=True))
            self.asked.append(f"{method} {target}")
            writer.write(self._bytes(Asked(method, parts.path, query, headers, body)))
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def _bytes(self, asked: Asked) -> bytes:
        if self.before is not None:
            self.before(asked)
        fault = self.faults.pop(0) if self.faults else ""
        reply = FAULTS[fault] if fault and fault != "cut" else self.answer(asked)
        is_raw = isinstance(reply.data, bytes)
        data = reply.data if is_raw else json.dumps(reply.data).encode()
        named = {"content-type": "application/json", **reply.headers}
        lines = [f"HTTP/1.1 {reply.status} Said", "connection: close"]
        lines += [f"{name}: {value}" for name, value in named.items()]
        lines.append(f"content-length: {len(data)}")
        if fault == "cut":
            data = data[: len(data) // 2]
        return "\r\n".join([*lines, "", ""]).encode() + data


@asynccontextmanager
async def open_api(answer: Answer) -> AsyncIterator[ApiServer]:
    """The service, on a port that is its own."""
    server = ApiServer(answer)
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.port = listening.sockets[0].getsockname()[1]
    async with listening:
        yield server
