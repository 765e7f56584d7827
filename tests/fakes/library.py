"""A small installation for tests of searching and answering: real SQL, real index, hashed words."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import insert, update

from engine.access import gate
from engine.answers.ask import Asker
from engine.clock import new_id
from engine.db.session import Database
from engine.db.tables import (
    Chunk,
    Document,
    KbGrant,
    KnowledgeBase,
    Live,
    Revision,
    Source,
    Tenant,
)
from engine.domain import MAIN, Audience, Principal, Role, Scope
from engine.index.embedded import EmbeddedIndex
from engine.index.port import IndexChunk, IndexDocument
from engine.models.hashing import HashingEmbedder
from engine.models.port import Completion, LanguageModel, Reranker
from engine.search.query_log import SearchLog
from engine.search.retrieval import Retriever


@dataclass
class Library:
    """Knowledge bases whose chunks are the paragraphs of what is added."""

    db: Database
    index: EmbeddedIndex
    tenant_id: str
    embedder: HashingEmbedder = field(default_factory=HashingEmbedder)

    @classmethod
    async def create(cls, db: Database, folder: Path) -> Library:
        """An empty library in a tenant of its own."""
        tenant_id = new_id()
        async with db.write() as session:
            session.add(Tenant(id=tenant_id, key=f"t{tenant_id[-20:]}", name="Acme"))
        return cls(db, EmbeddedIndex(folder / "index", sync=False), tenant_id)

    async def add_kb(
        self, name: str, *, grants: Sequence[str] = ("tenant",), **search: object
    ) -> str:
        """The id of a new knowledge base that holders of `grants` may read."""
        kb_id, tenant_id = new_id(), self.tenant_id
        async with self.db.write() as session:
            session.add(
                KnowledgeBase(
                    id=kb_id,
                    tenant_id=tenant_id,
                    name=name,
                    space=self.embedder.space.name,
                    dimension=self.embedder.space.dimension,
                    search=search,
                )
            )
            await session.flush()
            session.add(Source(id=kb_id, tenant_id=tenant_id, kb_id=kb_id, kind="upload", name=""))
            session.add_all(KbGrant(kb_id=kb_id, token=t, tenant_id=tenant_id) for t in grants)
        await self.index.ensure_space(tenant_id, self.embedder.space)
        return kb_id

    async def add(
        self, kb_id: str, title: str, text: str, *, acl: Sequence[str] = (), language: str = "en"
    ) -> str:
        """The id of a new document; each of its paragraphs is a chunk."""
        document_id, revision_id, tenant_id = new_id(), new_id(), self.tenant_id
        tokens = list(acl) or [gate.kb_token(kb_id)]
        spans, position = [], 0
        for paragraph in text.split("\n\n"):
            spans.append((position, position + len(paragraph)))
            position += len(paragraph) + 2
        async with self.db.write() as session:
            acl_id = await gate.intern_acl(session, tenant_id, tokens)
            session.add(
                Document(
                    id=document_id,
                    tenant_id=tenant_id,
                    kb_id=kb_id,
                    source_id=kb_id,
                    external_id=document_id,
                    title=title,
                    url=f"https://docs.example/{title.replace(' ', '-')}",
                    acl_id=acl_id,
                    state="ready",
                )
            )
            await session.flush()
            session.add(
                Revision(
                    id=revision_id,
                    tenant_id=tenant_id,
                    document_id=document_id,
                    number=1,
                    blob_hash="",
                )
            )
            await session.flush()
            session.add(
                Live(
                    branch=MAIN,
                    document_id=document_id,
                    revision_id=revision_id,
                    kb_id=kb_id,
                    tenant_id=tenant_id,
                )
            )
            await session.execute(
                insert(Chunk),
                [
                    {
                        "revision_id": revision_id,
                        "ordinal": ordinal,
                        "tenant_id": tenant_id,
                        "start": start,
                        "end": end,
                        "text": text[start:end],
                        "context": title,
                    }
                    for ordinal, (start, end) in enumerate(spans)
                ],
            )
            await session.execute(
                update(KnowledgeBase)
                .where(KnowledgeBase.id == kb_id)
                .values(document_count=KnowledgeBase.document_count + 1)
            )
        texts = [text[start:end] for start, end in spans]
        vectors = await self.embedder.embed_documents([f"{title} {said}" for said in texts])
        chunks = [
            IndexChunk(ordinal, said, title, vector)
            for ordinal, (said, vector) in enumerate(zip(texts, vectors, strict=True))
        ]
        indexed = IndexDocument(
            document_id, revision_id, 0, kb_id, tokens, title, chunks, language=language
        )
        await self.index.feed(tenant_id, self.embedder.space, [indexed])
        return document_id

    def principal(self, *tokens: str) -> Principal:
        """Somebody with these tokens and the scopes of a member."""
        return Principal(
            tenant_id=self.tenant_id,
            user_id=None,
            name="Ada",
            role=Role.MEMBER,
            tokens=frozenset(tokens),
            scopes=frozenset({Scope.KB_READ, Scope.KB_ASK}),
        )

    def reader(self, *kb_ids: str) -> tuple[Principal, Audience]:
        """A member who may read these knowledge bases, and the audience of them alone."""
        principal = self.principal("tenant", *(gate.kb_token(kb_id) for kb_id in kb_ids))
        return principal, Audience("u:ada", "Ada", principal.tokens)

    def retriever(
        self, *, reranker: Reranker | None = None, query_log: SearchLog | None = None
    ) -> Retriever:
        """Retrieval over this library."""
        embedders = {self.embedder.space.name: self.embedder}
        return Retriever(self.db, self.index, embedders, reranker=reranker, query_log=query_log)

    def asker(self, model: LanguageModel | None = None) -> Asker:
        """Answers from this library."""
        return Asker(self.db, self.retriever(), model=model)


class ScriptedModel:
    """A language model that says what it was told to, in order, and remembers its prompts."""

    name = "scripted"

    def __init__(self, *replies: str | Exception) -> None:
        self.replies = list(replies)
        self.prompts: list[str] = []

    def _next(self, prompt: str) -> Completion:
        self.prompts.append(prompt)
        reply = self.replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        return Completion(reply, input_tokens=len(prompt.split()), output_tokens=len(reply.split()))

    async def complete(self, system: str, prompt: str, *, max_tokens: int = 1024) -> Completion:
        """The next reply at once."""
        return self._next(prompt)

    async def stream(
        self,
        system: str,
        prompt: str,
        *,
        max_tokens: int = 1024,
    ) -> AsyncIterator[str | Completion]:
        """The next reply in pieces of seven characters, then whole."""
        completion = self._next(prompt)
        for start in range(0, len(completion.text), 7):
            yield completion.text[start : start + 7]
        yield completion

    async def aclose(self) -> None:
        """Nothing to free."""
