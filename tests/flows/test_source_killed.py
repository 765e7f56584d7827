"""A sync whose process is killed again and again ends with the rows of an undisturbed one."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from engine.sources.sources import NewSource
from tests.fakes.databases import SqliteDatabases
from tests.fakes.killable_sources import world_of
from tests.fakes.source_worlds import WorldConnector
from tests.fakes.sources import open_sources

ROOT = Path(__file__).parents[2]
SEED = 11
MOST = 60  # processes


async def connected(databases: SqliteDatabases, home: Path) -> Path:
    """A data folder with a source whose first sync is queued."""
    home.mkdir()  # noqa: ASYNC240 (a test's loop serves nobody else)
    databases.new(home)
    connectors = {"world": WorldConnector(world_of(SEED))}
    async with open_sources(home, connectors=connectors) as notes:
        new = NewSource("world", "it", "notes", {}, every_s=0, domains=["example.com"])
        await notes.engine.sources.add(notes.owner, new)
    return home


def run(home: Path, kill_at: int) -> int:
    module = "tests.fakes.killable_sources"
    command = [sys.executable, "-m", module, str(home), str(SEED), str(kill_at)]
    return subprocess.run(command, cwd=ROOT, timeout=240, check=False).returncode


def rows(home: Path) -> dict[str, list[tuple]]:
    """What the sync made, without ids and times."""
    with sqlite3.connect(home / "scrubjay.db") as db:
        found = {
            "documents": db.execute(
                "SELECT d.external_id, d.title, d.state, d.chunk_count, r.number, r.blob_hash"
                " FROM document d JOIN live l ON l.document_id = d.id"
                " JOIN revision r ON r.id = l.revision_id ORDER BY 1"
            ).fetchall(),
            "readers": db.execute(
                "SELECT d.external_id, n.kind, n.external_id FROM document d"
                " JOIN acl_token t ON t.acl_id = d.acl_id"
                " JOIN access_node n ON 'g:' || n.id = t.token ORDER BY 1, 3"
            ).fetchall(),
            "restrictions": db.execute(
                "SELECT d.external_id, n.external_id FROM document d, json_each(d.acl_all) e"
                " JOIN access_node n ON 'g:' || n.id = e.value ORDER BY 1, 2"
            ).fetchall(),
            "members": db.execute(
                "SELECT a.kind, a.external_id, b.kind, b.external_id FROM access_edge e"
                " JOIN access_node a ON a.id = e.node_id JOIN access_node b ON b.id = e.member_id"
                " ORDER BY 1, 2, 3, 4"
            ).fetchall(),
            "items": db.execute(
                "SELECT external_id, state, version, kept_version, container FROM source_item"
                " ORDER BY 1"
            ).fetchall(),
            "run": db.execute("SELECT state FROM sync_run").fetchall(),
        }
    db.close()
    return found


@pytest.mark.slow
async def test_a_sync_that_is_killed_between_its_requests_ends_as_if_it_was_not(
    sqlite_databases, tmp_path
):
    undisturbed = await connected(sqlite_databases, tmp_path / "undisturbed")
    assert await asyncio.to_thread(run, undisturbed, 0) == 0
    killed = await connected(sqlite_databases, tmp_path / "killed")
    chance = random.Random(SEED)
    kills = 0
    for _ in range(MOST):
        if await asyncio.to_thread(run, killed, chance.randint(4, 9)) == 0:
            break
        kills += 1
    assert await asyncio.to_thread(run, killed, 0) == 0
    assert kills >= 3
    assert rows(killed) == rows(undisturbed)
    assert rows(killed)["run"] == [("ok",)]
    assert len(rows(killed)["documents"]) == 10
