"""Pipelines as data: the templates that ship and the flows a tenant stored, by name.

Everyone who may read knowledge bases may read flows; everyone who manages them may change flows. Whether a
DSL loads is for who knows the components (`ingestion/pipelines.py`): it hands in `check`.
A stored flow keeps its text byte for byte.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from engine.access import gate
from engine.clock import now
from engine.db.session import Database
from engine.db.tables import Flow, KnowledgeBase
from engine.domain import Principal, Scope
from engine.errors import Conflict, InvalidInput, NotFound
from engine.flow.templates import TEMPLATES, template_text

PIPELINE = "pipeline"
DEFAULT = "general"

Check = Callable[[str], object]  # raises `FlowError` where the DSL does not load

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


@dataclass(frozen=True, slots=True)
class FlowInfo:
    """A pipeline as lists show it; `knowledge_bases` are those that name it and may be read."""

    name: str
    description: str
    is_template: bool
    dsl: str
    knowledge_bases: Sequence[str]
    updated_at: datetime | None


async def list_flows(session: AsyncSession, principal: Principal) -> list[FlowInfo]:
    """Templates first, then the tenant's own, each by name."""
    gate.require(principal, Scope.KB_READ)
    used: dict[str, list[str]] = {}
    for kb in await gate.readable_kbs(session, principal):
        used.setdefault(kb.pipeline, []).append(kb.name)
    shipped = [_template(name, used.get(name, ())) for name in sorted(TEMPLATES)]
    rows = await session.scalars(
        select(Flow)
        .where(Flow.tenant_id == principal.tenant_id, Flow.kind == PIPELINE)
        .order_by(Flow.name)
    )
    return shipped + [_info(row, used.get(row.name, ())) for row in rows]


async def get_flow(session: AsyncSession, principal: Principal, name: str) -> FlowInfo:
    """One of them; `NotFound` names those there are."""
    known = await list_flows(session, principal)
    for flow in known:
        if flow.name == name:
            return flow
    raise NotFound(f"No pipeline {name!r}. There are: {', '.join(flow.name for flow in known)}.")


async def save_flow(
    session: AsyncSession,
    principal: Principal,
    name: str,
    dsl: str,
    *,
    check: Check,
    replace: bool = False,
) -> FlowInfo:
    """Store a pipeline under `name`; with `replace` also where there is one.

    Documents ingested from now on go through the new one; a run under way starts over where it
    is interrupted. Raises `FlowError` with all its faults.
    """
    gate.require(principal, Scope.KB_ADMIN)
    if not _NAME.fullmatch(name):
        raise InvalidInput(
            f"A pipeline's name has 1 to 64 lowercase letters, digits, - or _, not {name!r}.",
            field="name",
        )
    if name in TEMPLATES:
        raise Conflict(f"{name!r} is a template that ships with Scrubjay; choose another name.")
    check(dsl)
    row = await _stored(session, principal.tenant_id, name)
    if row is not None and not replace:
        raise Conflict(f"The pipeline {name!r} exists already; replace it, or choose another name.")
    if row is None:
        row = Flow(tenant_id=principal.tenant_id, name=name, kind=PIPELINE, dsl=dsl)
        session.add(row)
    row.dsl, row.updated_at = dsl, now()
    await gate.audit(session, principal, "flow.save", name)
    await session.flush()
    return _info(row, ())


async def delete_flow(session: AsyncSession, principal: Principal, name: str) -> None:
    """Forget a stored pipeline; `Conflict` while knowledge bases name it."""
    gate.require(principal, Scope.KB_ADMIN)
    if name in TEMPLATES:
        raise Conflict(f"{name!r} is a template that ships with Scrubjay; it can't be deleted.")
    row = await _stored(session, principal.tenant_id, name)
    if row is None:
        raise NotFound(f"You have no pipeline {name!r}.")
    users = list(
        await session.scalars(
            gate.select_managed_kbs(principal).where(KnowledgeBase.pipeline == name)
        )
    )
    if users:
        names = ", ".join(kb.name for kb in users)
        raise Conflict(f"{name!r} is the pipeline of {names}; choose another one first.")
    await session.delete(row)
    await gate.audit(session, principal, "flow.delete", name)


async def load_text(session: AsyncSession, tenant_id: str, name: str) -> str:
    """The DSL a worker runs for `name`; there is no principal, a knowledge base named it."""
    text = template_text(name)
    if text is not None:
        return text
    row = await _stored(session, tenant_id, name)
    if row is None:
        raise NotFound(
            f"The knowledge base's pipeline {name!r} does not exist; give it another one."
        )
    return row.dsl


async def require_known(session: AsyncSession, principal: Principal, name: str) -> None:
    """Raise `InvalidInput` where no pipeline has this name."""
    if name in TEMPLATES or await _stored(session, principal.tenant_id, name) is not None:
        return
    own = await session.scalars(
        select(Flow.name)
        .where(Flow.tenant_id == principal.tenant_id, Flow.kind == PIPELINE)
        .order_by(Flow.name)
    )
    known = ", ".join([*sorted(TEMPLATES), *own])
    raise InvalidInput(f"There is no pipeline {name!r}; available: {known}.", field="pipeline")


async def _stored(session: AsyncSession, tenant_id: str, name: str) -> Flow | None:
    return await session.scalar(
        select(Flow).where(Flow.tenant_id == tenant_id, Flow.name == name, Flow.kind == PIPELINE)
    )


def _template(name: str, used: Sequence[str]) -> FlowInfo:
    return FlowInfo(name, TEMPLATES[name], True, template_text(name) or "", sorted(used), None)


def _info(row: Flow, used: Sequence[str]) -> FlowInfo:
    return FlowInfo(row.name, "", False, row.dsl, sorted(used), row.updated_at)


class Pipelines:
    """The verbs of pipelines."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def list_all(self, principal: Principal) -> list[FlowInfo]:
        """The templates that ship and the tenant's own pipelines."""
        return await self._db.run_read(lambda session: list_flows(session, principal))

    async def get(self, principal: Principal, name: str) -> FlowInfo:
        """One pipeline by name; `NotFound` names those there are."""
        return await self._db.run_read(lambda session: get_flow(session, principal, name))

    async def save(
        self,
        principal: Principal,
        name: str,
        dsl: str,
        *,
        check: Check,
        replace: bool = False,
    ) -> FlowInfo:
        """Store a pipeline; `check` raises `FlowError` where its DSL does not load."""
        return await self._db.run_write(
            lambda session: save_flow(session, principal, name, dsl, check=check, replace=replace)
        )

    async def delete(self, principal: Principal, name: str) -> None:
        """Delete a stored pipeline that no knowledge base names."""
        await self._db.run_write(lambda session: delete_flow(session, principal, name))
