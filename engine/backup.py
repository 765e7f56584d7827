"""One file that holds an installation: every row and every blob, on SQLite and PostgreSQL alike.

A gzipped tar: `manifest.json`, `rows/<table>.jsonl`, `blobs/<tenant>/<hash>`. Left out are the keys
(`secret.key` or `system.secret_key`: keep those apart, stored credentials need them) and the search
index, which `reconcile` builds anew. As rows are written by name, a backup of SQLite may be
restored into PostgreSQL. `scrubjay backup` and `restore` call this.
"""

from __future__ import annotations

import base64
import gzip
import io
import json
import os
import tarfile
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import IO, Any

from anyio import to_thread
from sqlalchemy import (
    JSON,
    Column,
    LargeBinary,
    RowMapping,
    Table,
    delete,
    func,
    insert,
    null,
    select,
)
from sqlalchemy.ext.asyncio import AsyncSession

from engine.blobs import BlobStore
from engine.clock import now
from engine.db.migrations import head_revision
from engine.db.session import Database
from engine.db.tables import Base, KnowledgeBase, UtcDateTime
from engine.errors import Conflict, InvalidInput, NotFound, Unavailable

FORMAT = 1
MANIFEST = "manifest.json"
BATCH = 500  # rows read or written at a time
LEFT_OUT = frozenset({"worker"})  # who works now is not worth keeping


@dataclass(frozen=True, slots=True)
class BackupInfo:
    """What a backup holds; its manifest. `revision` is the database's, of Alembic."""

    created_at: str
    revision: str
    rows: int
    blobs: int
    format: int = FORMAT


async def write_backup(db: Database, blobs: BlobStore, file: Path) -> BackupInfo:
    """Write everything to `file`, which appears only when it is whole.

    The rows are one snapshot. `Conflict` where the file exists, `Unavailable` where it can't be
    written.
    """
    archive = await to_thread.run_sync(_NewArchive, file)
    try:
        rows = stored = 0
        async with db.read() as session:
            for table in _tables():
                rows += await _pack_table(session, table, archive)
        for tenant_id in await blobs.tenants():
            for blob_hash in await blobs.hashes(tenant_id):
                stored += await _pack_blob(blobs, tenant_id, blob_hash, archive)
        revision = await to_thread.run_sync(head_revision)
        info = BackupInfo(now().isoformat(timespec="seconds"), revision, rows, stored)
        manifest = io.BytesIO(json.dumps(asdict(info)).encode())
        await to_thread.run_sync(archive.add, MANIFEST, manifest)
        await to_thread.run_sync(archive.finish)
    finally:
        await to_thread.run_sync(archive.abandon)
    return info


async def restore_backup(db: Database, blobs: BlobStore, file: Path) -> BackupInfo:
    """Fill an empty installation from a backup: all of it, or nothing of its rows.

    `Conflict` where it holds a knowledge base already, `InvalidInput` where the file is no whole
    backup or was made by another version of the database's tables.
    """
    info = await to_thread.run_sync(_manifest, file)
    head = await to_thread.run_sync(head_revision)
    if info.revision != head:
        raise InvalidInput(
            f"{file} was made at database revision {info.revision} and this Scrubjay works with "
            f"{head}; restore it with the version that made it, then upgrade.",
            field="file",
        )
    # Nothing else may run meanwhile, so one long transaction is right here.
    async with db.write() as session:
        if await session.scalar(select(func.count()).select_from(KnowledgeBase)):
            raise Conflict("There is data here already; restore into an empty data folder.")
        for table in reversed(_tables()):
            await session.execute(delete(table))
        members = _Members(file)
        tables = {f"rows/{table.name}.jsonl": table for table in _tables()}
        rows = stored = 0
        try:
            while (member := await to_thread.run_sync(members.next)) is not None:
                if member.name in tables:
                    rows += await _unpack_table(session, tables[member.name], members)
                elif member.name.startswith("blobs/"):
                    stored += await _unpack_blob(blobs, member.name, members)
        finally:
            members.close()
        if (rows, stored) != (info.rows, info.blobs):
            raise InvalidInput(f"{file} is not whole; use another backup.", field="file")
    return info


def _tables() -> list[Table]:
    """Tables to keep, each after those it refers to."""
    return [table for table in Base.metadata.sorted_tables if table.name not in LEFT_OUT]


class _NewArchive:
    """An archive beside `file` that takes its name when it is whole; blocking, called in threads."""

    def __init__(self, file: Path) -> None:
        if file.exists():
            raise Conflict(f"{file} exists; choose another name or remove it.")
        self._file = file
        try:
            descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}-")
        except OSError as error:
            raise Unavailable(f"{file} can't be written ({error.strerror}).") from error
        self._partial = Path(name)
        self._out = open(descriptor, "wb")  # noqa: PTH123, SIM115 (open already; finish closes it)
        self._tar = tarfile.open(fileobj=self._out, mode="w:gz", compresslevel=1)  # noqa: SIM115

    def add(self, name: str, content: IO[bytes]) -> None:
        """Append a member with all of `content`."""
        member = tarfile.TarInfo(name)
        member.size = content.seek(0, io.SEEK_END)
        member.mode = 0o600
        content.seek(0)
        try:
            self._tar.addfile(member, content)
        except OSError as error:
            raise Unavailable(
                f"{self._file} can't be written ({error.strerror}); free some space."
            ) from error

    def finish(self) -> None:
        """Make it durable and give it its name."""
        self._tar.close()
        self._out.flush()
        os.fsync(self._out.fileno())
        self._out.close()
        self._partial.replace(self._file)

    def abandon(self) -> None:
        """Remove what is not finished; nothing where it is."""
        self._out.close()
        self._partial.unlink(missing_ok=True)


async def _pack_table(session: AsyncSession, table: Table, archive: _NewArchive) -> int:
    count = 0
    with tempfile.TemporaryFile() as spool:  # a tar wants the size first
        found = await session.stream(select(table).execution_options(yield_per=BATCH))
        async for rows in found.mappings().partitions(BATCH):
            lines = [json.dumps(_encoded(table, row), ensure_ascii=False) for row in rows]
            await to_thread.run_sync(spool.write, "".join(f"{line}\n" for line in lines).encode())
            count += len(rows)
        await to_thread.run_sync(archive.add, f"rows/{table.name}.jsonl", spool)
    return count


async def _pack_blob(blobs: BlobStore, tenant_id: str, blob_hash: str, archive: _NewArchive) -> int:
    try:
        async with blobs.open_file(tenant_id, blob_hash) as path:
            content = await to_thread.run_sync(path.read_bytes)
    except (NotFound, FileNotFoundError):
        return 0  # cleaned up since the rows were read: no row that is live needs it
    name = f"blobs/{tenant_id}/{blob_hash}"
    await to_thread.run_sync(archive.add, name, io.BytesIO(content))
    return 1


class _Members:
    """The archive's members one after the other; blocking, so called in threads."""

    def __init__(self, file: Path) -> None:
        self._archive = _opened(file)
        self._member: tarfile.TarInfo | None = None

    def next(self) -> tarfile.TarInfo | None:
        """The next member, None at the end."""
        with _damage_told():
            self._member = self._archive.next()
        return self._member

    def content(self) -> bytes:
        """All of the present member."""
        with _damage_told():
            return self._reader().read()

    def lines(self) -> Iterator[bytes]:
        """The present member's lines."""
        with _damage_told():
            yield from self._reader()

    def close(self) -> None:
        """Close the file."""
        self._archive.close()

    def _reader(self) -> IO[bytes]:
        reader = self._archive.extractfile(self._member) if self._member else None
        if reader is None:
            raise InvalidInput("The backup holds something that is no file.", field="file")
        return reader


def _opened(file: Path) -> tarfile.TarFile:
    try:
        with _damage_told():
            return tarfile.open(file, mode="r:gz")
    except OSError as error:
        raise InvalidInput(f"{file} can't be read ({error.strerror}).", field="file") from error


@contextmanager
def _damage_told() -> Iterator[None]:
    try:
        yield
    except (tarfile.TarError, EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InvalidInput(
            "The file is not a whole backup of Scrubjay; use another.", field="file"
        ) from error


def _manifest(file: Path) -> BackupInfo:
    """What the file says it holds; reads all of it, so that damage is found before any change."""
    members = _Members(file)
    try:
        while (member := members.next()) is not None:
            if member.name == MANIFEST:
                return _parse_manifest(members.content())
    finally:
        members.close()
    raise InvalidInput(f"{file} is not a whole backup of Scrubjay; use another.", field="file")


def _parse_manifest(content: bytes) -> BackupInfo:
    try:
        info = BackupInfo(**json.loads(content))
    except (ValueError, TypeError) as error:
        raise InvalidInput("The backup's manifest can't be read.", field="file") from error
    if info.format != FORMAT:
        raise InvalidInput(
            f"The backup has form {info.format}; this Scrubjay reads {FORMAT}.", field="file"
        )
    return info


async def _unpack_table(session: AsyncSession, table: Table, members: _Members) -> int:
    lines = await to_thread.run_sync(members.lines)
    count = 0
    while batch := await to_thread.run_sync(lambda: list(islice(lines, BATCH))):
        await session.execute(insert(table), [_decoded(table, json.loads(line)) for line in batch])
        count += len(batch)
    return count


async def _unpack_blob(blobs: BlobStore, name: str, members: _Members) -> int:
    _, tenant_id, blob_hash = name.split("/", 2)
    content = await to_thread.run_sync(members.content)
    if await blobs.put(tenant_id, content) != blob_hash:
        raise InvalidInput("A document in the backup is damaged; use another.", field="file")
    return 1


def _encoded(table: Table, row: RowMapping) -> dict[str, Any]:
    return {column.name: _to_json(row[column.name]) for column in table.columns}


def _decoded(table: Table, row: Mapping[str, Any]) -> dict[str, Any]:
    return {column.name: _from_json(column, row[column.name]) for column in table.columns}


def _to_json(value: Any) -> Any:  # noqa: ANN401 (a column's own type)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return value


def _from_json(column: Column[Any], value: Any) -> Any:  # noqa: ANN401 (a column's own type)
    if value is None:
        return null() if isinstance(column.type, JSON) else None  # else JSON's own null is stored
    if isinstance(column.type, UtcDateTime):
        return datetime.fromisoformat(value)
    if isinstance(column.type, LargeBinary):
        return base64.b64decode(value)
    return value
