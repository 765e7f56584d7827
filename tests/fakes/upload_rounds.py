"""Rounds of kill -9 in the middle of one upload of files of many formats.

The files are made here; beside them stand the shared documents where they are, whole and broken
ones, but for the pictures, whose reading takes most of a run. `tests/flows/test_kill_upload.py`
plays the rounds; how their processes are started, killed and waited for is in `kill_rounds.py`.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
from collections import Counter
from collections.abc import Mapping
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from engine.config import load_settings
from engine.db.tables import Chunk, Document, Embedding, Event, Job, KnowledgeBase, Live, Revision
from engine.documents.adding import NewDocument
from engine.index.port import Space
from engine.runtime import open_engine
from tests.fakes import files, pdfs
from tests.fakes.kill_rounds import SETTINGS, Kill, assert_no_leftovers

DOCS = Path(__file__).resolve().parents[3] / "shared" / "data" / "docs"
PICTURES = {"scan-two-columns.pdf", "typewriter.png", "chinese-image.jpeg", "no-unicode-map.pdf"}
COPIES = 3  # of each made file, with other words

STATES = ("claimed", "parsed", "fed", "switching", "switched")
VICTIMS = ("worker", "both", "server")


def made_files(copy: int) -> dict[str, bytes]:
    """A file of each of a dozen formats by name; some are broken, a message holds another file."""
    chance = random.Random(copy)
    nouns = ["harbour", "ledger", "maple", "quartz", "lantern", "orbit", "thistle", "cobalt"]
    paragraphs = [" ".join(chance.choices(nouns, k=60)) for _ in range(6)]
    text = "\n\n".join(paragraphs)
    message = EmailMessage()
    message["Subject"] = f"Minutes {copy}"
    message["From"], message["To"] = "ada@example.org", "ben@example.org"
    message.set_content(paragraphs[0])
    message.add_attachment(
        f"# Minutes {copy}\n\n{text}".encode(), "text", "markdown", filename="m.md"
    )
    rows = [files.row(n, f"{chance.choice(nouns)} {copy}", n) for n in range(1, 30)]
    lines = [f"{chance.choice(nouns)},{n},{copy}" for n in range(60)]
    cell = {"cell_type": "markdown", "metadata": {}, "source": [f"# Cell {copy}\n", text]}
    notebook = {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    records = [{"copy": copy, "words": words} for words in paragraphs]
    return {
        "broken.pdf": b"%PDF-1.7\n" + str(copy).encode(),
        "cells.csv": ("word,number,copy\n" + "\n".join(lines)).encode(),
        "code.py": "".join(
            f"def part_{n}():\n    return {p!r}\n\n\n" for n, p in enumerate(paragraphs)
        ).encode(),
        "empty.txt": b" " * (copy + 1),
        "guide.md": f"# Guide {copy}\n\n{text}\n".encode(),
        "message.eml": message.as_bytes(),
        "notebook.ipynb": json.dumps(notebook).encode(),
        "notes.txt": text.encode(),
        "page.html": f"<h1>Page {copy}</h1>{''.join(f'<p>{p}</p>' for p in paragraphs)}".encode(),
        "paper.pdf": pdfs.pdf_of([p[:60] for p in paragraphs]),
        "records.json": json.dumps(records).encode(),
        "sheets.xlsx": files.xlsx({"Stock": "".join(rows)}),
        "slides.pptx": files.pptx(*(files.shape(p[:200]) for p in paragraphs)),
        "text.rst": f"Text {copy}\n======\n\n{text}\n".encode(),
    }


def uploaded() -> list[NewDocument]:
    """All documents of the upload, in the order in which they are added."""
    named = {
        f"{copy}/{name}": data for copy in range(COPIES) for name, data in made_files(copy).items()
    }
    if DOCS.is_dir():
        listed = (DOCS / "manifest.jsonl").read_bytes().splitlines()
        names = [json.loads(line)["file"] for line in listed]
        named |= {f"docs/{n}": (DOCS / n).read_bytes() for n in names if n not in PICTURES}
    return [
        NewDocument(data=data, filename=name.rpartition("/")[2], external_id=name)
        for name, data in named.items()
    ]


def plan(number: int) -> list[Kill]:
    """One to three kills of round `number`; states and victims take turns, moments are drawn."""
    chance = random.Random(number)
    last = len(uploaded()) // 4  # of four processes each does a part
    return [
        Kill(
            STATES[(number + step) % len(STATES)],
            VICTIMS[(number // 2 + step) % len(VICTIMS)],
            chance.randint(1, last),
        )
        for step in range(1 + number % 3)
    ]


async def prepare(home: Path) -> None:
    """A data folder with an empty knowledge base."""
    home.mkdir(parents=True)  # noqa: ASYNC240 (a test's loop serves nobody else)
    (home / "scrubjay.toml").write_text(SETTINGS, encoding="utf-8")
    async with open_engine(load_settings(home)) as engine:
        await engine.knowledge_bases.create(await engine.people.owner(), "corpus")


async def upload(home: Path) -> None:
    """Add all documents at once."""
    async with open_engine(load_settings(home)) as engine:
        await engine.documents.add_many(await engine.people.owner(), "corpus", uploaded())


async def examine(home: Path) -> dict[str, Any]:
    """Everything two runs must agree on; raises where a run disagrees with itself."""
    async with open_engine(load_settings(home)) as engine:
        owner = await engine.people.owner()
        drift = await engine.operations.reconcile(owner, repair=False)
        assert drift.clean, drift
        async with engine.db.read() as session:
            rows = list(await session.scalars(select(Document)))
            live = dict((await session.execute(select(Live.document_id, Live.revision_id))).all())
            revisions = list(await session.scalars(select(Revision)))
            chunks = list(
                await session.scalars(select(Chunk).order_by(Chunk.revision_id, Chunk.ordinal))
            )
            events = list(await session.scalars(select(Event)))
            waiting = await session.scalar(
                select(func.count()).where(Job.state.in_(["queued", "running"]))
            )
            embeddings = await session.scalar(select(func.count()).select_from(Embedding))
            kb = (await session.scalars(select(KnowledgeBase))).one()
        assert waiting == 0, f"{waiting} jobs wait or run"
        space = Space(kb.space, kb.dimension)
        stored = await engine.index.revisions(owner.tenant_id, space)
        assert sorted((r.document_id, r.revision_id) for r in stored) == sorted(live.items())
        stats = await engine.index.stats(owner.tenant_id, space)
        assert stats.vectors == stats.chunks == kb.chunk_count == len(chunks)
        for cut_off in (home / "blobs" / ".incoming").iterdir():
            os.utime(cut_off, (0, 0))  # a day later the next to write removes it
        await engine.blobs.put(owner.tenant_id, b"one more")
    assert_no_leftovers(home)
    names = _names(rows)
    told = Counter(
        (names[event.payload["document_id"]], event.kind)
        for event in events
        if "document_id" in event.payload
    )
    assert set(told.values()) == {1}, [one for one, times in told.items() if times > 1]
    return {
        "documents": {
            names[row.id]: {
                "state": row.state,
                "error": row.error,
                "error_code": row.error_code,
                "title": row.title,
                "vectors": row.vectors,
                "chunks": row.chunk_count,
                "tokens": row.token_count,
                "language": row.language,
                "details": {k: v for k, v in row.details.items() if k != "attachment_of"},
                "revisions": [r.number for r in revisions if r.document_id == row.id],
                "text": _digest([c for c in chunks if c.revision_id == live.get(row.id)]),
            }
            for row in rows
        },
        "events": told,
        "counts": (kb.document_count, kb.chunk_count, kb.token_count, embeddings),
    }


def _names(rows: list[Document]) -> Mapping[str, str]:
    """Documents by id as two runs call them: those made of others have the ids of these in theirs."""
    names = {row.id: row.external_id for row in rows}
    return {
        row.id: row.external_id.replace(parent, names[parent])
        if (parent := row.details.get("attachment_of"))
        else row.external_id
        for row in rows
    }


def _digest(chunks: list[Chunk]) -> str:
    spans = [(c.ordinal, c.start, c.end, c.page, c.text, c.context, c.language) for c in chunks]
    return hashlib.sha256(repr(spans).encode()).hexdigest()
