"""Who a knowledge base is granted to, how far, and who owns it.

A grant names an access token (everyone, a group, a person, a workspace, a channel) and a level. It
holds from the next question on. Whoever manages one knowledge base only, and not all of the tenant,
grants it to what they hold themselves: a group they are in, a channel they can read.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from engine.access import gate
from engine.access.permissions import GrantLevel
from engine.db.tables import (
    ApiToken,
    Channel,
    KbGrant,
    KnowledgeBase,
    Membership,
    User,
    UserGroup,
    Workspace,
)
from engine.domain import Principal, Role
from engine.errors import Forbidden, InvalidInput, NotFound

_GRANTEES = {
    "w": (Workspace.id, Workspace.tenant_id, Workspace.name),
    "g": (UserGroup.id, UserGroup.tenant_id, UserGroup.name),
    "ch": (Channel.id, Channel.tenant_id, Channel.name),
    "k": (ApiToken.id, ApiToken.tenant_id, ApiToken.name),
}
_IS_SERVICE_KEY = (ApiToken.kind == "service") & ApiToken.revoked_at.is_(None)
_KINDS = {"w": "workspace", "g": "group", "ch": "channel", "u": "user", "k": "key"}


@dataclass(frozen=True, slots=True)
class GrantInfo:
    """Whoever holds `token` may use the knowledge base up to `level`; `name` is for people."""

    token: str
    level: GrantLevel
    name: str


async def grants_of(session: AsyncSession, kb: KnowledgeBase) -> list[GrantInfo]:
    """The grants of a knowledge base, by token."""
    rows = await session.execute(
        select(KbGrant.token, KbGrant.level)
        .where(KbGrant.kb_id == kb.id, KbGrant.tenant_id == kb.tenant_id)
        .order_by(KbGrant.token)
    )
    return [
        GrantInfo(token, GrantLevel(level), await grantee_name(session, kb.tenant_id, token))
        for token, level in rows
    ]


async def add_grant(
    session: AsyncSession,
    principal: Principal,
    kb: KnowledgeBase,
    token: str,
    level: GrantLevel,
    *,
    is_first: bool = False,
) -> None:
    """Set the level of a grant, which may be a new one; a first one is part of a creation."""
    if not await grantee_name(session, kb.tenant_id, gate.check_grantee(token)):
        raise InvalidInput(f"{token!r} does not exist in this tenant.", field="token")
    if not gate.reaches_all(principal, "kb.grant") and not await may_share_with(
        session, principal, token
    ):
        raise Forbidden(
            "You manage this knowledge base alone: grant it to groups, channels and workspaces you"
            " are in, and to members. An admin can grant it to anyone."
        )
    grant = await session.get(KbGrant, (kb.id, token))
    if grant is None:
        session.add(KbGrant(kb_id=kb.id, token=token, tenant_id=kb.tenant_id, level=level))
    elif grant.level == level:
        return
    before = None if grant is None else grant.level
    if grant is not None:
        grant.level = level
    await session.flush()
    if is_first:
        return
    detail = {"token": token, "before": before, "after": str(level)}
    await gate.audit(session, principal, "kb.grant", kb.id, detail)


async def remove_grant(
    session: AsyncSession, principal: Principal, kb: KnowledgeBase, token: str
) -> None:
    """Take a grant back, at once; no effect where there is none."""
    grant = await session.get(KbGrant, (kb.id, token))
    if grant is not None:
        await session.delete(grant)
        detail = {"token": token, "before": grant.level, "after": None}
        await gate.audit(session, principal, "kb.revoke", kb.id, detail)


async def set_owner(
    session: AsyncSession, principal: Principal, kb: KnowledgeBase, user_id: str
) -> None:
    """Let another member manage it as its owner. What they may read does not change."""
    role = await session.scalar(
        select(Membership.role).where(
            Membership.tenant_id == kb.tenant_id,
            Membership.user_id == user_id,
            Membership.active.is_(True),
        )
    )
    if role is None:
        raise NotFound(f"No member {user_id!r} in this tenant.")
    detail = {"before": kb.owner_id, "after": user_id}
    kb.owner_id = user_id
    await gate.audit(session, principal, "kb.transfer", kb.id, detail)


async def parse_grantee(session: AsyncSession, tenant_id: str, ref: str) -> str:
    """The access token that words mean: `everyone`, or `group:`, `user:`, `channel:`, `key:` and a name.

    A token itself (`g:…`) is taken as it is. Names that several have must be given as a token.
    """
    word = ref.strip()
    if word.lower() in {gate.TENANT, "everyone", "everybody"}:
        return gate.TENANT
    kind, colon, name = word.partition(":")
    if not colon:
        raise InvalidInput(
            f"{word[:80]!r} names nobody: write everyone, or group:, user:, workspace:, channel:"
            " or key: and a name.",
            field="token",
        )
    if kind == "user":
        who = (User.id == name) | (User.email == name.lower()) | (User.name == name)
        query = (
            select(User.id)
            .join(Membership, Membership.user_id == User.id)
            .where(Membership.tenant_id == tenant_id, who)
        )
        prefix = "u"
    else:
        prefix = next((short for short, long in _KINDS.items() if long == kind), "")
        if not prefix:
            return gate.check_grantee(word)
        column, tenant, named = _GRANTEES[prefix]
        plain = name.removeprefix("#")
        query = select(column).where(tenant == tenant_id, (column == name) | (named == plain))
        if prefix == "k":
            query = query.where(_IS_SERVICE_KEY)
    found = list(await session.scalars(query.limit(2)))
    if len(found) != 1:
        some = "several are called so" if found else "there is none"
        raise InvalidInput(f"Which {kind} is {name[:80]!r}: {some}.", field="token")
    return f"{prefix}:{found[0]}"


async def may_share_with(session: AsyncSession, principal: Principal, token: str) -> bool:
    """Whether somebody who manages one thing only may grant it to these: what they hold, and members."""
    if token in principal.tokens:
        return True
    if not token.startswith("u:") or gate.TENANT not in principal.tokens:
        return False
    role = await session.scalar(
        select(Membership.role).where(
            Membership.tenant_id == principal.tenant_id, Membership.user_id == token[2:]
        )
    )
    return role is not None and role != Role.GUEST


async def grantee_name(session: AsyncSession, tenant_id: str, token: str) -> str:
    """What people call a grantee; empty where it doesn't exist in the tenant."""
    kind, _, id_ = token.partition(":")
    if token == gate.TENANT:
        return "everyone"
    if kind == "u":
        found = await session.scalar(
            select(User.name)
            .join(Membership, Membership.user_id == User.id)
            .where(Membership.tenant_id == tenant_id, User.id == id_)
        )
    else:
        column, tenant, named = _GRANTEES[kind]
        query = select(named).where(column == id_, tenant == tenant_id)
        found = await session.scalar(query.where(_IS_SERVICE_KEY) if kind == "k" else query)
    return "" if found is None else f"{_KINDS[kind]} {found}".strip()
