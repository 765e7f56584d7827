"""Tenants, members and API tokens: who gets in, and what they may hand on."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select, update

from engine.access import gate
from engine.db.session import Database, open_database
from engine.db.tables import ApiToken, AuditEvent, User
from engine.documents import knowledge_bases
from engine.domain import Principal, Role, Scope
from engine.errors import Conflict, Forbidden, InvalidInput, NotFound, Unauthenticated
from engine.index.port import Space
from engine.people import api_tokens, groups, members, tenants


@pytest.fixture
async def owner(database: Database) -> Principal:
    tenant, person = await tenants.ensure_default(database)
    async with database.read() as session:
        return await gate.principal_of_user(session, tenant.id, person.user_id)


async def join(database: Database, owner: Principal, name: str, role: Role) -> Principal:
    async with database.write() as session:
        member = await members.add_member(session, owner, email=f"{name}@x.org", role=role)
        return await gate.principal_of_user(session, owner.tenant_id, member.user_id)


async def token_of(database: Database, who: Principal, *scopes: Scope, **more) -> tuple[str, str]:
    async with database.write() as session:
        secret, info = await api_tokens.create_token(
            session, who, "t", scopes=scopes or who.scopes, **more
        )
    return secret, info.id


async def test_the_first_start_makes_one_tenant_and_one_owner_without_password(database):
    first = await tenants.ensure_default(database)
    again = await tenants.ensure_default(database)

    assert first == again
    tenant, person = first
    assert (tenant.key, person.role) == ("default", Role.OWNER)
    async with database.read() as session:
        assert (await session.get(User, person.user_id)).password_hash is None


async def test_a_later_start_waits_for_no_writer(database):
    first = await tenants.ensure_default(database)
    async with database.write(), asyncio.timeout(30):
        assert await tenants.ensure_default(database) == first


async def test_processes_that_start_together_make_one_tenant(database_url):
    async def start() -> str:
        async with open_database(database_url) as database:
            tenant, owner = await tenants.ensure_default(database)
            return f"{tenant.id} {owner.user_id}"

    assert len(set(await asyncio.gather(*(start() for _ in range(5))))) == 1


async def test_a_token_lets_its_user_in_with_the_scopes_it_was_given(database, owner):
    secret, id_ = await token_of(database, owner, Scope.KB_READ)

    who = await api_tokens.authenticate(database, secret)

    assert who == replace(owner, scopes=frozenset({Scope.KB_READ}), api_token_id=id_, assured=False)
    async with database.read() as session:
        row = await session.get(ApiToken, id_)
    assert secret.startswith("sj_")
    assert len(secret) >= 43
    assert secret not in {row.digest, row.prefix}
    assert secret.startswith(row.prefix)


async def test_every_fault_of_a_token_is_refused_in_the_same_words(database, owner, fixed_clock):
    member = await join(database, owner, "bo", Role.MEMBER)
    left = await join(database, owner, "cy", Role.MEMBER)
    off = await join(database, owner, "di", Role.MEMBER)
    revoked, revoked_id = await token_of(database, member)
    expired, _ = await token_of(database, member, expires_in=timedelta(minutes=5))
    of_left, _ = await token_of(database, left)
    of_off, _ = await token_of(database, off)
    async with database.write() as session:
        await api_tokens.revoke_token(session, owner, revoked_id)
        await members.remove_member(session, owner, left.user_id)
        await session.execute(update(User).where(User.id == off.user_id).values(active=False))
    await api_tokens.authenticate(database, expired)
    fixed_clock.advance(300)

    said = set()
    for secret in (revoked, expired, of_left, of_off, "sj_unknown", "", "ü" * 50):
        with pytest.raises(Unauthenticated) as refused:
            await api_tokens.authenticate(database, secret)
        said.add(str(refused.value))
    assert len(said) == 1


async def test_a_token_narrows_at_once_when_its_user_loses_a_role(database, owner):
    admin = await join(database, owner, "bo", Role.ADMIN)
    secret, _ = await token_of(database, admin)
    async with database.write() as session:
        await members.set_role(session, owner, admin.user_id, Role.MEMBER)

    who = await api_tokens.authenticate(database, secret)

    assert who.scopes == {Scope.KB_READ, Scope.KB_ASK}


async def test_last_use_is_noted_once_a_minute(database, owner, fixed_clock):
    secret, id_ = await token_of(database, owner)

    async def used_after(seconds: float):
        fixed_clock.advance(seconds)
        await api_tokens.authenticate(database, secret)
        async with database.read() as session:
            return (await session.get(ApiToken, id_)).last_used_at

    first = await used_after(0)
    assert first == fixed_clock.now()
    assert await used_after(59) == first
    assert await used_after(1) == fixed_clock.now()


async def test_nobody_hands_on_more_scopes_than_they_have(database, owner):
    member = await join(database, owner, "bo", Role.MEMBER)
    admin = await join(database, owner, "cy", Role.ADMIN)

    with pytest.raises(Forbidden):
        await token_of(database, member, Scope.KB_WRITE)
    with pytest.raises(Forbidden):
        await token_of(database, replace(owner, scopes=frozenset({Scope.KB_ADMIN})), Scope.KB_ASK)
    with pytest.raises(Forbidden):  # an admin would read what the member reads
        await token_of(database, admin, Scope.KB_READ, user_id=member.user_id)
    with pytest.raises(Forbidden):  # more than its user may
        await token_of(database, owner, Scope.KB_ADMIN, user_id=member.user_id)
    secret, _ = await token_of(database, owner, Scope.KB_READ, user_id=member.user_id)
    assert (await api_tokens.authenticate(database, secret)).user_id == member.user_id


async def test_a_stolen_token_cannot_renew_itself(database, owner):
    member = await join(database, owner, "bo", Role.MEMBER)
    secret, _ = await token_of(database, member)
    thief = await api_tokens.authenticate(database, secret)

    with pytest.raises(Forbidden):
        await token_of(database, thief)


async def test_a_token_that_would_be_useless_is_refused(database, owner):
    with pytest.raises(InvalidInput) as refused:
        await token_of(database, owner, expires_in=timedelta(seconds=-1))
    assert refused.value.field == "expires_at"
    async with database.write() as session:
        with pytest.raises(InvalidInput) as refused:
            await api_tokens.create_token(session, owner, "t", scopes=[])
    assert refused.value.field == "scopes"


async def test_members_see_and_revoke_only_their_own_tokens(database, owner):
    member = await join(database, owner, "bo", Role.MEMBER)
    _, of_owner = await token_of(database, owner)
    _, of_member = await token_of(database, member)

    async with database.write() as session:
        assert [t.id for t in await api_tokens.list_tokens(session, member)] == [of_member]
        assert [t.id for t in await api_tokens.list_tokens(session, owner)] == [of_member, of_owner]
        with pytest.raises(NotFound):
            await api_tokens.revoke_token(session, member, of_owner)
        ended = await api_tokens.revoke_token(session, member, of_member)
        again = await api_tokens.revoke_token(session, owner, ended.prefix)
    assert ended.revoked_at is not None
    assert again == ended


async def test_a_tenant_keeps_an_owner_and_only_owners_touch_owners(database, owner):
    admin = await join(database, owner, "bo", Role.ADMIN)
    async with database.write() as session:
        with pytest.raises(Forbidden):
            await members.set_role(session, admin, owner.user_id, Role.MEMBER)
        with pytest.raises(Forbidden):
            await members.set_role(session, admin, admin.user_id, Role.OWNER)
        with pytest.raises(Conflict):
            await members.remove_member(session, owner, owner.user_id)
        await members.set_role(session, owner, admin.user_id, Role.OWNER)
        await members.remove_member(session, owner, owner.user_id)


async def test_groups_give_and_take_their_token_at_once(database, owner):
    member = await join(database, owner, "bo", Role.MEMBER)

    async def held() -> frozenset[str]:
        async with database.read() as session:
            made = await gate.principal_of_user(session, owner.tenant_id, member.user_id)
        return made.tokens

    async with database.write() as session:
        group = await groups.create_group(session, owner, "hr")
        await groups.add_to_group(session, owner, group.id, member.user_id)
        await groups.add_to_group(session, owner, group.id, member.user_id)
        with pytest.raises(Conflict):
            await groups.create_group(session, owner, "hr")
        [listed] = await groups.list_groups(session, owner)
    assert listed == replace(group, members=1)
    assert group.token in await held()
    async with database.write() as session:
        await groups.remove_from_group(session, owner, group.id, member.user_id)
    assert group.token not in await held()
    async with database.write() as session:
        await groups.delete_group(session, owner, group.id)
        with pytest.raises(NotFound):
            await groups.add_to_group(session, owner, group.id, member.user_id)


async def test_only_the_installation_s_owner_makes_tenants_and_sees_all_of_them(database, owner):
    member = await join(database, owner, "bo", Role.ADMIN)
    async with database.write() as session:
        made = await tenants.create_tenant(session, owner, "lab", name="The lab")
        with pytest.raises(Conflict):
            await tenants.create_tenant(session, owner, "lab")
        with pytest.raises(InvalidInput):
            await tenants.create_tenant(session, owner, "The lab")
        with pytest.raises(Forbidden):
            await tenants.create_tenant(session, member, "den")
        elsewhere = await gate.principal_of_user(session, made.id, owner.user_id)
        with pytest.raises(Forbidden):
            await tenants.create_tenant(session, elsewhere, "den")
        every = [t.key for t in await tenants.list_tenants(session, owner)]
        assert every == ["acme", "bolt", "cobb", "default", "lab"]
        copied = replace(owner, assured=False, api_token_id="t")
        assert [t.key for t in await tenants.list_tenants(session, copied)] == ["default"]
        assert [t.key for t in await tenants.list_tenants(session, member)] == ["default"]
        confined = replace(elsewhere, api_token_id="t")
        assert await tenants.list_tenants(session, confined) == [made]
        assert await tenants.find_tenant(session, "lab") == made
        with pytest.raises(NotFound):
            await tenants.find_tenant(session, "den")


async def test_members_are_found_by_address_and_named_once(database, owner):
    bo = await join(database, owner, "bo", Role.MEMBER)
    async with database.write() as session:
        found = await members.find_member(session, owner.tenant_id, "Bo@x.org")
        assert await members.find_member(session, owner.tenant_id, "bo") == found
        await members.add_member(session, owner, email="bo@y.org", name="bo")
        with pytest.raises(InvalidInput):
            await members.find_member(session, owner.tenant_id, "bo")
        with pytest.raises(Conflict):
            await members.add_member(session, owner, email="BO@x.org")
        with pytest.raises(InvalidInput):
            await members.add_member(session, owner, email="bo")
        with pytest.raises(NotFound):
            await members.find_member(session, "acme", "bo@x.org")
        with pytest.raises(Forbidden):
            await members.list_members(session, bo)
        assert [m.name for m in await members.list_members(session, owner)] == ["Owner", "bo", "bo"]
    assert found.user_id == bo.user_id


async def test_every_change_leaves_an_audit_row(database, owner):
    member = await join(database, owner, "bo", Role.MEMBER)
    _, token_id = await token_of(database, owner)
    async with database.write() as session:
        group = await groups.create_group(session, owner, "hr")
        await groups.add_to_group(session, owner, group.id, member.user_id)
        await members.set_role(session, owner, member.user_id, Role.CURATOR)
        await api_tokens.revoke_token(session, owner, token_id)
        await members.remove_member(session, owner, member.user_id)
    async with database.read() as session:
        rows = await session.scalars(select(AuditEvent).order_by(AuditEvent.id))
        actions = [(row.actor, row.action) for row in rows]
    assert actions == [
        ("system", "tenant.create"),
        *(
            (owner.user_id, action)
            for action in (
                "member.add",
                "token.create",
                "group.create",
                "group.add",
                "member.role",
                "token.revoke",
                "member.remove",
            )
        ),
    ]


async def test_a_token_ends_in_its_checksum_and_a_mistyped_one_is_not_looked_up(database, owner):
    secret, _ = await token_of(database, owner)
    assert re.fullmatch(r"sj_p[A-Za-z0-9_-]{43}[0-9A-Za-z]{6}", secret)
    assert api_tokens.is_well_formed(secret)
    wrong = secret[:10] + ("a" if secret[10] != "a" else "b") + secret[11:]
    assert not api_tokens.is_well_formed(wrong)
    assert api_tokens.is_well_formed("sj_" + "x" * 43)  # of before there were checksums
    assert api_tokens._checksum("a" * 43) == "4SHDYg"
    with pytest.raises(Unauthenticated):
        await api_tokens.authenticate(database, wrong)


async def test_a_narrowed_token_reaches_its_knowledge_bases_alone(database, owner):
    space = Space("hashing-64", 64)
    async with database.write() as session:
        one = await knowledge_bases.create_kb(session, owner, "one", space=space)
        two = await knowledge_bases.create_kb(session, owner, "two", space=space)
        owner = await gate.principal_of_user(session, owner.tenant_id, owner.user_id)
    scopes = (Scope.KB_READ, Scope.KB_WRITE)
    secret, _ = await token_of(database, owner, *scopes, kb_ids=[one.id])
    who = await api_tokens.authenticate(database, secret)
    assert who.tokens == {f"kb:{one.id}"}
    assert (who.writable, who.managed) == ({one.id}, {one.id})
    async with database.write() as session:
        assert [kb.name for kb in await knowledge_bases.list_kbs(session, who)] == ["one"]
        await gate.get_writable_kb(session, who, one.id)
        for look in (gate.get_writable_kb, knowledge_bases.get_kb):
            with pytest.raises(NotFound):
                await look(session, who, two.id)
        with pytest.raises(Forbidden):
            await knowledge_bases.create_kb(session, who, "three", space=space)
        await knowledge_bases.revoke_kb(session, owner, "one", "tenant")
    assert (await api_tokens.authenticate(database, secret)).tokens == frozenset()


async def test_a_narrowed_token_has_no_scope_that_reaches_beyond(database, owner):
    async with database.write() as session:
        kb = await knowledge_bases.create_kb(session, owner, "one", space=Space("hashing-64", 64))
        owner = await gate.principal_of_user(session, owner.tenant_id, owner.user_id)
    for scope in (Scope.KB_ADMIN, Scope.KB_MANAGE, Scope.OPS_READ):
        with pytest.raises(InvalidInput):
            await token_of(database, owner, Scope.KB_READ, scope, kb_ids=[kb.id])
    for kb_ids in ([], ["0" * 32]):
        with pytest.raises(NotFound):
            await token_of(database, owner, Scope.KB_READ, kb_ids=kb_ids)
