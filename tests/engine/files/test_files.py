"""The tree of folders and files: its shape, its documents, and who sees which of it."""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import select

from engine.access.gate import principal_of_user
from engine.access.permissions import GrantLevel
from engine.db.tables import Document, FileDocument, FileEntry
from engine.documents.adding import NewDocument
from engine.domain import Principal, Role, Scope
from engine.engine import Engine
from engine.errors import Conflict, Forbidden, InvalidInput, NotFound, QuotaReached
from engine.operations.tenant_removal import delete_rows
from engine.people import api_tokens, members
from engine.runtime import open_engine
from ingestion.host import run_worker
from tests.fakes.homes import home_settings

LEAVE = b"# Leave\n\nStaff take twenty eight days of leave a year.\n"
LONGER = b"# Leave\n\nStaff take thirty one days of leave a year.\n"


@pytest.fixture
async def engine(tmp_path: Path, database_url: str) -> AsyncIterator[Engine]:
    settings = home_settings(tmp_path, database__url=database_url, system__secret_key="k" * 40)
    async with open_engine(settings) as opened:
        await opened.knowledge_bases.create(await opened.people.owner(), "default")
        yield opened


async def work(engine: Engine) -> None:
    await run_worker(engine, asyncio.Event(), idle_exit_s=0)


async def person(engine: Engine, name: str, role: Role = Role.CURATOR) -> str:
    owner = await engine.people.owner()
    async with engine.db.write() as session:
        added = await members.add_member(session, owner, email=f"{name}@x.example", role=role)
    return added.user_id


async def who(engine: Engine, user_id: str) -> Principal:
    owner = await engine.people.owner()
    async with engine.db.read() as session:
        return await principal_of_user(session, owner.tenant_id, user_id)


def note(name: str, data: bytes = LEAVE) -> NewDocument:
    return NewDocument(data=data, filename=name)


async def put(engine: Engine, principal: Principal, name: str, folder: str = "", **more) -> str:
    [added] = await engine.files.add(principal, [note(name, **more)], folder=folder)
    return added.file.id


async def answers(engine: Engine, principal: Principal, kb: str) -> list[str]:
    found = await engine.search.find(principal, "leave", kb=kb, mode="keyword")
    return [hit.document_id for hit in found.hits]


async def paths(engine: Engine, principal: Principal, folder: str = "") -> list[str]:
    """Everything the principal can list, from where their view begins."""
    found: list[str] = []
    page = await engine.files.page(principal, folder, limit=1000)
    for entry in page.entries:
        found.append(entry.path)
        if entry.kind == "folder":
            found += await paths(engine, principal, entry.id)
    return sorted(found)


async def test_one_file_in_two_knowledge_bases_is_two_documents_and_unlink_takes_only_one(engine):
    owner = await engine.people.owner()
    for kb in ("staff", "legal"):
        await engine.knowledge_bases.create(owner, kb)
    owner = await engine.people.owner()
    file_id = await put(engine, owner, "leave.md")
    staff = await engine.files.link(owner, file_id, "staff")
    legal = await engine.files.link(owner, "leave.md", "legal")
    await work(engine)

    assert staff.document_id != legal.document_id
    assert await answers(engine, owner, "staff") == [staff.document_id]
    assert await answers(engine, owner, "legal") == [legal.document_id]
    assert (await engine.files.link(owner, file_id, "staff")).unchanged
    assert await engine.blobs.hashes(owner.tenant_id) == [hashlib.sha256(LEAVE).hexdigest()]

    assert await engine.files.unlink(owner, file_id, "staff") == staff.document_id
    assert await answers(engine, owner, "staff") == []
    assert await answers(engine, owner, "legal") == [legal.document_id]
    assert [link.knowledge_base for link in await engine.files.links(owner, file_id)] == ["legal"]
    with pytest.raises(NotFound):
        await engine.files.unlink(owner, file_id, "staff")

    again = await engine.files.link(owner, file_id, "staff")
    await work(engine)
    assert await answers(engine, owner, "staff") == [again.document_id]


async def test_a_document_deleted_by_itself_leaves_its_file_unlinked_and_whole(engine):
    owner = await engine.people.owner()
    [added] = await engine.files.add(owner, [note("leave.md")], kb="default")
    assert added.document is not None
    await engine.documents.delete(owner, added.document.document_id)
    assert await engine.files.links(owner, added.file.id) == []
    async with engine.files.open(owner, "leave.md") as (info, path):
        assert path.read_bytes() == LEAVE
        assert info.size_bytes == len(LEAVE)


async def test_deleting_a_file_refuses_deletes_or_keeps_its_documents_as_said(engine):
    owner = await engine.people.owner()
    folder = await engine.files.create_folder(owner, "Handbook")
    for name in ("a.md", "b.md"):
        await engine.files.add(owner, [note(name)], folder=folder.id, kb="default")
    await work(engine)
    assert len(await answers(engine, owner, "default")) == 2
    with pytest.raises(Conflict):
        await engine.files.delete(owner, folder.id)
    gone = await engine.files.delete(owner, "Handbook/a.md", documents="delete")
    assert (gone.entries, gone.documents) == (1, 1)
    assert len(await answers(engine, owner, "default")) == 1
    kept = await engine.files.delete(owner, folder.id, documents="keep")
    assert (kept.entries, kept.documents) == (2, 0)
    assert len(await answers(engine, owner, "default")) == 1
    assert await paths(engine, owner) == []
    async with engine.db.read() as session:
        assert list(await session.scalars(select(FileDocument.file_id))) == []


async def test_replacing_a_file_replaces_its_documents_and_keeps_their_readers(engine):
    owner = await engine.people.owner()
    ada = await person(engine, "ada", Role.MEMBER)
    secret = NewDocument(data=LEAVE, filename="leave.md", acl=[f"u:{owner.user_id}"])
    [added] = await engine.files.add(owner, [secret], kb="default")
    await work(engine)
    with pytest.raises(Conflict):
        await engine.files.add(owner, [note("leave.md", LONGER)])
    [again] = await engine.files.add(owner, [note("leave.md", LONGER)], replace_same=True)
    assert again.replaced
    assert again.file.id == added.file.id
    await work(engine)
    found = await engine.search.fetch(owner, added.document.document_id)
    assert "thirty one" in found.text
    assert await answers(engine, await who(engine, ada), "default") == []


async def test_a_tree_stays_a_tree(engine):
    owner = await engine.people.owner()
    a = await engine.files.create_folder(owner, "a")
    b = await engine.files.create_folder(owner, "b", "a")
    c = await engine.files.create_folder(owner, "c", b.id)
    assert c.path == "a/b/c"
    for into in (a.id, b.id, c.id, "a/b/c"):
        with pytest.raises(InvalidInput):
            await engine.files.change(owner, a.id, folder=into)
    file_id = await put(engine, owner, "x.md", c.id)
    moved = await engine.files.change(owner, b.id, folder="", name="B")
    assert moved.path == "B"
    assert await paths(engine, owner) == ["B", "B/c", "B/c/x.md", "a"]
    assert (await engine.files.get(owner, "B/c/x.md")).id == file_id
    with pytest.raises(InvalidInput):
        await engine.files.create_folder(owner, "y", file_id)
    for name in ("", " ", ".", "..", "a/b", "a\\b", "a\0b", "n" * 256):
        with pytest.raises(InvalidInput):
            await engine.files.create_folder(owner, name)
    await engine.files.create_folder(owner, "A")  # letters of either case are different
    for name in ("a", "B", "  B  "):
        with pytest.raises(Conflict):
            await engine.files.create_folder(owner, name)
    with pytest.raises(Conflict):
        await engine.files.change(owner, "A", name="B")
    deep = a.id
    for _ in range(31):
        deep = (await engine.files.create_folder(owner, "d", deep)).id
    for attempt in (
        engine.files.create_folder(owner, "d", deep),
        engine.files.change(owner, "B", folder=deep),
        engine.files.change(owner, "B", folder="a/" + "/".join(["d"] * 29)),
    ):
        with pytest.raises(InvalidInput):
            await attempt


async def test_moves_at_once_make_no_circle(engine):
    owner = await engine.people.owner()
    for round_ in range(5):
        one = await engine.files.create_folder(owner, f"one{round_}")
        two = await engine.files.create_folder(owner, f"two{round_}")
        await asyncio.gather(
            engine.files.change(owner, one.id, folder=two.id),
            engine.files.change(owner, two.id, folder=one.id),
            return_exceptions=True,
        )
        assert len([p for p in await paths(engine, owner) if p.endswith(f"{round_}")]) == 2


async def test_folders_are_private_until_they_are_shared_and_then_as_far_as_granted(engine):
    owner = await engine.people.owner()
    ada, bob = [await person(engine, name) for name in ("ada", "bob")]
    her, him = await who(engine, ada), await who(engine, bob)
    plans = await engine.files.create_folder(her, "Plans")
    sub = await engine.files.create_folder(her, "2027", plans.id)
    file_id = await put(engine, her, "budget.md", sub.id)
    await engine.files.create_folder(him, "Plans")  # of his own: hers is unknown to him
    absent = str(uuid.uuid4()).replace("-", "")
    for other in (him, owner):
        for ref in (plans.id, sub.id, file_id, absent, "Plans/2027/budget.md"):
            with pytest.raises(NotFound) as refused:
                await engine.files.get(other, ref)
            assert str(refused.value) == f"No file or folder {ref!r} that you may see."
        with pytest.raises(NotFound):
            await engine.files.create_folder(other, "x", plans.id)

    await engine.files.grant(her, sub.id, f"u:{bob}", GrantLevel.READ)
    assert await paths(engine, him) == ["2027", "2027/budget.md", "Plans"]
    assert (await engine.files.get(him, file_id)).folder_id == sub.id
    assert (await engine.files.get(him, sub.id)).folder_id is None
    for attempt in (
        engine.files.add(him, [note("x.md")], folder=sub.id),
        engine.files.change(him, file_id, name="x.md"),
        engine.files.delete(him, file_id),
        engine.files.grants(him, sub.id),
    ):
        with pytest.raises(Forbidden):
            await attempt
    await engine.files.grant(her, sub.id, f"u:{bob}", GrantLevel.WRITE)
    await put(engine, him, "his.md", sub.id)
    await engine.files.change(him, file_id, name="figures.md")
    for attempt in (
        engine.files.change(him, file_id, folder=""),  # out of her tree is hers to do
        engine.files.change(him, sub.id, name="mine"),
        engine.files.delete(him, sub.id),
        engine.files.grant(him, sub.id, "everyone"),
    ):
        with pytest.raises(Forbidden):
            await attempt
    await engine.files.revoke(her, sub.id, "user:bob@x.example")
    assert await paths(engine, him) == ["Plans"]
    assert await paths(engine, her) == [
        "Plans",
        "Plans/2027",
        "Plans/2027/figures.md",
        "Plans/2027/his.md",
    ]


async def test_a_token_limited_to_knowledge_bases_reaches_no_file(engine):
    owner = await engine.people.owner()
    await put(engine, owner, "leave.md")
    kb = await engine.knowledge_bases.get(owner, "default")
    async with engine.db.write() as session:
        secret, _ = await api_tokens.create_token(
            session, owner, "ci", scopes=[Scope.KB_READ, Scope.KB_WRITE], kb_ids=[kb.id]
        )
    narrow = await api_tokens.authenticate(engine.db, secret)
    assert (await engine.files.page(narrow)).entries == []
    with pytest.raises(NotFound):
        await engine.files.get(narrow, "leave.md")
    with pytest.raises(Forbidden):
        await put(engine, narrow, "other.md")


async def test_documents_of_a_file_that_one_may_not_write_stay_as_they_are(engine):
    owner = await engine.people.owner()
    ada = await person(engine, "ada")
    await engine.knowledge_bases.create(owner, "board", grants=[f"u:{owner.user_id}"])
    owner = await engine.people.owner()
    folder = await engine.files.create_folder(owner, "Shared")
    await engine.files.grant(owner, folder.id, f"u:{ada}", GrantLevel.WRITE)
    file_id = await put(engine, owner, "leave.md", folder.id)
    await engine.files.link(owner, file_id, "board")
    her = await who(engine, ada)
    assert (await engine.files.page(her, folder.id)).links == {}
    for attempt in (
        engine.files.add(her, [note("leave.md", LONGER)], folder=folder.id, replace_same=True),
        engine.files.delete(her, file_id, documents="delete"),
    ):
        with pytest.raises(Forbidden) as refused:
            await attempt
        assert "board" not in str(refused.value)
    with pytest.raises(NotFound):
        await engine.files.unlink(her, file_id, "board")
    async with engine.files.open(owner, file_id) as (_, path):
        assert path.read_bytes() == LEAVE


async def test_a_file_counts_once_towards_the_quota(engine):
    owner = await engine.people.owner()
    await engine.knowledge_bases.create(owner, "legal")
    owner = await engine.people.owner()
    await engine.quotas.set(owner, "tenant", "bytes", 2 * len(LEAVE))
    [added] = await engine.files.add(owner, [note("leave.md")], kb="default")
    await engine.files.link(owner, added.file.id, "legal")
    await put(engine, owner, "copy.md")
    with pytest.raises(QuotaReached):
        await put(engine, owner, "third.md")
    assert await paths(engine, owner) == ["copy.md", "leave.md"]


async def test_pages_hold_every_entry_once_folders_first(engine):
    owner = await engine.people.owner()
    for name in ("b", "a", "Z"):
        await engine.files.create_folder(owner, name)
    await engine.files.add(owner, [note(f"{at}.md") for at in range(7)])
    seen, cursor = [], ""
    while True:
        page = await engine.files.page(owner, limit=3, cursor=cursor)
        seen += [entry.name for entry in page.entries]
        cursor = page.next_cursor
        if not cursor:
            break
    assert seen == ["Z", "a", "b", *(f"{at}.md" for at in range(7))]
    for wrong in ("x", "AAAA", "bnVsbA=="):
        with pytest.raises(InvalidInput):
            await engine.files.page(owner, cursor=wrong)


async def test_a_crash_before_the_commit_leaves_no_half_of_a_file(engine, monkeypatch):
    owner = await engine.people.owner()

    async def die(*_: object) -> None:
        raise SystemError("killed")

    monkeypatch.setattr("engine.files.file_links.add_link", die)
    with pytest.raises(SystemError):
        await engine.files.add(owner, [note("leave.md")], kb="default")
    monkeypatch.undo()
    async with engine.db.read() as session:
        assert list(await session.scalars(select(FileEntry.id))) == []
        assert list(await session.scalars(select(Document.id))) == []
    [added] = await engine.files.add(owner, [note("leave.md")], kb="default")
    assert added.document is not None


async def test_bytes_that_a_file_holds_outlive_what_else_said_the_same(engine):
    """Talk's bytes are deleted with it; a file that holds the same keeps them."""
    owner = await engine.people.owner()
    saved = NewDocument(data=LEAVE, filename="saved.md", external_id="answer:1")
    added = await engine.documents.add(owner, "default", saved)
    await put(engine, owner, "leave.md")
    await engine.documents.delete(owner, added.document_id)
    await work(engine)
    async with engine.files.open(owner, "leave.md") as (_, path):
        assert path.read_bytes() == LEAVE


async def test_a_tenant_that_is_deleted_leaves_no_row_of_its_tree(engine):
    owner = await engine.people.owner()
    folder = await engine.files.create_folder(owner, "a")
    await engine.files.add(owner, [note("x.md")], folder=folder.id, kb="default")
    await engine.files.grant(owner, folder.id, "everyone")
    counts = await delete_rows(engine.db, owner.tenant_id)
    assert (counts["file"], counts["file_grant"], counts["file_document"]) == (2, 1, 1)
