"""The write side of one space: applies changes as one commit, installs merges, removes old files.

Only the writer's thread calls it. A commit writes new files, then swaps the manifest; whatever
happens before the swap never happened. Files left behind stay for readers a while (`RETAIN_S`).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.clock import new_id
from engine.errors import Conflict
from engine.index.arrays import Damaged
from engine.index.fields import Fields, Mask
from engine.index.manifest import SpaceManifest, read_manifest, write_manifest
from engine.index.merging import Merged
from engine.index.port import FieldUpdate, IndexDocument, RevisionRef, Space
from engine.index.segments import (
    Segment,
    SegmentEntry,
    SegmentFile,
    build,
    part_key,
    revision_key,
    rows_with,
    save,
    save_dead,
)
from engine.index.snapshot import open_snapshot

RETAIN_S = 60.0  # a superseded file stays: a reader may just have read the manifest that names it

PartId = tuple[str, str, int]


@dataclass(frozen=True, slots=True)
class SpaceChanges:
    """What one call wants done, of one kind."""

    feed: Sequence[IndexDocument] = ()
    remove: Sequence[RevisionRef] = ()
    update: Sequence[FieldUpdate] = ()


@dataclass
class _SegmentState:
    """A segment while a commit is being prepared."""

    segment: Segment
    fields: Fields
    dead: Mask

    @property
    def is_spent(self) -> bool:
        return bool(self.dead.all())


class SpaceWriter:
    """The one writer of a space's folder."""

    def __init__(self, folder: Path, space: Space, *, sync: bool, retain_s: float) -> None:
        """Open the folder, making it where there is none, and clear leftovers.

        Raises `Damaged` where it can't be read.
        """
        self.folder = folder
        self._sync = sync
        self._retain_s = retain_s
        self._retired: list[tuple[float, str]] = []
        folder.mkdir(parents=True, exist_ok=True)
        try:
            manifest = read_manifest(folder)
        except FileNotFoundError:
            manifest = SpaceManifest(space, epoch=new_id())
            write_manifest(folder, manifest, sync=sync)
        try:
            snapshot = open_snapshot(folder, manifest)
        except FileNotFoundError as error:
            raise Damaged(f"{Path(error.filename).name} is missing") from error
        self._manifest = manifest
        self._segments = list(snapshot.segments)
        self._clear_leftovers()

    def check_dimension(self, space: Space) -> None:
        """Raise `Conflict` where the space holds vectors of another dimension."""
        held = self._manifest.space.dimension
        if held != space.dimension:
            raise Conflict(
                f"Space {space.name} has vectors of {held} dimensions, not {space.dimension}: "
                "another model needs a space of another name."
            )

    @property
    def segments(self) -> Sequence[Segment]:
        """The segments of the last commit."""
        return self._segments

    def apply(self, calls: Iterable[SpaceChanges]) -> None:
        """Carry out calls in order, as one commit."""
        states = [_SegmentState(s, s.fields, ~s.live) for s in self._segments]
        pending: dict[PartId, IndexDocument] = {}
        for call in calls:
            for document in call.feed:
                key = (document.document_id, document.revision_id, document.part)
                pending.pop(key, None)
                pending[key] = document
            _remove(call.remove, states, pending)
            _update(call.update, states, pending)
        _replace(pending, states)
        new = self._build(list(pending.values()))
        self._commit([*states, *new])

    def install(self, merged: Merged) -> None:
        """Put a merged segment in the place of its sources, with what changed meanwhile."""
        current = {segment.entry.base: segment for segment in self._segments}
        names = {source.entry.base for source in merged.sources}
        kept = [s for s in self._segments if s.entry.base not in names]
        states = [_SegmentState(segment, segment.fields, ~segment.live) for segment in kept]
        if merged.documents:
            dead = np.zeros(merged.documents, bool)
            parts = []
            for source, rows in zip(merged.sources, merged.rows, strict=True):
                now = current.get(source.entry.base)
                alive = now.live if now else np.zeros(len(rows), bool)
                dead[rows[(rows >= 0) & ~alive]] = True
                fields = now.fields if now else source.fields
                parts.append((fields, np.flatnonzero(rows >= 0).astype(np.int32)))
            fields = Fields.concat(parts)
            entry = SegmentEntry(merged.base, "", "", merged.documents, merged.chunks)
            base = SegmentFile.load(self.folder / merged.base)
            states.append(_SegmentState(Segment(entry, base, fields, None), fields, dead))
        self._commit(states)

    def remove_retired(self, *, everything: bool = False) -> None:
        """Delete files that no reader can still be about to open; with `everything`, all."""
        horizon = time.monotonic() - self._retain_s
        while self._retired and (everything or self._retired[0][0] <= horizon):
            _, name = self._retired.pop(0)
            (self.folder / name).unlink(missing_ok=True)

    def _build(self, documents: Sequence[IndexDocument]) -> list[_SegmentState]:
        if not documents:
            return []
        arrays, fields = build(documents, self._manifest.space.dimension)
        name = f"{new_id()}.segment"
        save(self.folder / name, arrays, sync=self._sync)
        base = SegmentFile.load(self.folder / name)
        entry = SegmentEntry(name, "", "", base.documents, base.chunks)
        segment = Segment(entry, base, fields, None)
        return [_SegmentState(segment, fields, np.zeros(base.documents, bool))]

    def _commit(self, states: Sequence[_SegmentState]) -> None:
        segments = [self._saved(state) for state in states if not state.is_spent]
        entries = tuple(segment.entry for segment in segments)
        if entries == self._manifest.segments:
            return
        manifest = replace(
            self._manifest, generation=self._manifest.generation + 1, segments=entries
        )
        write_manifest(self.folder, manifest, sync=self._sync)
        gone = set(self._manifest.files()) - set(manifest.files())
        self._retired += [(time.monotonic(), name) for name in sorted(gone)]
        self._manifest, self._segments = manifest, segments
        self.remove_retired()

    def _saved(self, state: _SegmentState) -> Segment:
        """The segment with the files that differ from the last commit written again."""
        segment, entry = state.segment, state.segment.entry
        if not entry.fields or state.fields is not segment.fields:
            name = f"{new_id()}.fields"
            state.fields.save(self.folder / name, sync=self._sync)
            entry = replace(entry, fields=name)
        was_dead = int(np.count_nonzero(segment.dead)) if segment.dead is not None else 0
        if int(np.count_nonzero(state.dead)) != was_dead:
            name = f"{new_id()}.dead"
            save_dead(self.folder / name, state.dead, sync=self._sync)
            sizes = np.diff(segment.base.chunk_starts)
            entry = replace(entry, dead=name, dead_chunks=int(sizes[state.dead].sum()))
        if entry is segment.entry:
            return segment
        dead = state.dead if entry.dead else None
        return Segment(entry, segment.base, state.fields, dead)

    def _clear_leftovers(self) -> None:
        """Remove what a writer that died left: files that the manifest does not name."""
        known = {*self._manifest.files(), "manifest"}
        for path in self.folder.iterdir():
            if path.is_file() and path.name not in known:
                path.unlink(missing_ok=True)


def _replace(pending: Mapping[PartId, IndexDocument], states: Sequence[_SegmentState]) -> None:
    """Remove older rows of the parts that are fed again."""
    keys = [part_key(RevisionRef(*names), part) for *names, part in pending]
    wanted = np.array(keys, np.uint64)
    for state in states:
        state.dead[rows_with(state.segment.base.part_keys, wanted)] = True


def _remove(
    refs: Sequence[RevisionRef],
    states: Sequence[_SegmentState],
    pending: dict[PartId, IndexDocument],
) -> None:
    if not refs:
        return
    gone = set(refs)
    for key in [key for key in pending if RevisionRef(*key[:2]) in gone]:
        del pending[key]
    wanted = np.array([revision_key(ref) for ref in gone], np.uint64)
    for state in states:
        state.dead[rows_with(state.segment.base.revision_keys, wanted)] = True


def _update(
    updates: Sequence[FieldUpdate],
    states: Sequence[_SegmentState],
    pending: dict[PartId, IndexDocument],
) -> None:
    if not updates:
        return
    by_ref: dict[RevisionRef, FieldUpdate] = {}
    for update in updates:  # later values win, field by field
        ref = RevisionRef(update.document_id, update.revision_id)
        earlier = by_ref.get(ref)
        by_ref[ref] = replace(earlier, **_given(update)) if earlier else update
    for key, document in pending.items():
        update_of = by_ref.get(RevisionRef(*key[:2]))
        if update_of:
            pending[key] = replace(document, **_given(update_of))
    by_key = {revision_key(ref): update for ref, update in by_ref.items()}
    wanted = np.array(list(by_key), np.uint64)
    for state in states:
        keys: NDArray[np.uint64] = state.segment.base.revision_keys
        rows = [row for row in rows_with(keys, wanted).tolist() if not state.dead[row]]
        if rows:
            state.fields = state.fields.changed({row: by_key[int(keys[row])] for row in rows})


def _given(update: FieldUpdate) -> dict[str, Any]:
    names = ("acl", "acl_all", "branches", "hidden", "tags", "features")
    return {name: value for name in names if (value := getattr(update, name)) is not None}
