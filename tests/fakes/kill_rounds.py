"""Rounds of kill -9 over real processes, and what must be true after each.

A round begins with a copy of a data folder that holds a few documents, adds new ones, replaces some
and deletes some; then its processes are killed at named states, and started again until nothing is
left to do. What it ends with is compared with a run that nobody disturbed. `tests/flows/test_kill.py`
plays a few rounds, `benchmarks/kill.py` many; `upload_rounds.py` begins them with an upload.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from engine.config import load_settings
from engine.db.tables import Chunk, Document, Embedding, Job, KnowledgeBase, Live, Revision
from engine.documents.adding import NewDocument
from engine.domain import Principal
from engine.engine import Engine
from engine.index.manifest import read_manifest
from engine.index.port import Space
from engine.runtime import open_engine
from tests.fakes.killable_worker import marker_of

ROOT = Path(__file__).resolve().parents[2]
BOUND_S = 240.0
SETTINGS = '[embedding]\nmodel = "hashing"\n\n[jobs]\nidle_exit_s = 1\nmax_attempts = 5\n'

OLD = range(8)  # documents there before the round
REPLACED = range(5)
DELETED = range(6, 8)
NEW = range(10, 28)


@dataclass(frozen=True, slots=True)
class Kill:
    """Kill `victim` when `state` is reached for the `nth` time since the process began."""

    state: str
    victim: str
    nth: int


@dataclass(slots=True)
class Round:
    """What happened in a round: the kills that struck, and how long it took."""

    kills: list[Kill]
    hits: list[Kill] = field(default_factory=list)
    elapsed_s: float = 0.0


def unique_word(number: int, version: int) -> str:
    """A word that only this version of this document holds."""
    return f"zq{number:03}v{version}x"


def content(number: int, version: int) -> tuple[str, bytes]:
    """Name and bytes of a document: several formats, from one chunk to a few dozen."""
    chance = random.Random(f"{number}-{version}")
    words = [
        "harbour",
        "ledger",
        "maple",
        "quartz",
        "lantern",
        "orbit",
        "thistle",
        "cobalt",
        "meadow",
        "signal",
    ]
    word = unique_word(number, version)
    paragraphs = [
        " ".join(chance.choice(words) for _ in range(chance.randint(20, 90)))
        for _ in range(1 + number % 5 * 3)
    ]
    paragraphs[-1] += f" {word}"
    title = f"Report {number} of version {version}"
    match number % 3:
        case 0:
            text = f"# {title}\n\n" + "\n\n## Part\n\n".join(paragraphs) + "\n"
            return f"{number:03}.md", text.encode()
        case 1:
            body = "".join(f"<h2>Part</h2><p>{text}</p>" for text in paragraphs)
            page = f"<html><head><title>{title}</title></head><body>{body}</body></html>"
            return f"{number:03}.html", page.encode()
        case _:
            return f"{number:03}.txt", ("\n\n".join(paragraphs) + "\n").encode()


def document(number: int, version: int) -> NewDocument:
    name, data = content(number, version)
    return NewDocument(data=data, filename=name, external_id=f"corpus/{number:03}")


async def prepare(home: Path) -> None:
    """A data folder whose first documents are ready."""
    home.mkdir(parents=True)  # noqa: ASYNC240 (a test's loop serves nobody else)
    (home / "scrubjay.toml").write_text(SETTINGS, encoding="utf-8")
    async with open_engine(load_settings(home)) as engine:
        owner = await engine.people.owner()
        await engine.knowledge_bases.create(owner, "corpus")
        owner = await engine.people.owner()
        await engine.documents.add_many(owner, "corpus", [document(n, 1) for n in OLD])
    await finish(home)


async def change(home: Path) -> None:
    """Add, replace and delete, as a person does before everything is killed."""
    async with open_engine(load_settings(home)) as engine:
        owner = await engine.people.owner()
        listed = (await engine.documents.page(owner, "corpus")).documents
        ids = {item.external_id: item.id for item in listed}
        await engine.documents.add_many(owner, "corpus", [document(n, 2) for n in REPLACED])
        await engine.documents.add_many(owner, "corpus", [document(n, 1) for n in NEW])
        for number in DELETED:
            await engine.documents.delete(owner, ids[f"corpus/{number:03}"])


class Process:
    """A worker or a server in a session of its own, so that what it leaves behind is found."""

    def __init__(self, module: str, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            cwd=ROOT,
            start_new_session=True,
        )

    async def wait(self) -> int:
        """Its exit code."""
        deadline = time.monotonic() + BOUND_S
        while (status := self._process.poll()) is None:
            if time.monotonic() > deadline:
                self.kill()
                raise TimeoutError(f"process {self._process.pid} did not end in {BOUND_S:g} s")
            await asyncio.sleep(0.02)
        return status

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def terminate(self) -> None:
        self._process.terminate()

    def kill(self) -> None:
        self._process.kill()

    async def until_alone(self, within_s: float) -> None:
        """Wait until nothing of its session is left; what stays is killed and reported."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        deadline = time.monotonic() + within_s
        while left := _session(self._process.pid):
            if time.monotonic() > deadline:
                for pid in left:
                    os.kill(pid, signal.SIGKILL)
                raise AssertionError(f"processes stay behind: {left}")
            await asyncio.sleep(0.02)
        self._process.wait()


def _session(leader: int) -> list[int]:
    """Processes of a session that are alive, from /proc."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            stat = (entry / "stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        state, _, _, session = stat.rpartition(")")[2].split()[:4]
        if int(session) == leader and state not in {"Z", "X"}:
            found.append(int(entry.name))
    return found


async def finish(home: Path) -> None:
    """Let plain workers run until nothing is left to do."""
    worker = Process("tests.fakes.killable_worker", str(home), "", "0", "", "0")
    status = await worker.wait()
    await worker.until_alone(within_s=60)
    if status != 0:
        raise AssertionError(f"the last worker ended with {status}")


async def play(
    home: Path,
    template: Path,
    kills: Sequence[Kill],
    *,
    change: Callable[[Path], Awaitable[None]] = change,
) -> Round:
    """One round, begun by `change`; raises where a process hangs or stays behind."""
    started = time.monotonic()
    shutil.copytree(template, home)
    await change(home)
    played = Round(list(kills))
    for number, kill in enumerate(kills):
        arguments = [str(home), kill.state, str(kill.nth), kill.victim, str(number)]
        marker = marker_of(home, number)
        if kill.victim == "worker":
            await _kill_worker(arguments)
        else:
            await _kill_server(home, arguments, marker)
        if marker.exists():
            marker.unlink()
            played.hits.append(kill)
    await finish(home)
    played.elapsed_s = time.monotonic() - started
    return played


async def _kill_worker(arguments: Sequence[str]) -> None:
    worker = Process("tests.fakes.killable_worker", *arguments)
    await worker.wait()
    await worker.until_alone(within_s=60)


async def _kill_server(home: Path, arguments: Sequence[str], marker: Path) -> None:
    """The server's worker strikes; where nothing is left to strike at, the server is stopped."""
    server = Process("tests.fakes.killable_server", *arguments)
    deadline = time.monotonic() + BOUND_S
    while server.is_running and not marker.exists():  # noqa: ASYNC240
        if await _is_idle(home):
            server.terminate()
            break
        if time.monotonic() > deadline:
            server.kill()
            raise TimeoutError("the server neither ended nor finished its work")
        await asyncio.sleep(0.05)
    await server.wait()
    await server.until_alone(within_s=60)


async def _is_idle(home: Path) -> bool:
    async with open_engine(load_settings(home)) as engine:
        return await engine.operations.next_job_due_at() is None


async def examine(home: Path) -> dict[str, Any]:
    """Everything two runs must agree on; raises where a run disagrees with itself."""
    async with open_engine(load_settings(home)) as engine:
        owner = await engine.people.owner()
        found = await _read(engine, owner)
        drift = await engine.operations.reconcile(owner, repair=False)
        assert drift.clean, drift
        health = await engine.operations.health()
        assert health["index"] == health["database"] == "", health
        for number in (*OLD, *NEW):
            await _look_for(engine, owner, number)
    assert_no_leftovers(home)
    return found


async def _read(engine: Engine, owner: Principal) -> dict[str, Any]:
    tenant_id = owner.tenant_id
    async with engine.db.read() as session:
        documents = await session.execute(
            select(Document, Revision.number, func.count(Chunk.ordinal))
            .join(Live, Live.document_id == Document.id)
            .join(Revision, Revision.id == Live.revision_id)
            .outerjoin(Chunk, Chunk.revision_id == Revision.id)
            .where(Document.deleted_at.is_(None))
            .group_by(Document.id, Revision.id)
        )
        states = {
            row.external_id: {
                "state": row.state,
                "title": row.title,
                "vectors": row.vectors,
                "chunks": row.chunk_count,
                "stored_chunks": stored,
                "tokens": row.token_count,
                "size_bytes": row.size_bytes,
                "language": row.language,
                "details": row.details,
                "revision": number,
            }
            for row, number, stored in documents
        }
        live = {
            (row.document_id, row.revision_id)
            for row in await session.execute(select(Live.document_id, Live.revision_id))
        }
        kb = (await session.scalars(select(KnowledgeBase))).one()
        waiting = await session.scalar(
            select(func.count()).where(Job.state.in_(["queued", "running", "failed"]))
        )
        counts = {
            "documents": kb.document_count,
            "chunks": kb.chunk_count,
            "tokens": kb.token_count,
            "rows": await session.scalar(select(func.count()).select_from(Document)),
            "revisions": await session.scalar(select(func.count()).select_from(Revision)),
            "chunk_rows": await session.scalar(select(func.count()).select_from(Chunk)),
            "embeddings": await session.scalar(select(func.count()).select_from(Embedding)),
        }
        space = Space(kb.space, kb.dimension)
    stored = await engine.index.revisions(tenant_id, space)
    assert waiting == 0, f"{waiting} jobs wait, run or failed"
    assert {(ref.document_id, ref.revision_id) for ref in stored} == live
    stats = await engine.index.stats(tenant_id, space)
    assert stats.vectors == stats.chunks == counts["chunks"]
    return {"documents": states, "counts": counts}


async def _look_for(engine: Engine, owner: Principal, number: int) -> None:
    """The present version is found by its word, an older or deleted one is not."""
    newest = 0 if number in DELETED else 2 if number in REPLACED else 1
    for version in (1, 2):
        word = unique_word(number, version)
        hits = (await engine.search.find(owner, word, kb="corpus", mode="keyword")).hits
        texts = [hit.text for hit in hits if word in hit.text]
        assert len(texts) == (version == newest), (number, version, texts)


def assert_no_leftovers(home: Path) -> None:
    """Neither half-written files nor such that nothing names."""
    assert list((home / "blobs").glob(".incoming/*")) == []
    assert list(home.glob(".*")) == []
    assert list((home / "index").glob(".dropped-*")) == []
    for manifest in (home / "index").glob("*/*/manifest"):
        named = {*read_manifest(manifest.parent).files(), "manifest"}
        there = {path.name for path in manifest.parent.iterdir()}
        # What a reader may still open is removed a minute later or by the next writer.
        assert not {name for name in there - named if name.endswith(".new")}
