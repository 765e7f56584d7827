"""Everything of one tenant as a readable archive: a zip of JSON lines, and its files as they came in.

    tenant.json        what it is, when it was exported, how many rows a table has
    rows/<table>.jsonl one object a row; texts are texts, times are ISO 8601 in UTC
    files/<sha256>     the bytes of uploads and attachments; rows/revision.jsonl names them

Secrets are left out (`is_secret`), and so is what is made again from the rest (`DERIVED`).
"""

from __future__ import annotations

import json
import re
import zipfile
import zlib
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import anyio.to_thread
from sqlalchemy import Table, and_, or_, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from engine import clock
from engine.access import gate
from engine.blobs.port import BlobStore
from engine.db.session import Database
from engine.db.tables import Base, Membership, Tenant, User
from engine.domain import Principal
from engine.errors import NotFound

BATCH = 500  # rows a query
# Nothing of these rows is for reading: what proves who somebody is.
SECRET_TABLES = frozenset(
    {
        "factor",
        "one_time_link",
        "recovery_code",
        "session",
        "sign_in_attempt",
        "workflow_secret",
    }
)
_SECRET = re.compile(r"secret|password|digest|api_key|private_key|credential")
_NOT_SECRET = frozenset({("acl", "digest"), ("audit_event", "digest"), ("audit_head", "digest")})
DERIVED = frozenset({"component_output", "embedding", "index_placement"})
_COMPRESSED = frozenset({("revision_text", "body")})  # zlib, UTF-8


async def export_tenant(
    db: Database, blobs: BlobStore, principal: Principal, key: str, path: Path
) -> dict[str, int]:
    """Write a tenant's archive to `path`, for who runs the installation; how much is in it."""

    async def find(session: AsyncSession) -> Tenant:
        await gate.require_operator(session, principal)
        named = (or_(Tenant.key == key, Tenant.id == key), Tenant.deleted_at.is_(None))
        tenant = await session.scalar(select(Tenant).where(*named))
        if tenant is None:
            raise NotFound(f"No tenant {key!r}. `scrubjay tenant list` names them.")
        return tenant

    tenant = await db.run_read(find)
    await db.run_write(
        lambda session: gate.audit(
            session, principal, "tenant.export", tenant.id, {"key": tenant.key}
        )
    )
    return await _write_archive(db, blobs, tenant, path)


async def _write_archive(
    db: Database, blobs: BlobStore, tenant: Tenant, path: Path
) -> dict[str, int]:
    counts: dict[str, int] = {}
    in_thread = anyio.to_thread.run_sync
    archive = zipfile.ZipFile(path, "w", compression=zipfile.ZIP_DEFLATED)
    try:
        for table in Base.metadata.sorted_tables:
            if table.name in SECRET_TABLES | DERIVED or "tenant_id" not in table.c:
                continue
            with archive.open(f"rows/{table.name}.jsonl", "w", force_zip64=True) as file:
                counts[table.name] = 0
                async for lines in _lines(db, table, tenant.id):
                    counts[table.name] += len(lines)
                    await in_thread(file.write, "".join(lines).encode())
        people = await db.run_read(lambda session: _people(session, tenant.id))
        counts["user"] = len(people)
        await in_thread(archive.writestr, "rows/user.jsonl", "".join(map(_line, people)))
        hashes = await blobs.hashes(tenant.id)
        for blob_hash in hashes:
            async with blobs.open_file(tenant.id, blob_hash) as file:
                await in_thread(archive.write, file, f"files/{blob_hash}")
        counts["files"] = len(hashes)
        about = {
            "key": tenant.key,
            "name": tenant.name,
            "created_at": tenant.created_at.isoformat(),
            "settings": tenant.settings,
            "exported_at": clock.now().isoformat(),
            "rows": counts,
        }
        await in_thread(archive.writestr, "tenant.json", json.dumps(about, indent=2))
    finally:
        await in_thread(archive.close)
    return counts


def is_secret(table: str, column: str) -> bool:
    """Whether a column is left out: by its name, so that a new one is from its first day on."""
    return bool(_SECRET.search(column)) and (table, column) not in _NOT_SECRET


async def _lines(db: Database, table: Table, tenant_id: str) -> AsyncIterator[list[str]]:
    """The rows of a table as JSON lines, some at a time, in the order of their key."""
    shown = [column for column in table.c if not is_secret(table.name, column.name)]
    key = list(table.primary_key.columns)
    after: tuple[Any, ...] | None = None
    while True:
        where = [table.c.tenant_id == tenant_id]
        if after is not None:
            where.append(tuple_(*key) > tuple_(*after))
        query = select(*shown, *(c.label(f"_key_{c.name}") for c in key))
        query = query.where(and_(*where)).order_by(*key).limit(BATCH)

        async def read(session: AsyncSession, query: Any = query) -> list[Any]:  # noqa: ANN401
            return list((await session.execute(query)).mappings())

        rows = await db.run_read(read)
        if not rows:
            return
        yield [
            _line({c.name: _plain(table.name, c.name, row[c.name]) for c in shown}) for row in rows
        ]
        after = tuple(rows[-1][f"_key_{c.name}"] for c in key)


async def _people(session: AsyncSession, tenant_id: str) -> list[dict[str, Any]]:
    """Its members, with nothing of the other tenants they are in."""
    rows = await session.execute(
        select(User.id, User.email, User.name)
        .join(Membership, Membership.user_id == User.id)
        .where(Membership.tenant_id == tenant_id)
        .order_by(User.id)
    )
    return [{"id": row.id, "email": row.email, "name": row.name} for row in rows]


def _line(row: Mapping[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False) + "\n"


def _plain(table: str, column: str, value: Any) -> Any:  # noqa: ANN401 (any column's)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, bytes):
        if (table, column) in _COMPRESSED:
            return zlib.decompress(value).decode()
        return value.hex()
    return value
