from __future__ import annotations

import asyncio
import gzip
import io
import os
import shutil
import sqlite3
import stat
import tarfile
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import make_url, select

from engine.blobs.folder import FolderBlobs
from engine.db.migrations import current_revision, head_revision, migrate
from engine.db.session import Database, open_database
from engine.db.tables import Base, Embedding, Event, FileEntry, FileGrant, Setting, Tenant, Worker
from engine.errors import ConfigurationError, Conflict, InvalidInput, NotFound
from engine.jobs.heartbeats import beat
from engine.operations.backup import backup, read_manifest, restore
from tests.fakes.databases import old_sqlite_database

AT = datetime(2026, 2, 3, 4, 5, 6, 789, tzinfo=UTC)


@pytest.fixture
def blobs(tmp_path: Path) -> FolderBlobs:
    return FolderBlobs(tmp_path / "blobs")


def _entry(id_: str, *, kind: str = "file", **more: str) -> FileEntry:
    return FileEntry(id=id_, tenant_id="acme", kind=kind, name=id_, **more)


@pytest.fixture
async def filled(database: Database, blobs: FolderBlobs) -> Database:
    async with database.write() as session:
        session.add(Event(tenant_id="acme", kind="x", payload={"ü": [1, None, "2"]}, at=AT))
        session.add(Embedding(tenant_id="acme", space="s", text_hash=b"\x00\xff", vector=b"\x80"))
        session.add(_entry("child", parent_id="folder"))  # before the folder that it is in
        session.add(_entry("folder", kind="folder", owner_id="u"))
        await session.flush()
        session.add(FileGrant(file_id="folder", token="tenant", tenant_id="acme", level="read"))
        session.add(Setting(key="k", value={"nested": {"at": "2026-01-01T00:00:00"}}))
    await beat(database, "w1", host="h", pid=1)
    await blobs.put("acme", b"hello")
    await blobs.put("bolt", os.urandom(100_000))
    return database


async def rows(url: str) -> dict[str, list[tuple]]:
    found = {}
    async with open_database(url) as database, database.read() as session:
        for table in Base.metadata.sorted_tables:
            found[table.name] = sorted(map(tuple, await session.execute(select(table))), key=repr)
    return found


async def test_everything_comes_back(filled, database_url, blobs, tmp_path):
    file = tmp_path / "out" / "backup.tar.gz"
    manifest = await backup(database_url, blobs, file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [entry.name for entry in file.parent.iterdir()] == [file.name]
    assert (manifest.revision, manifest.rows["tenant"]) == (head_revision(), 3)

    url = f"sqlite:///{tmp_path / 'new' / 'scrubjay.db'}"
    others = FolderBlobs(tmp_path / "new" / "blobs")
    assert await restore(file, url, others) == manifest
    expected = await rows(database_url)
    assert [row.id for row in await live_workers(database_url)] == ["w1"]
    assert await rows(url) == expected | {"worker": []}
    for tenant_id in ("acme", "bolt"):
        assert await others.hashes(tenant_id) == await blobs.hashes(tenant_id) != []


async def live_workers(url: str) -> list[Worker]:
    async with open_database(url) as database, database.read() as session:
        return list(await session.scalars(select(Worker)))


@pytest.mark.postgres
async def test_a_backup_of_sqlite_restores_into_postgresql(
    sqlite_databases, postgres_server, blobs, tmp_path
):
    source, target = sqlite_databases.new(tmp_path), postgres_server.empty()
    async with open_database(source) as database, database.write() as session:
        session.add(Tenant(id="acme", key="acme", name="Acme", created_at=AT))
        session.add(Setting(key="k", value={"a": True}))
        await session.flush()
        session.add(Event(tenant_id="acme", kind="x", payload={}, at=AT))
        session.add(Embedding(tenant_id="acme", space="s", text_hash=b"\x00", vector=b"\x80"))
    await backup(source, blobs, tmp_path / "b")
    await restore(tmp_path / "b", target, blobs)
    assert await rows(target) == await rows(source)


async def test_a_backup_is_one_snapshot_while_others_write(filled, database_url, blobs, tmp_path):
    stop = asyncio.Event()

    async def keep_writing() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            async with filled.write() as session:
                for half in "ab":
                    session.add(Setting(key=f"{half}{number}", value={}))

    writer = asyncio.create_task(keep_writing())
    try:
        await backup(database_url, blobs, tmp_path / "b")
    finally:
        stop.set()
        await writer
    url = f"sqlite:///{tmp_path / 'new.db'}"
    await restore(tmp_path / "b", url, blobs)
    keys = [row[0] for row in (await rows(url))["setting"]]
    assert sum(key.startswith("a") for key in keys) == sum(key.startswith("b") for key in keys)


async def test_data_is_only_replaced_by_force(filled, database_url, blobs, tmp_path):
    await backup(database_url, blobs, tmp_path / "b")
    before = await rows(database_url)
    with pytest.raises(Conflict, match="--force"):
        await restore(tmp_path / "b", database_url, blobs)
    async with filled.write() as session:
        session.add(Setting(key="later", value={}))
    await restore(tmp_path / "b", database_url, blobs, force=True)
    assert {**await rows(database_url), "worker": []} == {**before, "worker": []}


async def test_a_backup_of_before_the_one_migration_restores(blobs, tmp_path):
    old = old_sqlite_database(tmp_path)
    kept = tmp_path / "kept.db"
    shutil.copy(make_url(old).database or "", kept)
    migrate(f"sqlite:///{kept}")
    expected = {**await rows(f"sqlite:///{kept}"), "worker": []}
    manifest = await backup(old, blobs, tmp_path / "b")
    assert manifest.revision == "0008_worker_figures"
    url = f"sqlite:///{tmp_path / 'new.db'}"
    await restore(tmp_path / "b", url, blobs)
    assert current_revision(url) == head_revision()
    assert await rows(url) == expected
    with pytest.raises(Conflict, match="another version's tables"):
        await restore(tmp_path / "b", url, blobs, force=True)
    assert await rows(url) == expected


@pytest.mark.parametrize(
    ("revision", "advice"),
    [("0003_flows", "restore a backup made at 0008_worker_figures"), ("9999", "newer Scrubjay")],
)
async def test_a_backup_that_cannot_be_migrated_is_refused(blobs, tmp_path, revision, advice):
    old = old_sqlite_database(tmp_path)
    with closing(sqlite3.connect(tmp_path / "scrubjay.db")) as connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))
        connection.commit()
    file, new = tmp_path / "b", tmp_path / "new.db"
    await backup(old, blobs, file)
    with pytest.raises(ConfigurationError, match=advice) as raised:
        await restore(file, f"sqlite:///{new}", blobs)
    assert str(raised.value).startswith(f"The backup {file} is at revision {revision}, ")
    assert not new.exists()


async def test_the_secret_key_is_left_out_unless_asked_for(filled, database_url, blobs, tmp_path):
    key = tmp_path / "key"
    key.write_text("k" * 40, encoding="utf-8")
    await backup(database_url, blobs, tmp_path / "without")
    await backup(database_url, blobs, tmp_path / "with", key_file=key)
    assert "secret_key" not in read_manifest(tmp_path / "without").checksums
    new = tmp_path / "new" / "key"
    await restore(tmp_path / "with", f"sqlite:///{tmp_path / 'new' / 'a.db'}", blobs, key_file=new)
    assert new.read_text(encoding="utf-8") == "k" * 40
    assert stat.S_IMODE(new.stat().st_mode) == 0o600
    await restore(
        tmp_path / "without", f"sqlite:///{tmp_path / 'y.db'}", blobs, key_file=new
    )  # a backup without a key leaves the one that is there
    with pytest.raises(Conflict, match="exists"):
        await restore(tmp_path / "with", f"sqlite:///{tmp_path / 'x.db'}", blobs, key_file=new)


async def test_damage_anywhere_is_found_before_anything_changes(
    filled, database_url, blobs, tmp_path
):
    file = tmp_path / "b"
    await backup(database_url, blobs, file)
    plain = gzip.decompress(file.read_bytes())
    url = f"sqlite:///{tmp_path / 'new.db'}"
    for cut in (plain[: len(plain) // 2], flipped(plain, b"hello"), flipped(plain, b'"acme"')):
        file.write_bytes(gzip.compress(cut))
        with pytest.raises(InvalidInput, match=r"use another (one|backup)"):
            await restore(file, url, blobs)
    packed = gzip.compress(plain)
    file.write_bytes(packed[: len(packed) // 2])
    with pytest.raises(InvalidInput):
        await restore(file, url, blobs)
    file.write_bytes(b"no archive at all")
    with pytest.raises(InvalidInput):
        await restore(file, url, blobs)
    assert current_revision(url) is None


def flipped(data: bytes, at: bytes) -> bytes:
    position = data.index(at)
    return data[:position] + b"#" + data[position + 1 :]


@pytest.mark.parametrize(
    "name", ["../evil", "/etc/evil", "blobs/../../evil", "tables/a.jsonl/../x"]
)
async def test_a_foreign_member_is_refused(blobs, tmp_path, name):
    file = tmp_path / "b"
    with tarfile.open(file, "w:gz") as archive:
        member = tarfile.TarInfo(name)
        member.size = 4
        archive.addfile(member, io.BytesIO(b"evil"))
    with pytest.raises(InvalidInput, match="not a backup"):
        await restore(file, f"sqlite:///{tmp_path / 'new.db'}", blobs)


async def test_what_is_not_there_is_named(blobs, tmp_path):
    url = f"sqlite:///{tmp_path / 'new.db'}"
    with pytest.raises(NotFound, match="no backup"):
        await restore(tmp_path / "missing", url, blobs)
    with pytest.raises(NotFound, match="nothing to back up"):
        await backup(url, blobs, tmp_path / "b")
    assert not (tmp_path / "b").exists()
