"""Blobs in a folder, a file each: `<root>/<tenant>/<2 digits>/<hash>`."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TypeVar

from engine import threads
from engine.blobs.port import BLOB_HASH, is_listed, is_tenant
from engine.errors import InvalidInput, NotFound, Unavailable

T = TypeVar("T")

_LEFTOVER_AGE_S = 86_400  # a half-written file older than this belongs to a process that died


class FolderBlobs:
    """A `BlobStore` over a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._swept = False

    async def put(self, tenant_id: str, content: bytes | Path) -> str:
        """Store bytes, or a file's; the hash to fetch them by."""
        folder = self._folder(tenant_id)
        return await _in_thread(lambda: self._put(folder, content))

    async def get(self, tenant_id: str, blob_hash: str) -> bytes:
        """The whole blob."""
        path = self._path(tenant_id, blob_hash)
        return await _in_thread(path.read_bytes, absent=f"There is no blob {blob_hash}.")

    @asynccontextmanager
    async def open_file(self, tenant_id: str, blob_hash: str) -> AsyncIterator[Path]:
        """The blob's own file."""
        if not await self.exists(tenant_id, blob_hash):
            raise NotFound(f"There is no blob {blob_hash}.")
        yield self._path(tenant_id, blob_hash)

    async def exists(self, tenant_id: str, blob_hash: str) -> bool:
        """Whether the blob is stored."""
        return await _in_thread(self._path(tenant_id, blob_hash).is_file)

    async def delete(self, tenant_id: str, blob_hash: str) -> None:
        """Forget a blob."""
        path = self._path(tenant_id, blob_hash)
        await _in_thread(lambda: path.unlink(missing_ok=True))

    async def delete_tenant(self, tenant_id: str) -> None:
        """Forget all blobs of a tenant."""
        folder = self._folder(tenant_id)
        await _in_thread(lambda: shutil.rmtree(folder) if folder.exists() else None)

    async def tenants(self) -> list[str]:
        """The tenants that have blobs, sorted."""
        return await _in_thread(
            lambda: sorted(entry.name for entry in _entries(self.root) if is_listed(entry.name))
        )

    async def hashes(self, tenant_id: str, *, older_than_s: float = 0) -> list[str]:
        """Hashes of a tenant's blobs that were last put so long ago, sorted."""
        folder = self._folder(tenant_id)
        before = time.time() - older_than_s

        def find() -> list[str]:
            return sorted(
                entry.name
                for fan in _entries(folder)
                for entry in _entries(Path(fan.path))
                if BLOB_HASH.fullmatch(entry.name) and entry.stat().st_mtime <= before
            )

        return await _in_thread(find)

    def _put(self, folder: Path, content: bytes | Path) -> str:
        incoming = self.root / ".incoming"
        incoming.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._sweep(incoming)
        if isinstance(content, Path):
            with content.open("rb") as file:
                blob_hash = hashlib.file_digest(file, "sha256").hexdigest()
        else:
            blob_hash = hashlib.sha256(content).hexdigest()
        target = folder / blob_hash[:2] / blob_hash
        if target.exists():
            os.utime(target)  # a sweep under way must see that it is wanted again
            return blob_hash
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=incoming)
        try:
            with open(descriptor, "wb") as out:  # noqa: PTH123 (it is open already)
                _copy(content, blob_hash, out.write)
                out.flush()
                os.fsync(out.fileno())
            Path(name).replace(target)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        return blob_hash

    def _sweep(self, incoming: Path) -> None:
        if self._swept:
            return
        self._swept = True
        before = time.time() - _LEFTOVER_AGE_S
        for entry in _entries(incoming):
            with suppress(FileNotFoundError):  # another thread has put it in its place meanwhile
                if entry.stat().st_mtime < before:
                    Path(entry.path).unlink(missing_ok=True)

    def _folder(self, tenant_id: str) -> Path:
        if not is_tenant(tenant_id):
            raise InvalidInput(f"{tenant_id!r} is not a tenant id.", field="tenant_id")
        return self.root / tenant_id

    def _path(self, tenant_id: str, blob_hash: str) -> Path:
        if not BLOB_HASH.fullmatch(blob_hash):
            raise InvalidInput(f"{blob_hash!r} is not a SHA-256.", field="blob_hash")
        return self._folder(tenant_id) / blob_hash[:2] / blob_hash


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _copy(content: bytes | Path, blob_hash: str, write: Callable[[bytes], int]) -> None:
    if isinstance(content, bytes):
        write(content)
        return
    digest = hashlib.sha256()
    with content.open("rb") as file:
        while piece := file.read(1 << 20):
            write(piece)
            digest.update(piece)
    if digest.hexdigest() != blob_hash:
        raise InvalidInput("The file changed while it was read; add it again.")


async def _in_thread(work: Callable[[], T], *, absent: str = "") -> T:
    try:
        return await threads.run_sync(work)
    except FileNotFoundError as error:
        raise NotFound(absent or f"There is no file {error.filename}.") from error
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise Unavailable(
                "The disk is full: free some space and try again; nothing accepted so far is lost."
            ) from error
        raise Unavailable(
            f"The blob folder can't be used ({error.strerror}): check its disk and permissions."
        ) from error
