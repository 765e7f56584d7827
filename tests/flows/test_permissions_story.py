"""Random small worlds through the real doors, against the rules written out by hand.

The index is fed with everything and told that every member may read it, also what is deleted, not
live or another's: what keeps it from anybody is the join with SQL, in every verb and at every door.
"""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import json
import tempfile
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from mcp.client import Client
from sqlalchemy import update

from cli.serve import build_host
from engine import clock
from engine.access.gate import audience_of_asker, principal_of_user
from engine.db.tables import Chunk, Document, KnowledgeBase, RevisionText
from engine.domain import Answered, Principal, Role, Scope
from engine.engine import Engine
from engine.errors import NotFound, Unauthenticated
from engine.index.port import IndexChunk, IndexDocument
from engine.people import api_tokens
from engine.runtime import open_engine
from engine.search.links import Links, path_of
from mcp_server.caller import Door, McpCaller
from mcp_server.server import build_server
from tests.fakes import worlds
from tests.fakes.homes import home_settings, this_user
from tests.fakes.worlds import Doc, World

BASE = "http://127.0.0.1:7337"
QUESTION = "Which parcel waits in the potting shed?"
ID_LENGTH = 32


def marker(document: Doc) -> str:
    """A word that stands in this document alone."""
    return "zq" + "".join(chr(ord("a") + int(digit, 16)) for digit in document.id[:8])


def text_of(document: Doc) -> str:
    return f"The parcel {marker(document)} waits in the potting shed."


def real_id(name: str) -> str:
    """Hexadecimal digits, as ids are, the same for the same name."""
    return hashlib.sha256(name.encode()).hexdigest()[:ID_LENGTH]


def with_real_ids(world: World) -> World:
    docs = [
        dataclasses.replace(
            doc,
            id=real_id(doc.id),
            derived_from=tuple(map(real_id, doc.derived_from)),
        )
        for doc in world.docs
    ]
    return dataclasses.replace(world, docs=docs)


async def fill(engine: Engine, world: World) -> None:
    """The world in SQL as it is, in the index as if every member might read all of it."""
    space = engine.embedder.space
    async with engine.db.write() as session:
        await worlds.store(session, world)
        await session.execute(
            update(KnowledgeBase).values(space=space.name, dimension=space.dimension)
        )
        for doc in world.docs:
            text = text_of(doc)
            await session.execute(
                update(Document).where(Document.id == doc.id).values(title=marker(doc))
            )
            await session.execute(
                update(Chunk)
                .where(Chunk.revision_id == doc.revision, Chunk.ordinal == 0)
                .values(text=text, end=len(text))
            )
            session.add(
                RevisionText(
                    revision_id=doc.revision,
                    tenant_id=doc.tenant,
                    body=zlib.compress(text.encode()),
                )
            )
    async with engine.open_index_writer() as index:
        for tenant in world.tenants:
            await index.ensure_space(tenant, space)
            docs = [doc for doc in world.docs if doc.tenant == tenant]
            vectors = await engine.embedder.embed_documents([text_of(doc) for doc in docs])
            everyone = [f"u:{user.id}" for user in world.users]
            await index.feed(
                tenant,
                space,
                [
                    IndexDocument(
                        doc.id,
                        doc.revision,
                        0,
                        doc.kb,
                        sorted({*doc.acl, "tenant", *everyone}),
                        marker(doc),
                        [IndexChunk(0, text_of(doc), marker(doc), vector)],
                        language="en",
                    )
                    for doc, vector in zip(docs, vectors, strict=True)
                ],
            )


class Visitor:
    """One member of one tenant at every door, and what they may know of."""

    def __init__(self, engine: Engine, world: World, principal: Principal) -> None:
        self.engine, self.world, self.principal = engine, world, principal
        tenant, tokens = principal.tenant_id, principal.tokens
        hidden = {doc.id for doc in world.docs if doc.hidden}  # told to nobody, however they ask
        self.answering = worlds.readable(world, tenant, tokens) - hidden
        self.listed = worlds.readable(world, tenant, tokens, branch=None)
        self.found = set(self.answering)
        kbs_seen = {doc.kb for doc in world.docs if doc.id in self.listed}
        self.kbs = {
            kb.id
            for kb in world.kbs
            if kb.tenant == tenant
            and not kb.deleted
            and (kb.id in kbs_seen or f"kb:{kb.id}" in tokens)
        }

    def check(self, said: object, *, kbs: bool = True) -> None:
        """Nothing said may name a document or a knowledge base that is not for them."""
        text = said if isinstance(said, str) else json.dumps(said, default=str)
        named = [doc.id for doc in self.world.docs if marker(doc) in text]
        assert set(named) <= self.listed
        if kbs:  # ids of documents don't hold those of knowledge bases
            assert {kb.id for kb in self.world.kbs if kb.id in text} <= self.kbs

    async def through_the_engine(self) -> None:
        engine, principal = self.engine, self.principal
        for mode in ("hybrid", "keyword", "semantic"):
            result = await engine.search.find(principal, QUESTION, limit=50, mode=mode)
            assert {hit.document_id for hit in result.hits} <= self.found
            if mode == "keyword":
                assert {hit.document_id for hit in result.hits} == self.found
            self.check([result.notice, list(result.searched_kbs)])
        audience = audience_of_asker(principal)
        events = [event async for event in engine.answers.ask(principal, audience, QUESTION)]
        assert isinstance(events[-1], Answered)
        answer = events[-1].answer
        assert {citation.document_id for citation in answer.citations} <= self.found
        assert {hit.document_id for hit in answer.hits} <= self.found
        self.check(answer.text)
        listed = (await engine.documents.page(principal)).documents
        assert {document.id for document in listed} == self.listed
        for doc in self.world.docs:
            for id_ in (doc.id, f"{doc.id}~0", f"{doc.revision}.0"):
                try:
                    read = (await engine.search.fetch(principal, id_)).text
                except NotFound as error:
                    assert doc.id not in self.answering
                    self.check(str(error))
                else:
                    assert doc.id in self.answering
                    assert marker(doc) in read
        self.check([str(kb) for kb in await engine.knowledge_bases.list_readable(principal)])
        self.check(str(await engine.operations.status(principal)))

    async def through_http(self, http: httpx2.AsyncClient, secret: str) -> None:
        http.headers = {"authorization": f"Bearer {secret}"}
        found = (await http.post("/api/v1/search", json={"query": QUESTION, "limit": 50})).json()
        assert {hit["document_id"] for hit in found["hits"]} <= self.found
        asked = (await http.post("/api/v1/ask", json={"question": QUESTION})).json()
        assert {citation["document_id"] for citation in asked["citations"]} <= self.found
        listed = (await http.get("/api/v1/documents")).json()
        assert {document["id"] for document in listed["documents"]} == self.listed
        for path in ("/api/v1/knowledge_bases", "/api/v1/status", "/", f"/?q={QUESTION}"):
            self.check((await http.get(path)).text)
        wrong = await http.post("/api/v1/search", json={"query": "x", "kb": "nothing"})
        self.check(wrong.text)
        for said in (found["notice"], asked["answer"]):
            self.check(said)
        for doc in self.world.docs:
            read = await http.get(f"/api/v1/fetch/{doc.revision}.0")
            shown = await http.get(f"/api/v1/documents/{doc.id}")
            link = self.engine.search.sign_link(self.principal, f"{doc.revision}.0")
            viewed = await http.get(f"/v/{link}")
            opened = await http.get(path_of(f"{doc.revision}.0"))
            whole = await http.get(path_of(doc.id))
            expected = 200 if doc.id in self.answering else 404
            statuses = [answer.status_code for answer in (read, viewed, opened, whole)]
            assert statuses == [expected] * 4, (str(doc), str(self.principal))
            assert shown.status_code == (200 if doc.id in self.listed else 404)
            for answer in (read, shown, viewed, opened, whole):
                self.check(answer.text, kbs=answer.status_code == 200)

    async def through_mcp(self) -> None:
        async def caller(_: object) -> McpCaller:
            return McpCaller(self.engine, self.principal, Links(BASE))

        async with Client(build_server(Door(caller))) as client:
            found = await client.call_tool("search", {"query": QUESTION, "limit": 50})
            ids = {result["id"][2:].split(".")[0] for result in found.structured_content["results"]}
            assert ids <= {id_[:30] for id_ in self.found}  # a revision begins with two more
            asked = await client.call_tool("ask", {"question": QUESTION})
            listed = await client.call_tool("list_knowledge_bases", {})
            named = {kb["name"] for kb in listed.structured_content["knowledge_bases"]}
            assert named == self.kbs
            self.check(str(asked.content) + str(found.content))
            for doc in self.world.docs:
                read = await client.call_tool("fetch", {"id": doc.id})
                assert read.is_error is (doc.id not in self.answering)
                self.check(str(read.content), kbs=not read.is_error)


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[tuple[Engine, httpx2.AsyncClient]]:
    async with open_engine(home_settings(folder)) as engine:
        app = build_host(engine, engine.settings, keyless=this_user)
        transport = httpx2.ASGITransport(app, client=("127.0.0.1", 40000))
        async with (
            app.router.lifespan_context(app),
            httpx2.AsyncClient(transport=transport, base_url=BASE) as http,
        ):
            yield engine, http


async def tell(world: World, folder: Path) -> None:
    async with opened(folder) as (engine, http):
        await fill(engine, world)
        for user in world.users:
            for tenant, role in user.roles.items():
                await visit(engine, http, world, user, tenant, role)


async def visit(
    engine: Engine,
    http: httpx2.AsyncClient,
    world: World,
    user: worlds.User,
    tenant: str,
    role: Role,
) -> None:
    try:
        async with engine.db.read() as session:
            principal = await principal_of_user(session, tenant, user.id)
    except Unauthenticated:
        assert not user.active
        return
    assert principal.role is role
    async with engine.db.write() as session:
        secret, made = await api_tokens.create_token(
            session, principal, "story", scopes=[Scope.KB_READ, Scope.KB_ASK]
        )
    visitor = Visitor(engine, world, principal)
    await visitor.through_the_engine()
    await visitor.through_http(http, secret)
    await visitor.through_mcp()
    async with engine.db.write() as session:
        await api_tokens.revoke_token(session, principal, made.id)
    assert (await http.get("/api/v1/documents")).status_code == 401


@pytest.mark.slow
@settings(max_examples=10, deadline=None, suppress_health_check=[*HealthCheck], print_blob=True)
@given(world=worlds.worlds())
def test_no_door_shows_what_is_not_for_who_asks(world: World) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(clock, "now", lambda: worlds.NOW)  # channels were synced hours before
        asyncio.run(tell(with_real_ids(world), Path(folder)))
