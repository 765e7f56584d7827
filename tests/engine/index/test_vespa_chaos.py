"""Vespa has a bad day: storms of refusals, no room, cut connections, slow answers, killed feeders.

Whatever the adapter acknowledged is there, once, and not older than acknowledged.
"""

from __future__ import annotations

import asyncio
import random
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from engine.db.session import Database, open_database
from engine.db.tables import Tenant
from engine.errors import IndexFull, Unavailable
from engine.index import vespa_http
from engine.index.port import FieldUpdate
from tests.contracts.search_index import SPACE, TENANT, X, asking, document, names, ref
from tests.fakes.databases import SqliteDatabases
from tests.fakes.shaky_network import shaky_network
from tests.fakes.vespa_index import build_index
from tests.fakes.vespa_server import FakeVespa, running
from vespa_app.fields import Field

FEEDER = """
import asyncio, sys
import numpy as np
from engine.db.session import open_database
from engine.errors import EngineError
from engine.index import vespa_http
from tests.contracts.search_index import SPACE, TENANT, X, document
from tests.fakes.vespa_index import build_index

vespa_http.BLOCKED_S = 0.05

async def main():
    url, database, count, round = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    async with open_database(database) as db:
        index = build_index(url, db, timeout_s=30)

        async def keep(number):
            fed = document(f"{number:03}", (f"fox round{round}", X), title=f"round{round}")
            while True:
                try:
                    await index.feed(TENANT, SPACE, [fed])
                except EngineError:
                    await asyncio.sleep(0.05)
                else:
                    print(number, round, flush=True)
                    return

        for start in range(0, count, 16):
            await asyncio.gather(*map(keep, range(start, min(start + 16, count))))
        await index.aclose()

asyncio.run(main())
"""


@pytest.fixture
def database_file(sqlite_databases: SqliteDatabases, tmp_path: Path) -> str:
    return sqlite_databases.new(tmp_path)


@pytest.fixture
async def tenants(database_file: str) -> AsyncIterator[Database]:
    async with open_database(database_file) as db:
        async with db.write() as session:
            session.add(Tenant(id=TENANT, key=TENANT, name=TENANT))
        yield db


class Storm:
    """Refuses, delays and fills up at random, and counts what it did."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.done: Counter[int | str] = Counter()
        self.seen = 0
        self.full = 0

    async def __call__(self, request: Request) -> Response | None:
        if not request.url.path.startswith("/document"):
            return None
        await request.body()  # else a refusal would leave half a request on the connection
        self.seen += 1
        drawn = self.random.random()
        if self.full or self.seen % 60 == 20:
            self.full = (self.full or 6) - 1
            status = 507
        elif drawn < 0.25:
            status = 429
        elif drawn < 0.30:
            status = 503
        else:
            if drawn < 0.45:
                self.done["slow"] += 1
                await asyncio.sleep(self.random.random() * 0.03)
            return None
        self.done[status] += 1
        return JSONResponse({"message": "no"}, status_code=status)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
async def test_what_was_acknowledged_survives_a_bad_day(
    tenants: Database, database_file: str, seed: int
) -> None:
    server, storm = FakeVespa(), Storm(seed)
    acknowledged: dict[int, int] = {}
    count, rounds, killed = 32, 3, 0
    async with running(server) as port, shaky_network(port) as network:
        quiet = build_index(f"http://127.0.0.1:{port}", tenants)
        await quiet.ensure_space(TENANT, SPACE)
        network.cut_every = 41
        server.faults.append(storm)
        for number in range(1, rounds + 1):
            last = number == rounds
            feeder = await asyncio.create_subprocess_exec(
                sys.executable,
                "-c",
                FEEDER,
                f"http://127.0.0.1:{network.port}",
                database_file,
                str(count),
                str(number),
                stdout=asyncio.subprocess.PIPE,
            )
            assert feeder.stdout is not None
            async with asyncio.timeout(100):
                while line := await feeder.stdout.readline():
                    fed, said = map(int, line.split())
                    acknowledged[fed] = said
                    if not last and fed > 5 * number:
                        feeder.send_signal(signal.SIGKILL)
                await feeder.wait()
            assert feeder.returncode in {0, -signal.SIGKILL}
            killed += feeder.returncode != 0
            stored = _stored(server)
            for fed, said in acknowledged.items():
                assert stored[f"d-{fed:03}"] >= said
        server.faults.clear()
        assert _stored(server) == {f"d-{number:03}": rounds for number in range(count)}
        assert feeder.returncode == 0
        assert killed
        assert storm.done[429]
        assert storm.done[503]
        assert storm.done[507]
        assert storm.done["slow"]
        assert network.cuts
        everything = await quiet.revisions(TENANT, SPACE)
        assert everything == {ref(f"{number:03}"): 1 for number in range(count)}
        found = await quiet.search(asking("fox", X, limit=count))
        assert sorted(names(found.hits)) == [f"{number:03}" for number in range(count)]
        await quiet.aclose()


def _stored(server: FakeVespa) -> dict[str, int]:
    """The round each document was stored in, each there once."""
    (schema,) = [schema for schema in server.schemas.values() if schema.documents]
    found: dict[str, int] = {}
    for fields in schema.documents.values():
        assert fields[Field.DOC_ID] not in found
        assert fields[Field.VECTOR_COUNT] == 1
        title = fields[Field.TITLE_TERMS]
        assert fields[Field.CHUNK_TERMS] == [f"fox {title}"]
        found[fields[Field.DOC_ID]] = int(title.split()[-1])
    return found


async def test_http2_is_spoken_without_tls(tenants: Database) -> None:
    server = FakeVespa()
    versions: set[str] = set()

    async def note(request: Request) -> None:
        versions.add(request.scope["http_version"])

    server.faults.append(note)  # type: ignore[arg-type]
    async with running(server) as port:
        index = build_index(f"http://127.0.0.1:{port}", tenants)
        await index.ensure_space(TENANT, SPACE)  # its deploy goes over HTTP/1.1
        versions.clear()
        await index.feed(TENANT, SPACE, [document(f"{n}", ("fox", X)) for n in range(100)])
        assert len((await index.search(asking("fox", limit=100))).hits) == 100
        assert versions == {"2"}
        await index.aclose()


async def test_a_late_write_does_not_undo_a_newer_one(tenants: Database) -> None:
    server = FakeVespa()
    index = build_index(server, tenants)
    await index.ensure_space(TENANT, SPACE)
    held, go = asyncio.Event(), asyncio.Event()

    async def hold_the_first(request: Request) -> None:
        if request.method == "POST" and not held.is_set():
            held.set()
            await go.wait()

    server.faults.append(hold_the_first)  # type: ignore[arg-type]
    late = asyncio.create_task(index.feed(TENANT, SPACE, [document("a", "old words")]))
    await held.wait()
    await index.feed(TENANT, SPACE, [document("a", ("new words", X))])
    go.set()
    await late
    assert names((await index.search(asking("new"))).hits) == ["a"]
    assert names((await index.search(asking("old"))).hits) == []
    assert (await index.stats(TENANT, SPACE)).vectors == 1


async def test_a_full_vespa_is_told_of_and_still_searched(
    tenants: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = FakeVespa()
    index = build_index(server, tenants)
    await index.feed(TENANT, SPACE, [document("a", "fox"), document("b", "fox")])

    async def full(request: Request) -> Response | None:
        writes = request.method in {"POST", "PUT"} and request.url.path.startswith("/document")
        return JSONResponse({}, status_code=507) if writes else None

    server.faults.append(full)
    with pytest.raises(IndexFull, match="is full: add memory"):
        await index.feed(TENANT, SPACE, [document("c", "fox")])
    with pytest.raises(IndexFull):
        await index.update_fields(TENANT, SPACE, [FieldUpdate("d-a", "r-a", hidden=True)])
    assert "is full" in await index.health()
    figures = index.figures()
    assert figures["vespa_blocked_total"] == 1
    assert figures["vespa_operations_total"] == 4
    assert len((await index.search(asking("fox"))).hits) == 2
    await index.remove(TENANT, SPACE, [ref("a")])  # what makes room goes on
    assert names((await index.search(asking("fox"))).hits) == ["b"]

    server.faults.clear()
    monkeypatch.setattr(vespa_http, "BLOCKED_S", 0.0)
    index._http._blocked_until = 0.0
    await index.feed(TENANT, SPACE, [document("c", "fox")])
    assert await index.health() == ""


@pytest.mark.parametrize(
    "coverage",
    [
        {"coverage": 67, "full": False, "degraded": {"non-ideal-state": True}},
        {"coverage": 99, "full": False, "degraded": {"timeout": True}},
    ],
)
async def test_a_part_of_the_answer_is_never_given_for_the_whole(
    tenants: Database, coverage: dict[str, object]
) -> None:
    server = FakeVespa()
    index = build_index(server, tenants)
    await index.feed(TENANT, SPACE, [document("a", "fox")])
    server.coverage = coverage
    for asked in (
        index.search(asking("fox")),
        index.get(TENANT, SPACE, [ref("a")], asking().filter),
        index.remove(TENANT, SPACE, [ref("a")]),
        index.stats(TENANT, SPACE),
    ):
        with pytest.raises(Unavailable, match="of its documents"):
            await asked
    assert "of its documents" in await index.health()


async def test_a_schema_that_is_not_deployed_is_an_error_and_not_an_empty_answer(
    tenants: Database,
) -> None:
    server = FakeVespa()
    index = build_index(server, tenants)
    await index.feed(TENANT, SPACE, [document("a", "fox")])
    server.schemas = {name: s for name, s in server.schemas.items() if name == "placeholder"}
    for asked in (
        index.search(asking("fox")),
        index.feed(TENANT, SPACE, [document("b", "fox")]),
        index.revisions(TENANT, SPACE),
    ):
        with pytest.raises(Unavailable, match="scrubjay vespa deploy"):
            await asked


async def test_a_silent_vespa_is_given_up_by_one_deadline_for_the_whole_search(
    tenants: Database,
) -> None:
    server = FakeVespa()
    index = build_index(server, tenants, timeout_s=0.3)
    await build_index(server, tenants).feed(TENANT, SPACE, [document("a", "fox")])

    async def silent(request: Request) -> None:
        if request.url.path.startswith("/search"):
            await asyncio.Event().wait()

    server.faults.append(silent)  # type: ignore[arg-type]
    async with asyncio.timeout(60):
        with pytest.raises(Unavailable, match="in time"):
            await index.search(asking("fox", X))
