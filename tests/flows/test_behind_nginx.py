"""`up` behind a real nginx: whoever comes through it needs a key, however little it was told."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest

from tests.flows.test_keyless_access import server

pytestmark = pytest.mark.slow

CONFIG = """
daemon off;
{process}
pid {folder}/nginx.pid;
error_log stderr;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://127.0.0.1:{upstream};
            {directives}
        }}
    }}
}}
"""
# What nginx is told, and how it then differs from a browser on this machine.
SHAPES = {
    "nothing: HTTP/1.0": "",
    "the Host it was called by": "proxy_http_version 1.1; proxy_set_header Host $http_host;",
    "that Host without its port": "proxy_http_version 1.1; proxy_set_header Host localhost;",
    "whom it forwards": "proxy_http_version 1.1; proxy_set_header X-Real-IP $remote_addr;",
}


def nginx() -> str:
    """The program of Debian's package: without it these tests skip, in CI they fail."""
    found = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if found is None and os.environ.get("CI"):
        pytest.fail("nginx is missing, and in CI every service is there")
    if found is None:
        pytest.skip("nginx is missing")
    return found


@asynccontextmanager
async def proxy(
    folder: Path, upstream: int, directives: str, *, user: str = ""
) -> AsyncIterator[str]:
    """The address of an nginx before `upstream`, whose worker runs as `user` where one is named."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = int(listener.getsockname()[1])
    process = f"user {user}; worker_processes 1;" if user else "master_process off;"
    file = folder / "nginx.conf"
    file.write_text(
        CONFIG.format(
            process=process, folder=folder, port=port, upstream=upstream, directives=directives
        ),
        encoding="utf-8",
    )
    command = [nginx(), "-p", str(folder), "-c", str(file), "-e", "stderr"]
    running = await asyncio.create_subprocess_exec(
        *command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(60):
            while not _listens(port):
                assert running.returncode is None, "nginx ended"
                await asyncio.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        if running.returncode is None:
            running.terminate()
        await running.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def statuses(address: str) -> list[int]:
    """What every kind of door answers a stranger."""
    async with httpx2.AsyncClient(base_url=address, timeout=60) as client:
        return [
            (await client.get("/")).status_code,
            (await client.get("/api/v1/documents")).status_code,
            (await client.post("/api/v1/ask", json={"question": "x"})).status_code,
            (await client.delete("/api/v1/documents/x")).status_code,
            (await client.post("/mcp", json={})).status_code,
            (await client.get("/metrics")).status_code,
        ]


@pytest.mark.parametrize("directives", list(SHAPES.values()), ids=list(SHAPES))
async def test_nobody_gets_through_nginx_without_a_key(tmp_path: Path, directives: str) -> None:
    nginx()
    async with server(tmp_path / "home") as port, proxy(tmp_path, port, directives) as address:
        assert await statuses(address) == [401] * 6
        async with httpx2.AsyncClient(base_url=address, timeout=60) as client:
            assert (await client.get("/health")).status_code == 200
        direct = await statuses(f"http://127.0.0.1:{port}")
    assert direct[:2] == [200, 200]


@pytest.mark.skipif(os.getuid() != 0, reason="only root can start nginx as another user")
async def test_a_proxy_of_another_user_gets_nothing_whatever_its_shape(tmp_path: Path) -> None:
    nginx()
    exact = 'proxy_http_version 1.1; proxy_set_header Connection "";'
    async with (
        server(tmp_path / "home") as port,
        proxy(tmp_path, port, exact, user="www-data") as address,
    ):
        assert await statuses(address) == [401] * 6
