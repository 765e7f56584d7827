"""Disk full, files damaged or gone, two workers, a parent that dies: said clearly, nothing lost."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text, update

from engine import clock, locks
from engine.db.tables import Job
from engine.errors import AlreadyRunning, IndexDamaged, Unavailable
from engine.index import space
from ingestion.host import run_worker
from tests.fakes.installations import Installation, open_installation, parse_inline
from tests.fakes.kill_rounds import SETTINGS, Process

LEAVE = "# Leave\n\nEverybody gets thirty days of leave, and a wombat on request.\n"
PARKING = "# Parking\n\nBicycles are parked in the yard, beside the platypus.\n"


def full(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@contextlib.contextmanager
def disk_full_for(monkeypatch: pytest.MonkeyPatch, owner: object, name: str) -> Iterator[None]:
    """One call of an adapter meets a full disk."""
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, full)
        yield


async def test_a_disk_too_full_for_the_bytes_accepts_nothing(notes, monkeypatch):
    with disk_full_for(monkeypatch, os, "fsync"), pytest.raises(Unavailable, match="disk is full"):
        await notes.add(LEAVE)
    assert (await notes.engine.documents.page(notes.owner)).documents == []
    assert list((notes.engine.settings.blob_folder / ".incoming").iterdir()) == []
    await notes.add(LEAVE)
    await notes.drain()
    assert await notes.found("wombat") != []


async def test_a_disk_too_full_for_the_index_delays_the_document(notes, monkeypatch):
    monkeypatch.setattr("engine.jobs.endings.FIRST_RETRY_S", 3600.0)
    added = await notes.add(LEAVE)
    async with notes.working():
        with disk_full_for(monkeypatch, space, "write_manifest"):
            await notes.until(
                added,
                lambda info: ("can't be written" in info.message, info.state) == (True, "pending"),
            )
            assert "No space left on device" in await notes.why(added)
        async with notes.engine.db.write() as session:  # an hour passes
            await session.execute(update(Job).values(run_at=clock.now()))
        await notes.until(added, lambda info: info.state == "ready")
    assert await notes.found("wombat") != []
    assert (await notes.engine.operations.reconcile(notes.owner, repair=False)).clean


async def limit_pages(notes: Installation, pages: int) -> None:
    """Let the database file not grow beyond so many pages; 0: beyond what it has now."""
    async with notes.engine.db.write() as session:
        now = await session.scalar(text("PRAGMA page_count"))
        await session.execute(text(f"PRAGMA max_page_count = {pages or now}"))


async def test_a_disk_too_full_for_the_database_loses_nothing(notes):
    kept = await notes.add(LEAVE)
    await limit_pages(notes, 0)
    with pytest.raises(Unavailable, match="the disk is full"):  # noqa: PT012 (what fits is accepted)
        for number in range(200):
            await notes.add(PARKING * 20, f"{number:03}.md")
    await limit_pages(notes, 1_000_000)
    await notes.drain()
    assert (await notes.get(kept)).state == "ready"
    states = {item.state for item in (await notes.engine.documents.page(notes.owner)).documents}
    assert states == {"ready"}


async def test_a_database_file_that_is_gone_is_named(notes):
    assert (await notes.engine.operations.health())["database"] == ""
    file = notes.engine.settings.home / "scrubjay.db"
    file.rename(file.with_suffix(".moved"))
    assert "scrubjay.db" in (await notes.engine.operations.health())["database"]
    file.with_suffix(".moved").rename(file)


async def test_a_damaged_index_is_named_and_made_anew_from_the_database(home, monkeypatch):
    parse_inline(monkeypatch)
    async with open_installation(home) as notes:
        await notes.add(LEAVE, "leave.md")
        await notes.drain()
        await notes.add(PARKING, "parking.md")
        await notes.drain()
    segment = max((home / "index").glob("*/*/*.segment"), key=lambda path: path.stat().st_size)
    os.truncate(segment, segment.stat().st_size // 2)

    async with open_installation(home) as notes:
        with pytest.raises(IndexDamaged, match="scrubjay reconcile"):
            await notes.found("wombat")
        assert "scrubjay reconcile" in (await notes.engine.operations.health())["index"]
        assert (await notes.engine.operations.status(notes.owner)).knowledge_bases[0].documents == 2
        seen = await notes.engine.operations.reconcile(notes.owner, repair=False)
        assert (seen.damaged, seen.clean, seen.repaired) == (1, False, False)
        assert await notes.engine.operations.next_job_due_at() is None
        assert (await notes.engine.operations.reconcile(notes.owner)).repaired
        await notes.drain()
        assert (await notes.engine.operations.health())["index"] == ""
        assert await notes.found("wombat") != []
        assert await notes.found("platypus", mode="semantic") != []
        assert (await notes.engine.operations.reconcile(notes.owner, repair=False)).clean
        assert notes.embedder.texts == 0  # vectors come from the cache


async def test_bytes_changed_inside_a_file_are_found_and_healed(home, monkeypatch):
    parse_inline(monkeypatch)
    async with open_installation(home) as notes:
        await notes.add(LEAVE)
        await notes.drain()
    segment = next((home / "index").glob("*/*/*.segment"))
    data = bytearray(segment.read_bytes())
    data[-200:-100] = bytes(byte ^ 0xFF for byte in data[-200:-100])
    segment.write_bytes(data)
    async with open_installation(home) as notes:
        assert (await notes.engine.operations.reconcile(notes.owner)).damaged == 1
        await notes.drain()
        assert (await notes.engine.operations.reconcile(notes.owner, repair=False)).clean
        assert await notes.found("wombat") != []


async def test_an_index_folder_that_is_gone_is_made_anew(home, monkeypatch):
    parse_inline(monkeypatch)
    async with open_installation(home) as notes:
        await notes.add(LEAVE)
        await notes.drain()
    (home / "index").rename(home / "elsewhere")
    async with open_installation(home) as notes:
        with pytest.raises(Unavailable, match="index is missing"):
            await notes.found("wombat")
        assert (await notes.engine.operations.reconcile(notes.owner)).missing == 1
        await notes.drain()
        assert await notes.found("wombat") != []


async def test_a_second_worker_is_refused_with_the_name_of_the_first(notes):
    async with notes.working():
        async with asyncio.timeout(60):
            while locks.holder(notes.engine.settings.home, "worker") is None:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        with pytest.raises(AlreadyRunning) as caught:
            await run_worker(notes.engine, asyncio.Event(), idle_exit_s=0)
    assert f"pid {os.getpid()}" in caught.value.holder
    assert str(notes.engine.settings.home) in str(caught.value)


async def start_worker(home: Path) -> Process:
    """A worker process like that of `up`, once it works."""
    (home / "scrubjay.toml").write_text(SETTINGS.replace("idle_exit_s = 1", "idle_exit_s = 60"))
    worker = Process("cli.work", str(home))
    deadline = time.monotonic() + 60
    while locks.holder(home, "worker") is None:
        assert time.monotonic() < deadline
        assert worker.is_running
        await asyncio.sleep(0.02)
    return worker


@pytest.mark.slow
async def test_a_child_leaves_when_its_parent_does(home):
    async with open_installation(home) as notes:
        await notes.add(LEAVE)
        worker = await start_worker(home)
        await worker.until_alone(within_s=60)  # closes the pipe


@pytest.mark.slow
async def test_a_worker_that_is_told_to_stop_does_so_and_gives_back_what_it_has(home):
    async with open_installation(home) as notes:
        added = [await notes.add(LEAVE, f"{number}.md") for number in range(20)]
        worker = await start_worker(home)
        worker.terminate()
        assert await worker.wait() == 0
        await worker.until_alone(within_s=60)
        async with notes.engine.db.read() as session:
            running = await session.scalar(text("SELECT count(*) FROM job WHERE state='running'"))
        assert running == 0
        await notes.drain()
        assert {(await notes.get(item)).state for item in added} == {"ready"}
