"""One file that holds an installation: every row and every blob, to be restored on any database.

Rows are JSON lines, so that a backup of SQLite restores into PostgreSQL and the other way round.
They are read in one snapshot at whatever revision the database is (a backup is taken before it
migrates), and restored at that revision before they are migrated. The index is left out, it is
rebuilt from here by `scrubjay reconcile`; so is the secret key, unless it is asked for.

    tables/<name>.jsonl   blobs/<tenant>/<hash>   secret_key   manifest.json (the last)
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import re
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from anyio import to_thread
from sqlalchemy import (
    Boolean,
    Connection,
    DateTime,
    LargeBinary,
    MetaData,
    Table,
    delete,
    false,
    func,
    insert,
    select,
)
from sqlalchemy.types import TypeEngine

from engine import clock
from engine.blobs.port import BlobStore
from engine.db.migrations import connected, current_revision, migrate, present_name, refuse_unknown
from engine.db.session import parse_url
from engine.errors import Conflict, InvalidInput, NotFound, Unavailable
from engine.operations import index_home

FORMAT = 1
# The manifest says the revision; workers are processes; what is ephemeral is over by then; what
# components made can be made again.
_LEFT_OUT = {"alembic_version", "component_output", "ephemeral", "worker"}
_MEMBER = re.compile(
    r"tables/(?P<table>[a-z_]+)\.jsonl|blobs/(?P<tenant>[a-z0-9_-]{1,64})/(?P<hash>[0-9a-f]{64})"
    r"|secret_key"
)
_MANIFEST = "manifest.json"
# Which data folder holds the index of this database, whatever rows it is filled with.
_STAYS = ("setting", index_home.KEY)
_BATCH = 500  # rows an INSERT


@dataclass(frozen=True, slots=True)
class BackupManifest:
    """What a backup holds: `checksums` by member name (SHA-256), `rows` by table."""

    format: int
    revision: str
    created_at: str
    rows: dict[str, int]
    checksums: dict[str, str]


async def backup(
    url: str, blobs: BlobStore, file: Path, *, key_file: Path | None = None
) -> BackupManifest:
    """Write the database at `url` and all blobs into `file`, while both are in use.

    `key_file` adds the secret key: anyone who has the backup can then read stored credentials.
    The file appears only when it is complete; only its owner can read it.
    """
    with _disk_faults(file):
        await to_thread.run_sync(lambda: file.parent.mkdir(parents=True, exist_ok=True))
        with tempfile.TemporaryDirectory(dir=file.parent, prefix=".backup-") as name:
            folder = Path(name)
            revision, rows = await to_thread.run_sync(_dump_tables, url, folder)
            archive = _Archive(folder / "archive")
            try:
                for table in rows:
                    await to_thread.run_sync(
                        archive.add_file, f"tables/{table}.jsonl", folder / f"{table}.jsonl"
                    )
                await _add_blobs(archive, blobs)
                if key_file is not None:
                    await to_thread.run_sync(archive.add_file, "secret_key", key_file)
                manifest = BackupManifest(
                    FORMAT, revision, clock.now().isoformat(), rows, archive.checksums
                )
                await to_thread.run_sync(archive.finish, manifest)
            finally:
                await to_thread.run_sync(archive.close)
            await to_thread.run_sync(archive.path.replace, file)
    return manifest


async def restore(
    file: Path,
    url: str,
    blobs: BlobStore,
    *,
    key_file: Path | None = None,
    force: bool = False,
) -> BackupManifest:
    """Put back what `backup` wrote, at today's revision; then the index is to be reconciled.

    The whole file is checked first. Raises `Conflict` where the database has tenants already;
    `force` replaces all its rows. Rows change in one transaction: a failure leaves the old ones.
    A secret key in the backup goes to `key_file`, which then must not exist unless forced.
    """
    manifest = await to_thread.run_sync(read_manifest, file)
    refuse_unknown(manifest.revision, f"The backup {file}")
    if "secret_key" not in manifest.checksums:
        key_file = None
    if not force:
        await to_thread.run_sync(_refuse_used, url, key_file)
    with _open_archive(file) as archive:
        while (member := await to_thread.run_sync(archive.next)) is not None:
            match = _MEMBER.fullmatch(member.name)
            if match and match["hash"]:
                content = await to_thread.run_sync(_content, archive, member)
                await blobs.put(match["tenant"], content)
            elif member.name == "secret_key" and key_file is not None:
                await to_thread.run_sync(_write_key, key_file, _content(archive, member))
    await to_thread.run_sync(_load_tables, file, url, manifest)
    return manifest


def read_manifest(file: Path) -> BackupManifest:
    """What a backup says it holds, once everything in it is checked against that."""
    found: dict[str, str] = {}
    manifest: BackupManifest | None = None
    with _open_archive(file) as archive:
        while (member := archive.next()) is not None:
            if manifest is not None or not member.isreg():
                raise InvalidInput(
                    f"{file} is not a backup: {member.name!r} is not where it should be."
                )
            if member.name == _MANIFEST:
                manifest = _parse_manifest(_content(archive, member))
                continue
            match = _MEMBER.fullmatch(member.name)
            if match is None:
                raise InvalidInput(f"{file} is not a backup: it contains {member.name!r}.")
            reader = archive.extractfile(member)
            digest = hashlib.file_digest(reader, "sha256").hexdigest()  # type: ignore[arg-type]
            if match["hash"] and match["hash"] != digest:
                raise InvalidInput(f"{file} is damaged at {member.name}; use another backup.")
            found[member.name] = digest
    if manifest is None:
        raise InvalidInput(f"{file} is truncated; use another backup.")
    if found != manifest.checksums:
        wrong = sorted(name for name, _ in found.items() ^ manifest.checksums.items())
        raise InvalidInput(f"{file} is damaged at {wrong[0]}; use another backup.")
    return manifest


class _Archive:
    """A tar.gz being written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checksums: dict[str, str] = {}
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        self._file = os.fdopen(descriptor, "wb")
        # Level 1: blobs are mostly compressed already, and rows shrink tenfold even so.
        self._tar = tarfile.open(fileobj=self._file, mode="w:gz", compresslevel=1)  # noqa: SIM115

    def add_file(self, name: str, source: Path) -> None:
        with source.open("rb") as file:
            self.checksums[name] = hashlib.file_digest(file, "sha256").hexdigest()
            file.seek(0)
            self._add(name, os.fstat(file.fileno()).st_size, file)

    def finish(self, manifest: BackupManifest) -> None:
        text = json.dumps(asdict(manifest), indent=1).encode()
        self._add(_MANIFEST, len(text), io.BytesIO(text))
        self._tar.close()
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()

    def _add(self, name: str, size: int, content: Any) -> None:  # noqa: ANN401 (a binary file)
        member = tarfile.TarInfo(name)
        member.size, member.mode = size, 0o600
        self._tar.addfile(member, content)


async def _add_blobs(archive: _Archive, blobs: BlobStore) -> None:
    # After the rows: every blob they name is there, but for one swept this moment.
    for tenant_id in await blobs.tenants():
        for blob_hash in await blobs.hashes(tenant_id):
            try:
                async with blobs.open_file(tenant_id, blob_hash) as path:
                    name = f"blobs/{tenant_id}/{blob_hash}"
                    await to_thread.run_sync(archive.add_file, name, path)
            except (NotFound, FileNotFoundError):
                continue


def _dump_tables(url: str, folder: Path) -> tuple[str, dict[str, int]]:
    """The revision and the number of rows of each table, parents first."""
    revision = current_revision(url)
    if revision is None:
        raise NotFound("There is nothing to back up: the database has no tables yet.")
    rows: dict[str, int] = {}
    with connected(parse_url(url), snapshot=True) as connection:
        for table in _tables(connection):
            with (folder / f"{table.name}.jsonl").open("w", encoding="utf-8") as out:
                rows[table.name] = 0
                result = connection.execution_options(yield_per=1000).execute(select(table))
                for row in result.mappings():
                    line = {key: _to_json(value) for key, value in row.items()}
                    out.write(json.dumps(line, ensure_ascii=False) + "\n")
                    rows[table.name] += 1
    return revision, rows


def _load_tables(file: Path, url: str, manifest: BackupManifest) -> None:
    parsed = parse_url(url)
    recorded = current_revision(url)
    if recorded is None:
        migrate(url, revision=manifest.revision)
    elif present_name(recorded) != present_name(manifest.revision):
        raise Conflict(
            "The database has another version's tables: restore into a new one (another data "
            "folder or an empty database), which is then migrated."
        )
    with connected(parsed) as connection:
        tables = {table.name: table for table in _tables(connection)}
        for table in reversed(tables.values()):
            stays = table.c.key == _STAYS[1] if table.name == _STAYS[0] else false()
            connection.execute(delete(table).where(~stays))
        with _open_archive(file) as archive:
            while (member := archive.next()) is not None:
                match = _MEMBER.fullmatch(member.name)
                if match and match["table"]:
                    _load(connection, tables[match["table"]], _lines(archive, member))
        connection.commit()
    migrate(url)


def _load(connection: Connection, table: Table, lines: Iterator[bytes]) -> None:
    naive = connection.dialect.name == "sqlite"
    types = {column.name: column.type for column in table.columns}
    while batch := list(islice(lines, _BATCH)):
        rows = [
            {key: _from_json(value, types[key], naive) for key, value in json.loads(line).items()}
            for line in batch
        ]
        if table.name == _STAYS[0]:
            rows = [row for row in rows if row["key"] != _STAYS[1]]
        if not rows:
            continue
        connection.execute(insert(table), rows)


def _tables(connection: Connection) -> list[Table]:
    metadata = MetaData()
    metadata.reflect(connection)
    return [table for table in metadata.sorted_tables if table.name not in _LEFT_OUT]


def _to_json(value: object) -> object:
    if isinstance(value, datetime):
        aware = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
        return aware.isoformat()
    if isinstance(value, bytes | memoryview):
        return base64.b64encode(value).decode()
    return value


def _from_json(value: Any, kind: TypeEngine[Any], naive: bool) -> Any:  # noqa: ANN401
    if value is None:
        return None
    if isinstance(kind, DateTime):
        at = datetime.fromisoformat(value)
        return at.replace(tzinfo=None) if naive else at
    if isinstance(kind, LargeBinary):
        return base64.b64decode(value)
    return bool(value) if isinstance(kind, Boolean) else value


def _refuse_used(url: str, key_file: Path | None) -> None:
    if key_file is not None and key_file.exists():
        raise Conflict(f"{key_file} exists: restore into an empty data folder, or use --force.")
    if current_revision(url) is None:
        return
    with connected(parse_url(url)) as connection:
        (tenant,) = (table for table in _tables(connection) if table.name == "tenant")
        if connection.scalar(select(func.count()).select_from(tenant)):
            raise Conflict(
                "The database has data already: restore into an empty data folder, or use --force "
                "to replace everything in it."
            )


def _write_key(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".key-")  # mode 0600
    with os.fdopen(descriptor, "wb") as out:
        out.write(content)
    Path(name).replace(path)


def _parse_manifest(content: bytes) -> BackupManifest:
    try:
        manifest = BackupManifest(**json.loads(content))
    except (ValueError, TypeError) as error:
        raise InvalidInput("The backup's manifest can't be read; use another backup.") from error
    if manifest.format != FORMAT:
        raise InvalidInput(f"The backup has format {manifest.format}; this version reads {FORMAT}.")
    return manifest


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    reader = archive.extractfile(member)
    return b"" if reader is None else reader.read()


def _lines(archive: tarfile.TarFile, member: tarfile.TarInfo) -> Iterator[bytes]:
    reader = archive.extractfile(member)
    return iter(()) if reader is None else iter(reader)


@contextmanager
def _open_archive(file: Path) -> Iterator[tarfile.TarFile]:
    """A stream over the archive; nothing in it is ever extracted by its name."""
    try:
        with tarfile.open(file, "r|gz") as archive:
            yield archive
    except FileNotFoundError as error:
        raise NotFound(f"There is no backup {file}.") from error
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise InvalidInput(f"{file} is not a backup, or is damaged; use another one.") from error


@contextmanager
def _disk_faults(file: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Unavailable(
            f"The backup {file} can't be written ({error.strerror}); free some space or choose "
            "another place."
        ) from error
