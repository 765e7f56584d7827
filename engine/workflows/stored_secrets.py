"""Secrets that workflows use by name: set, listed and removed by admins, and read by nobody again.

A value is encrypted for its tenant and row. `Workflows` calls these; `run_secrets.py` has what a run does
with them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Select, delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from engine.access import gate
from engine.clock import new_id, now
from engine.db.tables import WorkflowSecret
from engine.domain import Principal
from engine.errors import InvalidInput, NotFound
from engine.secrets import Secrets
from engine.workflows.run_secrets import KnownSecret

VALUE_MAX = 10_000  # characters
HOSTS_MAX = 20

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,59}")
_HOST = re.compile(r"(?:\*\.)?[a-z0-9](?:[a-z0-9.-]{0,250}[a-z0-9])?|\[?[0-9a-f:]{2,45}\]?")


@dataclass(frozen=True, slots=True)
class SecretInfo:
    """A secret as it is shown: where it may be sent, and who set it when; never its value."""

    name: str
    hosts: Sequence[str]
    updated_by: str
    updated_at: datetime


async def set_secret(
    session: AsyncSession,
    principal: Principal,
    sealer: Secrets,
    name: str,
    *,
    value: str | None,
    hosts: Sequence[str] | None,
) -> SecretInfo:
    """Add a secret, or change its value or where it may be sent; what is None stays.

    Another host needs the value again: who may change a row can't read it that way.
    """
    gate.require_verb(principal, "secret.set")
    if not _NAME.fullmatch(name):
        raise InvalidInput(
            "A secret's name begins with a letter and has letters, digits, - and _, 60 at most.",
            field="name",
        )
    row = await session.scalar(_row(principal, name).with_for_update())
    bound = sorted({_host(item) for item in hosts}) if hosts is not None else None
    if row is None:
        if value is None:
            raise InvalidInput(f"There is no secret {name!r} yet: give its value.", field="value")
        row = WorkflowSecret(
            id=new_id(), tenant_id=principal.tenant_id, name=name, secret="", hosts=[]
        )
        session.add(row)
    elif value is None and bound is not None and not set(bound) <= set(row.hosts):
        raise InvalidInput(
            "Give the value again with another host: it would be sent there.", field="value"
        )
    if value is not None:
        if not 1 <= len(value) <= VALUE_MAX:
            raise InvalidInput(f"A secret has 1 to {VALUE_MAX:,} characters.", field="value")
        row.secret = sealer.encrypt("credentials", value, bound=_place(row))
    if bound is not None:
        if len(bound) > HOSTS_MAX:
            raise InvalidInput(f"A secret is sent to {HOSTS_MAX} hosts at most.", field="hosts")
        row.hosts = bound
    row.updated_by, row.updated_at = principal.name, now()
    await session.flush()
    await gate.audit(session, principal, "secret.set", name, {"hosts": list(row.hosts)})
    return _shown(row)


async def list_secrets(session: AsyncSession, principal: Principal) -> list[SecretInfo]:
    """The tenant's secrets by name, without their values."""
    gate.require_verb(principal, "secret.list")
    rows = await session.scalars(
        select(WorkflowSecret)
        .where(WorkflowSecret.tenant_id == principal.tenant_id)
        .order_by(WorkflowSecret.name)
    )
    return [_shown(row) for row in rows]


async def remove_secret(session: AsyncSession, principal: Principal, name: str) -> None:
    """Forget a secret: workflows that use it fail until it is set again."""
    gate.require_verb(principal, "secret.set")
    row = await session.scalar(_row(principal, name))
    if row is None:
        raise NotFound(f"No secret {name!r}.")
    await session.execute(delete(WorkflowSecret).where(WorkflowSecret.id == row.id))
    await gate.audit(session, principal, "secret.remove", name)


async def missing_secrets(
    session: AsyncSession, tenant_id: str, names: Collection[str]
) -> list[str]:
    """Those of `names` that are not set."""
    if not names:
        return []
    known = await session.scalars(
        select(WorkflowSecret.name).where(
            WorkflowSecret.tenant_id == tenant_id, WorkflowSecret.name.in_(names)
        )
    )
    return sorted(set(names) - set(known))


async def open_secrets(
    session: AsyncSession, sealer: Secrets, tenant_id: str, names: Collection[str]
) -> dict[str, KnownSecret]:
    """The values of these secrets, for a run. `InvalidInput` names one that is not set."""
    if not names:
        return {}
    rows = await session.scalars(
        select(WorkflowSecret).where(
            WorkflowSecret.tenant_id == tenant_id, WorkflowSecret.name.in_(names)
        )
    )
    found = {
        row.name: KnownSecret(
            sealer.decrypt("credentials", row.secret, bound=_place(row)), tuple(row.hosts)
        )
        for row in rows
    }
    require_all(sorted(set(names) - found.keys()))
    return found


def require_all(missing: Sequence[str]) -> None:
    """Return where nothing is missing, else raise `InvalidInput`."""
    if missing:
        named = ", ".join(missing)
        raise InvalidInput(
            f"The workflow uses a secret that is not set: {named}. An admin sets it with"
            f" `scrubjay secret set {missing[0]}`.",
            field="secret",
        )


def _row(principal: Principal, name: str) -> Select[WorkflowSecret]:
    return select(WorkflowSecret).where(
        WorkflowSecret.tenant_id == principal.tenant_id, WorkflowSecret.name == name
    )


def _place(row: WorkflowSecret) -> str:
    return f"{row.tenant_id}/workflow_secret/{row.id}"


def _host(given: str) -> str:
    host = given.strip().lower()
    if not _HOST.fullmatch(host):
        raise InvalidInput(
            f"{given[:60]!r} is no host: write api.example.com, or *.example.com.", field="hosts"
        )
    return host.strip("[]")


def _shown(row: WorkflowSecret) -> SecretInfo:
    return SecretInfo(row.name, tuple(row.hosts), row.updated_by, row.updated_at)
