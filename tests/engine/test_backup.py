"""Backup and restore: every row and blob comes back, and a damaged file changes nothing."""

from __future__ import annotations

import tarfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from anyio import to_thread
from sqlalchemy import select

from engine.backup import LEFT_OUT, restore_backup, write_backup
from engine.blobs import FolderBlobs
from engine.db.migrations import migrate
from engine.db.session import Database, open_database
from engine.db.tables import (
    Base,
    Embedding,
    KnowledgeBase,
    Membership,
    Run,
    Setting,
    Tenant,
    User,
    Worker,
)
from engine.errors import Conflict, InvalidInput

Place = tuple[Database, FolderBlobs]


@asynccontextmanager
async def place(folder: Path) -> AsyncIterator[Place]:
    url = f"sqlite:///{folder / 'scrubjay.db'}"
    await to_thread.run_sync(lambda: migrate(url))
    async with open_database(url) as db:
        yield db, FolderBlobs(folder / "blobs")


async def fill(here: Place) -> None:
    db, blobs = here
    async with db.write() as session:
        session.add_all([Tenant(id="t" * 32, key="acme", name="Acme"), User(id="u" * 32, name="É")])
        await session.flush()
        session.add_all(
            [
                Membership(tenant_id="t" * 32, user_id="u" * 32, role="owner"),
                KnowledgeBase(tenant_id="t" * 32, name="kb", space="s", dimension=2),
                Setting(key="a", value={"n": [1, None]}),
                Worker(id="w", host="h", pid=1),
            ]
        )
    await blobs.put("t" * 32, b"\x00bytes")


async def rows(db: Database) -> dict[str, list[tuple[object, ...]]]:
    async with db.read() as session:
        return {
            table.name: sorted(
                [tuple(row) for row in await session.execute(select(table))], key=repr
            )
            for table in Base.metadata.sorted_tables
        }


async def test_everything_but_live_workers_comes_back(tmp_path: Path) -> None:
    file = tmp_path / "backup.tar.gz"
    async with place(tmp_path / "old") as old, place(tmp_path / "new") as new:
        await fill(old)
        made = await write_backup(*old, file)
        restored = await restore_backup(*new, file)
        before, after = await rows(old[0]), await rows(new[0])
        assert await new[1].hashes("t" * 32) == await old[1].hashes("t" * 32)
    assert restored == made
    assert made.blobs == 1
    assert after.pop("worker") == []
    assert before.pop("worker") != []
    assert after == before


async def test_a_fresh_owner_is_replaced_by_the_one_in_the_backup(tmp_path: Path) -> None:
    file = tmp_path / "backup.tar.gz"
    async with place(tmp_path / "old") as old, place(tmp_path / "new") as new:
        await fill(old)
        await write_backup(*old, file)
        async with new[0].write() as session:
            session.add(Tenant(key="default", name="Default"))
        await restore_backup(*new, file)
        async with new[0].read() as session:
            assert list(await session.scalars(select(Tenant.key))) == ["acme"]


async def test_data_is_never_overwritten(tmp_path: Path) -> None:
    file = tmp_path / "backup.tar.gz"
    async with place(tmp_path / "old") as old:
        await fill(old)
        await write_backup(*old, file)
        with pytest.raises(Conflict, match="exists"):
            await write_backup(*old, file)
        with pytest.raises(Conflict, match="empty data folder"):
            await restore_backup(*old, file)


@pytest.mark.parametrize("damage", ["cut", "garbage", "empty", "missing", "other"])
async def test_a_damaged_file_is_refused_and_changes_nothing(tmp_path: Path, damage: str) -> None:
    file = tmp_path / "backup.tar.gz"
    async with place(tmp_path / "old") as old, place(tmp_path / "new") as new:
        await fill(old)
        await write_backup(*old, file)
        content = file.read_bytes()
        match damage:
            case "cut":
                file.write_bytes(content[: len(content) // 2])
            case "garbage":
                file.write_bytes(b"no archive")
            case "empty":
                file.write_bytes(b"")
            case "missing":
                file.unlink()
            case "other":
                with tarfile.open(file, "w:gz") as archive:
                    archive.add(tmp_path / "old" / "scrubjay.db", "scrubjay.db")
        before = await rows(new[0])
        with pytest.raises(InvalidInput, match=r"backup|can't be read"):
            await restore_backup(*new, file)
        assert await rows(new[0]) == before


async def test_a_backup_of_other_tables_is_refused_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "backup.tar.gz"
    async with place(tmp_path / "old") as old, place(tmp_path / "new") as new:
        await fill(old)
        await write_backup(*old, file)
        monkeypatch.setattr("engine.backup.head_revision", lambda: "9999")
        with pytest.raises(InvalidInput, match="restore it with the version that made it"):
            await restore_backup(*new, file)


def test_every_table_is_kept_or_left_out_on_purpose() -> None:
    assert {"worker"} == LEFT_OUT
    assert {Run.__tablename__, Embedding.__tablename__} <= set(Base.metadata.tables)
