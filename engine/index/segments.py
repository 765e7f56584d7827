"""A segment: some documents analysed, inverted and written to one immutable file.

Beside that file a segment has two small ones that are replaced rather than changed: its fields
(`fields.py`) and the rows that died since. `Segment` is all three opened; the manifest names them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.index.analysis import analyse
from engine.index.arrays import Array, Stream, open_arrays, write_arrays
from engine.index.detection import detect_language
from engine.index.fields import Fields, Mask
from engine.index.port import IndexDocument, RevisionRef
from engine.index.postings import Postings, invert
from engine.index.vectors import SegmentVectors, vector_arrays

Keys = NDArray[np.uint64]
Rows = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class SegmentEntry:
    """A segment as the manifest knows it; the three names are of files in the space's folder."""

    base: str
    fields: str
    dead: str  # empty while every document lives
    documents: int
    chunks: int
    dead_chunks: int = 0


@dataclass(frozen=True)
class SegmentFile:
    """The immutable file of a segment, opened. Rows are documents or chunks, in feeding order."""

    document_keys: Keys
    revision_keys: Keys
    part_keys: Keys
    parts: Rows
    ids: NDArray[np.uint8]
    id_starts: NDArray[np.int64]  # of document and revision id in turns, [2 · documents + 1]
    title_lengths: Rows
    chunk_starts: NDArray[np.int64]  # of each document's chunks, [documents + 1]
    chunk_documents: Rows
    ordinals: Rows
    chunk_lengths: Rows
    titles: Postings
    texts: Postings
    vectors: SegmentVectors | None
    size_bytes: int

    @property
    def documents(self) -> int:
        return len(self.parts)

    @property
    def chunks(self) -> int:
        return len(self.ordinals)

    def ref(self, row: int) -> RevisionRef:
        """The document and the revision in a row."""
        first, middle, last = self.id_starts[2 * row : 2 * row + 3].tolist()
        return RevisionRef(
            self.ids[first:middle].tobytes().decode(), self.ids[middle:last].tobytes().decode()
        )

    @staticmethod
    def load(path: Path) -> SegmentFile:
        """Map a file that `build` or a merge wrote."""
        file = open_arrays(path)
        arrays = file.arrays
        return SegmentFile(
            **{name: arrays[name] for name in _PLAIN},
            titles=Postings.load(arrays, "title"),
            texts=Postings.load(arrays, "text"),
            vectors=SegmentVectors.load(arrays),
            size_bytes=file.size_bytes,
        )


_PLAIN = (
    "document_keys",
    "revision_keys",
    "part_keys",
    "parts",
    "ids",
    "id_starts",
    "title_lengths",
    "chunk_starts",
    "chunk_documents",
    "ordinals",
    "chunk_lengths",
)


@dataclass(frozen=True)
class Segment:
    """A segment opened: what it holds, its fields, and which of its documents died."""

    entry: SegmentEntry
    base: SegmentFile
    fields: Fields
    dead: Mask | None

    @cached_property
    def live(self) -> Mask:
        """Which documents are neither replaced nor removed."""
        return np.ones(self.base.documents, bool) if self.dead is None else ~self.dead

    @cached_property
    def live_chunks(self) -> Mask | None:
        """Which chunks belong to live documents; None when all do."""
        return None if self.dead is None else self.live[self.base.chunk_documents]

    @cached_property
    def has_chunks(self) -> Mask:
        """Which documents have a chunk: the others can't be cited, so they are never found."""
        return np.diff(self.base.chunk_starts) > 0

    @cached_property
    def first_chunks(self) -> NDArray[np.int64]:
        """The first chunk of each document that has one."""
        return self.base.chunk_starts[:-1][self.has_chunks]

    @cached_property
    def has_vectors(self) -> Mask:
        """Which documents have a vector on at least one chunk."""
        found = np.zeros(self.base.documents, bool)
        if self.base.vectors is not None:
            found[self.base.chunk_documents[self.base.vectors.chunks]] = True
        return found

    @cached_property
    def totals(self) -> Totals:
        """Counts of what lives here, for BM25 and statistics."""
        base, live = self.base, self.live_chunks
        lengths = base.chunk_lengths if live is None else base.chunk_lengths[live]
        vectors = 0
        if base.vectors is not None:
            chunks = base.vectors.chunks
            vectors = len(chunks) if live is None else int(np.count_nonzero(live[chunks]))
        return Totals(
            documents=int(np.count_nonzero(self.live)),
            chunks=len(lengths),
            vectors=vectors,
            title_terms=int(base.title_lengths[self.live].sum(dtype=np.int64)),
            chunk_terms=int(lengths.sum(dtype=np.int64)),
        )

    @cached_property
    def languages(self) -> dict[str, int]:
        """Live documents by the language of their stems."""
        column = self.fields.analysed
        counts = np.bincount(column.codes[self.live], minlength=len(column.values)).tolist()
        return dict(zip(column.values, counts, strict=True))


@dataclass(frozen=True, slots=True)
class Totals:
    """Counts over live rows."""

    documents: int = 0
    chunks: int = 0
    vectors: int = 0
    title_terms: int = 0
    chunk_terms: int = 0


def build(documents: Sequence[IndexDocument], dimension: int) -> tuple[dict[str, Any], Fields]:
    """The arrays of a new segment and its fields; `save` writes the former."""
    languages = [_language(document) for document in documents]
    titles = [analyse(d.title, lang) for d, lang in zip(documents, languages, strict=True)]
    texts = [
        analyse(f"{chunk.context}\n{chunk.text}" if chunk.context else chunk.text, language)
        for document, language in zip(documents, languages, strict=True)
        for chunk in document.chunks
    ]
    sizes = [len(document.chunks) for document in documents]
    chunks = [chunk for document in documents for chunk in document.chunks]
    with_vector = [row for row, chunk in enumerate(chunks) if chunk.vector is not None]
    matrix = np.empty((len(with_vector), dimension), np.float32)
    for place, row in enumerate(with_vector):
        matrix[place] = chunks[row].vector
    ids = [key.encode() for d in documents for key in (d.document_id, d.revision_id)]
    refs = [RevisionRef(d.document_id, d.revision_id) for d in documents]
    arrays: dict[str, Array | Stream] = {
        "document_keys": _keys(document_key(ref.document_id) for ref in refs),
        "revision_keys": _keys(map(revision_key, refs)),
        "part_keys": _keys(
            part_key(ref, document.part) for ref, document in zip(refs, documents, strict=True)
        ),
        "parts": np.array([document.part for document in documents], np.int32),
        "ids": np.frombuffer(b"".join(ids), np.uint8),
        "id_starts": _starts(map(len, ids)),
        "title_lengths": np.fromiter(map(len, titles), np.int32, len(titles)),
        "chunk_starts": _starts(sizes),
        "chunk_documents": np.repeat(np.arange(len(sizes), dtype=np.int32), sizes),
        "ordinals": np.array([chunk.ordinal for chunk in chunks], np.int32),
        "chunk_lengths": np.fromiter(map(len, texts), np.int32, len(texts)),
        **invert(titles).arrays("title"),
        **invert(texts).arrays("text"),
        **vector_arrays(
            np.array(with_vector, np.int32), len(chunks), dimension, lambda rows: matrix[rows]
        ),
    }
    return arrays, Fields.of(documents, languages)


def save(path: Path, arrays: Mapping[str, Array | Stream], *, sync: bool) -> int:
    """Write the immutable file of a segment; returns its size in bytes."""
    return write_arrays(path, arrays, {}, sync=sync)


def document_key(document_id: str) -> int:
    """64 bits that represent a document."""
    return _hash(document_id.encode())


def revision_key(ref: RevisionRef) -> int:
    """64 bits that represent a revision of a document."""
    return _hash(f"{ref.document_id}\0{ref.revision_id}".encode())


def part_key(ref: RevisionRef, part: int) -> int:
    """64 bits that represent a part of a revision: what a feed replaces."""
    return _hash(f"{ref.document_id}\0{ref.revision_id}\0{part}".encode())


def rows_with(keys: Keys, wanted: Keys) -> NDArray[np.int64]:
    """The rows whose key is wanted, ascending."""
    return np.flatnonzero(np.isin(keys, wanted))


def save_dead(path: Path, dead: Mask, *, sync: bool) -> int:
    """Write which documents died; returns the file's size in bytes."""
    return write_arrays(path, {"dead": np.packbits(dead)}, {"rows": len(dead)}, sync=sync)


def load_dead(path: Path) -> Mask:
    """What `save_dead` wrote."""
    file = open_arrays(path)
    return np.unpackbits(file.arrays["dead"], count=file.meta["rows"]).astype(bool)


def _language(document: IndexDocument) -> str:
    if document.language:
        return document.language
    return detect_language(" ".join(chunk.text for chunk in document.chunks[:8])[:2000])


def _hash(data: bytes) -> int:
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "little")


def _keys(values: Iterable[int]) -> Keys:
    return np.array(list(values), np.uint64)


def _starts(sizes: Iterable[int]) -> NDArray[np.int64]:
    return np.fromiter(chain([0], sizes), np.int64).cumsum()
