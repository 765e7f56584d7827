"""Whom folders and files are granted to. A grant holds at once, for all that is below."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from engine.access import gate
from engine.access.permissions import GrantLevel
from engine.db.tables import FileEntry, FileGrant
from engine.documents.kb_grants import GrantInfo, grantee_name, may_share_with, parse_grantee
from engine.domain import Principal
from engine.errors import Forbidden, InvalidInput


async def file_grants_of(session: AsyncSession, entry: FileEntry) -> list[GrantInfo]:
    """The grants of a folder or file itself, by token."""
    rows = await session.execute(
        select(FileGrant.token, FileGrant.level)
        .where(FileGrant.file_id == entry.id, FileGrant.tenant_id == entry.tenant_id)
        .order_by(FileGrant.token)
    )
    return [
        GrantInfo(token, GrantLevel(level), await grantee_name(session, entry.tenant_id, token))
        for token, level in rows
    ]


async def set_file_grant(
    session: AsyncSession, principal: Principal, entry: FileEntry, to: str, level: GrantLevel
) -> None:
    """Let those whom words or a token name reach an entry up to a level."""
    token = gate.check_grantee(await parse_grantee(session, principal.tenant_id, to))
    if not await grantee_name(session, principal.tenant_id, token):
        raise InvalidInput(f"{token!r} does not exist in this tenant.", field="token")
    if not await may_share_with(session, principal, token):
        raise Forbidden("Share with groups, channels and workspaces you are in, and with members.")
    grant = await session.get(FileGrant, (entry.id, token))
    before = None if grant is None else grant.level
    if grant is None:
        session.add(
            FileGrant(file_id=entry.id, token=token, tenant_id=entry.tenant_id, level=level)
        )
    else:
        grant.level = level
    if before != level:
        detail = {"token": token, "before": before, "after": str(level)}
        await gate.audit(session, principal, "file.grant", entry.id, detail)


async def remove_file_grant(
    session: AsyncSession, principal: Principal, entry: FileEntry, to: str
) -> None:
    """Take a grant back, at once; no effect where there is none."""
    token = await parse_grantee(session, principal.tenant_id, to)
    grant = await session.get(FileGrant, (entry.id, token))
    if grant is not None:
        await session.delete(grant)
        detail = {"token": token, "before": grant.level, "after": None}
        await gate.audit(session, principal, "file.revoke", entry.id, detail)
