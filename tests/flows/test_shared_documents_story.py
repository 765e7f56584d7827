"""All shared documents added at once, through the real engine, worker and parsing children."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from engine.documents.adding import NewDocument
from ingestion.convert.ocr import is_installed
from ingestion.host import run_worker
from tests.fakes.installations import open_installation

DOCS = Path(__file__).resolve().parents[3] / "shared" / "data" / "docs"
FAILED = {  # and what the reason says
    "password.docx": "encrypted: save a copy without a password",
    "password.pdf": "requires a password: save a copy without one",
    "empty.pdf": "the file is empty",
    "random.bin": "neither text nor a document of a known type",
    "truncated.docx": "damaged or truncated",
    "truncated.pdf": "damaged or truncated",
    "broken-fuzzed.pdf": "damaged or truncated",
    "broken-header-only.pdf": "damaged or truncated",
    "broken-no-xref.pdf": "damaged or truncated",
    "xxe.xml": "declares XML entities",
    "entities.svg": "declares XML entities",
}
PICTURES = {
    "no-unicode-map.pdf": "map to characters",
    "scan-two-columns.pdf": "no text layer",
    "typewriter.png": "a picture",
    "chinese-image.jpeg": "a picture",
}
FOUND = {  # words, and where the best passage stands
    "Maple Leafs TOR": "rows 1\u20135, Stanley Cups",
    "Alabama handgun long gun": "page 1",
    "1b92870d-e3b5-4e65-8153-919f4ff45592": "slide 3",
    "6ff4173b-42a5-4784-9b19-f49caff4d93d": "Sheet1!A1:D24",
    "print markitdown": "cell",
}


@pytest.mark.slow
@pytest.mark.skipif(not DOCS.is_dir(), reason="the shared documents are not here")
async def test_all_shared_documents_at_once_end_as_their_manifest_says(home: Path) -> None:
    names = [
        json.loads(line)["file"] for line in (DOCS / "manifest.jsonl").read_bytes().splitlines()
    ]
    expected = FAILED if is_installed() else FAILED | PICTURES
    async with open_installation(home) as notes:
        new = [NewDocument(path=DOCS / name, filename=name, external_id=name) for name in names]
        added = await notes.engine.documents.add_many(notes.owner, "notes", new)
        assert len(added) == 51
        async with asyncio.timeout(550):
            await run_worker(notes.engine, asyncio.Event(), idle_exit_s=0)
        page = await notes.engine.documents.page(notes.owner, kb="notes", limit=200)
        ended = {document.external_id: document for document in page.documents}
        failed = {name: ended[name].error for name in names if ended[name].state == "failed"}
        assert set(failed) == set(expected), failed
        assert all(ended[name].state == "ready" for name in names if name not in expected)
        for name, reason in expected.items():
            assert reason in ended[name].error
        assert len(page.documents) == 52, "and the file attached to a message"
        for words, where in FOUND.items():
            result = await notes.engine.search.find(notes.owner, words, mode="keyword")
            assert result.hits[0].passages[0].where.startswith(where), words
