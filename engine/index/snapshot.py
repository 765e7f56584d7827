"""What a search sees: all segments of a space at one generation, opened.

`Snapshots` keeps one a space and follows the manifest, whichever process wrote it. Segments that two
generations share stay open; the rest go with the last search that uses them.
"""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.errors import IndexDamaged, Unavailable
from engine.index.arrays import Damaged
from engine.index.fields import Fields
from engine.index.manifest import SpaceManifest, read_head, read_manifest
from engine.index.segments import Segment, SegmentEntry, SegmentFile, Totals, load_dead

OPEN_SPACES = 64  # snapshots kept; the least recently searched are closed
BM25_K1 = 1.2
BM25_B = 0.75


@dataclass(frozen=True)
class Snapshot:
    """All segments at one generation, with what scoring needs of the whole."""

    manifest: SpaceManifest
    segments: tuple[Segment, ...]
    _norms: dict[int, NDArray[np.float32]] = field(default_factory=dict)

    @cached_property
    def totals(self) -> Totals:
        """Counts over all live rows."""
        parts = [segment.totals for segment in self.segments]
        return Totals(
            *(sum(getattr(part, name) for part in parts) for name in Totals.__dataclass_fields__)
        )

    @cached_property
    def languages(self) -> list[str]:
        """The languages whose stems live documents hold, the most common first: every one.

        A query is spelt in each, so that no document is out of reach for being alone in its own.
        """
        counts: Counter[str] = Counter()
        for segment in self.segments:
            counts.update(segment.languages)
        return [language for language, count in counts.most_common() if count]

    @cached_property
    def bases(self) -> list[int]:
        """Where each segment's documents begin when all are counted through."""
        sizes = [segment.base.documents for segment in self.segments]
        return [0, *np.cumsum(sizes, dtype=np.int64).tolist()]

    @cached_property
    def siblings(self) -> dict[int, NDArray[np.int64]]:
        """Documents (counted through) of each revision that has several parts, first part's first.

        Keyed by every one of them.
        """
        keys = [segment.base.revision_keys[segment.live] for segment in self.segments]
        rows = [
            base + np.flatnonzero(segment.live)
            for base, segment in zip(self.bases, self.segments, strict=False)
        ]
        later = [
            segment.base.revision_keys[segment.live & (segment.base.parts > 0)]
            for segment in self.segments
        ]
        if not any(map(len, later)):
            return {}
        all_keys, all_rows = np.concatenate(keys), np.concatenate(rows)
        several = np.isin(all_keys, np.unique(np.concatenate(later)))
        all_keys, all_rows = all_keys[several], all_rows[several]
        order = np.lexsort((all_rows, all_keys))
        all_keys, all_rows = all_keys[order], all_rows[order]
        groups = np.split(all_rows, np.flatnonzero(np.diff(all_keys)) + 1)
        return {row: group for group in groups if len(group) > 1 for row in group.tolist()}

    @cached_property
    def extra_parts(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Documents that are not the first of their revision, and that first one."""
        firsts = {row: int(group[0]) for row, group in self.siblings.items() if row != group[0]}
        extra = np.fromiter(firsts.keys(), np.int64, len(firsts))
        return extra, np.fromiter(firsts.values(), np.int64, len(firsts))

    def chunk_norms(self, index: int) -> NDArray[np.float32]:
        """BM25's length term of each chunk of a segment: k1 · (1 - b + b · length / mean)."""
        if index not in self._norms:
            mean = self.totals.chunk_terms / max(self.totals.chunks, 1)
            self._norms[index] = _norms(self.segments[index].base.chunk_lengths, mean)
        return self._norms[index]

    def title_norms(self, index: int) -> NDArray[np.float32]:
        """The same for titles."""
        key = -1 - index
        if key not in self._norms:
            mean = self.totals.title_terms / max(self.totals.documents, 1)
            self._norms[key] = _norms(self.segments[index].base.title_lengths, mean)
        return self._norms[key]


def _norms(lengths: NDArray[np.int32], mean: float) -> NDArray[np.float32]:
    share = lengths.astype(np.float32) / np.float32(max(mean, 1e-9))
    return np.float32(BM25_K1) * (np.float32(1 - BM25_B) + np.float32(BM25_B) * share)


class Snapshots:
    """The newest snapshot of each space, for any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: OrderedDict[Path, Snapshot] = OrderedDict()

    def get(self, folder: Path) -> Snapshot | None:
        """The space as the last commit left it, or None where there is no such space.

        Raises `IndexDamaged`, and `Unavailable` where the system refuses the files.
        """
        try:
            return self._newest(folder)
        except (Damaged, FileNotFoundError) as error:
            raise damaged(folder, error) from error
        except OSError as error:
            reason = error.strerror or error
            raise Unavailable(
                f"The index folder {folder} can't be opened now: {reason}."
            ) from error

    def close(self) -> None:
        """Forget all snapshots; searches under way keep theirs."""
        with self._lock:
            self._open.clear()

    def _newest(self, folder: Path) -> Snapshot | None:
        head = read_head(folder)
        with self._lock:
            known = self._open.get(folder)
            if known is not None and known.manifest.head == head:
                self._open.move_to_end(folder)
                return known
        if head is None:
            with self._lock:
                self._open.pop(folder, None)
            return None
        snapshot = _open_retrying(folder, known)
        with self._lock:
            self._open[folder] = snapshot
            self._open.move_to_end(folder)
            while len(self._open) > OPEN_SPACES:
                self._open.popitem(last=False)
        return snapshot


def open_snapshot(folder: Path, manifest: SpaceManifest, known: Snapshot | None = None) -> Snapshot:
    """Open all that a manifest names, taking from `known` what is open already.

    Raises `Damaged`, and FileNotFoundError where a file is gone.
    """
    old = {segment.entry.base: segment for segment in known.segments} if known else {}
    try:
        segments = tuple(_open_segment(folder, entry, old) for entry in manifest.segments)
    except (KeyError, TypeError, ValueError) as error:  # whole, but not what this version writes
        raise Damaged(f"a file is not as expected ({error!r})") from error
    return Snapshot(manifest, segments)


def _open_retrying(folder: Path, known: Snapshot | None) -> Snapshot:
    try:
        return open_snapshot(folder, read_manifest(folder), known)
    except FileNotFoundError:  # a newer generation took the files between the two reads
        return open_snapshot(folder, read_manifest(folder), known)


def _open_segment(folder: Path, entry: SegmentEntry, old: Mapping[str, Segment]) -> Segment:
    known = old.get(entry.base)
    if known is not None and known.entry == entry:
        return known
    base = known.base if known else SegmentFile.load(folder / entry.base)
    fields = (
        known.fields
        if known and known.entry.fields == entry.fields
        else Fields.load(folder / entry.fields)
    )
    dead = load_dead(folder / entry.dead) if entry.dead else None
    if base.documents != entry.documents or base.chunks != entry.chunks:
        raise Damaged(f"{entry.base} does not match the manifest")
    return Segment(entry, base, fields, dead)


def damaged(folder: Path, error: Exception) -> IndexDamaged:
    """The error a person sees when a folder can't be read."""
    reason = str(error) if isinstance(error, Damaged) else repr(error)
    if isinstance(error, FileNotFoundError):
        reason = f"{Path(error.filename).name} is missing"
    return IndexDamaged(
        f"The index folder {folder} can't be read ({reason}). "
        "Nothing is lost: `scrubjay reconcile` rebuilds it from the database."
    )
