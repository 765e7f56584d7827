"""Bytes by content: what came in and the text parsed from it, keyed tenant and SHA-256.

`BlobStore` is the port; `folder.py` stores a file for each blob, `s3.py` an object. Blobs never
change: putting the same bytes again is free, and which of them are still needed is SQL's to know
(`scrubjay reconcile`). `tests/contracts/blobs.py` is the suite both pass.
"""

from __future__ import annotations

import re
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

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


def is_tenant(name: str) -> bool:
    """Whether a name may be a tenant's in a path."""
    return _TENANT.fullmatch(name) is not None
