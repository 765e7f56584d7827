"""Who may read a document while it is replaced, changed by others, or counted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from engine.access.gate import audience_of_asker, principal_of_user
from engine.answers.conversations import open_conversation
from engine.documents.adding import NewDocument
from engine.domain import Answered, Principal, Role
from engine.engine import Engine
from engine.errors import Conflict, Forbidden, NotFound
from engine.people import members
from engine.runtime import open_engine
from ingestion.host import run_worker
from tests.fakes.homes import home_settings

SECRET = "# Merger\n\nThe merger with the gardeners is signed on Thursday.\n"


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    async with open_engine(home_settings(tmp_path)) as opened:
        yield opened


async def work(engine: Engine) -> None:
    await run_worker(engine, asyncio.Event(), idle_exit_s=0)


async def person(engine: Engine, name: str, role: Role) -> str:
    owner = await engine.people.owner()
    async with engine.db.write() as session:
        added = await members.add_member(session, owner, email=f"{name}@x.example", role=role)
    return added.user_id


async def who(engine: Engine, user_id: str) -> Principal:
    owner = await engine.people.owner()
    async with engine.db.read() as session:
        return await principal_of_user(session, owner.tenant_id, user_id)


async def add_secret(engine: Engine) -> str:
    owner = await engine.people.owner()
    await engine.knowledge_bases.create(owner, "team")
    owner = await engine.people.owner()
    secret = NewDocument(
        data=SECRET.encode(),
        filename="merger.md",
        external_id="merger.md",
        acl=[f"u:{owner.user_id}"],
    )
    added = await engine.documents.add(owner, "team", secret)
    await work(engine)
    return added.document_id


async def test_new_readers_never_see_the_text_written_for_others(engine: Engine) -> None:
    document_id = await add_secret(engine)
    reader = await who(engine, await person(engine, "ann", Role.MEMBER))
    owner = await engine.people.owner()
    await engine.documents.add(
        owner,
        "team",
        NewDocument(data=b"# Public\n\nNothing.\n", filename="m.md", external_id="merger.md"),
    )
    with pytest.raises(NotFound):  # not even before the new revision answers
        await engine.search.fetch(reader, document_id)
    await work(engine)
    assert "Nothing." in (await engine.search.fetch(reader, document_id)).text
    found = await engine.search.find(reader, "merger gardeners Thursday", mode="keyword")
    assert [hit.text for hit in found.hits if "signed" in hit.text] == []
    assert [
        (kb.name, kb.document_count) for kb in await engine.knowledge_bases.list_readable(reader)
    ] == [("team", 1)]


async def test_nobody_replaces_a_document_they_may_not_read(engine: Engine) -> None:
    document_id = await add_secret(engine)
    curator = await who(engine, await person(engine, "bob", Role.CURATOR))
    with pytest.raises(Conflict):
        await engine.documents.add(
            curator, "team", NewDocument(data=b"mine now", external_id="merger.md")
        )
    with pytest.raises(NotFound):
        await engine.documents.delete(curator, document_id)
    assert (
        "signed on Thursday"
        in (await engine.search.fetch(await engine.people.owner(), document_id)).text
    )


async def test_seeing_a_document_is_not_enough_to_change_it(engine: Engine) -> None:
    bob = await person(engine, "bob", Role.CURATOR)
    owner = await engine.people.owner()
    await engine.knowledge_bases.create(owner, "board", grants=[f"u:{owner.user_id}"])
    owner = await engine.people.owner()
    shown = NewDocument(data=SECRET.encode(), filename="m.md", acl=[f"u:{bob}"])
    added = await engine.documents.add(owner, "board", shown)
    await work(engine)
    curator = await who(engine, bob)
    assert (await engine.search.fetch(curator, added.document_id)).text
    with pytest.raises(Forbidden):
        await engine.documents.delete(curator, added.document_id)


async def test_counts_tell_only_of_what_may_be_read(engine: Engine) -> None:
    await add_secret(engine)
    owner, ann = (
        await engine.people.owner(),
        await who(engine, await person(engine, "ann", Role.MEMBER)),
    )
    await engine.documents.add(owner, "team", NewDocument(data=b"# Open\n\nFor all.\n"))
    await work(engine)
    counted = {}
    for name, principal in (("owner", owner), ("ann", ann)):
        [listed] = await engine.knowledge_bases.list_readable(principal)
        [status] = (await engine.operations.status(principal)).knowledge_bases
        named = await engine.knowledge_bases.get(principal, "team")
        counted[name] = {listed.document_count, status.documents, named.document_count}
        assert listed.chunk_count == status.chunks
    assert counted == {"owner": {2}, "ann": {1}}


async def test_a_conversation_goes_on_only_for_whose_it_is(engine: Engine) -> None:
    await add_secret(engine)
    owner, ann = (
        await engine.people.owner(),
        await who(engine, await person(engine, "ann", Role.MEMBER)),
    )
    async with engine.db.write() as session:
        owners = await open_conversation(session, owner, door="http")
        channels = await open_conversation(session, owner, door="slack", external_id="C1.2")

    async def asks(principal: Principal, conversation_id: str, door: str) -> bool:
        events = engine.answers.ask(
            principal,
            audience_of_asker(principal),
            "When is the merger signed?",
            conversation_id=conversation_id,
            door=door,
        )
        try:
            return [isinstance(event, Answered) async for event in events][-1]
        except NotFound:
            return False

    assert await asks(owner, owners, "http")
    assert await asks(ann, channels, "slack")
    assert not await asks(ann, owners, "http")
    assert not await asks(ann, channels, "http")
    assert not await asks(owner, channels, "mcp")
