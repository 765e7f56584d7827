"""Random worlds: tenants with people, places, knowledge bases and documents, for property tests.

A world is plain data, so that a test can work out by itself, without SQL, who may see what.
`worlds()` draws one, `store` writes it to an empty database.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st
from sqlalchemy.ext.asyncio import AsyncSession

from engine.access import gate
from engine.db import tables
from engine.domain import MAIN, Role

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@dataclass(frozen=True)
class User:
    id: str
    active: bool
    roles: dict[str, Role]  # by tenant


@dataclass(frozen=True)
class Group:
    id: str
    tenant: str
    members: frozenset[str]


@dataclass(frozen=True)
class Workspace:
    id: str
    tenant: str
    state: str
    members_are_tenant: bool


@dataclass(frozen=True)
class Account:
    id: str
    tenant: str
    workspace: str | None
    user: str | None
    full: bool


@dataclass(frozen=True)
class Channel:
    id: str
    tenant: str
    workspace: str
    public: bool
    synced_hours_ago: int | None
    members: frozenset[str]


@dataclass(frozen=True)
class Kb:
    id: str
    tenant: str
    deleted: bool
    grants: frozenset[str]


@dataclass(frozen=True)
class Doc:
    id: str
    tenant: str
    kb: str
    acl: frozenset[str]
    acl_all: frozenset[str]
    live_on: frozenset[str]  # branches
    deleted: bool
    hidden: bool
    derived_from: tuple[str, ...]

    @property
    def revision(self) -> str:
        return f"f0{self.id}"[:32]


@dataclass
class World:
    tenants: list[str] = field(default_factory=list)
    users: list[User] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)
    workspaces: list[Workspace] = field(default_factory=list)
    accounts: list[Account] = field(default_factory=list)
    channels: list[Channel] = field(default_factory=list)
    kbs: list[Kb] = field(default_factory=list)
    docs: list[Doc] = field(default_factory=list)


def _subset(
    values: Iterable[str], *, least: int = 0, most: int = 3
) -> st.SearchStrategy[frozenset[str]]:
    pool = sorted(values)
    if not pool:
        return st.just(frozenset())
    return st.frozensets(st.sampled_from(pool), min_size=least, max_size=most)


def _rarely(draw: st.DrawFn) -> bool:
    return draw(st.integers(0, 4)) == 4


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Two tenants that share users, with a little of everything that decides who sees what."""
    world = World(tenants=["t0", "t1"])
    for n in range(draw(st.integers(1, 4))):
        roles = {
            tenant: draw(st.sampled_from(list(Role)))
            for tenant in world.tenants
            if draw(st.booleans())
        }
        world.users.append(User(f"u{n}", not _rarely(draw), roles))
    for tenant in world.tenants:
        _draw_places(draw, world, tenant)
        _draw_content(draw, world, tenant)
    return world


def _draw_places(draw: st.DrawFn, world: World, tenant: str) -> None:
    members = [user.id for user in world.users if tenant in user.roles]
    people = [user.id for user in world.users]
    if members:
        world.groups.append(Group(f"g-{tenant}", tenant, draw(_subset(members))))
    places = []
    for n in range(draw(st.integers(0, 2))):
        place = Workspace(
            f"w{n}-{tenant}",
            tenant,
            draw(st.sampled_from(["active", "active", "imported", "removed"])),
            draw(st.booleans()),
        )
        places.append(place)
    world.workspaces.extend(places)
    accounts = [
        Account(
            f"i{n}-{tenant}",
            tenant,
            draw(st.sampled_from([None, *(place.id for place in places)])),
            draw(st.sampled_from([None, *people])),
            draw(st.booleans()),
        )
        for n in range(draw(st.integers(0, 4)))
    ]
    world.accounts.extend(accounts)
    for place in places:
        for n in range(draw(st.integers(0, 2))):
            world.channels.append(
                Channel(
                    f"c{n}-{place.id}",
                    tenant,
                    place.id,
                    draw(st.booleans()),
                    draw(st.sampled_from([None, 1, 1, 1, 25, 26, 27])),
                    draw(_subset(account.id for account in accounts)),
                )
            )


def _draw_content(draw: st.DrawFn, world: World, tenant: str) -> None:
    grantees = [
        gate.TENANT,
        *(f"u:{user.id}" for user in world.users),
        *(f"g:{group.id}" for group in world.groups if group.tenant == tenant),
        *(f"w:{place.id}" for place in world.workspaces if place.tenant == tenant),
        *(f"ch:{channel.id}" for channel in world.channels if channel.tenant == tenant),
    ]
    kbs = [
        Kb(f"k{n}-{tenant}", tenant, _rarely(draw), draw(_subset(grantees, most=2)))
        for n in range(draw(st.integers(1, 2)))
    ]
    world.kbs.extend(kbs)
    own: list[str] = []
    for n in range(draw(st.integers(0, 4))):
        kb = draw(st.sampled_from(kbs))
        document = Doc(
            id=f"d{n}-{tenant}",
            tenant=tenant,
            kb=kb.id,
            acl=draw(st.one_of(st.just(frozenset({f"kb:{kb.id}"})), _subset(grantees, least=1))),
            acl_all=draw(_subset(grantees, most=2)) if _rarely(draw) else frozenset(),
            live_on=draw(
                st.sampled_from([frozenset({MAIN}), frozenset({MAIN, "draft"}), frozenset()])
            ),
            deleted=_rarely(draw),
            hidden=_rarely(draw),
            derived_from=tuple(sorted(draw(_subset([*own, "gone"], most=2))))
            if _rarely(draw)
            else (),
        )
        if not document.derived_from:
            own.append(document.id)
        world.docs.append(document)


async def store(session: AsyncSession, world: World) -> None:
    """Write a world into a database that holds none."""
    session.add_all(tables.Tenant(id=t, key=t, name=t) for t in world.tenants)
    session.add_all(tables.User(id=u.id, name=u.id, active=u.active) for u in world.users)
    await session.flush()
    for user in world.users:
        session.add_all(
            tables.Membership(tenant_id=t, user_id=user.id, role=role)
            for t, role in user.roles.items()
        )
    await _store_places(session, world)
    await _store_content(session, world)


async def _store_places(session: AsyncSession, world: World) -> None:
    for group in world.groups:
        session.add(tables.UserGroup(id=group.id, tenant_id=group.tenant, name=group.id))
    for place in world.workspaces:
        session.add(
            tables.Workspace(
                id=place.id,
                tenant_id=place.tenant,
                platform="slack",
                external_id=place.id,
                name=place.id,
                state=place.state,
                members_are_tenant=place.members_are_tenant,
            )
        )
    await session.flush()
    for group in world.groups:
        session.add_all(
            tables.UserGroupMember(group_id=group.id, user_id=m, tenant_id=group.tenant)
            for m in group.members
        )
    for account in world.accounts:
        session.add(
            tables.Identity(
                id=account.id,
                tenant_id=account.tenant,
                user_id=account.user,
                workspace_id=account.workspace,
                provider="slack",
                subject=account.id,
                name=account.id,
                is_full_member=account.full,
            )
        )
    for channel in world.channels:
        ago = channel.synced_hours_ago
        session.add(
            tables.Channel(
                id=channel.id,
                tenant_id=channel.tenant,
                workspace_id=channel.workspace,
                external_id=channel.id,
                name=channel.id,
                is_public=channel.public,
                members_synced_at=None if ago is None else NOW - timedelta(hours=ago),
            )
        )
    await session.flush()
    for channel in world.channels:
        session.add_all(
            tables.ChannelMember(channel_id=channel.id, identity_id=m, tenant_id=channel.tenant)
            for m in channel.members
        )


async def _store_content(session: AsyncSession, world: World) -> None:
    for kb in world.kbs:
        await add_kb(session, kb)
    for document in world.docs:
        await add_document(session, document)


async def add_kb(session: AsyncSession, kb: Kb) -> None:
    """A knowledge base with its upload source and its grants."""
    session.add(
        tables.KnowledgeBase(
            id=kb.id,
            tenant_id=kb.tenant,
            name=kb.id,
            space="tiny",
            dimension=3,
            deleted_at=NOW if kb.deleted else None,
        )
    )
    await session.flush()
    session.add(
        tables.Source(
            id=f"s-{kb.id}", tenant_id=kb.tenant, kb_id=kb.id, kind="upload", name="upload"
        )
    )
    session.add_all(
        tables.KbGrant(kb_id=kb.id, token=token, tenant_id=kb.tenant) for token in kb.grants
    )
    await session.flush()


async def add_document(session: AsyncSession, document: Doc, *, source_id: str = "") -> None:
    """A document with one revision of two chunks, live where it says."""
    tenant = document.tenant
    session.add(
        tables.Document(
            id=document.id,
            tenant_id=tenant,
            kb_id=document.kb,
            source_id=source_id or f"s-{document.kb}",
            external_id=document.id,
            title=document.id,
            acl_id=await gate.intern_acl(session, tenant, document.acl),
            acl_all=sorted(document.acl_all),
            hidden=document.hidden,
            derived_from=list(document.derived_from),
            deleted_at=NOW if document.deleted else None,
        )
    )
    await session.flush()
    session.add(
        tables.Revision(
            id=document.revision,
            tenant_id=tenant,
            document_id=document.id,
            number=1,
            blob_hash="0" * 64,
            chunk_count=2,
            token_count=10,
        )
    )
    await session.flush()
    session.add_all(
        tables.Chunk(
            revision_id=document.revision,
            ordinal=n,
            tenant_id=tenant,
            start=0,
            end=1,
            text=f"{document.id} {n}",
        )
        for n in range(2)
    )
    session.add_all(
        tables.Live(
            branch=branch,
            document_id=document.id,
            revision_id=document.revision,
            kb_id=document.kb,
            tenant_id=tenant,
        )
        for branch in document.live_on
    )
    await session.flush()


# The rules, once more and slowly


def grants(world: World, tenant: str, held: Collection[str]) -> frozenset[str]:
    """What is held with the knowledge bases granted to it."""
    kbs = {
        f"kb:{kb.id}"
        for kb in world.kbs
        if kb.tenant == tenant and not kb.deleted and any(g in held for g in kb.grants)
    }
    return frozenset(held) | kbs


def readable(
    world: World, tenant: str, tokens: Collection[str], branch: str | None = MAIN
) -> set[str]:
    """Documents these tokens may see; with a branch, those that answer there."""
    by_id = {document.id: document for document in world.docs}
    kbs = {kb.id: kb for kb in world.kbs}

    def stands(document: Doc) -> bool:
        return (
            document.tenant == tenant
            and not document.deleted
            and not kbs[document.kb].deleted
            and any(token in tokens for token in document.acl)
            and all(token in tokens for token in document.acl_all)
        )

    found = set()
    for document in world.docs:
        origins = [by_id.get(id_) for id_ in document.derived_from]
        if (
            stands(document)
            and all(
                o is not None and stands(o) and not o.hidden and MAIN in o.live_on for o in origins
            )
            and (branch is None or branch in document.live_on)
        ):
            found.add(document.id)
    return found
