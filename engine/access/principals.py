"""Who holds which tokens: principals, and the audiences of their questions.

What someone holds is computed when they ask, from membership as it is then; nothing is copied to
documents, so a change of membership holds from the next question. Holding is monotone: each fact
(a membership, a group, a linked account, a channel, a grant) only adds tokens, and no role does.
`engine.access` hands these names on: import them from there.

Platform facts count only while they are fresh. Whoever syncs a channel sets `members_synced_at`,
and clears it when a sync fails; after `FRESH` its members and its being public are unknown, and
unknown means not held; `source_access.py` does the same for sources. Imported exports (`Workspace.state == "imported"`) are never synced and
stay as they were imported. A workspace in any other state than these two gives nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from engine import clock
from engine.access.acl import (
    TENANT,
    channel_token,
    group_token,
    kb_token,
    key_token,
    user_token,
    workspace_token,
)
from engine.access.permissions import GrantLevel
from engine.access.source_access import held_nodes
from engine.db.tables import (
    Channel,
    ChannelMember,
    Identity,
    KbGrant,
    KnowledgeBase,
    Membership,
    Tenant,
    User,
    UserGroupMember,
    Workspace,
)
from engine.domain import Audience, Principal, Role, Scope
from engine.errors import NotFound, TenantSuspended, Unauthenticated

FRESH = timedelta(hours=26)  # a daily sync, and two hours to be late in
ACTIVE, IMPORTED = "active", "imported"  # Workspace.state
SHARED = "shared"  # in Channel.settings: whom besides its workspace a channel is open to
EXTERNAL, INVITED, ORGANISATION = "external", "invited", "organisation"  # the kinds of them

_EVERY = frozenset(Scope)
_ASKING = frozenset({Scope.KB_READ, Scope.KB_ASK})
ROLE_SCOPES: Mapping[Role, frozenset[Scope]] = {
    Role.OWNER: _EVERY,
    Role.ADMIN: _EVERY,
    Role.CURATOR: _ASKING | {Scope.KB_WRITE, Scope.KB_MANAGE},
    Role.MEMBER: _ASKING,
    Role.GUEST: _ASKING,
}


async def principal_of_user(
    session: AsyncSession,
    tenant_id: str,
    user_id: str,
    *,
    scopes: Collection[Scope] | None = None,
    now: datetime | None = None,
) -> Principal:
    """A member of the tenant with all they hold now; `scopes` can only narrow the role's.

    Holds `tenant` (guests don't: they were invited for something in particular), `u:`, `g:` of
    their groups, what their linked platform accounts hold, and `kb:` of every KB granted to one of
    these. Raises `Unauthenticated` where the user is no active member of the tenant, and
    `TenantSuspended` for one who is.
    """
    facts = await _load(session, tenant_id, users={user_id}, now=now or clock.now())
    role = facts.roles.get(user_id)
    if role is None:
        raise Unauthenticated("This account is not an active member of the tenant.")
    if facts.is_suspended:
        raise TenantSuspended
    allowed = ROLE_SCOPES[role]
    [held] = await _with_grants(session, tenant_id, [facts.of_user(user_id)])
    return Principal(
        tenant_id=tenant_id,
        user_id=user_id,
        name=facts.names[user_id],
        role=role,
        tokens=held.tokens,
        scopes=allowed if scopes is None else allowed & frozenset(scopes),
        writable=held.writable,
        managed=held.managed | await _owned(session, tenant_id, user_id),
    )


async def principal_of_identity(
    session: AsyncSession,
    tenant_id: str,
    identity_id: str,
    *,
    seen_in: str | None = None,
    now: datetime | None = None,
) -> Principal:
    """Whoever is behind a platform account: the linked member, else a guest with platform tokens.

    Workspace membership is not tenant membership: unlinked, a full member holds `w:` and the
    channels they may read, a guest or external person the channels they are in, and both the KBs
    granted to these. `seen_in` is the channel the platform has just delivered their message from:
    that they are in it is then known, however old the last sync is.
    """
    facts = await _load(session, tenant_id, identities={identity_id}, now=now or clock.now())
    identity = facts.identities.get(identity_id)
    if identity is None:
        raise NotFound("No such platform account.")
    await require_serving(session, tenant_id)
    own = facts.of_identity(identity)
    if seen_in is not None:
        channel, _ = await _channel(session, tenant_id, seen_in)
        own.add(channel_token(channel.id))
    [held] = await _with_grants(session, tenant_id, [own])
    user_id = identity.user_id if identity.user_id in facts.roles else None
    role = facts.roles[user_id] if user_id is not None else Role.GUEST
    return Principal(
        tenant_id=tenant_id,
        user_id=user_id,
        name=facts.names[user_id] if user_id is not None else identity.name,
        role=role,
        tokens=held.tokens,
        scopes=ROLE_SCOPES[role],
        identity_id=identity_id,
        writable=held.writable,
        managed=held.managed | await _owned(session, tenant_id, user_id),
    )


async def principal_of_service_key(
    session: AsyncSession, tenant_id: str, key_id: str, name: str, scopes: Collection[Scope]
) -> Principal:
    """A service key of the tenant: it acts for no member, whoever made it.

    It holds `tenant`, its own `k:`, and the KBs granted to one of these. What its scopes allow is
    what a curator may do, or, where it only reads and asks, a member.
    """
    await require_serving(session, tenant_id)
    [held] = await _with_grants(session, tenant_id, [{TENANT, key_token(key_id)}])
    allowed = frozenset(scopes) - {Scope.KB_ADMIN}
    writes = bool(allowed & {Scope.KB_WRITE, Scope.KB_MANAGE})
    return Principal(
        tenant_id=tenant_id,
        user_id=None,
        name=name,
        role=Role.CURATOR if writes else Role.MEMBER,
        tokens=held.tokens,
        scopes=allowed,
        api_token_id=key_id,
        assured=False,
        writable=held.writable,
        managed=held.managed,
    )


async def require_serving(session: AsyncSession, tenant_id: str) -> None:
    """Return where the tenant answers; `TenantSuspended` or, where it is gone, `NotFound`."""
    found = await session.execute(
        select(Tenant.suspended_at).where(Tenant.id == tenant_id, Tenant.deleted_at.is_(None))
    )
    row = found.one_or_none()
    if row is None:
        raise NotFound("This organisation does not exist.")
    if row.suspended_at is not None:
        raise TenantSuspended


def audience_of_asker(principal: Principal) -> Audience:
    """A direct message, an ephemeral reply, an MCP or CLI call: only the asker sees the answer."""
    if principal.user_id is not None:
        key = user_token(principal.user_id)
    elif principal.api_token_id is not None:
        key = key_token(principal.api_token_id)
    else:
        key = f"i:{principal.identity_id or ''}"
    return Audience(key=key, label=f"only {principal.name}", tokens=principal.tokens)


async def audience_of_channel(
    session: AsyncSession, tenant_id: str, channel_id: str, *, now: datetime | None = None
) -> Audience:
    """Everyone who can see a message in this channel: the tokens that each of them holds.

    Public: what every full member of the workspace holds as such (people join without asking, so
    it is the class that counts, not its present members) and each guest or external person in it.
    Private: what each current member holds. A channel that is shared beyond its workspace (Slack
    Connect, other workspaces of an organisation) has people to come from there, who hold what is
    given to the channel itself. Unknown (never synced, synced longer than `FRESH` ago,
    or without a single known member): this channel's token, with the KBs granted to it.
    Guests and external people count with the channels they are in, whatever else they hold.
    """
    now = now or clock.now()
    channel, workspace = await _channel(session, tenant_id, channel_id)
    token = channel_token(channel.id)
    members = set(
        await session.scalars(
            select(ChannelMember.identity_id).where(
                ChannelMember.tenant_id == tenant_id, ChannelMember.channel_id == channel.id
            )
        )
    )
    held: list[set[str]] = []
    if workspace.state == ACTIVE and _is_fresh(channel, now):
        facts = await _load(
            session, tenant_id, identities=members, workspaces={workspace.id}, now=now
        )
        if channel.is_public:
            held.append(facts.of_full_members(workspace.id))
        if channel.settings.get(SHARED):
            held.append({token})
        for member in facts.identities.values():
            if not (member.is_full_member and member.workspace_id == workspace.id):
                held.append(facts.channels_of(member))
            elif not channel.is_public:
                held.append(facts.of_identity(member))
    everyone = await _with_grants(session, tenant_id, held or [{token}])
    tokens = frozenset.intersection(*(one.tokens for one in everyone))
    return Audience(key=token, label=f"#{channel.name}", tokens=tokens)


async def tokens_of_members(
    session: AsyncSession, tenant_id: str, *, kb_ids: Sequence[str] = ()
) -> frozenset[str]:
    """What every member of a tenant holds, and with `kb_ids` who also reads these."""
    own = {TENANT, *(kb_token(kb_id) for kb_id in kb_ids)}
    [held] = await _with_grants(session, tenant_id, [own])
    return held.tokens


def audiences_seen(principal: Principal) -> frozenset[str]:
    """The keys of audiences whose questions a principal may read: theirs, and their channels'."""
    channels = {token for token in principal.tokens if token.startswith("ch:")}
    return frozenset({audience_of_asker(principal).key, *channels})


def usable_tokens(principal: Principal, audience: Audience) -> frozenset[str]:
    """What an answer may rest on: held by who asks and by everyone who will see it."""
    return principal.tokens & audience.tokens


@dataclass(frozen=True, slots=True)
class _Account:
    id: str
    user_id: str | None
    workspace_id: str | None
    name: str
    is_full_member: bool


@dataclass(slots=True)
class _Facts:
    """Membership as loaded for some people; the rules that turn it into tokens."""

    roles: dict[str, Role] = field(default_factory=dict)  # by user, active members only
    names: dict[str, str] = field(default_factory=dict)
    groups: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    identities: dict[str, _Account] = field(default_factory=dict)
    linked: dict[str, list[_Account]] = field(default_factory=lambda: defaultdict(list))
    workspaces: dict[str, bool] = field(default_factory=dict)  # usable ones: members_are_tenant
    public: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    joined: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    is_suspended: bool = False  # the tenant, where anybody was looked up in it
    nodes: dict[str, set[str]] = field(default_factory=dict)  # of sources, by user

    def of_user(self, user_id: str) -> set[str]:
        tokens = {user_token(user_id)} | {group_token(g) for g in self.groups[user_id]}
        tokens |= {group_token(node) for node in self.nodes.get(user_id, ())}
        if self.roles[user_id] is not Role.GUEST:
            tokens.add(TENANT)
        for identity in self.linked[user_id]:
            tokens |= self.of_account(identity)
        return tokens

    def of_identity(self, identity: _Account) -> set[str]:
        if identity.user_id is not None and identity.user_id in self.roles:
            return self.of_user(identity.user_id)
        return self.of_account(identity)

    def of_account(self, identity: _Account) -> set[str]:
        tokens = self.channels_of(identity)
        if identity.is_full_member and identity.workspace_id is not None:
            tokens |= self.of_full_members(identity.workspace_id)
        return tokens

    def of_full_members(self, workspace_id: str) -> set[str]:
        if workspace_id not in self.workspaces:
            return set()
        tokens = {channel_token(c) for c in self.public[workspace_id]}
        tokens.add(workspace_token(workspace_id))
        if self.workspaces[workspace_id]:
            tokens.add(TENANT)
        return tokens

    def channels_of(self, identity: _Account) -> set[str]:
        return {channel_token(c) for c in self.joined[identity.id]}


async def _load(
    session: AsyncSession,
    tenant_id: str,
    *,
    users: Collection[str] = (),
    identities: Collection[str] = (),
    workspaces: Collection[str] = (),
    now: datetime,
) -> _Facts:
    """Everything that decides what these people, and the full members of these places, hold."""
    facts = _Facts()
    for account in await _accounts(session, tenant_id, Identity.id.in_(identities)):
        facts.identities[account.id] = account
    people = {a.user_id for a in facts.identities.values() if a.user_id is not None}.union(users)
    await _load_users(session, tenant_id, people, facts)
    counted = {user_id: role is not Role.GUEST for user_id, role in facts.roles.items()}
    facts.nodes = await held_nodes(session, tenant_id, counted, now)
    for account in await _accounts(session, tenant_id, Identity.user_id.in_(facts.roles)):
        facts.linked[account.user_id or ""].append(account)
    accounts = [*facts.identities.values(), *(a for own in facts.linked.values() for a in own)]
    places = {a.workspace_id for a in accounts if a.is_full_member and a.workspace_id is not None}
    await _load_places(session, tenant_id, places.union(workspaces), facts, now)
    await _load_joined(session, tenant_id, {a.id for a in accounts}, facts, now)
    return facts


async def _accounts(
    session: AsyncSession, tenant_id: str, which: ColumnElement[bool]
) -> list[_Account]:
    rows = await session.execute(
        select(
            Identity.id,
            Identity.user_id,
            Identity.workspace_id,
            Identity.name,
            Identity.is_full_member,
        ).where(Identity.tenant_id == tenant_id, which)
    )
    return [_Account(*row) for row in rows]


async def _load_users(
    session: AsyncSession, tenant_id: str, user_ids: Collection[str], facts: _Facts
) -> None:
    members = await session.execute(
        select(User.id, User.name, Membership.role, Tenant.suspended_at)
        .join(Membership, Membership.user_id == User.id)
        .join(Tenant, Tenant.id == Membership.tenant_id)
        .where(
            Tenant.id == tenant_id,
            Tenant.deleted_at.is_(None),
            User.active.is_(True),
            Membership.active.is_(True),
            User.id.in_(user_ids),
        )
    )
    for user_id, name, role, suspended_at in members:
        facts.is_suspended = suspended_at is not None
        facts.roles[user_id] = Role(role)
        facts.names[user_id] = name
    groups = await session.execute(
        select(UserGroupMember.user_id, UserGroupMember.group_id).where(
            UserGroupMember.tenant_id == tenant_id, UserGroupMember.user_id.in_(facts.roles)
        )
    )
    for user_id, group_id in groups:
        facts.groups[user_id].add(group_id)


async def _load_places(
    session: AsyncSession,
    tenant_id: str,
    workspace_ids: Collection[str],
    facts: _Facts,
    now: datetime,
) -> None:
    if not workspace_ids:
        return
    rows = await session.execute(
        select(Workspace.id, Workspace.members_are_tenant, Channel.id)
        .outerjoin(
            Channel,
            and_(
                Channel.workspace_id == Workspace.id,
                Channel.tenant_id == tenant_id,
                Channel.is_public.is_(True),
                _counts(now),
            ),
        )
        .where(
            Workspace.tenant_id == tenant_id,
            Workspace.id.in_(workspace_ids),
            Workspace.state.in_([ACTIVE, IMPORTED]),
        )
    )
    for workspace_id, members_are_tenant, channel_id in rows:
        facts.workspaces[workspace_id] = members_are_tenant
        if channel_id is not None:
            facts.public[workspace_id].add(channel_id)


async def _load_joined(
    session: AsyncSession,
    tenant_id: str,
    identity_ids: Collection[str],
    facts: _Facts,
    now: datetime,
) -> None:
    if not identity_ids:
        return
    rows = await session.execute(
        select(ChannelMember.identity_id, ChannelMember.channel_id)
        .join(Channel, Channel.id == ChannelMember.channel_id)
        .join(Workspace, Workspace.id == Channel.workspace_id)
        .where(
            ChannelMember.tenant_id == tenant_id,
            Channel.tenant_id == tenant_id,
            ChannelMember.identity_id.in_(identity_ids),
            Workspace.state.in_([ACTIVE, IMPORTED]),
            _counts(now),
        )
    )
    for identity_id, channel_id in rows:
        facts.joined[identity_id].add(channel_id)


def _counts(now: datetime) -> ColumnElement[bool]:
    """A channel's members and its being public are known: fresh, or fixed by an import."""
    return or_(Workspace.state == IMPORTED, Channel.members_synced_at > now - FRESH)


def _is_fresh(channel: Channel, now: datetime) -> bool:
    return channel.members_synced_at is not None and channel.members_synced_at > now - FRESH


@dataclass(frozen=True, slots=True)
class _Holdings:
    """What somebody holds, with the knowledge bases that are granted to it."""

    tokens: frozenset[str]
    writable: frozenset[str]
    managed: frozenset[str]


async def _with_grants(
    session: AsyncSession, tenant_id: str, holders: Sequence[Collection[str]]
) -> list[_Holdings]:
    """What each holder holds with the `kb:` tokens granted to what they hold, in the same order."""
    rows = await session.execute(
        select(KbGrant.token, KbGrant.kb_id, KbGrant.level)
        .join(KnowledgeBase, KnowledgeBase.id == KbGrant.kb_id)
        .where(
            KbGrant.tenant_id == tenant_id,
            KnowledgeBase.tenant_id == tenant_id,
            KnowledgeBase.deleted_at.is_(None),
        )
    )
    grants = [(token, kb_id, GrantLevel(level)) for token, kb_id, level in rows]
    found = []
    for own in holders:
        granted = [(kb_id, level) for token, kb_id, level in grants if token in own]
        found.append(
            _Holdings(
                frozenset(own) | {kb_token(kb_id) for kb_id, _ in granted},
                frozenset(kb_id for kb_id, level in granted if level is not GrantLevel.READ),
                frozenset(kb_id for kb_id, level in granted if level is GrantLevel.MANAGE),
            )
        )
    return found


async def _owned(session: AsyncSession, tenant_id: str, user_id: str | None) -> frozenset[str]:
    """Ids of the knowledge bases a user owns, which they manage; owning lets nobody read."""
    if user_id is None:
        return frozenset()
    owned = select(KnowledgeBase.id).where(
        KnowledgeBase.tenant_id == tenant_id,
        KnowledgeBase.owner_id == user_id,
        KnowledgeBase.deleted_at.is_(None),
    )
    return frozenset(await session.scalars(owned))


async def _channel(
    session: AsyncSession, tenant_id: str, channel_id: str
) -> tuple[Channel, Workspace]:
    row = (
        await session.execute(
            select(Channel, Workspace)
            .join(Workspace, Workspace.id == Channel.workspace_id)
            .where(
                Channel.id == channel_id,
                Channel.tenant_id == tenant_id,
                Workspace.tenant_id == tenant_id,
            )
        )
    ).one_or_none()
    if row is None:
        raise NotFound("No such channel.")
    return row[0], row[1]
