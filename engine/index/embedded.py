"""The embedded search index: immutable segments of numpy arrays in a folder, no service.

A folder a space (`root/<tenant>/<space>`). Writing goes through one thread (`writer.py`); searching
happens in the caller's worker threads over a snapshot (`snapshot.py`, `searching.py`), in any
process. `docs/decisions/0001-embedded-index.md` says why it is ours and what it costs.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.to_thread
import numpy as np

from engine import clock, threads
from engine.errors import EngineError, InvalidInput
from engine.index.arrays import Damaged, verify
from engine.index.legs import passing
from engine.index.manifest import read_manifest
from engine.index.port import (
    FieldUpdate,
    Filter,
    IndexDocument,
    IndexResult,
    IndexStats,
    RevisionRef,
    SearchRequest,
    Space,
    StoredFields,
)
from engine.index.searching import search
from engine.index.segments import revision_key, rows_with
from engine.index.snapshot import Snapshot, Snapshots, damaged
from engine.index.space import RETAIN_S, SpaceChanges
from engine.index.writer import IndexWriter

# Searches that compute at once; more would only take turns, and the event loop with them.
READERS = 2 * (os.cpu_count() or 1)

T = TypeVar("T")

_TENANT = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SPACE = re.compile(r"[a-z0-9_]{1,40}")


class EmbeddedIndex:
    """A `SearchIndex` in a folder. Any number of processes search it, one writes.

    `sync` False trades safety against a power cut for speed (a killed process loses nothing
    either way). `retain_s` is how long superseded files stay for readers. `admit` runs before
    every use of the folder, and raises where it is not the one to use.
    """

    def __init__(
        self,
        root: Path,
        *,
        sync: bool = True,
        retain_s: float = RETAIN_S,
        admit: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._root = root
        self._admit = admit or _anyone
        self._writer = IndexWriter(root, sync=sync, retain_s=retain_s)
        self._snapshots = Snapshots()
        self._readers: anyio.CapacityLimiter | None = None  # made in the loop that uses it
        self._verified: set[tuple[str, int]] = set()

    async def ensure_space(self, tenant_id: str, space: Space) -> None:
        """Make the space ready to be fed; no effect where it exists."""
        await self._change(tenant_id, space, SpaceChanges())

    async def drop_space(self, tenant_id: str, space: Space) -> None:
        """Remove a space and all its bytes."""
        await self._admit()
        await asyncio.wrap_future(self._writer.drop(self._folder(tenant_id, space)))

    async def drop_tenant(self, tenant_id: str) -> None:
        """Remove all spaces of a tenant."""
        await self._admit()
        await asyncio.wrap_future(self._writer.drop(self._tenant_folder(tenant_id)))

    async def feed(self, tenant_id: str, space: Space, documents: Sequence[IndexDocument]) -> None:
        """Store documents as one commit, replacing parts of the same id."""
        for document in documents:
            _check(document, space)
        if documents:
            await self._change(tenant_id, space, SpaceChanges(feed=documents))

    async def remove(self, tenant_id: str, space: Space, revisions: Sequence[RevisionRef]) -> None:
        """Forget all parts of these revisions; unknown ones are ignored."""
        if revisions and await self._exists(tenant_id, space):
            await self._change(tenant_id, space, SpaceChanges(remove=revisions))

    async def update_fields(
        self, tenant_id: str, space: Space, updates: Sequence[FieldUpdate]
    ) -> None:
        """Change fields without touching text or vectors; unknown revisions are ignored."""
        if updates and await self._exists(tenant_id, space):
            await self._change(tenant_id, space, SpaceChanges(update=updates))

    async def search(self, request: SearchRequest) -> IndexResult:
        """Find, score and order documents; an unknown space is empty."""
        now_s = clock.now().timestamp()

        def look(snapshot: Snapshot) -> IndexResult:
            return search(snapshot, request, now_s=now_s)

        return await self._read(
            request.tenant_id, request.space, look, IndexResult((), more=False, documents=0)
        )

    async def get(
        self, tenant_id: str, space: Space, revisions: Sequence[RevisionRef], where: Filter
    ) -> list[RevisionRef]:
        """Those of `revisions` that are stored and pass the filter, in the order given."""

        def look(snapshot: Snapshot) -> list[RevisionRef]:
            wanted = np.array([revision_key(ref) for ref in revisions], np.uint64)
            found: set[RevisionRef] = set()
            for segment in snapshot.segments:
                passes = passing(segment, where)
                rows = rows_with(segment.base.revision_keys, wanted)
                found.update(segment.base.ref(row) for row in rows[passes[rows]].tolist())
            return [ref for ref in revisions if ref in found]

        return await self._read(tenant_id, space, look, [])

    async def revisions(self, tenant_id: str, space: Space) -> dict[RevisionRef, int]:
        """Every stored revision and its number of chunks."""

        def look(snapshot: Snapshot) -> dict[RevisionRef, int]:
            counts: dict[RevisionRef, int] = {}
            for segment in snapshot.segments:
                sizes = np.diff(segment.base.chunk_starts).tolist()
                for row in np.flatnonzero(segment.live).tolist():
                    ref = segment.base.ref(row)
                    counts[ref] = counts.get(ref, 0) + sizes[row]
            return counts

        return await self._read(tenant_id, space, look, {})

    async def fields(self, tenant_id: str, space: Space) -> dict[RevisionRef, StoredFields | None]:
        """The fields of every stored revision; None where its parts differ."""

        def look(snapshot: Snapshot) -> dict[RevisionRef, StoredFields | None]:
            found: dict[RevisionRef, StoredFields | None] = {}
            for segment in snapshot.segments:
                for row in np.flatnonzero(segment.live).tolist():
                    ref, stored = segment.base.ref(row), segment.fields.stored(row)
                    found[ref] = stored if found.get(ref, stored) == stored else None
            return found

        return await self._read(tenant_id, space, look, {})

    async def stats(self, tenant_id: str, space: Space) -> IndexStats:
        """Counts of one space; zeros where it is unknown."""
        folder = self._folder(tenant_id, space)

        def look(snapshot: Snapshot) -> IndexStats:
            keys = [segment.base.revision_keys[segment.live] for segment in snapshot.segments]
            return IndexStats(
                documents=len(np.unique(np.concatenate(keys))) if keys else 0,
                chunks=snapshot.totals.chunks,
                vectors=snapshot.totals.vectors,
                size_bytes=sum(
                    (folder / name).stat().st_size for name in snapshot.manifest.files()
                ),
            )

        return await self._read(tenant_id, space, look, IndexStats(0, 0, 0, 0))

    async def health(self, tenant_id: str = "", space: Space | None = None) -> str:
        """An empty text when every file is what was written, else what is wrong and what to do.

        Of all that is stored, of a tenant, or of one space of a tenant. A file's bytes are
        compared with their checksums once; after that its size is checked.
        """
        await self._admit()
        return await threads.run_sync(self._health, tenant_id, space)

    def figures(self) -> Mapping[str, float]:
        """Nothing: what there is to know of the folder is in `stats`."""
        return {}

    async def purge(self) -> None:
        """Drop the bytes of everything removed so far, now."""
        await self._admit()
        if self._root.exists():
            await asyncio.wrap_future(self._writer.purge())

    async def aclose(self) -> None:
        """Finish queued writes and release files and threads; idempotent."""
        await anyio.to_thread.run_sync(self._writer.close)
        self._snapshots.close()

    def _tenant_folder(self, tenant_id: str) -> Path:
        if not _TENANT.fullmatch(tenant_id):
            raise InvalidInput(f"{tenant_id!r} is not a tenant id", field="tenant_id")
        return self._root / tenant_id

    def _folder(self, tenant_id: str, space: Space) -> Path:
        if not _SPACE.fullmatch(space.name):
            raise InvalidInput(f"{space.name!r} is not a space name", field="space")
        return self._tenant_folder(tenant_id) / space.name

    async def _exists(self, tenant_id: str, space: Space) -> bool:
        return await self._read(tenant_id, space, lambda _: True, missing=False)

    async def _change(self, tenant_id: str, space: Space, changes: SpaceChanges) -> None:
        folder = self._folder(tenant_id, space)
        await self._admit()
        await asyncio.wrap_future(self._writer.change(folder, space, changes))

    async def _read(
        self, tenant_id: str, space: Space, look: Callable[[Snapshot], T], missing: T
    ) -> T:
        folder = self._folder(tenant_id, space)
        await self._admit()

        def read() -> T:
            snapshot = self._snapshots.get(folder)
            if snapshot is None:
                return missing
            try:
                return look(snapshot)
            except (Damaged, IndexError) as error:  # bytes changed under the memory map
                raise damaged(folder, error) from error

        if self._readers is None:
            self._readers = anyio.CapacityLimiter(READERS)
        return await threads.run_sync(read, limiter=self._readers)

    def _health(self, tenant_id: str, space: Space | None) -> str:
        if not self._root.exists():
            return ""
        spaces = f"{tenant_id or '*'}/{space.name if space else '*'}/manifest"
        for folder in sorted(path.parent for path in self._root.glob(spaces)):
            try:
                self._verify(folder)
            except EngineError as error:
                return str(error)
        return ""

    def _verify(self, folder: Path) -> None:
        if self._snapshots.get(folder) is None:
            return
        try:
            names = [
                (name, (folder / name).stat().st_size) for name in read_manifest(folder).files()
            ]
            for key in names:
                if key not in self._verified:
                    verify(folder / key[0])
                    self._verified.add(key)
        except FileNotFoundError:  # a newer generation took it
            self._snapshots.get(folder)
        except Damaged as error:
            raise damaged(folder, error) from error


async def _anyone() -> None:
    """The folder is open to all."""


def _check(document: IndexDocument, space: Space) -> None:
    """Refuse vectors that would poison the space: of another dimension, or not finite."""
    for chunk in document.chunks:
        if chunk.vector is None:
            continue
        if chunk.vector.shape != (space.dimension,) or not np.isfinite(chunk.vector).all():
            raise InvalidInput(
                f"Chunk {chunk.ordinal} of document {document.document_id} has a vector of shape "
                f"{chunk.vector.shape}; space {space.name} takes {space.dimension} finite numbers.",
                field="vector",
            )
