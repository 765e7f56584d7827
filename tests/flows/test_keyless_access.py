"""Promise 10 over a real socket: who gets in without a key, and every way that must not."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest

from api.keyless import SameUser, is_same_user, socket_owner
from cli.serve import build_host, serve
from engine.runtime import open_engine
from tests.fakes.homes import home_settings, this_user

UPGRADE = (
    "Upgrade: websocket",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version: 13",
)
TARGET = "GET /api/v1/status HTTP/1.1"


@asynccontextmanager
async def server(
    home: Path, keyless: SameUser | None = is_same_user, **overrides: object
) -> AsyncIterator[int]:
    """The port of a server of a fresh data folder, as `up` starts it."""
    settings = home_settings(home, server__port=0, **overrides)
    async with open_engine(settings) as engine:
        ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        stop = asyncio.Event()
        serving = asyncio.create_task(
            serve(engine, settings, ready=ready, stop=stop, keyless=keyless)
        )
        try:
            address = await asyncio.wait_for(ready, 60)
            yield int(address.rsplit(":", 1)[1].split("/")[0])
        finally:
            stop.set()
            await serving


async def status_of(port: int, request: str) -> int:
    """The status that answers a request written out, with its lines separated by plain breaks."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request.replace("\n", "\r\n").encode("latin-1"))
    line = await asyncio.wait_for(reader.readline(), 60)
    writer.close()
    return int(line.split()[1])


def request(*headers: str, line: str = TARGET, host: str = "127.0.0.1:{port}") -> str:
    return "\n".join([line, f"Host: {host}", *headers, "Connection: close", "", ""])


LET_IN = {
    "the address": request(),
    "its name": request(host="localhost:{port}"),
    "its name in capitals": request(host="LOCALHOST:{port}"),
    "IPv4 inside IPv6": request(host="[::ffff:127.0.0.1]:{port}"),
    "its own page": request("Origin: http://127.0.0.1:{port}", "Sec-Fetch-Site: same-origin"),
}
NEEDS_A_KEY = {
    header: request(f"{header}: 127.0.0.1")
    for header in (
        "CDN-Loop",
        "Max-Forwards",
        "Proxy-Connection",
        "X-Amzn-Trace-Id",
        "X-ARR-Log-Id",
        "X-Scheme",
        "X-Varnish",
        "Forwarded",
        "Via",
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "X-Forwarded-Proto",
        "X-Forwarded",
        "X_Forwarded_For",
        "x-real-ip",
        "X-Client-IP",
        "X-Cluster-Client-IP",
        "X-Original-Host",
        "X-Envoy-External-Address",
        "True-Client-IP",
        "CF-Connecting-IP",
        "CF-Ray",
        "Fly-Client-IP",
        "Tailscale-User-Login",
    )
} | {
    "an empty forwarding header": request("X-Forwarded-For:"),
    "HTTP/1.0": request(line="GET /api/v1/status HTTP/1.0"),
    "HTTP/1.0 that keeps alive": request(
        "Connection: keep-alive", line="GET /api/v1/status HTTP/1.0"
    ),
    "a proxy's own port": request(host="127.0.0.1:8080"),
    "a proxy's own port, the usual one": request(host="localhost"),
    "another loopback address": request(host="127.8.8.8:{port}"),
    "another loopback address, of IPv6": request(host="[::1]:{port}"),
    "a wrong key": request("Authorization: Bearer sj_wrong"),
    "another kind of key": request("Authorization: Basic YTpi"),
}
WRONG_HOST = {
    host: request(host=host)
    for host in (
        "evil.example",
        "evil.example:{port}",
        "127.0.0.1.nip.io",
        "localtest.me",
        "x.localhost",
        "localhost.evil.example",
        "localhost@evil.example",
        "evil@127.0.0.1:{port}",
        "127.0.0.1:{port}, evil.example",
        "127.0.0.1/evil",
        "10.0.0.1",
        "0.0.0.0",
        "[::]",
        "[::1",
        "[fe80::1]",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "127.1",
        "127.0.0.1:0",
        "127.0.0.1:notaport",
        "",
    )
} | {
    "HTTP/1.0 without a host": "GET /api/v1/status HTTP/1.0\n\n",
    "an own target for another host": request(
        line="GET http://127.0.0.1/api/v1/status HTTP/1.1", host="evil.example"
    ),
    "a websocket": request(*UPGRADE, line="GET /mcp HTTP/1.1", host="evil.example"),
    "health": request(line="GET /health HTTP/1.1", host="evil.example"),
    "the front page": request(line="GET / HTTP/1.1", host="evil.example"),
    "nothing at all": request(line="GET /nothing HTTP/1.1", host="evil.example"),
}
WRONG_ORIGIN = {
    origin: request(f"Origin: {origin}")
    for origin in (
        "null",
        "http://evil.example",
        "http://127.0.0.1:1",
        "http://localhost:{port}",
        "http://127.0.0.1:{port}.evil.example",
        "http://x@127.0.0.1:{port}",
        "http://[",
        "file://",
        "chrome-extension://abcdef",
        "//127.0.0.1:{port}",
    )
} | {
    "two of them": request("Origin: http://127.0.0.1:{port}", "Origin: http://evil.example"),
    "a websocket": request(*UPGRADE, "Origin: http://evil.example", line="GET / HTTP/1.1"),
    "a form of another site": request(
        "Sec-Fetch-Site: cross-site", "Content-Length: 0", line="POST /ask HTTP/1.1"
    ),
    "a form of another port": request(
        "Sec-Fetch-Site: same-site", "Content-Length: 0", line="POST /api/v1/documents HTTP/1.1"
    ),
    "a call of another site": request(
        "Sec-Fetch-Site: cross-site", "Content-Length: 0", line="POST /mcp HTTP/1.1"
    ),
    "a deletion by another site": request(
        "Sec-Fetch-Site: cross-site", line="DELETE /api/v1/documents/x HTTP/1.1"
    ),
}
MALFORMED = {
    "two hosts": request("Host: evil.example"),
    "no host": "GET /api/v1/status HTTP/1.1\nConnection: close\n\n",
}


async def test_only_what_was_sent_here_from_here_gets_in_without_a_key(tmp_path: Path) -> None:
    expected = {
        **{name: (text, 200) for name, text in LET_IN.items()},
        **{f"key: {name}": (text, 401) for name, text in NEEDS_A_KEY.items()},
        **{f"host: {name}": (text, 421) for name, text in WRONG_HOST.items()},
        **{f"origin: {name}": (text, 403) for name, text in WRONG_ORIGIN.items()},
        **{name: (text, 400) for name, text in MALFORMED.items()},
        "another server's target": (
            request(line="GET http://evil.example/api/v1/status HTTP/1.1"),
            404,
        ),
    }
    async with server(tmp_path) as port:
        got = {
            name: await status_of(port, text.replace("{port}", str(port)))
            for name, (text, _) in expected.items()
        }
    assert got == {name: status for name, (_, status) in expected.items()}


async def test_serve_lets_nobody_in_without_a_key(tmp_path: Path) -> None:
    async with server(tmp_path, keyless=None) as port:
        paths = ("/", "/state", "/api/v1/status", "/metrics")
        lines = [request(line=f"GET {path} HTTP/1.1") for path in paths]
        lines.append(request("Content-Length: 0", line="POST /mcp HTTP/1.1"))
        got = [await status_of(port, text.replace("{port}", str(port))) for text in lines]
        health = await status_of(
            port, request(line="GET /health HTTP/1.1").replace("{port}", str(port))
        )
    assert got == [401] * 5
    assert health == 200


async def test_another_user_of_this_machine_needs_a_key(tmp_path: Path) -> None:
    async with server(tmp_path, keyless=lambda *_: False) as port:
        assert await status_of(port, request().replace("{port}", str(port))) == 401


@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (10, "::1")])
def test_the_system_says_who_owns_a_connection(family: int, host: str) -> None:
    with socket.socket(family) as listener:
        listener.bind((host, 0))
        listener.listen()
        server = (host, int(listener.getsockname()[1]))
        sender = socket.create_connection(server)
        accepted, client = listener.accept()
        with accepted:
            known = socket_owner(client[:2], server)
            unknown = socket_owner((host, 1), server)
            sender.close()
            left = socket_owner(client[:2], server)
    assert known == os.getuid()
    assert unknown is None
    assert left is None  # the kernel holds its last words, and they are nobody's


@pytest.mark.parametrize(
    "overrides",
    [
        {"server__host": "0.0.0.0"},
        {"server__public_url": "https://kb.example.com"},
        {"server__public_url": "http://127.0.0.1:7337"},
    ],
)
async def test_nobody_gets_in_without_a_key_where_others_can_reach_it(
    tmp_path: Path, overrides: dict[str, str]
) -> None:
    settings = home_settings(tmp_path, **overrides)
    async with open_engine(settings) as engine:
        transport = httpx2.ASGITransport(
            build_host(engine, settings, keyless=this_user), client=("127.0.0.1", 4)
        )
        async with httpx2.AsyncClient(
            transport=transport, base_url="http://127.0.0.1:7337"
        ) as client:
            statuses = [
                (await client.get("/")).status_code,
                (await client.get("/api/v1/status")).status_code,
                (await client.post("/api/v1/ask", json={"question": "x"})).status_code,
                (await client.post("/mcp", json={})).status_code,
                (await client.get("/metrics")).status_code,
            ]
    assert statuses == [401] * 5
