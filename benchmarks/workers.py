"""A data folder with a worker of its own, as `scrubjay up` has one, for benchmarks to load."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from engine.config import load_settings
from engine.documents.adding import NewDocument
from engine.domain import Principal
from engine.engine import Engine
from engine.runtime import open_engine

HANDBOOK = Path(__file__).parents[1] / "samples" / "handbook" / "pages"
BATCH = 50  # documents a call, as `scrubjay add` sends them
LONGEST_S = 600.0


@dataclass
class Home:
    """An opened data folder whose worker waits for documents."""

    engine: Engine
    owner: Principal
    kb_id: str

    async def ingest(self, documents: Sequence[NewDocument]) -> float:
        """Seconds from the first call until every document is ready."""
        start = time.perf_counter()
        ids = []
        for at in range(0, len(documents), BATCH):
            some = documents[at : at + BATCH]
            added = await self.engine.documents.add_many(self.owner, self.kb_id, some)
            ids += [document.document_id for document in added]
        async with asyncio.timeout(LONGEST_S):
            await self.ready(len(ids))
        return time.perf_counter() - start

    async def ready(self, count: int) -> None:
        """Wait until nothing is pending; fails where one did not end `ready`."""
        while True:
            status = await self.engine.operations.status(self.owner)
            states = next(kb.states for kb in status.knowledge_bases if kb.id == self.kb_id)
            if not states.keys() & {"pending", "running"}:
                break
            await asyncio.sleep(0.2)  # as `scrubjay add` follows its documents
        if states.keys() - {"ready"} or states["ready"] < count:
            raise RuntimeError(f"not every document was ingested: {states}")

    async def chunks(self) -> int:
        status = await self.engine.operations.status(self.owner)
        return next(kb.chunks for kb in status.knowledge_bases if kb.id == self.kb_id)


@asynccontextmanager
async def open_home(folder: Path, *, model: str) -> AsyncIterator[Home]:
    """A fresh home; its worker is warm: it has ingested one small document."""
    config = folder / "bench.toml"
    config.write_text(f'[embedding]\nmodel = "{model}"\n', encoding="utf-8")
    async with open_engine(load_settings(folder, config)) as engine:
        owner = await engine.people.owner()
        warm = await engine.knowledge_bases.create(owner, "warm")
        kb = await engine.knowledge_bases.create(owner, "bench")
        owner = await engine.people.owner()
        async with running_worker(folder, config):
            home = Home(engine, owner, warm.id)
            await home.ingest([NewDocument(data=b"# Warm\n\nA few words.\n", filename="warm.md")])
            yield Home(engine, owner, kb.id)


@asynccontextmanager
async def running_worker(folder: Path, config: Path, *, child: bool = False) -> AsyncIterator[None]:
    """`scrubjay worker`, or the niced child of `scrubjay up`."""
    alone = ["cli.main", "--home", str(folder), "--config", str(config), "worker"]
    module = ["cli.work", str(folder), str(config)] if child else alone
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", *module, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        process.terminate()
        await asyncio.wait_for(process.wait(), 20)


def pages(limit: int | None = None) -> list[NewDocument]:
    """The sample handbook's pages."""
    paths = sorted(HANDBOOK.rglob("*.md"))[:limit]
    return [
        NewDocument(path=path, filename=path.name, external_id=str(path.relative_to(HANDBOOK)))
        for path in paths
    ]


def large_files(count: int, size: int) -> list[NewDocument]:
    """Markdown of real sentences in an order of its own, so that no two chunks are alike."""
    drawn = random.Random(11)
    lines = [
        line
        for path in sorted(HANDBOOK.rglob("*.md"))
        for line in path.read_text(encoding="utf-8").splitlines()
        if len(line) > 40 and not line.startswith(("---", "#", "|"))
    ]
    made = []
    for number in range(count):
        parts, length = [f"# File {number}\n"], 0
        while length < size:
            section = " ".join(drawn.sample(lines, 6))
            parts.append(f"\n## Section {len(parts)}\n\n{section}\n")
            length += len(parts[-1])
        data = "".join(parts).encode()[:size].decode(errors="ignore").encode()
        made.append(NewDocument(data=data, filename=f"{number}.md", external_id=f"{number}.md"))
    return made
