"""What the components of an ingestion work with: the adapters, and the document at hand.

One `IngestionRun` lives as long as one run. What one component hands to the next travels as JSON in
its output; the fields here only spare the next one from reading again what this process still has.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any, Protocol

import anyio.to_thread
import numpy as np
from numpy.typing import NDArray
from sqlalchemy.ext.asyncio import AsyncSession

from engine.blobs.port import BlobStore
from engine.db.session import Database
from engine.documents import component_outputs, revisions
from engine.documents.attachments import Attached
from engine.documents.component_outputs import Made
from engine.documents.revisions import Content, NewChunk, Work
from engine.domain import Lane, Vectors
from engine.errors import Blocked, EngineError
from engine.flow.outputs import BlobRef
from engine.index.port import IndexChunk, IndexDocument, SearchIndex
from engine.models import cache
from engine.models.port import Embedder, LanguageModel
from engine.net.fetching import Fetched
from engine.people.language_models import LanguageModels
from ingestion.convert.document import Converted
from ingestion.file_names import searched_title
from ingestion.parsing import ParsingPool

OTHER_MODEL_WAIT_S = 120.0  # while a knowledge base is moved to another model
INLINE_CHARS = 200_000  # of text that travel inside an output; more go by blob
INLINE_MAX = 500  # spans that travel inside an output; more go by blob


class Embed(Protocol):
    """`EmbeddingBatcher.embed`: vectors in batches shared with other documents, by lane."""

    def __call__(
        self, texts: Sequence[str], *, lane: Lane = Lane.BULK, lengths: Sequence[int] | None = None
    ) -> Awaitable[NDArray[np.float32]]:
        """Vectors of `texts`, in the order given; `lengths` are their tokens where known."""


@dataclass(frozen=True, slots=True)
class SpaceEmbedding:
    """An embedder, and how it is asked beside other documents."""

    embedder: Embedder
    embed: Embed


@dataclass(slots=True)
class CacheCounts:
    """How many vectors of chunks the cache had, and how many were made."""

    hits: int = 0
    misses: int = 0

    def add(self, hits: int, misses: int) -> None:
        """Count those of a document."""
        self.hits += hits
        self.misses += misses

    def figures(self) -> dict[str, float]:
        """By the names that monitoring knows."""
        return {"cache_hits_total": self.hits, "cache_misses_total": self.misses}


@dataclass(frozen=True, slots=True)
class Services:
    """The adapters a worker opened, shared by all its runs."""

    db: Database
    blobs: BlobStore
    index: SearchIndex
    embedder: Embedder  # the installation's own, whose tokens the parsers count
    embedding: Mapping[str, SpaceEmbedding]  # by the name of the space
    parsers: ParsingPool
    fetch: Callable[[str], Awaitable[Fetched]]
    park: Callable[[], None]  # gives the job's slot to another while it waits for the embedder
    chunking: Mapping[str, Any]  # the installation's defaults
    max_file_size_bytes: int
    use_cache: bool = True
    formats: Sequence[str] = ()  # endings of files the installation takes; empty: all
    llms: LanguageModels | None = None  # of tenants, metered; `model` is the installation's own
    model: LanguageModel | None = None
    cache_counts: CacheCounts = field(default_factory=CacheCounts)


@dataclass(slots=True)
class IngestionRun:
    """One run's document: `work` names it, the rest is what the run has come by so far."""

    shared: Services
    work: Work
    lane: Lane = Lane.BULK
    content: Content | None = None
    converted: Converted | None = None
    chunks: list[NewChunk] | None = None
    vectors: NDArray[np.float32] | None = None
    message: str = ""  # what the document says once it is ready
    remarks: list[str] = field(default_factory=list)  # what that is to mention
    attached: Sequence[Attached] = ()  # files within the file, to become documents
    made: list[Made] = field(default_factory=list)  # to be kept for another run
    published: bool = False  # its words answer
    unsaved: dict[bytes, NDArray[np.float32]] = field(default_factory=dict)  # new vectors
    stored: bool = False  # text and chunks are in SQL

    async def language_model(self) -> LanguageModel | None:
        """The model of the document's tenant, which counts what this run uses of it."""
        if self.shared.llms is None:
            return self.shared.model
        return await self.shared.llms.for_tenant(self.work.tenant_id)

    @property
    def document(self) -> Converted:
        """The parsed document. Parser keeps no checkpoint, so it ran before any component that asks."""
        if self.converted is None:
            raise EngineError("This pipeline splits a text that no Parser read.")
        return self.converted

    @property
    def found(self) -> Content:
        """What the parser found, whose words these are."""
        if self.content is None:
            raise EngineError("This pipeline stores a text that no Parser read.")
        return self.content

    async def pack_text(self, text: str) -> object:
        """A text as it may travel in an output: as it is, or by blob when it is long."""
        if len(text) <= INLINE_CHARS:
            return text
        return BlobRef(await self.shared.blobs.put(self.work.tenant_id, text.encode()))

    async def unpack_text(self, value: object) -> str:
        """The text that `pack_text` packed."""
        if isinstance(value, str):
            return value
        return (
            await self.shared.blobs.get(self.work.tenant_id, BlobRef.parse(value).hash)
        ).decode()

    async def pack_tree(self, roots: list[dict[str, Any]]) -> object:
        """Nested rows as they may travel in an output; `unpack` takes them back."""
        data = json.dumps(roots, separators=(",", ":")).encode()
        if len(data) <= INLINE_CHARS:
            return roots
        return BlobRef(await self.shared.blobs.put(self.work.tenant_id, data))

    async def pack(self, rows: list[dict[str, Any]]) -> object:
        """Rows as they may travel in an output: as they are, or by blob when they are many."""
        if len(rows) <= INLINE_MAX:
            return rows
        data = json.dumps(rows, separators=(",", ":")).encode()
        return BlobRef(await self.shared.blobs.put(self.work.tenant_id, data))

    async def unpack(self, value: object) -> list[dict[str, Any]]:
        """The rows that `pack` packed."""
        if isinstance(value, list):
            return value
        data = await self.shared.blobs.get(self.work.tenant_id, BlobRef.parse(value).hash)
        rows: list[dict[str, Any]] = json.loads(data)
        return rows

    def pack_facts(self) -> dict[str, Any]:
        """What the parser found besides the text, for an attempt that continues after it."""
        found = self.found
        return {
            "blob_hash": found.blob_hash,
            "mime": found.mime,
            "size_bytes": found.size_bytes,
            "title": found.title,
            "details": dict(found.details),
            "updated_at": found.updated_at.isoformat() if found.updated_at else None,
            "remarks": self.remarks,
            "attached": [asdict(item) for item in self.attached],
        }

    def unpack_facts(self, facts: Mapping[str, Any]) -> None:
        """Know what an earlier attempt found, as if this one had parsed."""
        own = dict(facts)
        remarks = own.pop("remarks", ())
        self.attached = [Attached(**item) for item in own.pop("attached", ())]
        at = own["updated_at"]
        updated_at = datetime.fromisoformat(at) if at else None
        self.content = Content(**{**own, "updated_at": updated_at})
        self.remarks = [*remarks, *self.remarks]
        self.work = replace(
            self.work,
            title=facts["title"] or self.work.title,
            source_updated_at=self.work.source_updated_at or updated_at,
        )

    def keep_extracted(self, outputs: Iterable[Mapping[str, Any]]) -> None:
        """Keep what components read out of the document (`extracted`), and the `metadata` they set."""
        found: dict[str, Any] = dict(self.found.details.get("extracted", {}))
        fields: dict[str, Any] = dict(self.found.fields)
        for output in outputs:
            found |= output.get("extracted", {})
            fields |= output.get("metadata", {})
        details = {**self.found.details, "extracted": found} if found else self.found.details
        self.content = replace(self.found, details=details, fields=fields)

    async def store(self, session: AsyncSession) -> bool:
        """Put text and chunks into SQL, once there are any; whether that was done here.

        `stored` is for the caller to set, once the transaction is committed.
        """
        if self.stored or self.content is None or self.chunks is None:
            return False
        await revisions.store_content(session, self.work, self.content, self.chunks)
        for made in self.made:
            await component_outputs.put(session, self.work.tenant_id, made)
        return True

    @property
    def embedder(self) -> Embedder:
        """The embedder of the document's space; where that is not there, the installation's own."""
        found = self.shared.embedding.get(self.work.space.name)
        return found.embedder if found is not None else self.shared.embedder

    async def embed(
        self, texts: Sequence[str], lengths: Sequence[int] | None = None
    ) -> NDArray[np.float32]:
        """Vectors of the document's space; `Blocked` where this installation has no model of it."""
        space = self.work.space
        found = self.shared.embedding.get(space.name)
        if found is None or found.embedder.space != space:
            raise Blocked(
                f"The knowledge base uses vectors of {space.name}, but this installation is set to "
                f"{self.shared.embedder.space.name}: move it with `scrubjay kb reembed`.",
                retry_after_s=OTHER_MODEL_WAIT_S,
            )
        return await found.embed(texts, lane=self.lane, lengths=lengths)

    @property
    def may_recall(self) -> bool:
        """Whether an earlier run may have kept something (`keep`)."""
        return self.shared.use_cache and not self.work.is_first

    async def recall(self, source_hash: str, key: bytes) -> bytes | None:
        """What an earlier run made of this content and kept (`keep`), or None.

        A document's first run does not look: there was none that could have kept anything.
        """
        if not self.may_recall:
            return None
        async with self.shared.db.read() as session:
            return await component_outputs.get(session, self.work.tenant_id, source_hash, key)

    async def keep(self, source_hash: str, key: bytes, component: str, body: bytes) -> None:
        """Keep what a component made of a content; it is written with the chunks."""
        made = await anyio.to_thread.run_sync(
            component_outputs.pack, source_hash, key, component, body
        )
        if made is not None:
            self.made.append(made)

    async def publish_words(self) -> None:
        """Let a document that answers nothing yet answer by its words alone; vectors follow.

        A replacement waits for its vectors, so that nobody finds less than before.
        """
        if self.published or not self.work.is_first:
            return
        await self.feed(None)

        async def commit(session: AsyncSession) -> None:
            await self.store(session)
            await revisions.make_live(session, self.work, Vectors.NONE, content=self.found)

        await self.shared.db.run_write(commit)
        self.stored = self.published = True

    async def save_vectors(self, session: AsyncSession) -> None:
        """Put the last vectors into the cache; the last batch goes with the switch to live."""
        if self.unsaved and self.shared.use_cache:
            keys, vectors = list(self.unsaved), np.stack(list(self.unsaved.values()))
            await cache.put_many(session, self.work.tenant_id, self.work.space, keys, vectors)

    async def feed(self, vectors: NDArray[np.float32] | None) -> None:
        """Store this revision in the index, with its vectors once there are any."""
        documents = index_documents(self.work, self.chunks or [], vectors)
        await self.shared.index.feed(self.work.tenant_id, self.work.space, documents)


def index_documents(
    work: Work, chunks: Sequence[NewChunk], vectors: NDArray[np.float32] | None
) -> list[IndexDocument]:
    """A revision as the index stores it: one document a part, chunks in order, hidden ones left out."""
    parts: dict[int, list[NewChunk]] = {}
    for chunk in chunks:
        parts.setdefault(chunk.part, []).append(chunk)
    return [
        IndexDocument(
            document_id=work.document_id,
            revision_id=work.revision_id,
            part=part,
            kb_id=work.kb_id,
            acl=work.acl,
            acl_all=work.acl_all,
            title=searched_title(work.title, work.filename),
            language=members[0].language,
            chunks=[
                IndexChunk(
                    ordinal=chunk.ordinal,
                    text=chunk.text,
                    context=chunk.context,
                    vector=None if vectors is None else vectors[chunk.ordinal],
                )
                for chunk in members
                if not chunk.hidden
            ],
            updated_at=work.source_updated_at,
            hidden=work.hidden,
            tags=work.tags,
            features=work.features,
            source=work.source,
            url=work.url,
        )
        for part, members in sorted(parts.items())
    ]
