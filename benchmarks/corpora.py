"""Test collections, and an installation in a folder that holds them, built without a worker.

What is measured is what the product runs: the same converters, chunks, SQL rows, index, retrieval
and answers. Only the road there is shorter, and vectors may be kept between runs (`--cache`).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import insert, select

from engine.access import gate
from engine.answers.ask import Asker
from engine.clock import new_id
from engine.db.migrations import migrate
from engine.db.session import Database, open_database
from engine.db.tables import Chunk, Document, KnowledgeBase, Live, Revision, Source
from engine.documents import knowledge_bases
from engine.domain import MAIN, Principal
from engine.index.detection import detect_language
from engine.index.embedded import EmbeddedIndex
from engine.index.port import MAX_CHUNKS_PER_PART, IndexChunk, IndexDocument
from engine.models.catalogue import MINILM, LocalModel
from engine.models.local import LocalEmbedder
from engine.people import tenants
from engine.search.evaluation import load_beir
from engine.search.retrieval import Retriever, SearchDefaults
from ingestion.chunking import Chunking, split
from ingestion.convert.document import Converted
from ingestion.convert.formats import convert

# The test data is beside the checkout, or where this says.
DATA = Path(
    os.environ.get("SCRUBJAY_BENCH_DATA") or Path(__file__).parents[1].parent / "shared" / "data"
)
OWN = Path(__file__).parent / "data"


@dataclass(frozen=True)
class Text:
    """One document of a collection."""

    id: str
    title: str  # "" takes what the file itself says
    filename: str
    data: bytes


def beir_texts(folder: Path) -> Iterator[Text]:
    for id_, document in load_beir(folder).corpus.items():
        if document.text.strip():
            title = document.title.replace("_", " ")
            yield Text(id_, title, "text.txt", document.text.encode())


def handbook_texts() -> Iterator[Text]:
    root = DATA / "handbook"
    for path in sorted((root / "pages").rglob("*.md")):
        yield Text(str(path.relative_to(root)), "", path.name, path.read_bytes())


def jsonl(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]


class KeptEmbedder:
    """A `LocalEmbedder` whose vectors of documents are kept in a folder between runs."""

    def __init__(self, inner: LocalEmbedder, folder: Path | None) -> None:
        self.inner, self.folder = inner, folder
        self.space, self.max_tokens, self.languages = inner.space, inner.max_tokens, inner.languages
        self.count_tokens, self.token_offsets = inner.count_tokens, inner.token_offsets
        self.embed_query, self.embed_tokens = inner.embed_query, inner.embed_tokens
        self.aclose = inner.aclose
        self.known: dict[str, NDArray[np.float32]] = {}
        if folder is not None and (folder / "vectors.npz").exists():
            with np.load(folder / "vectors.npz") as kept:
                self.known = dict(zip(kept["keys"].tolist(), kept["vectors"], strict=True))

    async def embed_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        if self.folder is None or len(texts) < 50:
            return await self.inner.embed_documents(texts)
        keys = [hashlib.blake2b(text.encode(), digest_size=16).hexdigest() for text in texts]
        missing = {k: t for k, t in zip(keys, texts, strict=True) if k not in self.known}
        if missing:
            vectors = await self.inner.embed_documents(list(missing.values()))
            self.known.update(zip(missing, vectors, strict=True))
            self.folder.mkdir(parents=True, exist_ok=True)
            np.savez(
                self.folder / "vectors.npz",
                keys=np.array(list(self.known)),
                vectors=np.stack(list(self.known.values())),
            )
        return np.stack([self.known[key] for key in keys])


@dataclass
class Installation:
    """An opened data folder with what answering takes."""

    db: Database
    index: EmbeddedIndex
    embedder: KeptEmbedder
    owner: Principal
    kbs: dict[str, str]  # name to id

    def retriever(self, defaults: SearchDefaults | None = None) -> Retriever:
        embedders = {self.embedder.space.name: self.embedder}
        return Retriever(self.db, self.index, embedders, defaults=defaults)

    def asker(self, defaults: SearchDefaults | None = None) -> Asker:
        return Asker(self.db, self.retriever(defaults))

    async def external_ids(self, kb: str) -> dict[str, str]:
        """External id by document id."""
        async with self.db.read() as session:
            rows = await session.execute(
                select(Document.id, Document.external_id).where(Document.kb_id == self.kbs[kb])
            )
            return dict(tuple(row) for row in rows)

    async def add(self, kb: str, texts: Sequence[Text], *, vectors: bool = True) -> None:
        """A knowledge base of these texts, live at once; one that is there already is taken."""
        known = await self._known(kb)
        if known is not None:
            self.kbs[kb] = known
            return
        async with self.db.write() as session:
            info = await knowledge_bases.create_kb(
                session, self.owner, kb, space=self.embedder.space
            )
        self.kbs[kb] = info.id
        self.owner = await _owner(self.db)
        converted = [(text, _converted(text)) for text in texts]
        chunks = [
            split(document, Chunking(), self.embedder.token_offsets) for _, document in converted
        ]
        embedded = [
            f"{span.context}\n{document.text[span.start : span.end]}"
            if span.context
            else document.text[span.start : span.end]
            for (_, document), spans in zip(converted, chunks, strict=True)
            for span in spans
        ]
        made = await self.embedder.embed_documents(embedded) if vectors and embedded else None
        await self._store(info.id, converted, chunks, made)

    async def _known(self, kb: str) -> str | None:
        async with self.db.read() as session:
            return await session.scalar(
                select(KnowledgeBase.id).where(
                    KnowledgeBase.name == kb, KnowledgeBase.chunk_count > 0
                )
            )

    async def _store(self, kb_id, converted, chunks, made) -> None:
        tenant_id = self.owner.tenant_id
        async with self.db.write() as session:
            acl_id = await gate.intern_acl(session, tenant_id, [gate.kb_token(kb_id)])
            source_id = await session.scalar(select(Source.id).where(Source.kb_id == kb_id))
            documents, position = [], 0
            for (text, document), spans in zip(converted, chunks, strict=True):
                if not spans:
                    continue
                document_id, revision_id = new_id(), new_id()
                title = document.title or text.id
                await session.execute(
                    insert(Document).values(
                        id=document_id, tenant_id=tenant_id, kb_id=kb_id, source_id=source_id,
                        external_id=text.id, title=title, acl_id=acl_id, state="ready",
                    )
                )  # fmt: skip
                await session.execute(
                    insert(Revision).values(
                        id=revision_id, tenant_id=tenant_id, document_id=document_id, number=1,
                        blob_hash="",
                    )
                )  # fmt: skip
                await session.execute(
                    insert(Live).values(
                        branch=MAIN, document_id=document_id, revision_id=revision_id,
                        kb_id=kb_id, tenant_id=tenant_id,
                    )
                )  # fmt: skip
                rows, indexed = [], []
                for ordinal, span in enumerate(spans):
                    said = document.text[span.start : span.end]
                    rows.append(
                        {
                            "revision_id": revision_id, "ordinal": ordinal, "tenant_id": tenant_id,
                            "start": span.start, "end": span.end, "page": span.page, "text": said,
                            "context": span.context,
                        }
                    )  # fmt: skip
                    vector = None if made is None else made[position]
                    indexed.append(IndexChunk(ordinal, said, span.context, vector))
                    position += 1
                await session.execute(insert(Chunk), rows)
                language = detect_language(document.text)
                documents += [
                    IndexDocument(
                        document_id, revision_id, part, kb_id, [gate.kb_token(kb_id)], title,
                        indexed[at : at + MAX_CHUNKS_PER_PART], language=language,
                    )
                    for part, at in enumerate(range(0, len(indexed), MAX_CHUNKS_PER_PART))
                ]  # fmt: skip
            kb = await session.get(KnowledgeBase, kb_id)
            kb.document_count, kb.chunk_count = len(chunks), position
        await self.index.ensure_space(tenant_id, self.embedder.space)
        await self.index.feed(tenant_id, self.embedder.space, documents)


def _converted(text: Text) -> Converted:
    document = convert(text.data, text.filename)
    return replace(document, title=text.title) if text.title else document


async def _owner(db: Database) -> Principal:
    tenant, member = await tenants.ensure_default(db)
    async with db.read() as session:
        return await gate.principal_of_user(session, tenant.id, member.user_id)


@asynccontextmanager
async def open_installation(
    folder: Path, *, models: Path, cache: Path | None = None, model: LocalModel = MINILM
) -> AsyncIterator[Installation]:
    """An installation in `folder`: a fresh one, or the one that was made there before.

    `cache` keeps vectors between runs; each model has a folder of its own there.
    """
    url = f"sqlite+aiosqlite:///{folder / 'scrubjay.db'}"
    migrate(url)
    kept = cache / model.name if cache is not None and model is not MINILM else cache
    embedder = KeptEmbedder(LocalEmbedder(models, model), kept)
    index = EmbeddedIndex(folder / "index")
    async with open_database(url) as db:
        try:
            yield Installation(db, index, embedder, await _owner(db), {})
        finally:
            await index.aclose()
            await embedder.aclose()
