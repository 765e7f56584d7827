"""Service keys, and what API tokens are bound to: who makes them, what they reach, when they end."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select

from engine.access import gate
from engine.answers.conversations import check_conversation, open_conversation
from engine.db.session import Database
from engine.db.tables import ApiToken, AuditEvent, KbGrant
from engine.documents import knowledge_bases
from engine.domain import Principal, Role, Scope
from engine.errors import Forbidden, InvalidInput, NotFound, StepUpRequired, Unauthenticated
from engine.index.port import Space
from engine.people import api_tokens, members
from engine.people.api_tokens import NEVER, TokenInfo, TokenKind
from engine.people.key_bounds import checked_networks, is_within
from tests.engine.people.conftest import Site

SPACE = Space("hashing-64", 64)
SERVICE = TokenKind.SERVICE


async def make(
    db: Database, who: Principal, *scopes: Scope, **bounds: object
) -> tuple[str, TokenInfo]:
    async with db.write() as session:
        return await api_tokens.create_token(
            session, who, "nightly", scopes=scopes or (Scope.KB_READ, Scope.KB_ASK), **bounds
        )


async def admin_of(site: Site) -> Principal:
    return await site.who(await site.join("ada", Role.ADMIN))


async def test_a_service_key_outlives_its_creator_and_a_personal_token_does_not(site: Site):
    admin = await admin_of(site)
    service, info = await make(site.db, admin, kind=SERVICE)
    personal, _ = await make(site.db, admin)
    before = await api_tokens.authenticate(site.db, service)

    async with site.db.write() as session:
        await members.set_active(session, site.owner, admin.user_id, active=False)

    assert await api_tokens.authenticate(site.db, service) == before
    with pytest.raises(Unauthenticated):
        await api_tokens.authenticate(site.db, personal)
    async with site.db.read() as session:
        [passed] = await session.scalars(
            select(AuditEvent).where(AuditEvent.action == "token.pass")
        )
        assert (passed.target, passed.detail["before"], passed.detail["after"]) == (
            info.id,
            admin.user_id,
            site.owner.user_id,
        )
        listed = await api_tokens.list_tokens(session, site.owner)
        assert [token.user_id for token in listed if token.id == info.id] == [site.owner.user_id]
    async with site.db.write() as session:
        await api_tokens.revoke_token(session, site.owner, info.id)
    with pytest.raises(Unauthenticated):
        await api_tokens.authenticate(site.db, service)


async def test_a_service_key_acts_for_nobody_and_reads_what_everyone_reads(site: Site):
    admin = await admin_of(site)
    async with site.db.write() as session:
        everyone = await knowledge_bases.create_kb(session, site.owner, "all", space=SPACE)
        mine = await knowledge_bases.create_kb(
            session, admin, "mine", space=SPACE, grants=[f"u:{admin.user_id}"]
        )
    secret, info = await make(site.db, await site.who(admin.user_id), kind=SERVICE)

    who = await api_tokens.authenticate(site.db, secret)

    assert (who.user_id, who.name, who.role, who.assured) == (None, "nightly", Role.MEMBER, False)
    assert who.tokens == {"tenant", f"k:{info.id}", f"kb:{everyone.id}"}
    assert gate.audience_of_asker(who).key == f"k:{info.id}"
    async with site.db.write() as session:
        await knowledge_bases.grant_kb(session, site.owner, mine.id, "key:nightly")
    assert f"kb:{mine.id}" in (await api_tokens.authenticate(site.db, secret)).tokens


async def test_a_service_key_for_a_knowledge_base_is_granted_it_until_it_is_revoked(site: Site):
    async with site.db.write() as session:
        kb = await knowledge_bases.create_kb(
            session, site.owner, "hr", space=SPACE, grants=[f"u:{site.owner.user_id}"]
        )
        other = await knowledge_bases.create_kb(session, site.owner, "other", space=SPACE)
    owner = await site.who(site.owner.user_id)
    scopes = (Scope.KB_READ, Scope.KB_WRITE)
    secret, info = await make(site.db, owner, *scopes, kind=SERVICE, kb_ids=[kb.id])

    who = await api_tokens.authenticate(site.db, secret)

    assert (who.tokens, who.writable, who.role) == ({f"kb:{kb.id}"}, {kb.id}, Role.CURATOR)
    async with site.db.write() as session:
        await gate.get_writable_kb(session, who, kb.id)
        with pytest.raises(NotFound):
            await gate.get_writable_kb(session, who, other.id)
        listed = await knowledge_bases.list_grants(session, owner, "hr")
        assert ("key nightly", "write") in {(grant.name, grant.level) for grant in listed}
        await api_tokens.revoke_token(session, owner, info.id)
        left = select(KbGrant).where(KbGrant.token == f"k:{info.id}")
        assert list(await session.scalars(left)) == []


async def test_only_confirmed_admins_make_service_keys_and_none_has_admin_scopes(site: Site):
    admin = await admin_of(site)
    curator = await site.who(await site.join("cy", Role.CURATOR))
    signed_in = replace(admin, session_id="s", assured=False)
    token = replace(admin, api_token_id="t", assured=False)
    for who, error in ((curator, Forbidden), (signed_in, StepUpRequired), (token, StepUpRequired)):
        with pytest.raises(error):
            await make(site.db, who, kind=SERVICE)
    with pytest.raises(InvalidInput):
        await make(site.db, admin, Scope.KB_ADMIN, kind=SERVICE)
    with pytest.raises(InvalidInput):
        await make(site.db, site.owner, kind=SERVICE, user_id=curator.user_id)


async def test_whoever_made_a_service_key_loses_it_with_their_role(site: Site):
    admin = await admin_of(site)
    _, info = await make(site.db, admin, kind=SERVICE)
    async with site.db.write() as session:
        await members.set_role(session, site.owner, admin.user_id, Role.MEMBER)
    demoted = await site.who(admin.user_id)
    async with site.db.write() as session:
        assert await api_tokens.list_tokens(session, demoted) == []
        with pytest.raises(NotFound):
            await api_tokens.revoke_token(session, demoted, info.id)


async def test_tokens_end_after_90_days_and_only_a_service_key_may_be_without_an_end(
    site: Site, fixed_clock
):
    personal, info = await make(site.db, site.owner)
    service, endless = await make(site.db, site.owner, kind=SERVICE, expires_at=NEVER)
    assert info.expires_at == fixed_clock.now() + timedelta(days=90)
    assert endless.expires_at is None
    with pytest.raises(InvalidInput):
        await make(site.db, site.owner, expires_at=NEVER)
    fixed_clock.advance(timedelta(days=90).total_seconds())
    with pytest.raises(Unauthenticated):
        await api_tokens.authenticate(site.db, personal)
    assert (await api_tokens.authenticate(site.db, service)).api_token_id == endless.id


@pytest.mark.parametrize(
    ("address", "is_let_in"),
    [
        ("192.0.2.200", True),
        ("::ffff:192.0.2.1", True),
        ("2001:db8:1::9", True),
        ("2001:db8:1::9%eth0", True),
        ("192.0.3.1", False),
        ("::ffff:192.0.3.1", False),
        ("2001:db8:2::9", False),
        ("", False),
        ("testclient", False),
        ("192.0.2.1, 10.0.0.1", False),
    ],
)
async def test_a_token_bound_to_networks_is_refused_elsewhere_without_detail(
    site: Site, address: str, is_let_in: bool
):
    secret, info = await make(site.db, site.owner, networks=["192.0.2.0/24", "2001:db8:1::/48"])
    assert info.networks == ["192.0.2.0/24", "2001:db8:1::/48"]
    if is_let_in:
        who = await api_tokens.authenticate(site.db, secret, address=address)
        assert who.user_id == site.owner.user_id
        return
    said = set()
    for tried in (secret, "sj_unknown"):
        with pytest.raises(Unauthenticated) as refused:
            await api_tokens.authenticate(site.db, tried, address=address)
        said.add(str(refused.value))
    assert len(said) == 1
    async with site.db.read() as session:
        assert (await session.get(ApiToken, info.id)).last_used_at is None
        with pytest.raises(Unauthenticated):  # nor by a link that stands for the token
            await api_tokens.principal_of_token(session, info.id, address=address)


@pytest.mark.parametrize("said", ["192.0.2.1/24", "office", "192.0.2.0/33", "", "0/0/0"])
def test_what_is_no_network_is_refused_by_name(said: str):
    with pytest.raises(InvalidInput) as refused:
        checked_networks([said])
    assert refused.value.field == "networks"


def test_a_mapped_network_means_the_one_inside():
    assert checked_networks(["::ffff:192.0.2.0/120", "10.0.0.7"]) == ["10.0.0.7/32", "192.0.2.0/24"]
    assert is_within(["0.0.0.0/0"], "198.51.100.1")
    assert not is_within(["0.0.0.0/0"], "2001:db8::1")


async def test_a_token_bound_to_assistants_can_do_nothing_until_one_lets_it_in(site: Site):
    scopes = (Scope.KB_READ, Scope.KB_ASK, Scope.KB_ADMIN)
    secret, _ = await make(site.db, site.owner, *scopes, assistants=["helpdesk"])
    who = await api_tokens.authenticate(site.db, secret)

    with pytest.raises(Forbidden):
        gate.require(who, Scope.KB_ASK)
    with pytest.raises(Forbidden):
        gate.require_verb(who, "member.list")
    with pytest.raises(Forbidden):  # nor make itself an unbound one
        await make(site.db, who, Scope.KB_ASK)
    with pytest.raises(NotFound):
        gate.for_assistant(who, "0" * 32, "sales")
    admitted = gate.for_assistant(who, "0" * 32, "helpdesk")
    gate.require(admitted, Scope.KB_ASK)
    assert gate.for_assistant(site.owner, "0" * 32, "sales") == site.owner


async def test_a_token_bound_to_networks_makes_no_other(site: Site):
    secret, _ = await make(site.db, site.owner, Scope.KB_ADMIN, networks=["192.0.2.0/24"])
    who = await api_tokens.authenticate(site.db, secret, address="192.0.2.9")
    with pytest.raises(Forbidden):
        await make(site.db, who, Scope.KB_ADMIN)


async def test_the_conversation_of_a_service_key_is_for_no_other_key(site: Site):
    keys = [await make(site.db, site.owner, kind=SERVICE) for _ in range(2)]
    mine, other = [await api_tokens.authenticate(site.db, secret) for secret, _ in keys]
    async with site.db.write() as session:
        started = await open_conversation(session, mine, door="rest")
        await check_conversation(session, mine, started, door="rest")
        for who in (other, site.owner):
            with pytest.raises(NotFound):
                await check_conversation(session, who, started, door="rest")
