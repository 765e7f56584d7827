"""One story, three clients, one server: create, upload, ask, and a cited answer for each.

curl speaks REST, `scrubjay-client` is the package of this repository, and `openai` is the real
library, which asks what curl has uploaded.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openai
import pytest

from scrubjay_client import AsyncClient
from tests.fakes.homes import PAGES
from tests.fakes.live_server import LiveServer, live_server

QUESTION = "How many hours of advanced sick leave can I request?"
ENDS_S = 120


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[LiveServer]:
    async with live_server(tmp_path / "home") as found:
        yield found


class Curl:
    """The program, with the key of a server."""

    def __init__(self, server: LiveServer) -> None:
        self._server = server

    async def __call__(self, path: str, *arguments: str) -> Any:
        return json.loads(await self.read(path, *arguments))

    async def read(self, path: str, *arguments: str) -> str:
        running = await asyncio.create_subprocess_exec(
            *("curl", "--silent", "--show-error", "--fail-with-body", "--max-time", str(ENDS_S)),
            *("--header", f"Authorization: Bearer {self._server.key}", *arguments),
            f"{self._server.address}{path}",
            stdout=asyncio.subprocess.PIPE,
        )
        said, _ = await running.communicate()
        assert running.returncode == 0, said.decode()
        return said.decode()

    async def post(self, path: str, body: object) -> Any:
        return await self(
            path, "--header", "Content-Type: application/json", "--data", json.dumps(body)
        )


async def test_curl_the_client_and_openai_get_the_same_cited_answer(
    server: LiveServer, tmp_path: Path
) -> None:
    if shutil.which("curl") is None:
        pytest.fail("curl is needed: it comes with every system that runs these tests")
    for name, text in PAGES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    files = [str(tmp_path / name) for name in PAGES]

    curl = Curl(server)
    made = await curl.post("/api/v1/knowledge_bases", {"name": "by-curl"})
    form = [part for file in files for part in ("--form", f"file=@{file}")]
    added = await curl(f"/api/v1/knowledge_bases/{made['knowledge_base_id']}/documents", *form)
    async with asyncio.timeout(ENDS_S):
        for document in added["documents"]:
            watched = await curl.read(f"/api/v1/documents/{document['id']}/events")
            assert watched.rstrip().endswith("event: end\ndata: {}")
            shown = await curl(f"/api/v1/documents/{document['id']}")
            assert shown["state"] == "ready"
    answered = await curl.post("/api/v1/ask", {"question": QUESTION, "kb": "by-curl"})
    by_curl = (answered["answer"], [cited["quote"] for cited in answered["citations"]])

    async with AsyncClient(server.address, token=server.key) as scrubjay:
        kb = await scrubjay.create_knowledge_base("by-client")
        await scrubjay.wait(await scrubjay.upload(kb.id, files), timeout_s=ENDS_S)
        answer = await scrubjay.ask(QUESTION, kb=kb.id)
        stats = await scrubjay.stats(kb.id)
    by_client = (answer.text, [cited.quote for cited in answer.citations])

    async with openai.AsyncOpenAI(
        base_url=f"{server.address}/v1", api_key=server.key, max_retries=0
    ) as client:
        models = {model.id async for model in client.models.list()}
        completed = await client.chat.completions.create(
            model="scrubjay/by-curl", messages=[{"role": "user", "content": QUESTION}]
        )
        stream = await client.chat.completions.create(
            model="scrubjay/by-client",
            messages=[{"role": "user", "content": QUESTION}],
            stream=True,
        )
        pieces = [chunk.choices[0].delta.content or "" async for chunk in stream]
    message = completed.choices[0].message
    by_openai = (
        message.content,
        [note.scrubjay["quote"] for note in message.annotations or []],  # type: ignore[attr-defined]
    )

    assert "240 hours" in by_curl[0]
    assert by_curl[1]
    assert "240 hours" in by_curl[1][0]
    assert by_client == by_curl == by_openai
    assert "".join(pieces) == message.content
    assert {"scrubjay/by-curl", "scrubjay/by-client"} <= models
    assert stats.document_count == 3
