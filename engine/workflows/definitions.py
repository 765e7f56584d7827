"""Workflows as rows: drafts, and the immutable versions that were published.

Saving needs the revision it was based on; a stale save is refused with both texts, and nothing is
overwritten. Whether a text loads is `loading.py`'s to say; callers hand in the check.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from engine.access import gate
from engine.clock import now
from engine.db.tables import Flow, FlowVersion, Run
from engine.domain import Principal, Scope
from engine.errors import Conflict, InvalidInput, NotFound, StaleDraft
from engine.workflows.loading import meaning_of
from engine.workflows.templates import TEMPLATES, template_text

WORKFLOW = "workflow"
DRAFT = "draft"
ONE_SITTING = timedelta(minutes=10)
Check = Callable[[str], frozenset[str]]  # the effects of a text; raises `FlowError`

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


@dataclass(frozen=True, slots=True)
class WorkflowInfo:
    """A workflow as lists show it. `published` is the number of the version that runs, 0: none."""

    id: str
    name: str
    description: str
    is_template: bool
    rev: int
    published: int
    state: str  # created (never published) or published
    updated_by: str
    updated_at: datetime | None
    dsl: str


@dataclass(frozen=True, slots=True)
class VersionInfo:
    """A published text."""

    id: str
    number: int
    note: str
    created_by: str
    created_at: datetime
    dsl: str
    is_current: bool


async def list_workflows(session: AsyncSession, principal: Principal) -> list[WorkflowInfo]:
    """Those that may be run; for who may edit them also drafts that were never published."""
    gate.require(principal, Scope.KB_ASK)
    rows = await session.execute(
        select(Flow, FlowVersion.number)
        .outerjoin(FlowVersion, FlowVersion.id == Flow.published_version_id)
        .where(Flow.tenant_id == principal.tenant_id, Flow.kind == WORKFLOW)
        .order_by(Flow.name)
    )
    own = [_info(flow, number or 0) for flow, number in rows]
    shipped = [
        _template(name) for name in sorted(TEMPLATES) if name not in {info.name for info in own}
    ]
    return [info for info in own if info.published or _may_edit(principal)] + shipped


async def get_workflow(session: AsyncSession, principal: Principal, ref: str) -> WorkflowInfo:
    """One by name or id; `NotFound` names those there are."""
    known = await list_workflows(session, principal)
    for info in known:
        if ref and ref in {info.name, info.id}:
            return info
    names = ", ".join(info.name for info in known) or "none"
    raise NotFound(f"No workflow {ref!r}. There are: {names}.")


async def create_workflow(
    session: AsyncSession,
    principal: Principal,
    name: str,
    dsl: str,
    *,
    check: Check,
    description: str = "",
) -> WorkflowInfo:
    """A new draft. Raises `FlowError` with every fault of its text."""
    gate.require(principal, Scope.KB_MANAGE)
    if not _NAME.fullmatch(name):
        raise InvalidInput(
            f"A workflow's name has 1 to 64 lowercase letters, digits, - or _, not {name!r}.",
            field="name",
        )
    check(dsl)
    taken = await session.scalar(
        select(Flow.kind).where(Flow.tenant_id == principal.tenant_id, Flow.name == name)
    )
    if taken is not None:
        raise Conflict(f"There is a {taken} {name!r} already; choose another name.")
    flow = Flow(
        tenant_id=principal.tenant_id,
        name=name,
        kind=WORKFLOW,
        description=description,
        dsl=dsl,
        owner_id=principal.user_id,
        updated_by=principal.name,
    )
    session.add(flow)
    await gate.audit(session, principal, "workflow.create", name)
    await session.flush()
    return _info(flow, 0)


async def save_workflow(
    session: AsyncSession,
    principal: Principal,
    ref: str,
    dsl: str,
    *,
    rev: int,
    check: Check,
    description: str | None = None,
    often: bool = False,
) -> WorkflowInfo:
    """Replace the draft that has revision `rev`. Raises `StaleDraft` where it is another by now.

    An editor saves `often`: then what one person saves within ten minutes is one entry of the audit.
    """
    gate.require(principal, Scope.KB_MANAGE)
    check(dsl)
    flow = await _editable(session, principal, ref)
    if flow.draft_rev != rev:
        raise StaleDraft(
            f"{flow.updated_by or 'Somebody'} saved {flow.name!r} at {flow.updated_at:%H:%M} UTC"
            f" (revision {flow.draft_rev}; yours is based on {rev}). Nothing was overwritten: save"
            " yours under another name, or merge it with theirs.",
            theirs=flow.dsl,
            rev=flow.draft_rev,
            by=flow.updated_by,
        )
    goes_on = flow.updated_by == principal.name and now() - flow.updated_at < ONE_SITTING
    flow.dsl, flow.draft_rev = dsl, rev + 1
    flow.updated_at, flow.updated_by = now(), principal.name
    if description is not None:
        flow.description = description
    if not (often and goes_on and rev > 1):
        await gate.audit(session, principal, "workflow.save", flow.name)
    return _info(flow, await _published_number(session, flow))


async def publish_workflow(
    session: AsyncSession, principal: Principal, ref: str, *, check: Check, note: str = ""
) -> VersionInfo:
    """Make the draft the version that runs. What it does already has its version is that one."""
    gate.require(principal, Scope.KB_MANAGE)
    flow = await _editable(session, principal, ref)
    if "write" in check(flow.dsl):
        gate.require(principal, Scope.KB_ADMIN)  # it changes something outside
    digest = meaning_of(flow.dsl)
    current = (
        await session.get(FlowVersion, flow.published_version_id)
        if flow.published_version_id
        else None
    )
    if current is not None and current.hash == digest:
        return _version(current, flow)
    last = await session.scalar(
        select(func.max(FlowVersion.number)).where(FlowVersion.flow_id == flow.id)
    )
    version = FlowVersion(
        tenant_id=flow.tenant_id,
        flow_id=flow.id,
        number=(last or 0) + 1,
        dsl=flow.dsl,
        hash=digest,
        note=note,
        created_by=principal.name,
    )
    session.add(version)
    await session.flush()
    flow.published_version_id = version.id
    await gate.audit(session, principal, "workflow.publish", flow.name, {"version": version.number})
    return _version(version, flow)


async def delete_workflow(session: AsyncSession, principal: Principal, ref: str) -> WorkflowInfo:
    """Forget a workflow and its versions; its runs keep their own text."""
    gate.require(principal, Scope.KB_MANAGE)
    flow = await _editable(session, principal, ref)
    info = _info(flow, await _published_number(session, flow))
    open_runs = await session.scalar(
        select(func.count())
        .select_from(Run)
        .where(
            Run.tenant_id == flow.tenant_id,
            Run.flow_id == flow.id,
            Run.state.in_(["queued", "running", "paused"]),
        )
    )
    if open_runs:
        raise Conflict(f"{flow.name!r} has {open_runs} open runs: cancel them first.")
    await session.execute(delete(FlowVersion).where(FlowVersion.flow_id == flow.id))
    await session.delete(flow)
    await gate.audit(session, principal, "workflow.delete", flow.name)
    return info


async def list_versions(session: AsyncSession, principal: Principal, ref: str) -> list[VersionInfo]:
    """Every published text of a workflow, newest first."""
    gate.require(principal, Scope.KB_MANAGE)
    flow = await _editable(session, principal, ref, to_change=False)
    rows = await session.scalars(
        select(FlowVersion)
        .where(FlowVersion.flow_id == flow.id)
        .order_by(FlowVersion.number.desc())
    )
    return [_version(row, flow) for row in rows]


@dataclass(frozen=True, slots=True)
class PinnedText:
    """The text of a workflow that a run pins."""

    flow_id: str
    name: str
    version_id: str | None
    number: int  # 0: a draft or a template
    dsl: str


async def runnable(
    session: AsyncSession, principal: Principal, ref: str, *, version: str = ""
) -> PinnedText:
    """What a run of a workflow runs: what is published, a version by number, or the draft."""
    info = await get_workflow(session, principal, ref)
    if info.is_template:
        return PinnedText(info.id, info.name, None, 0, info.dsl)
    flow = await session.get_one(Flow, info.id)
    if version == DRAFT:
        gate.require(principal, Scope.KB_MANAGE)
        return PinnedText(flow.id, flow.name, None, 0, flow.dsl)
    query = select(FlowVersion).where(FlowVersion.flow_id == flow.id)
    if version:
        gate.require(principal, Scope.KB_MANAGE)
        number = int(version) if version.isdecimal() and len(version) < 9 else -1
        query = query.where(FlowVersion.number == number)
    else:
        query = query.where(FlowVersion.id == flow.published_version_id)
    row = await session.scalar(query)
    if row is None:
        raise NotFound(
            f"{flow.name!r} has no version {version!r}."
            if version
            else f"{flow.name!r} was never published: publish it first."
        )
    return PinnedText(flow.id, flow.name, row.id, row.number, row.dsl)


async def _editable(
    session: AsyncSession, principal: Principal, ref: str, *, to_change: bool = True
) -> Flow:
    query = select(Flow).where(
        Flow.tenant_id == principal.tenant_id,
        Flow.kind == WORKFLOW,
        (Flow.name == ref) | (Flow.id == ref),
    )
    flow = await session.scalar(query.with_for_update() if to_change else query)
    if flow is not None:
        return flow
    if ref in TEMPLATES:
        raise Conflict(
            f"{ref!r} is a template that ships with Scrubjay: create a workflow from its text."
        )
    raise NotFound(f"No workflow {ref!r}.")


async def _published_number(session: AsyncSession, flow: Flow) -> int:
    if flow.published_version_id is None:
        return 0
    version = await session.get(FlowVersion, flow.published_version_id)
    return version.number if version is not None else 0


def _may_edit(principal: Principal) -> bool:
    return Scope.KB_MANAGE in principal.scopes


def _template(name: str) -> WorkflowInfo:
    text = template_text(name) or ""
    return WorkflowInfo(
        id=f"template:{name}",
        name=name,
        description=TEMPLATES[name],
        is_template=True,
        rev=0,
        published=0,
        state="template",
        updated_by="",
        updated_at=None,
        dsl=text,
    )


def _info(flow: Flow, number: int) -> WorkflowInfo:
    return WorkflowInfo(
        id=flow.id,
        name=flow.name,
        description=flow.description,
        is_template=False,
        rev=flow.draft_rev,
        published=number,
        state="published" if number else "created",
        updated_by=flow.updated_by,
        updated_at=flow.updated_at,
        dsl=flow.dsl,
    )


def _version(row: FlowVersion, flow: Flow) -> VersionInfo:
    return VersionInfo(
        id=row.id,
        number=row.number,
        note=row.note,
        created_by=row.created_by,
        created_at=row.created_at,
        dsl=row.dsl,
        is_current=row.id == flow.published_version_id,
    )
