"""What sources sign in with: encrypted, bound to tenant and row, never shown again.

Admins add, replace, try and remove credentials by name, and name one when they connect a source. A
secret is opened only for the step that uses it (`StoredSecret`, `held_secrets.py`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pydantic import BaseModel, SecretStr, ValidationError
from sqlalchemy import Select, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from engine import clock
from engine.access import gate
from engine.db.session import Database
from engine.db.tables import Credential, Source
from engine.domain import Principal, Scope
from engine.errors import Conflict, InvalidInput, NotFound
from engine.secrets import Secrets
from engine.sources.contract import Connector, Finding
from engine.sources.held_secrets import bound_to
from engine.sources.states import ACTIVE, NEEDS_LOGIN, OK, PAUSED
from engine.sources.syncing import queue_plan
from engine.telemetry import keep_secret

SECRET_MAX = 20_000  # characters of one field: a key file fits


@dataclass(frozen=True, slots=True)
class CredentialInfo:
    """A credential as it may be shown: nothing of the secret."""

    id: str
    name: str
    kind: str
    method: str
    state: str
    error: str
    expires_at: datetime | None
    used_at: datetime | None
    created_at: datetime
    sources: Sequence[str]


@dataclass(frozen=True, slots=True)
class GivenSecret:
    """A secret as somebody gave it, checked against its method; not stored yet."""

    method: str
    given: Mapping[str, str] = field(repr=False)


def parse_secret(connector: Connector[Any], method: str, given: Mapping[str, str]) -> GivenSecret:
    """The secret for a method of the kind; the kind's first where none is named.

    Errors name the field and never repeat a value.
    """
    method = method or next(iter(connector.methods), "")
    fields = connector.methods.get(method)
    if fields is None:
        known = ", ".join(connector.methods) or "nothing: it needs no sign-in"
        raise InvalidInput(f"{connector.kind} signs in by {known}.", field="method")
    try:
        values = fields.model_validate(dict(given))
    except ValidationError as error:
        fault = error.errors(include_input=False, include_url=False, include_context=False)[0]
        name = ".".join(str(part) for part in fault["loc"]) or "secret"
        known = ", ".join(fields.model_fields)
        raise InvalidInput(f"{name}: {fault['msg']}. It takes: {known}.", field=name) from None
    secret = _opened(values)
    if any(len(value) > SECRET_MAX for value in secret.values()):
        raise InvalidInput(
            f"A field of a credential has at most {SECRET_MAX:,} characters.", field="secret"
        )
    return GivenSecret(method, secret)


def _opened(values: BaseModel) -> dict[str, str]:
    found = {}
    for name in type(values).model_fields:
        value = getattr(values, name)
        if isinstance(value, SecretStr):
            value = value.get_secret_value()
            keep_secret([value])
        found[name] = str(value)
    return found


class SourceCredentials:
    """The credentials of a tenant's sources."""

    def __init__(
        self, db: Database, secrets: Secrets, connectors: Mapping[str, Connector[Any]]
    ) -> None:
        self._db = db
        self._secrets = secrets
        self._connectors = connectors

    async def add(
        self,
        principal: Principal,
        *,
        kind: str,
        name: str,
        method: str = "",
        secret: Mapping[str, str],
    ) -> CredentialInfo:
        """Keep a new credential for sources of a kind; its secret is never given back."""
        gate.require(principal, Scope.KB_ADMIN)
        given = parse_secret(self._connector(kind), method, secret)
        named = " ".join(name.split())
        if not named or len(named) > 100:
            raise InvalidInput("A credential needs a name of at most 100 characters.", field="name")

        async def commit(session: AsyncSession) -> CredentialInfo:
            taken = _of(principal).where(func.lower(Credential.name) == named.lower())
            if await session.scalar(taken) is not None:
                raise Conflict(f"There is a credential {named!r} already; choose another name.")
            row_id = clock.new_id()
            row = Credential(
                id=row_id,
                tenant_id=principal.tenant_id,
                name=named,
                kind=kind,
                method=given.method,
                secret=self._sealed(principal.tenant_id, row_id, given),
                shown={},
                version=1,
                lease_owner="",
                state=OK,
                error="",
                created_by=principal.user_id,
                created_at=clock.now(),
            )
            session.add(row)
            await session.flush()
            await _audit(session, principal, "credential.add", row)
            return await _info(session, row)

        return await self._db.run_write(commit)

    async def replace(
        self, principal: Principal, ref: str, *, method: str = "", secret: Mapping[str, str]
    ) -> CredentialInfo:
        """Give a credential another secret; sources that waited for one go on."""
        gate.require(principal, Scope.KB_ADMIN)
        async with self._db.read() as session:
            known = await self._find(session, principal, ref)
        connector = self._connector(known.kind)
        given = parse_secret(connector, method or known.method, secret)

        async def commit(session: AsyncSession) -> CredentialInfo:
            row = await self._find(session, principal, ref, locked=True)
            row.method, row.version = given.method, row.version + 1
            row.secret = self._sealed(principal.tenant_id, row.id, given)
            row.state, row.error, row.expires_at = OK, "", None
            row.lease_owner, row.lease_until = "", None
            for source in await _sources_of(session, row):
                if source.state == NEEDS_LOGIN:
                    source.state, source.error = ACTIVE, ""
                    await queue_plan(session, source, cause="signed in")
            await _audit(session, principal, "credential.replace", row)
            await session.flush()
            return await _info(session, row)

        return await self._db.run_write(commit)

    async def list_all(self, principal: Principal) -> list[CredentialInfo]:
        """The tenant's credentials, by name."""
        gate.require(principal, Scope.KB_ADMIN)
        async with self._db.read() as session:
            rows = await session.scalars(_of(principal).order_by(Credential.name))
            return [await _info(session, row) for row in rows]

    async def get(self, principal: Principal, ref: str) -> CredentialInfo:
        """A credential, by name or id."""
        gate.require(principal, Scope.KB_ADMIN)
        async with self._db.read() as session:
            return await _info(session, await self._find(session, principal, ref))

    async def remove(self, principal: Principal, ref: str) -> CredentialInfo:
        """Delete a credential that no source uses. Raises `Conflict` that names those that do."""
        gate.require(principal, Scope.KB_ADMIN)

        async def commit(session: AsyncSession) -> CredentialInfo:
            row = await self._find(session, principal, ref, locked=True)
            info = await _info(session, row)
            if info.sources:
                users = ", ".join(info.sources[:5])
                raise Conflict(
                    f"{row.name} is what {users} signs in with: give it another credential, or"
                    " remove it first."
                )
            await session.delete(row)
            await _audit(session, principal, "credential.remove", row)
            return info

        return await self._db.run_write(commit)

    async def settle(self, principal: Principal, ref: str, findings: Sequence[Finding]) -> None:
        """Keep on a credential what trying it found."""

        async def commit(session: AsyncSession) -> None:
            row = await self._find(session, principal, ref, locked=True)
            faults = [one.text for one in findings if not one.ok]
            if not faults:
                row.state, row.error = OK, ""
            elif row.state != OK:
                row.error = faults[0]

        await self._db.run_write(commit)

    async def id_for(self, session: AsyncSession, principal: Principal, ref: str, kind: str) -> str:
        """The id of a credential that a source of a kind is to use."""
        row = await self._find(session, principal, ref)
        if row.kind != kind:
            raise InvalidInput(
                f"{row.name} is a credential for {row.kind}, not for {kind}.", field="credential"
            )
        return row.id

    def _sealed(self, tenant_id: str, row_id: str, given: GivenSecret) -> str:
        text = json.dumps(dict(given.given))
        return self._secrets.encrypt("credentials", text, bound=bound_to(tenant_id, row_id))

    def _connector(self, kind: str) -> Connector[Any]:
        found = self._connectors.get(kind)
        if found is None:
            known = ", ".join(sorted(k for k, one in self._connectors.items() if one.methods))
            raise InvalidInput(
                f"There is no kind of source {kind[:40]!r}. Those that sign in: {known or 'none'}.",
                field="kind",
            )
        return found

    async def _find(
        self, session: AsyncSession, principal: Principal, ref: str, *, locked: bool = False
    ) -> Credential:
        query = _of(principal).where(or_(Credential.id == ref, Credential.name == ref))
        found = await session.scalar(query.with_for_update() if locked else query)
        if found is None:
            raise NotFound(
                f"There is no credential {ref[:60]!r}; `credential list` shows those there are."
            )
        return found


def _of(principal: Principal) -> Select[Credential]:
    return select(Credential).where(Credential.tenant_id == principal.tenant_id)


async def _sources_of(session: AsyncSession, row: Credential) -> list[Source]:
    found = await session.scalars(
        select(Source)
        .where(
            Source.tenant_id == row.tenant_id,
            Source.credential_id == row.id,
            Source.state.in_([ACTIVE, PAUSED, NEEDS_LOGIN]),
        )
        .order_by(Source.name)
    )
    return list(found)


async def _info(session: AsyncSession, row: Credential) -> CredentialInfo:
    return CredentialInfo(
        id=row.id,
        name=row.name,
        kind=row.kind,
        method=row.method,
        state=row.state,
        error=row.error,
        expires_at=row.expires_at,
        used_at=row.used_at,
        created_at=row.created_at,
        sources=[source.name for source in await _sources_of(session, row)],
    )


async def _audit(session: AsyncSession, principal: Principal, action: str, row: Credential) -> None:
    await gate.audit(session, principal, action, row.id, {"kind": row.kind, "name": row.name})
