"""Linking an account of a platform to a member: a code made in the chat, redeemed elsewhere."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from engine import clock
from engine.access import gate
from engine.chats.callers import Caller
from engine.chats.sender_rows import Sender
from engine.db.tables import Identity, Tenant, User
from engine.domain import Principal
from engine.errors import Conflict, InvalidInput, NotFound
from engine.secrets import Secrets


def link_code(secrets: Secrets, sender: Sender) -> str:
    """What somebody enters at a door where they are known, to link this account; ten minutes."""
    payload = f"link:{sender.tenant_id}:{sender.identity_id}"
    return secrets.sign("oauth-state", payload, expires_at=clock.now() + LINK_LIFE)


async def link_account(
    session: AsyncSession, secrets: Secrets, principal: Principal, code: str
) -> str:
    """Link the account a code was made for to the principal's; its name. `Conflict` if it has one."""
    kind, _, rest = secrets.verify("oauth-state", code.strip()).partition(":")
    tenant_id, _, identity_id = rest.partition(":")
    if kind != "link" or tenant_id != principal.tenant_id or principal.user_id is None:
        raise InvalidInput("This code is not for linking an account of yours.", field="code")
    identity = await session.get(Identity, identity_id)
    if identity is None or identity.tenant_id != tenant_id:
        raise NotFound("The account this code was made for is gone.")
    if identity.user_id not in {None, principal.user_id}:
        raise Conflict("This account is linked to somebody else: they unlink it first.")
    identity.user_id = principal.user_id
    await gate.audit(session, principal, "identity.link", identity.id, {})
    return identity.name


async def unlink_account(session: AsyncSession, caller: Caller) -> bool:
    """Unlink the caller's account; False where it was not linked."""
    identity = await session.get_one(Identity, caller.sender.identity_id)
    if identity.user_id is None:
        return False
    identity.user_id = None
    await gate.audit(session, caller.principal, "identity.unlink", identity.id, {})
    return True


async def linked_member(session: AsyncSession, sender: Sender) -> str:
    """The name of the member an account is linked to, or an empty text."""
    row = await session.scalar(
        select(User.name)
        .join(Identity, Identity.user_id == User.id)
        .join(Tenant, Tenant.id == Identity.tenant_id)
        .where(Identity.id == sender.identity_id, Identity.tenant_id == sender.tenant_id)
    )
    return row or ""


LINK_LIFE = timedelta(minutes=10)
