"""The commands of compose's server and worker, with compose's environment, without containers.

PostgreSQL and Redis are native ones, S3 is moto's server, Vespa the fake one over HTTP/2. Only
addresses differ from docker-compose.yml: what is started, and every other variable, is what it says.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.deploy.test_deploy_files import compose_environment, services
from tests.fakes.databases import postgres_databases, redis_url
from tests.fakes.s3_server import S3Server, s3_server
from tests.fakes.vespa_server import FakeVespa, running

TEXT = b"# Parking\n\nThe garage opens at 06:30 and closes at 22:00 on weekdays.\n"
ADDRESSES = {
    "SCRUBJAY_DATABASE__URL",
    "SCRUBJAY_HOME",
    "SCRUBJAY_JOBS__BROKER",
    "SCRUBJAY_SERVER__HOST",
    "SCRUBJAY_SERVER__PORT",
    "SCRUBJAY_STORAGE__BUCKET",
    "SCRUBJAY_STORAGE__ENDPOINT",
    "SCRUBJAY_VESPA__CONFIG_URL",
    "SCRUBJAY_VESPA__URL",
}


@pytest.fixture
def postgres_url() -> Iterator[str]:
    with postgres_databases() as databases:
        yield databases.url


@pytest.fixture
def s3() -> Iterator[S3Server]:
    with s3_server() as server:
        yield server


def scrubjay(*arguments: str) -> list[str]:
    """The entry point of the image, from this checkout."""
    return [sys.executable, "-m", "cli.main", *arguments]


@asynccontextmanager
async def started(
    command: list[str], environment: dict[str, str]
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process, ended as compose ends it."""
    process = await asyncio.create_subprocess_exec(
        *scrubjay(*command), env=os.environ | environment, stderr=asyncio.subprocess.PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        _, said = await asyncio.wait_for(process.communicate(), 240)
        sys.stderr.write(said.decode())


async def run(environment: dict[str, str], *arguments: str) -> Any:
    """What `docker compose exec server scrubjay …` prints as JSON."""
    process = await asyncio.create_subprocess_exec(
        *scrubjay(*arguments, "--json"),
        env=os.environ | environment,
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await asyncio.wait_for(process.communicate(), 240)
    assert process.returncode == 0
    return json.loads(out)


@pytest.mark.slow
@pytest.mark.postgres
@pytest.mark.redis
async def test_server_and_worker_come_up_with_composes_environment(
    tmp_path: Path, postgres_url: str, s3: S3Server
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    vespa = FakeVespa()
    async with running(vespa) as vespa_port:
        here = {
            "SCRUBJAY_DATABASE__URL": postgres_url,
            "SCRUBJAY_JOBS__BROKER": redis_url(),
            "SCRUBJAY_SERVER__HOST": "127.0.0.1",
            "SCRUBJAY_SERVER__PORT": str(port),
            "SCRUBJAY_STORAGE__BUCKET": s3.bucket,
            "SCRUBJAY_STORAGE__ENDPOINT": s3.endpoint,
            "SCRUBJAY_VESPA__CONFIG_URL": f"http://127.0.0.1:{vespa_port}",
            "SCRUBJAY_VESPA__URL": f"http://127.0.0.1:{vespa_port}",
        }

        def environment(service: str) -> dict[str, str]:
            home = tmp_path / service
            home.mkdir()
            return compose_environment(service) | here | {"SCRUBJAY_HOME": str(home)}

        server, worker = environment("server"), environment("worker")
        assert set(here) | {"SCRUBJAY_HOME"} == ADDRESSES
        # Two workers: `--scale worker=2` must not make one refuse to start.
        other = worker | {"SCRUBJAY_HOME": str(tmp_path / "another")}
        commands = {name: list(services()[name]["command"]) for name in ("server", "worker")}
        async with (
            started(commands["server"], server),
            started(commands["worker"], worker) as one,
            started(commands["worker"], other) as two,
            httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client,
        ):
            await _until_ready(client)
            await run(server, "kb", "create", "office")
            made = await run(
                server, "token", "create", "test", "--scope", "kb:write", "--scope", "kb:read"
            )
            client.headers["Authorization"] = f"Bearer {made['token']}"
            added = await client.post(
                "/api/v1/documents", data={"kb": "office"}, files={"file": ("p.md", TEXT)}
            )
            assert added.status_code == 202, added.text
            document = added.json()["documents"][0]["id"]
            await _until_ingested(client, document)
            found = await client.post("/api/v1/search", json={"query": "When does it open?"})
            assert "06:30" in found.text
            assert (one.returncode, two.returncode) == (None, None)
            assert s3.stored()
            (schema,) = [one for name, one in vespa.schemas.items() if name.startswith("t_")]
            assert len(schema.documents) == 1
            assert (schema.dimension, schema.cells) == (384, "bfloat16")


async def _until_ready(client: httpx2.AsyncClient) -> None:
    """As compose's health check asks, until all that the server needs is there."""
    async with asyncio.timeout(240):
        while True:
            try:
                if (await client.get("/ready")).status_code == 200:
                    return
            except httpx2.TransportError:
                pass
            await asyncio.sleep(0.2)


async def _until_ingested(client: httpx2.AsyncClient, document: str) -> None:
    async with asyncio.timeout(240):
        while True:
            state = (await client.get(f"/api/v1/documents/{document}")).json()
            assert state["state"] != "failed", state
            if state["state"] == "ready" and state["vectors"] == "complete":
                return
            await asyncio.sleep(0.2)
