"""Who gets what a workflow sends out, and whether they may read all that it rests on.

A component that sends declares its recipient: `outside` (anybody: nothing of the knowledge bases may
go there), `tenant` (every member may see it there) or `kb:<name>` (whoever reads that knowledge base).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from engine.access import gate
from engine.access.cited import all_readable
from engine.db.tables import Membership, User
from engine.errors import Forbidden

if TYPE_CHECKING:
    from engine.workflows.component import WorkflowRun

OUTSIDE, MEMBERS = "outside", "tenant"
_REFUSED = (
    "What this would send rests on {count} passages that {who} may not all read, so nothing was sent:"
    " leave them out, or send it to somebody who may read them."
)


def is_recipient(name: str) -> bool:
    """Whether this is a kind of recipient."""
    kind, _, rest = name.partition(":")
    return name in {OUTSIDE, MEMBERS} or (kind == "kb" and bool(rest.strip()))


async def require_recipient(run: WorkflowRun, sources: Sequence[str], recipient: str) -> None:
    """Return where the recipient may read every source, else raise `Forbidden`."""
    if not sources:
        return
    if recipient == OUTSIDE:
        raise Forbidden(_REFUSED.format(count=len(sources), who="recipients outside"))
    kb_ids: list[str] = []
    if recipient != MEMBERS:
        name = recipient.partition(":")[2].strip()
        kb_ids = list(await run.services.kb_ids(run.principal, name))
    tenant_id = run.principal.tenant_id
    async with run.services.db.read() as session:
        tokens = await gate.tokens_of_members(session, tenant_id, kb_ids=kb_ids)
        may_read = await all_readable(session, tenant_id, tokens, sources)
    if not may_read:
        who = "every member" if recipient == MEMBERS else f"who reads {recipient}"
        raise Forbidden(_REFUSED.format(count=len(sources), who=who))


async def members_of(run: WorkflowRun, addresses: Sequence[str]) -> set[str]:
    """Those of these addresses that active members have proved to be theirs."""
    async with run.services.db.read() as session:
        found = await session.scalars(
            select(User.email)
            .join(Membership, Membership.user_id == User.id)
            .where(
                Membership.tenant_id == run.principal.tenant_id,
                Membership.active.is_(True),
                User.email.in_([address.lower() for address in addresses]),
                User.email_verified_at.is_not(None),
            )
        )
        return {address for address in found if address}


async def require_addresses(
    run: WorkflowRun, sources: Sequence[str], addresses: Sequence[str]
) -> None:
    """Return where the member behind each address may read every source, else raise `Forbidden`.

    An address that no active member has proved to be theirs is outside.
    """
    if not sources:
        return
    tenant_id = run.principal.tenant_id
    for address in addresses:
        async with run.services.db.read() as session:
            user_id = await session.scalar(
                select(User.id)
                .join(Membership, Membership.user_id == User.id)
                .where(
                    Membership.tenant_id == tenant_id,
                    func.lower(User.email) == address.lower(),
                    User.email_verified_at.is_not(None),
                )
            )
            if user_id is None:
                raise Forbidden(_REFUSED.format(count=len(sources), who=address))
            reader = await gate.principal_of_user(session, tenant_id, user_id)
            if not await all_readable(session, tenant_id, reader.tokens, sources):
                raise Forbidden(_REFUSED.format(count=len(sources), who=address))
