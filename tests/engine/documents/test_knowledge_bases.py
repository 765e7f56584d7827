"""Knowledge bases: read by grant, managed by scope, gone at once."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import select

from engine.access import gate
from engine.db.session import Database
from engine.db.tables import AuditEvent, Event, Job, KnowledgeBase, Source
from engine.documents import knowledge_bases as kbs
from engine.domain import MAIN, Principal, Role, Scope
from engine.errors import Conflict, Forbidden, InvalidInput, NotFound
from engine.index.port import Space
from engine.people import groups, members, tenants
from tests.fakes import worlds

SPACE = Space("tiny", 3)


@pytest.fixture
async def owner(database: Database) -> Principal:
    tenant, person = await tenants.ensure_default(database)
    async with database.read() as session:
        return await gate.principal_of_user(session, tenant.id, person.user_id)


@pytest.fixture
async def session(database: Database, owner: Principal):
    async with database.write() as opened:
        yield opened


async def again(session, who: Principal) -> Principal:
    return await gate.principal_of_user(session, who.tenant_id, who.user_id)


async def test_a_new_one_has_an_upload_source_and_is_readable_by_every_member(session, owner):
    made = await kbs.create_kb(session, owner, " eng ", space=SPACE, search={"alpha": 0.2})

    [source] = await session.scalars(select(Source).where(Source.kb_id == made.id))
    assert source.kind == "upload"
    assert (made.name, made.search, made.chunking) == ("eng", {"alpha": 0.2}, {})
    assert await kbs.list_grants(session, owner, "eng") == ["tenant"]
    reader = await again(session, owner)
    assert await kbs.list_kbs(session, reader) == [made]
    assert await kbs.get_kb(session, reader, made.id) == made


async def test_one_that_may_not_be_read_is_not_named(session, owner):
    await kbs.create_kb(session, owner, "eng", space=SPACE)
    await kbs.create_kb(session, owner, "hr", space=SPACE)
    await kbs.create_kb(session, owner, "secret", space=SPACE, grants=[])
    reader = await again(session, owner)

    said = []
    for name in ("secret", "nothing"):
        with pytest.raises(NotFound) as missing:
            await kbs.get_kb(session, reader, name)
        said.append(str(missing.value))

    assert said == [
        "No knowledge base 'secret' that you may read. Available: eng, hr.",
        "No knowledge base 'nothing' that you may read. Available: eng, hr.",
    ]
    managed = await kbs.list_managed_kbs(session, reader)
    assert [kb.name for kb in managed] == ["eng", "hr", "secret"]


async def test_a_grant_opens_and_its_end_closes_at_once(session, owner):
    made = await kbs.create_kb(session, owner, "eng", space=SPACE, grants=[])
    group = await groups.create_group(session, owner, "hr")
    await groups.add_to_group(session, owner, group.id, owner.user_id)

    await kbs.grant_kb(session, owner, "eng", group.token)
    await kbs.grant_kb(session, owner, "eng", group.token)
    assert await kbs.list_kbs(session, await again(session, owner)) == [made]
    await kbs.revoke_kb(session, owner, "eng", group.token)
    await kbs.revoke_kb(session, owner, "eng", group.token)
    assert await kbs.list_kbs(session, await again(session, owner)) == []


@pytest.mark.parametrize("token", ["kb:x", "everyone", "u:nobody", "g:none", "w:x", "ch:x"])
async def test_a_grant_to_nothing_is_refused(session, owner, token):
    await kbs.create_kb(session, owner, "eng", space=SPACE)
    with pytest.raises(InvalidInput) as refused:
        await kbs.grant_kb(session, owner, "eng", token)
    assert refused.value.field == "token"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"search": {"alpha": 2}}, "alpha"),
        ({"search": {"alfa": 0.5}}, "alfa"),
        ({"search": {"fusion": "best"}}, "fusion"),
        ({"search": {"top_k": 0}}, "top_k"),
        ({"chunking": {"size": 4}}, "size"),
        ({"chunking": {"size": 64, "overlap": 40}}, ""),
        ({"name": "  "}, "name"),
        ({"name": "a\nb"}, "name"),
    ],
)
async def test_a_bad_setting_is_named(session, owner, changes, field):
    await kbs.create_kb(session, owner, "eng", space=SPACE)
    with pytest.raises(InvalidInput) as refused:
        await kbs.update_kb(session, owner, "eng", **changes)
    assert refused.value.field == field


async def test_settings_left_out_are_the_installation_s(session, owner):
    await kbs.create_kb(session, owner, "eng", space=SPACE)
    changed = await kbs.update_kb(
        session,
        owner,
        "eng",
        name="docs",
        description="What we know",
        pipeline="book",
        search=kbs.KbSearchSettings(top_k=5, alpha=None),
        chunking={"size": 128},
    )
    assert (changed.name, changed.description) == ("docs", "What we know")
    assert (changed.search, changed.chunking) == ({"top_k": 5}, {"size": 128})
    assert changed.pipeline == "book"


async def test_two_of_one_name_stand_only_one_after_the_other(session, owner):
    await kbs.create_kb(session, owner, "eng", space=SPACE)
    await kbs.create_kb(session, owner, "hr", space=SPACE)
    with pytest.raises(Conflict):
        await kbs.create_kb(session, owner, "eng", space=SPACE)
    with pytest.raises(Conflict):
        await kbs.update_kb(session, owner, "hr", name="eng")
    await kbs.delete_kb(session, owner, "eng")
    await kbs.create_kb(session, owner, "eng", space=SPACE)


async def test_a_deleted_one_is_gone_at_once_and_cleared_by_a_job(session, owner):
    made = await kbs.create_kb(session, owner, "eng", space=SPACE)
    document = worlds.Doc(
        "d0",
        owner.tenant_id,
        made.id,
        frozenset({f"kb:{made.id}"}),
        frozenset(),
        frozenset({MAIN}),
        deleted=False,
        hidden=False,
        derived_from=(),
    )
    source = await session.scalar(select(Source).where(Source.kb_id == made.id))
    await worlds.add_document(session, document, source_id=source.id)
    reader = await again(session, owner)
    assert (await gate.get_visible_document(session, reader, "d0")).id == "d0"
    assert await kbs.recount(session, made.id) == (1, 2, 10)

    await kbs.delete_kb(session, owner, "eng")

    with pytest.raises(NotFound):
        await gate.get_visible_document(session, reader, "d0")
    with pytest.raises(NotFound):
        await kbs.get_kb(session, reader, made.id)
    with pytest.raises(NotFound):
        await kbs.delete_kb(session, reader, made.id)
    [job] = await session.scalars(select(Job))
    assert (job.kind, job.payload) == ("delete_kb", {"kb_id": made.id})
    [happened] = await session.scalars(select(Event))
    assert happened.kind == "knowledge_base.deleted"


async def test_reading_and_managing_need_their_scopes(session, owner):
    await kbs.create_kb(session, owner, "eng", space=SPACE)
    member = await members.add_member(session, owner, email="bo@x.org", role=Role.CURATOR)
    curator = await gate.principal_of_user(session, owner.tenant_id, member.user_id)

    assert [kb.name for kb in await kbs.list_kbs(session, curator)] == ["eng"]
    for verb in (kbs.delete_kb, kbs.list_grants, kbs.update_kb):
        with pytest.raises(Forbidden):
            await verb(session, curator, "eng")
    with pytest.raises(Forbidden):
        await kbs.create_kb(session, curator, "hr", space=SPACE)
    with pytest.raises(Forbidden):
        await kbs.list_kbs(session, replace(curator, scopes=frozenset({Scope.KB_ASK})))


async def test_another_tenant_s_is_out_of_reach(session, owner):
    made = await kbs.create_kb(session, owner, "eng", space=SPACE)
    other = await tenants.create_tenant(session, owner, "lab")
    elsewhere = await gate.principal_of_user(session, other.id, owner.user_id)
    intruder = replace(elsewhere, tokens=elsewhere.tokens | {f"kb:{made.id}"})

    assert await kbs.list_kbs(session, intruder) == []
    with pytest.raises(NotFound):
        await kbs.delete_kb(session, intruder, made.id)
    await kbs.create_kb(session, intruder, "eng", space=SPACE)


async def test_every_change_leaves_an_audit_row(session, owner):
    await kbs.create_kb(session, owner, "eng", space=SPACE)
    await kbs.update_kb(session, owner, "eng", description="x")
    await kbs.revoke_kb(session, owner, "eng", "tenant")
    await kbs.grant_kb(session, owner, "eng", "tenant")
    await kbs.delete_kb(session, owner, "eng")

    rows = await session.scalars(
        select(AuditEvent.action).where(AuditEvent.action.startswith("kb.")).order_by(AuditEvent.id)
    )
    assert list(rows) == ["kb.create", "kb.update", "kb.revoke", "kb.grant", "kb.delete"]
    [kb] = await session.scalars(select(KnowledgeBase))
    assert kb.deleted_at is not None
