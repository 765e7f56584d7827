"""Bytes by content: what came in and the text parsed from it, keyed tenant and SHA-256.

`BlobStore` is the port; `folder.py` stores a file for each blob, `s3.py` an object. Blobs never
change: putting the same bytes again is free, and which of them are still needed is SQL's to know
(`scrubjay reconcile`). `tests/contracts/blobs.py` is the suite both pass.
"""

from __future__ import annotations

import re
import secrets
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

from engine.errors import EngineError

PROBES = "_probe"  # in the place of a tenant, whose ids are no such words
_TENANT = re.compile(r"[a-z0-9_-]{1,64}")
BLOB_HASH = re.compile(r"[0-9a-f]{64}")


class BlobStore(Protocol):
    """The port. Hashes are SHA-256 in lower-case hexadecimal; unknown ones raise `NotFound`."""

    async def put(self, tenant_id: str, content: bytes | Path) -> str:
        """Store bytes, or a file's, durably; the hash to fetch them by."""

    async def get(self, tenant_id: str, blob_hash: str) -> bytes:
        """The whole blob."""

    def open_file(self, tenant_id: str, blob_hash: str) -> AbstractAsyncContextManager[Path]:
        """A local file with the blob's bytes, to be read only, and only inside the context."""

    async def exists(self, tenant_id: str, blob_hash: str) -> bool:
        """Whether the blob is stored."""

    async def delete(self, tenant_id: str, blob_hash: str) -> None:
        """Forget a blob; an unknown one is ignored."""

    async def delete_tenant(self, tenant_id: str) -> None:
        """Forget all blobs of a tenant."""

    async def tenants(self) -> list[str]:
        """The tenants that have blobs, sorted."""

    async def hashes(self, tenant_id: str, *, older_than_s: float = 0) -> list[str]:
        """Hashes of a tenant's blobs that were last put so long ago, sorted.

        A sweep for unneeded blobs passes an hour: what was put just now may be named by a
        transaction that has not committed yet.
        """


async def probe(blobs: BlobStore) -> str:
    """An empty text where bytes can be written and read back, else what is wrong."""
    content = secrets.token_bytes(16)  # new each time: bytes that are there are not written again
    try:
        blob_hash = await blobs.put(PROBES, content)
        same = await blobs.get(PROBES, blob_hash) == content
        await blobs.delete(PROBES, blob_hash)
    except EngineError as error:
        return str(error)
    return "" if same else "The store of files returns other bytes than it was given: check it."


def is_tenant(name: str) -> bool:
    """Whether a name may be a tenant's in a path."""
    return _TENANT.fullmatch(name) is not None


def is_listed(name: str) -> bool:
    """Whether a name in a store is a tenant's, to be listed, and not that of probes."""
    return is_tenant(name) and name != PROBES
