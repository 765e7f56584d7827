"""Knowledge bases: read by grant, managed by scope, gone at once."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import select

from engine.access import gate
from engine.access.permissions import GrantLevel
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
    [grant] = await kbs.list_grants(session, owner, "eng")
    assert (grant.token, grant.level, grant.name) == ("tenant", "write", "everyone")
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


@pytest.mark.parametrize(
    "token",
    ["kb:x", "nobody", "u:nobody", "user:x", "group:x", "channel:x", "g:none", "w:x", "ch:x"],
)
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
    plain = await members.add_member(session, owner, email="cy@x.org", role=Role.MEMBER)
    for who in (
        await gate.principal_of_user(session, owner.tenant_id, plain.user_id),
        replace(curator, scopes=curator.scopes - {Scope.KB_MANAGE}),
    ):
        with pytest.raises(Forbidden):
            await kbs.create_kb(session, who, "hr", space=SPACE)
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


async def member(session, owner, name: str, role: Role = Role.CURATOR) -> Principal:
    made = await members.add_member(session, owner, email=f"{name}@x.org", name=name, role=role)
    return await gate.principal_of_user(session, owner.tenant_id, made.user_id)


async def test_a_curator_manages_what_they_create_and_nothing_else(session, owner):
    await kbs.create_kb(session, owner, "eng", space=SPACE)
    curator = await member(session, owner, "bo")
    await kbs.create_kb(session, curator, "mine", space=SPACE)
    curator = await again(session, curator)

    assert [kb.name for kb in await kbs.list_managed_kbs(session, curator)] == ["mine"]
    await kbs.update_kb(session, curator, "mine", description="x")
    with pytest.raises(Conflict):
        await kbs.create_kb(session, curator, "eng", space=SPACE)
    await kbs.transfer_kb(session, curator, "mine", owner.user_id)
    curator = await again(session, curator)
    with pytest.raises(Forbidden):
        await kbs.update_kb(session, curator, "mine", description="y")
    await kbs.delete_kb(session, owner, "mine")


async def test_owning_a_knowledge_base_lets_nobody_read_it(session, owner):
    curator = await member(session, owner, "bo")
    made = await kbs.create_kb(session, curator, "mine", space=SPACE, grants=["tenant"])
    await kbs.revoke_kb(session, owner, "mine", "everyone")
    curator = await again(session, curator)
    assert made.id in curator.managed
    assert f"kb:{made.id}" not in curator.tokens
    assert await kbs.list_kbs(session, curator) == []
    with pytest.raises(NotFound):
        await gate.get_writable_kb(session, curator, made.id)


async def test_a_curator_grants_to_what_they_hold_themselves(session, owner):
    curator = await member(session, owner, "bo")
    guest = await member(session, owner, "gus", Role.GUEST)
    colleague = await member(session, owner, "cy", Role.MEMBER)
    mine, other = [await groups.create_group(session, owner, name) for name in ("a", "b")]
    await groups.add_to_group(session, owner, mine.id, curator.user_id)
    await kbs.create_kb(session, curator, "mine", space=SPACE)
    curator = await again(session, curator)

    for to in ("group:a", mine.token, "everyone", "user:cy@x.org"):
        await kbs.grant_kb(session, curator, "mine", to)
    for to in ("group:b", other.token, f"user:{guest.user_id}"):
        with pytest.raises(Forbidden):
            await kbs.grant_kb(session, curator, "mine", to)
    await kbs.grant_kb(session, owner, "mine", "group:b")
    names = [grant.name for grant in await kbs.list_grants(session, curator, "mine")]
    assert names == ["group a", "group b", "everyone", "user cy"]
    assert colleague.user_id is not None


async def test_a_grant_s_level_can_be_changed_and_says_so_in_the_audit(session, owner):
    await kbs.create_kb(session, owner, "eng", space=SPACE, grants=[])
    await kbs.grant_kb(session, owner, "eng", "everyone", GrantLevel.READ)
    await kbs.grant_kb(session, owner, "eng", "everyone", GrantLevel.MANAGE)
    [grant] = await kbs.list_grants(session, owner, "eng")
    assert grant.level is GrantLevel.MANAGE
    rows = await session.scalars(
        select(AuditEvent.detail).where(AuditEvent.action == "kb.grant").order_by(AuditEvent.id)
    )
    assert [(row["before"], row["after"]) for row in rows] == [(None, "read"), ("read", "manage")]


async def test_who_leaves_or_whose_group_is_deleted_keeps_no_grant(session, owner):
    bo = await member(session, owner, "bo")
    group = await groups.create_group(session, owner, "a")
    await kbs.create_kb(session, owner, "eng", space=SPACE, grants=[])
    await kbs.grant_kb(session, owner, "eng", "user:bo@x.org")
    await kbs.grant_kb(session, owner, "eng", "group:a")
    await members.remove_member(session, owner, bo.user_id)
    await groups.delete_group(session, owner, group.id)
    assert await kbs.list_grants(session, owner, "eng") == []
    await members.add_member(session, owner, email="bo@x.org", role=Role.CURATOR)
    assert await kbs.list_kbs(session, await again(session, bo)) == []
