"""SCIM clients: the secrets with which an identity provider provisions the people of a tenant."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from engine import clock
from engine.access import gate
from engine.db.session import Database
from engine.db.tables import ScimClient
from engine.domain import Principal, Role
from engine.errors import NotFound, Unauthenticated, Unavailable
from engine.people import api_tokens
from engine.people.members import checked_name

LAST_USED_STEP = timedelta(minutes=1)
REFUSED = "This SCIM token is wrong or revoked. Create one with `scrubjay scim create`."


@dataclass(frozen=True, slots=True)
class ScimClientInfo:
    """A client without its secret; `prefix` is how that begins."""

    id: str
    name: str
    prefix: str
    created_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None


async def create_client(
    session: AsyncSession, principal: Principal, name: str
) -> tuple[str, ScimClientInfo]:
    """A new client's secret, which is shown this once, and its description."""
    gate.require_verb(principal, "scim.set")
    secret = api_tokens.new_secret("s")
    row = ScimClient(
        id=clock.new_id(),
        tenant_id=principal.tenant_id,
        name=checked_name(name),
        digest=_digest(secret),
        prefix=secret[: api_tokens.PREFIX_LENGTH],
        created_by=principal.user_id,
        created_at=clock.now(),
    )
    session.add(row)
    await gate.audit(session, principal, "scim.create", row.id, {"name": row.name})
    return secret, _info(row)


async def list_clients(session: AsyncSession, principal: Principal) -> list[ScimClientInfo]:
    """The tenant's clients, newest first; for its admins."""
    gate.require_verb(principal, "scim.list")
    rows = await session.scalars(
        select(ScimClient)
        .where(ScimClient.tenant_id == principal.tenant_id)
        .order_by(ScimClient.id.desc())
    )
    return [_info(row) for row in rows]


async def revoke_client(session: AsyncSession, principal: Principal, ref: str) -> ScimClientInfo:
    """End a client by its id or prefix; whom it provisioned stays."""
    gate.require_verb(principal, "scim.set")
    found = list(
        await session.scalars(
            select(ScimClient)
            .where(
                ScimClient.tenant_id == principal.tenant_id,
                or_(ScimClient.id == ref, ScimClient.prefix == ref),
            )
            .limit(2)
        )
    )
    if len(found) != 1:
        raise NotFound(f"No SCIM client {ref[:60]!r}. `scrubjay scim list` names them.")
    [row] = found
    if row.revoked_at is None:
        row.revoked_at = clock.now()
        await gate.audit(session, principal, "scim.revoke", row.id, {"name": row.name})
    return _info(row)


async def authenticate(db: Database, secret: str) -> Principal:
    """Who acts in the tenant's name with this secret; `Unauthenticated` for every other.

    It has an owner's rights over people, and sees nothing.
    """
    now = clock.now()
    async with db.read() as session:
        row = await session.scalar(select(ScimClient).where(ScimClient.digest == _digest(secret)))
        if row is None or row.revoked_at is not None:
            raise Unauthenticated(REFUSED)
        try:
            await gate.require_serving(session, row.tenant_id)
        except NotFound:
            raise Unauthenticated(REFUSED) from None
    if row.last_used_at is None or now - row.last_used_at >= LAST_USED_STEP:
        with suppress(Unavailable):  # a busy writer is no reason to turn someone away
            async with db.write() as session:
                await session.execute(
                    update(ScimClient).where(ScimClient.id == row.id).values(last_used_at=now)
                )
    return Principal(
        tenant_id=row.tenant_id,
        user_id=None,
        name=f"scim:{row.id}",
        role=Role.OWNER,
        tokens=frozenset(),
        scopes=gate.ROLE_SCOPES[Role.OWNER],
    )


class ScimClients:
    """The verbs of SCIM clients: `Engine.people.scim`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def create(self, principal: Principal, name: str) -> tuple[str, ScimClientInfo]:
        """A new client: its secret, shown this once, and what is kept of it."""
        return await self._db.run_write(lambda session: create_client(session, principal, name))

    async def list_all(self, principal: Principal) -> list[ScimClientInfo]:
        """The tenant's clients, for its admins."""
        return await self._db.run_read(lambda session: list_clients(session, principal))

    async def revoke(self, principal: Principal, ref: str) -> ScimClientInfo:
        """End a client now, by id or prefix."""
        return await self._db.run_write(lambda session: revoke_client(session, principal, ref))

    async def authenticate(self, secret: str) -> Principal:
        """Who acts for a tenant with this secret."""
        return await authenticate(self._db, secret)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _info(row: ScimClient) -> ScimClientInfo:
    return ScimClientInfo(
        row.id, row.name, row.prefix, row.created_at, row.last_used_at, row.revoked_at
    )
