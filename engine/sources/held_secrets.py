"""A stored secret while a source uses it: opened, and renewed by exactly one of all who need it.

A static secret takes no lock. One that expires (a token of an app, a refresh token that rotates) is
renewed by whoever takes its lease; the new one is stored, in place of the version it was made from,
before anybody uses it. The others wait for that version. A kill ends the lease by its time.
"""

from __future__ import annotations

import json
import secrets as random_secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import anyio
from pydantic import SecretStr
from sqlalchemy import Select, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from engine import clock
from engine.db.session import Database
from engine.db.tables import Credential
from engine.errors import ConfigurationError, InvalidInput, Unavailable
from engine.secrets import Secrets
from engine.sources.contract import Connector, Renewed, SourceRefused, SourceWait
from engine.sources.states import NEEDS_LOGIN, OK
from engine.telemetry import keep_secret

LEASE_S = 60.0
CALL_S = 20.0  # for the source's answer: well within the lease
EARLY = timedelta(minutes=5)  # before it expires
POLL_S, POLLS = 0.1, 50
WRONG = (
    "The source does not take this credential: it is wrong, expired or revoked. Give another one"
    " with `credential set`."
)

Renew = Callable[[str, Mapping[str, str]], Awaitable[Renewed]]  # method, present values


def bound_to(tenant_id: str, row_id: str) -> str:
    """Where a secret is kept; copied elsewhere it does not open."""
    return f"{tenant_id}/credential/{row_id}"


@dataclass(frozen=True, slots=True)
class _HeldSecret:
    method: str
    values: Mapping[str, str] = field(repr=False)
    version: int = 0
    expires_at: datetime | None = None


class StoredSecret:
    """A secret in its row; that of a method which the connector `renews` is dynamic."""

    def __init__(
        self,
        db: Database,
        secrets: Secrets,
        tenant_id: str,
        row_id: str,
        connector: Connector[Any],
        renew: Renew,
    ) -> None:
        self._db = db
        self._secrets = secrets
        self._tenant_id = tenant_id
        self._row_id = row_id
        self._connector = connector
        self._renew = renew
        self._used = 0
        self._present: _HeldSecret | None = None
        self.method = ""

    @property
    def provider_key(self) -> str:
        """The one name of this secret, for whatever is counted or locked by it."""
        return bound_to(self._tenant_id, self._row_id)

    async def values(self) -> Mapping[str, str]:
        """The secret as it is now, renewed where it is about to expire."""
        held = self._present
        if held is None or self._is_old(held):
            held = await self._read()
        if self._is_old(held):
            held = await self._renewed(held)
        self._present, self._used = held, held.version
        return held.values

    async def refused(self) -> Mapping[str, str]:
        """A newer secret after the source refused the one last used; `SourceRefused` if none is."""
        held = await self._read()
        if held.version == self._used:
            if not self.is_dynamic:
                await self._mark(held)
                raise SourceRefused(WRONG, login=True)
            held = await self._renewed(held)
        self._present, self._used = held, held.version
        return held.values

    async def _read(self) -> _HeldSecret:
        async with self._db.read() as session:
            row = await session.scalar(self._mine())
        if row is None:
            raise SourceRefused("The credential was deleted: give another one.", login=True)
        self.method = row.method
        if row.state == NEEDS_LOGIN and self.is_dynamic:
            raise SourceRefused(row.error or WRONG, login=True)
        try:
            opened = self._secrets.decrypt("credentials", row.secret, bound=self.provider_key)
        except (ConfigurationError, InvalidInput) as error:
            raise SourceRefused(str(error), login=True) from None
        values: dict[str, str] = json.loads(opened)
        keep_secret(value for name, value in values.items() if not self._is_shown(name))
        return _HeldSecret(row.method, values, row.version, row.expires_at)

    @property
    def is_dynamic(self) -> bool:
        """Whether the secret expires and is renewed."""
        return self.method in self._connector.renews

    def _is_old(self, held: _HeldSecret) -> bool:
        if held.method not in self._connector.renews:
            return False
        return held.expires_at is None or held.expires_at - EARLY <= clock.now()

    def _is_shown(self, name: str) -> bool:
        fields = self._connector.methods.get(self.method)
        known = fields.model_fields.get(name) if fields is not None else None
        return known is not None and known.annotation is not SecretStr

    async def _mark(self, held: _HeldSecret) -> None:
        """Say on the row that the source does not take this version."""

        async def commit(session: AsyncSession) -> None:
            await session.execute(
                update(Credential)
                .where(
                    Credential.id == self._row_id,
                    Credential.tenant_id == self._tenant_id,
                    Credential.version == held.version,
                )
                .values(state=NEEDS_LOGIN, error=WRONG)
            )

        await self._db.run_write(commit)

    def _mine(self) -> Select[Credential]:
        return select(Credential).where(
            Credential.id == self._row_id, Credential.tenant_id == self._tenant_id
        )

    async def _renewed(self, old: _HeldSecret) -> _HeldSecret:
        """A newer version than this one: made here, or by whoever holds the lease."""
        owner = random_secrets.token_hex(16)
        for _ in range(POLLS):
            if await self._take_lease(old.version, owner):
                return await self._make(old, owner)
            held = await self._read()
            if held.version != old.version:
                return held
            await anyio.sleep(POLL_S)
        raise SourceWait(POLL_S * POLLS, "the credential is being renewed")

    async def _take_lease(self, version: int, owner: str) -> bool:
        now = clock.now()

        async def commit(session: AsyncSession) -> bool:
            taken = await session.execute(
                update(Credential)
                .where(
                    Credential.id == self._row_id,
                    Credential.tenant_id == self._tenant_id,
                    Credential.version == version,
                    or_(Credential.lease_until.is_(None), Credential.lease_until <= now),
                )
                .values(lease_owner=owner, lease_until=now + timedelta(seconds=LEASE_S))
            )
            return bool(taken.rowcount)  # type: ignore[attr-defined]

        return await self._db.run_write(commit)

    async def _make(self, old: _HeldSecret, owner: str) -> _HeldSecret:
        try:
            made = await self._ask(old)
        except SourceRefused as refusal:
            return await self._lost(old, owner, str(refusal))
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self._end(old, owner)
            raise
        values = {**old.values, **made.values}
        keep_secret(made.values.values())
        stored = self._secrets.encrypt("credentials", json.dumps(values), bound=self.provider_key)
        changes = {
            "secret": stored,
            "version": old.version + 1,
            "expires_at": made.expires_at,
            "used_at": clock.now(),
            "state": OK,
            "error": "",
        }
        if not await self._end(old, owner, **changes):
            return await self._read()  # somebody gave another one meanwhile
        return _HeldSecret(old.method, values, old.version + 1, made.expires_at)

    async def _ask(self, old: _HeldSecret) -> Renewed:
        """The source's answer, asked for once more where it was lost on the way."""
        try:
            with anyio.fail_after(CALL_S):
                return await self._renew(old.method, old.values)
        except (Unavailable, TimeoutError):
            pass
        try:
            with anyio.fail_after(CALL_S):
                return await self._renew(old.method, old.values)
        except (Unavailable, TimeoutError) as error:
            raise Unavailable("The credential could not be renewed; it is tried again.") from error

    async def _lost(self, old: _HeldSecret, owner: str, reason: str) -> _HeldSecret:
        """What another made meanwhile, else the end of this credential."""
        held = await self._read()
        if held.version != old.version:
            return held
        await self._end(old, owner, state=NEEDS_LOGIN, error=reason)
        raise SourceRefused(reason, login=True)

    async def _end(self, old: _HeldSecret, owner: str, **changes: object) -> bool:
        """End the lease with these changes; False where it is no longer ours, or the version moved."""

        async def commit(session: AsyncSession) -> bool:
            done = await session.execute(
                update(Credential)
                .where(
                    Credential.id == self._row_id,
                    Credential.tenant_id == self._tenant_id,
                    Credential.version == old.version,
                    Credential.lease_owner == owner,
                )
                .values(lease_owner="", lease_until=None, **changes)
            )
            return bool(done.rowcount)  # type: ignore[attr-defined]

        return await self._db.run_write(commit)
