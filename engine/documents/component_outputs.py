"""What components made of a content, by tenant, content and what else went in.

A changed pipeline finds here what it does not have to do again: a parsed file, what a language
model read out of it, where its subject changes. Components decide what is worth keeping
(`ingestion/`); an entry goes when a document of its content is deleted.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from engine.db.session import upsert
from engine.db.tables import ComponentOutput, Document, Revision

BODY_MAX = 16 * 1024 * 1024  # bytes of one entry, compressed


@dataclass(frozen=True, slots=True)
class Made:
    """An entry: `body` was made by `component` of the content `source_hash` with `key`."""

    source_hash: str
    key: bytes
    component: str
    body: bytes


def key_of(component: str, **went_in: Any) -> bytes:  # noqa: ANN401 (JSON)
    """The key of a component's output: its type and all that it depends on beside the content."""
    text = json.dumps([component, went_in], sort_keys=True, separators=(",", ":"))
    return blake2b(text.encode(), digest_size=16).digest()


async def get(session: AsyncSession, tenant_id: str, source_hash: str, key: bytes) -> bytes | None:
    """The body kept under a key, or None."""
    body = await session.scalar(
        select(ComponentOutput.body).where(
            ComponentOutput.tenant_id == tenant_id,
            ComponentOutput.source_hash == source_hash,
            ComponentOutput.key == key,
        )
    )
    return None if body is None else zlib.decompress(body)


def pack(source_hash: str, key: bytes, component: str, body: bytes) -> Made | None:
    """An entry ready to be kept; None where it would be too large."""
    packed = zlib.compress(body, level=1)
    return Made(source_hash, key, component, packed) if len(packed) <= BODY_MAX else None


async def put(session: AsyncSession, tenant_id: str, made: Made) -> None:
    """Keep an entry; the same one again changes nothing."""
    values = {
        "tenant_id": tenant_id,
        "source_hash": made.source_hash,
        "key": made.key,
        "component": made.component,
        "body": made.body,
    }
    await session.execute(upsert(session, ComponentOutput).values(values).on_conflict_do_nothing())


async def forget(session: AsyncSession, document_id: str) -> None:
    """Drop what was made of a document's contents, and what was read out of them.

    Another document of the same content pays once.
    """
    document = await session.get(Document, document_id)
    if document is not None and "extracted" in document.details:
        document.details = {k: v for k, v in document.details.items() if k != "extracted"}
    mine = select(Revision.blob_hash, Revision.tenant_id).where(
        Revision.document_id == document_id, Revision.blob_hash != ""
    )
    for source_hash, tenant_id in set(await session.execute(mine)):
        await session.execute(
            delete(ComponentOutput).where(
                ComponentOutput.tenant_id == tenant_id,
                ComponentOutput.source_hash == source_hash,
            )
        )
