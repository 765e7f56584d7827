"""Syncs of real kinds, whose process is killed between any of their calls, end as undisturbed ones."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from engine.sources.sources import NewSource
from tests.fakes.api_server import open_api
from tests.fakes.databases import SqliteDatabases
from tests.fakes.git_server import open_git
from tests.fakes.github import GitHubWorld
from tests.fakes.sources import open_sources
from tests.flows.test_source_killed import MOST, ROOT, rows


@asynccontextmanager
async def github_service(folder: Path) -> AsyncIterator[dict[str, Any]]:
    world = GitHubWorld({name: f"{name}@example.com" for name in ("ada", "bob", "cyd")})
    for name in ("team/garden", "team/orchard"):
        repository = world.repository(name, collaborators={"ada", "cyd"})
        for kind in ("issue", "pull", "discussion"):
            made = world.post(repository, f"{kind} in {name}", f"Said here: {kind}.", kind=kind)
            for number in range(5):
                world.comment(made, f"Comment {number}.")
    async with open_api(world.answer) as server:
        yield {"repositories": ["team/garden", "team/orchard"], "api": server.url}


@asynccontextmanager
async def git_service(folder: Path) -> AsyncIterator[dict[str, Any]]:
    folder.mkdir()  # noqa: ASYNC240 (a test's loop serves nobody else)
    async with open_git(folder) as server:
        server.commit(**{f"d{n}__x_md": f"# Note {n}\n\nText {n}." for n in range(12)})
        yield {"url": server.url}


async def connected(
    databases: SqliteDatabases, home: Path, kind: str, settings: dict[str, Any]
) -> Path:
    """A data folder with a source whose first sync is queued."""
    home.mkdir()  # noqa: ASYNC240
    databases.new(home)
    async with open_sources(home) as notes:
        new = NewSource(kind, "it", "notes", settings, every_s=0, domains=["example.com"])
        await notes.engine.sources.add(notes.owner, new)
    return home


def run(home: Path, kill_at: int) -> int:
    command = [sys.executable, "-m", "tests.fakes.killable_http_sources", str(home), str(kill_at)]
    return subprocess.run(command, cwd=ROOT, timeout=240, check=False).returncode


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "service", "at_least"), [("git", git_service, 2), ("github", github_service, 3)]
)
async def test_a_sync_that_is_killed_between_its_calls_ends_as_if_it_was_not(
    sqlite_databases, tmp_path, kind, service, at_least
):
    async with service(tmp_path / "service") as settings:
        undisturbed = await connected(sqlite_databases, tmp_path / "undisturbed", kind, settings)
        assert await asyncio.to_thread(run, undisturbed, 0) == 0
        killed = await connected(sqlite_databases, tmp_path / "killed", kind, settings)
        chance = random.Random(7)
        kills = 0
        most = 6 if kind == "git" else 8  # calls; a step of git needs four
        for _ in range(MOST):
            # Later and later: a job whose worker dies ten times is given up, as it should be.
            if await asyncio.to_thread(run, killed, chance.randint(2, most) + kills // 2) == 0:
                break
            kills += 1
        assert await asyncio.to_thread(run, killed, 0) == 0
    assert kills >= at_least
    assert rows(killed) == rows(undisturbed)
    assert rows(killed)["run"] == [("ok",)]
    assert rows(killed)["documents"]
