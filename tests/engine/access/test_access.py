"""The one gate: for random worlds it lets through exactly what a slow reading of the rules does."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event, update
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from engine.access import gate
from engine.access.index_filter import index_filter
from engine.db import tables
from engine.db.session import Database
from engine.domain import MAIN, Audience, Principal, Role, Scope
from engine.errors import Forbidden, InvalidInput, NotFound, Unauthenticated
from tests.fakes import worlds
from tests.fakes.databases import SqliteDatabases
from tests.fakes.worlds import NOW, Account, Channel, Doc, Kb, User, Workspace, World

# Each example is a small database: few by default, as many as one likes by hand.
EXAMPLES = settings(
    max_examples=int(os.environ.get("SCRUBJAY_TEST_WORLDS", "25")),
    suppress_health_check=[HealthCheck.too_slow],
)

Check = Callable[[AsyncSession], Awaitable[None]]


@pytest.fixture(scope="module")
def play(
    sqlite_databases: SqliteDatabases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[World, Check], None]]:
    """Run a check in a world that exists only for it: everything is rolled back."""
    url = sqlite_databases.new(tmp_path_factory.mktemp("worlds"))
    engine = create_async_engine(
        url.replace("sqlite:", "sqlite+aiosqlite:"), connect_args={"isolation_level": None}
    )
    event.listen(engine.sync_engine, "begin", lambda c: c.exec_driver_sql("BEGIN"))

    async def run(world: World, check: Check) -> None:
        async with AsyncSession(engine) as session:
            await worlds.store(session, world)
            await check(session)

    with asyncio.Runner() as runner:
        yield lambda world, check: runner.run(run(world, check))
        runner.run(engine.dispose())


def token_pool(world: World) -> list[str]:
    return sorted({t for d in world.docs for t in d.acl | d.acl_all} | {"tenant", "u:nobody"})


def principal(tenant: str, *tokens: str, **more: object) -> Principal:
    made = Principal(tenant, "u0", "Ada", Role.MEMBER, frozenset(tokens), frozenset(Scope))
    return replace(made, **more)  # type: ignore[arg-type]


# Rows


@given(world=worlds.worlds(), data=st.data())
@EXAMPLES
def test_every_way_to_rows_gives_exactly_what_the_tokens_may_see(play, world, data):
    tokens = frozenset(data.draw(st.sets(st.sampled_from(token_pool(world)))))
    branch = data.draw(st.sampled_from([MAIN, "draft", "none"]))
    picked = data.draw(st.lists(st.sampled_from(world.docs), max_size=2)) if world.docs else []

    async def check(session: AsyncSession) -> None:
        for tenant in world.tenants:
            who = principal(tenant, *tokens)
            seen = worlds.readable(world, tenant, tokens, branch=None)
            answers = worlds.readable(world, tenant, tokens, branch)
            hidden = {d.id for d in world.docs if d.hidden}
            revisions = [d.revision for d in world.docs] + ["unknown"]

            rows = await session.scalars(gate.select_documents(who))
            assert {row.id for row in rows} == seen
            pairs = await session.execute(gate.select_answering(tenant, tokens, branch=branch))
            assert {row[0].id for row in pairs} == answers
            chunks = await session.scalars(gate.select_chunks(tenant, tokens, branch=branch))
            assert {c.revision_id for c in chunks} == {f"f0{id_}" for id_ in answers - hidden}
            joined = await gate.join_live(session, tenant, branch, tokens, revisions)
            assert {d.document_id for d in joined.values()} == answers - hidden
            joined = await gate.join_live(
                session, tenant, branch, tokens, revisions, include_hidden=True
            )
            assert {d.document_id for d in joined.values()} == answers
            for document in picked:
                if document.id in seen:
                    found = await gate.get_visible_document(session, who, document.id)
                    assert found.id == document.id
                    _, revision, live = await gate.get_visible_revision(
                        session, tenant, tokens, document.revision, branch=branch
                    )
                    assert revision.id == document.revision
                    assert live == (document.revision if branch in document.live_on else None)
                else:
                    with pytest.raises(NotFound):
                        await gate.get_visible_document(session, who, document.id)
                    with pytest.raises(NotFound):
                        await gate.get_visible_revision(session, tenant, tokens, document.revision)

    play(world, check)


@given(world=worlds.worlds(), data=st.data())
@EXAMPLES
def test_known_knowledge_bases_are_those_granted_or_partly_visible(play, world, data):
    tokens = data.draw(
        st.sets(st.sampled_from([*token_pool(world), *(f"kb:{k.id}" for k in world.kbs)]))
    )
    other = data.draw(
        st.sets(st.sampled_from([*token_pool(world), *(f"kb:{k.id}" for k in world.kbs)]))
    )

    async def check(session: AsyncSession) -> None:
        for tenant in world.tenants:
            for audience in (None, Audience("ch:x", "#x", frozenset(other))):
                held = tokens if audience is None else tokens & other
                seen = worlds.readable(world, tenant, held, branch=None)
                homes = {d.kb for d in world.docs if d.id in seen}
                expected = {
                    kb.id
                    for kb in world.kbs
                    if kb.tenant == tenant
                    and not kb.deleted
                    and (f"kb:{kb.id}" in held or kb.id in homes)
                }
                found = await gate.readable_kbs(session, principal(tenant, *tokens), audience)
                assert {kb.id for kb in found} == expected

    play(world, check)


@given(world=worlds.worlds(), data=st.data())
@EXAMPLES
def test_cutting_the_tokens_of_a_filter_changes_nothing_that_is_found(play, world, data):
    tokens = frozenset(data.draw(st.sets(st.sampled_from(token_pool(world)))))
    other = frozenset(data.draw(st.sets(st.sampled_from(token_pool(world)))))
    kb_ids = data.draw(st.one_of(st.none(), st.sets(st.sampled_from([k.id for k in world.kbs]))))

    async def check(session: AsyncSession) -> None:
        for tenant in world.tenants:
            audience = Audience("ch:x", "#x", other)
            made = await index_filter(session, principal(tenant, *tokens), audience, kb_ids=kb_ids)
            held = tokens & other
            assert made.tokens <= held
            assert made.kb_ids == {
                kb.id
                for kb in world.kbs
                if kb.tenant == tenant and not kb.deleted and (kb_ids is None or kb.id in kb_ids)
            }
            for document in world.docs:
                if document.kb in made.kb_ids and not document.deleted:
                    full = bool(document.acl & held) and document.acl_all <= held
                    cut = bool(document.acl & made.tokens) and document.acl_all <= made.tokens
                    assert cut == full

    play(world, check)


# Who holds what


def slow_account_tokens(world: World, account: Account) -> set[str]:
    places = {w.id: w for w in world.workspaces if w.state in {"active", "imported"}}

    def known(channel: Channel) -> bool:
        ago = channel.synced_hours_ago
        place = places.get(channel.workspace)
        return place is not None and (place.state == "imported" or (ago is not None and ago < 26))

    held = {f"ch:{c.id}" for c in world.channels if account.id in c.members and known(c)}
    if account.full and account.workspace in places:
        held.add(f"w:{account.workspace}")
        held |= {
            f"ch:{c.id}"
            for c in world.channels
            if c.workspace == account.workspace and c.public and known(c)
        }
        if places[account.workspace].members_are_tenant:
            held.add("tenant")
    return held


def slow_user_tokens(world: World, user: User, tenant: str) -> set[str]:
    held = {f"u:{user.id}"}
    held |= {f"g:{g.id}" for g in world.groups if g.tenant == tenant and user.id in g.members}
    if user.roles[tenant] is not Role.GUEST:
        held.add("tenant")
    for account in world.accounts:
        if account.tenant == tenant and account.user == user.id:
            held |= slow_account_tokens(world, account)
    return held


def slow_identity_tokens(world: World, account: Account) -> set[str]:
    for user in world.users:
        if user.id == account.user and user.active and account.tenant in user.roles:
            return slow_user_tokens(world, user, account.tenant)
    return slow_account_tokens(world, account)


@given(world=worlds.worlds())
@EXAMPLES
def test_principals_hold_what_their_memberships_give_and_nothing_more(play, world):
    async def check(session: AsyncSession) -> None:
        for tenant in world.tenants:
            for user in world.users:
                if not user.active or tenant not in user.roles:
                    with pytest.raises(Unauthenticated):
                        await gate.principal_of_user(session, tenant, user.id, now=NOW)
                    continue
                made = await gate.principal_of_user(session, tenant, user.id, now=NOW)
                expected = worlds.grants(world, tenant, slow_user_tokens(world, user, tenant))
                assert made.tokens == expected
                assert made.scopes == gate.ROLE_SCOPES[user.roles[tenant]]
            for account in world.accounts:
                if account.tenant != tenant:
                    with pytest.raises(NotFound):
                        await gate.principal_of_identity(session, tenant, account.id, now=NOW)
                    continue
                made = await gate.principal_of_identity(session, tenant, account.id, now=NOW)
                held = slow_identity_tokens(world, account)
                assert made.tokens == worlds.grants(world, tenant, held)

    play(world, check)


@given(world=worlds.worlds())
@EXAMPLES
def test_an_audience_holds_only_what_each_of_its_people_holds(play, world):
    async def check(session: AsyncSession) -> None:
        for channel in world.channels:
            made = await gate.audience_of_channel(session, channel.tenant, channel.id, now=NOW)
            assert made.key == f"ch:{channel.id}"
            place = next(w for w in world.workspaces if w.id == channel.workspace)
            ago = channel.synced_hours_ago
            fresh = place.state == "active" and ago is not None and ago < 26
            people = [a for a in world.accounts if a.id in channel.members]
            if channel.public:
                everyone = Account("?", channel.tenant, place.id, None, full=True)
                people.append(everyone)
            if not fresh or not people:
                only = worlds.grants(world, channel.tenant, {f"ch:{channel.id}"})
                assert made.tokens == only
                continue
            held = []
            for account in people:
                if account.full and account.workspace == place.id:
                    # In a public channel it is the class that counts, not the person.
                    person = replace(account, id="?", user=None) if channel.public else account
                    tokens = slow_identity_tokens(world, person)
                else:
                    tokens = {
                        t
                        for t in slow_account_tokens(world, replace(account, full=False))
                        if t.startswith("ch:")
                    }
                held.append(worlds.grants(world, channel.tenant, tokens))
            assert made.tokens == frozenset.intersection(*held)
            assert f"ch:{channel.id}" in made.tokens

    play(world, check)


@given(world=worlds.worlds())
@EXAMPLES
def test_no_answer_in_a_fresh_channel_rests_on_what_a_reader_of_it_may_not_read(play, world):
    async def check(session: AsyncSession) -> None:
        for channel in world.channels:
            place = next(w for w in world.workspaces if w.id == channel.workspace)
            tenant = channel.tenant
            audience = await gate.audience_of_channel(session, tenant, channel.id, now=NOW)
            usable = worlds.readable(world, tenant, audience.tokens)
            for account in world.accounts:
                joins = account.full and account.workspace == place.id and channel.public
                if account.tenant == tenant and (joins or account.id in channel.members):
                    reader = await gate.principal_of_identity(
                        session, tenant, account.id, seen_in=channel.id, now=NOW
                    )
                    assert usable <= worlds.readable(world, tenant, reader.tokens)

    play(world, check)


# Stories


@pytest.fixture
async def session(database: Database):
    async with database.write() as opened:
        yield opened


async def settled(session: AsyncSession, world: World) -> None:
    world.tenants = ["here"]
    await worlds.store(session, world)


async def test_guests_hold_no_tenant_token_and_others_do_whatever_their_role(session):
    users = [User(f"u{n}", active=True, roles={"here": role}) for n, role in enumerate(Role)]
    await settled(session, World(users=users))

    for user in users:
        made = await gate.principal_of_user(session, "here", user.id)
        assert ("tenant" in made.tokens) == (user.roles["here"] is not Role.GUEST)


async def test_scopes_asked_for_never_widen_those_of_the_role(session):
    await settled(session, World(users=[User("u0", active=True, roles={"here": Role.MEMBER})]))

    made = await gate.principal_of_user(
        session, "here", "u0", scopes=[Scope.KB_READ, Scope.KB_ADMIN]
    )

    assert made.scopes == {Scope.KB_READ}


async def test_a_message_just_seen_in_a_channel_counts_however_old_the_sync_is(session):
    world = World(
        workspaces=[Workspace("w0", "here", "active", members_are_tenant=False)],
        accounts=[Account("i0", "here", "w0", None, full=True)],
        channels=[Channel("c0", "here", "w0", False, 48, frozenset({"i0"}))],
        kbs=[Kb("k0", "here", deleted=False, grants=frozenset({"ch:c0"}))],
    )
    await settled(session, world)

    away = await gate.principal_of_identity(session, "here", "i0", now=NOW)
    there = await gate.principal_of_identity(session, "here", "i0", seen_in="c0", now=NOW)
    audience = await gate.audience_of_channel(session, "here", "c0", now=NOW)

    assert away.tokens == {"w:w0"}
    assert there.tokens == {"w:w0", "ch:c0", "kb:k0"}
    assert gate.usable_tokens(there, audience) == {"ch:c0", "kb:k0"}


async def test_one_guest_in_a_public_channel_keeps_the_workspace_out_of_its_answers(session):
    world = World(
        workspaces=[Workspace("w0", "here", "active", members_are_tenant=True)],
        accounts=[
            Account("i0", "here", "w0", None, full=True),
            Account("i1", "here", "w0", None, full=False),
        ],
        channels=[
            Channel("c0", "here", "w0", True, 1, frozenset({"i0", "i1"})),
            Channel("c1", "here", "w0", True, 1, frozenset({"i0"})),
        ],
    )
    await settled(session, world)

    with_guest = await gate.audience_of_channel(session, "here", "c0", now=NOW)
    without = await gate.audience_of_channel(session, "here", "c1", now=NOW)

    assert with_guest.tokens == {"ch:c0"}
    assert without.tokens == {"tenant", "w:w0", "ch:c0", "ch:c1"}


async def test_a_channel_of_another_tenant_is_not_found(session):
    world = World(
        workspaces=[Workspace("w0", "here", "active", members_are_tenant=False)],
        channels=[Channel("c0", "here", "w0", True, 1, frozenset())],
    )
    await settled(session, world)

    with pytest.raises(NotFound):
        await gate.audience_of_channel(session, "acme", "c0", now=NOW)


def test_the_audience_of_an_asker_is_named_by_user_or_account():
    user = principal("here", "tenant")
    account = replace(user, user_id=None, identity_id="i0")

    assert gate.audience_of_asker(user) == Audience("u:u0", "only Ada", user.tokens)
    assert gate.audience_of_asker(account).key == "i:i0"


async def test_deleting_or_tightening_holds_from_that_instant(session):
    kb = Kb("k0", "here", deleted=False, grants=frozenset({"tenant"}))
    plain = Doc(
        "d0", "here", "k0", frozenset({"kb:k0"}), frozenset(), frozenset({MAIN}), False, False, ()
    )
    derived = replace(plain, id="d1", derived_from=("d0",))
    await settled(session, World(kbs=[kb], docs=[plain, derived]))
    tokens = {"tenant", "kb:k0"}

    async def found() -> set[str]:
        joined = await gate.join_live(session, "here", MAIN, tokens, ["f0d0", "f0d1"])
        return {document.document_id for document in joined.values()}

    assert await found() == {"d0", "d1"}
    closed = await gate.intern_acl(session, "here", ["u:u9"])
    await session.execute(
        update(tables.Document).where(tables.Document.id == "d0").values(acl_id=closed)
    )
    assert await found() == set()


async def test_equal_acls_are_stored_once_a_tenant(session):
    first = await gate.intern_acl(session, "acme", ["u:a", "tenant", "u:a"])
    again = await gate.intern_acl(session, "acme", ["tenant", "u:a"])
    elsewhere = await gate.intern_acl(session, "bolt", ["tenant", "u:a"])

    assert first == again
    assert elsewhere != first


@pytest.mark.parametrize(
    "tokens",
    [
        [],
        ["everyone"],
        ["u:"],
        ["U:a"],
        ["u:a b"],
        ["u:" + "a" * 99],
        ["tenant:x"],
        ["x:a"],
        ["u:a\n"],
    ],
)
async def test_an_acl_that_names_nobody_or_nonsense_is_refused(session, tokens):
    with pytest.raises(InvalidInput) as refused:
        await gate.intern_acl(session, "acme", tokens)
    assert refused.value.field == "acl"


def test_token_constructors_keep_to_the_alphabet():
    made = [
        gate.user_token("a1"),
        gate.group_token("b"),
        gate.workspace_token("t-1"),
        gate.channel_token("c_1"),
        gate.kb_token("k"),
    ]
    assert made == ["u:a1", "g:b", "w:t-1", "ch:c_1", "kb:k"]
    with pytest.raises(InvalidInput):
        gate.user_token("Ann Smith")


def test_a_grant_never_chains():
    with pytest.raises(InvalidInput):
        gate.check_grantee("kb:k0")


def test_what_is_missing_is_named_when_a_verb_is_forbidden():
    who = principal("here", scopes=frozenset({Scope.KB_READ}))
    gate.require(who, Scope.KB_READ)
    with pytest.raises(Forbidden, match="kb:write"):
        gate.require(who, Scope.KB_READ, Scope.KB_WRITE)


@pytest.mark.parametrize(
    ("giver", "may"),
    [
        (Role.OWNER, set(Role)),
        (Role.ADMIN, set(Role) - {Role.OWNER}),
        (Role.CURATOR, set()),
        (Role.MEMBER, set()),
        (Role.GUEST, set()),
    ],
)
def test_only_owners_make_owners_and_only_admins_make_anyone(giver, may):
    who = principal("here", role=giver, scopes=gate.ROLE_SCOPES[giver])
    assert {role for role in Role if gate.can_grant_role(who, role)} == may
    assert gate.can_grant(who, who.scopes)
    assert not gate.can_grant(who, {*who.scopes, "more"})


async def test_adding_needs_the_scope_and_the_grant(session):
    kbs = [Kb(id_, "here", deleted=id_ == "k2", grants=frozenset()) for id_ in ("k0", "k1", "k2")]
    shown = Doc(
        "d0", "here", "k1", frozenset({"tenant"}), frozenset(), frozenset(), False, False, ()
    )
    await settled(session, World(kbs=kbs, docs=[shown]))
    who = principal("here", "tenant", "kb:k0", "kb:k2", writable=frozenset({"k0", "k2"}))

    assert (await gate.get_writable_kb(session, who, "k0")).id == "k0"
    with pytest.raises(Forbidden):  # granted for reading
        await gate.get_writable_kb(session, replace(who, writable=frozenset()), "k0")
    with pytest.raises(Forbidden):  # readable in part, but not granted
        await gate.get_writable_kb(session, who, "k1")
    with pytest.raises(Forbidden):
        await gate.get_writable_kb(session, replace(who, scopes=frozenset()), "k0")
    for absent in ("k2", "k3"):
        with pytest.raises(NotFound):
            await gate.get_writable_kb(session, who, absent)
    with pytest.raises(NotFound):
        await gate.get_writable_kb(session, replace(who, tenant_id="acme"), "k0")
