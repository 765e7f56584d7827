"""The embedding cache: vectors by tenant, space and text, in SQL.

The ingestion's Embedder looks here before it embeds, and an index is rebuilt from here without
the model. Tenants don't share entries: whether a text is known would tell one about another.
Statements are plain SQL over columns; mapped objects would cost more than the rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import LargeBinary, bindparam, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from engine.db.tables import Embedding
from engine.index.port import Space

_LOOK_UP = 500  # hashes a statement; twice that gained nothing when measured on SQLite

_select = select(Embedding.text_hash, Embedding.vector).where(
    Embedding.tenant_id == bindparam("tenant_id"),
    Embedding.space == bindparam("space"),
    Embedding.text_hash.in_(bindparam("hashes", type_=LargeBinary(16), expanding=True)),
)

_insert = {
    "postgresql": postgresql.insert(Embedding).on_conflict_do_nothing(),
    "sqlite": sqlite.insert(Embedding).on_conflict_do_nothing(),
}


def text_hash(text: str) -> bytes:
    """The key of a text: BLAKE2b-128 of exactly what is embedded."""
    return blake2b(text.encode("utf-8"), digest_size=16).digest()


async def get_many(
    session: AsyncSession, tenant_id: str, space: Space, hashes: Sequence[bytes]
) -> dict[bytes, NDArray[np.float32]]:
    """The vectors known, by hash; hashes that are not known are left out."""
    wanted = list(dict.fromkeys(hashes))
    connection = await session.connection()
    found: dict[bytes, NDArray[np.float32]] = {}
    for start in range(0, len(wanted), _LOOK_UP):
        some = wanted[start : start + _LOOK_UP]
        rows = await connection.execute(
            _select, {"tenant_id": tenant_id, "space": space.name, "hashes": some}
        )
        for key, data in rows:
            vector = np.frombuffer(data, "<f4")
            if vector.size == space.dimension:  # else written by another model of that name
                found[bytes(key)] = vector
    return found


async def put_many(
    session: AsyncSession,
    tenant_id: str,
    space: Space,
    hashes: Sequence[bytes],
    vectors: NDArray[np.float32],
) -> None:
    """Remember vectors, the i'th for the i'th hash; those known already stay as they are."""
    if vectors.shape != (len(hashes), space.dimension):
        raise ValueError(f"{vectors.shape} vectors for {len(hashes)} hashes in {space}")
    if not hashes:
        return
    data = np.ascontiguousarray(vectors, dtype="<f4")
    connection = await session.connection()
    await connection.execute(
        _insert[connection.dialect.name],
        [
            {"tenant_id": tenant_id, "space": space.name, "text_hash": key, "vector": row.tobytes()}
            for key, row in zip(hashes, data, strict=True)
        ],
    )
