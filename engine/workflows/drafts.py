"""Drafts as an editor saves them: with faults, often, and merged with what others saved meanwhile.

A draft may be unsound; publishing and running it are refused then. `overview` is what a list of
workflows shows beside their names.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from engine.access import gate
from engine.clock import now
from engine.db.tables import Flow, FlowVersion, Run, User
from engine.domain import Principal, Scope
from engine.errors import EngineError, FlowError, StaleDraft
from engine.workflows import definitions
from engine.workflows.definitions import WORKFLOW, Check, WorkflowInfo
from engine.workflows.editing import open_flow, text_of_flow
from engine.workflows.loading import meaning_of
from engine.workflows.merging import differences, merge

_AT_STEP = re.compile(r"component '([^']+)': ")


@dataclass(frozen=True, slots=True)
class SavedDraft:
    """A draft as it is now. `told` says whose changes were merged into what was saved."""

    workflow: WorkflowInfo
    told: str = ""


@dataclass(frozen=True, slots=True)
class WorkflowRow:
    """A workflow in a list. `last_run` is the reader's own."""

    workflow: WorkflowInfo
    owner: str
    has_changes: bool  # the draft does something else than what is published
    last_run_id: str
    last_state: str
    last_at: datetime | None


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run in a list, without what it was about."""

    id: str
    workflow: str
    version: int
    state: str
    trigger: str
    by: str
    is_mine: bool
    started_at: datetime
    ended_at: datetime | None


def check_shape(text: str) -> frozenset[str]:
    """Refuse what an editor could not open; `FlowError`."""
    open_flow(text)
    return frozenset()


def by_step(faults: Sequence[str]) -> tuple[dict[str, list[str]], list[str]]:
    """Faults by the step that each is about, and those that are about none."""
    found: dict[str, list[str]] = {}
    general = []
    for fault in faults:
        match = _AT_STEP.match(fault)
        if match is None:
            general.append(fault)
        else:
            found.setdefault(match[1], []).append(fault[match.end() :])
    return found, general


async def save_draft(
    session: AsyncSession, principal: Principal, ref: str, text: str, *, rev: int, base: str = ""
) -> SavedDraft:
    """Save a draft that rests on revision `rev`, whose text was `base`.

    What somebody else saved meanwhile is merged, if the two did not change the same; else
    `StaleDraft`, and nothing is overwritten.
    """
    try:
        saved = await _save(session, principal, ref, text, rev)
    except StaleDraft as stale:
        if not base:
            raise
        merged = merge(open_flow(base), open_flow(text), open_flow(stale.theirs))
        if merged.conflicts:
            raise
        saved = await _save(session, principal, ref, text_of_flow(merged.flow), stale.rev)
        news = differences(open_flow(base), open_flow(stale.theirs))
        said = " ".join(news) or "Where steps are drawn."
        return SavedDraft(saved, f"{stale.by or 'Somebody'} saved meanwhile: {said} Both are kept.")
    return SavedDraft(saved)


async def _save(
    session: AsyncSession, principal: Principal, ref: str, text: str, rev: int
) -> WorkflowInfo:
    return await definitions.save_workflow(
        session, principal, ref, text, rev=rev, check=check_shape, often=True
    )


async def overview(session: AsyncSession, principal: Principal) -> list[WorkflowRow]:
    """The workflows that may be run or edited, each with its owner and the reader's last run."""
    known = await definitions.list_workflows(session, principal)
    rows = await session.execute(
        select(Flow.id, User.name, User.email, FlowVersion.hash)
        .outerjoin(User, User.id == Flow.owner_id)
        .outerjoin(FlowVersion, FlowVersion.id == Flow.published_version_id)
        .where(Flow.tenant_id == principal.tenant_id, Flow.kind == WORKFLOW)
    )
    more = {row.id: (row.name or row.email or "", row.hash or "") for row in rows}
    last = await _last_runs(session, principal)
    found = []
    for info in known:
        owner, published = more.get(info.id, ("", ""))
        run = last.get(info.id)
        found.append(
            WorkflowRow(
                info,
                owner,
                bool(published) and _meaning(info.dsl) != published,
                run.id if run else "",
                run.state if run else "",
                run.started_at if run else None,
            )
        )
    return found


def _meaning(text: str) -> str:
    try:
        return meaning_of(text)
    except FlowError:
        return ""


async def _last_runs(session: AsyncSession, principal: Principal) -> dict[str, Run]:
    newest = (
        select(func.max(Run.id))
        .where(
            Run.tenant_id == principal.tenant_id,
            Run.kind == WORKFLOW,
            Run.user_id == principal.user_id,
        )
        .group_by(Run.flow_id)
    )
    rows = await session.scalars(
        select(Run).where(Run.tenant_id == principal.tenant_id, Run.id.in_(newest))
    )
    return {run.flow_id: run for run in rows}


async def find_runs(
    session: AsyncSession,
    principal: Principal,
    *,
    flow_id: str = "",
    state: str = "",
    person: str = "",
    days: int = 0,
    before: str = "",
    limit: int = 50,
) -> list[RunRow]:
    """Runs, newest first: the reader's own; for who reads the audit log, that others ran, too."""
    gate.require(principal, Scope.KB_ASK)
    query = select(Run, User.name, User.email).outerjoin(User, User.id == Run.user_id)
    query = query.where(Run.tenant_id == principal.tenant_id, Run.kind == WORKFLOW)
    if not gate.may(principal, "audit.list"):
        query = query.where(Run.user_id == principal.user_id)
    if flow_id:
        query = query.where(Run.flow_id == flow_id)
    if state:
        query = query.where(Run.state == state)
    if person:
        query = query.where(Run.user_id == person)
    if days:
        query = query.where(Run.started_at >= now() - timedelta(days=days))
    if before:
        query = query.where(Run.id < before)
    rows = (await session.execute(query.order_by(Run.id.desc()).limit(limit))).all()
    names = await _names(session, [row[0] for row in rows])
    return [
        RunRow(
            id=run.id,
            workflow=names.get(run.flow_id, run.flow_id.removeprefix("template:")),
            version=names.get(run.flow_version_id or "", 0),
            state=run.state,
            trigger=run.trigger,
            by=name or email or run.who.get("name", ""),
            is_mine=run.user_id is not None and run.user_id == principal.user_id,
            started_at=run.started_at,
            ended_at=run.ended_at,
        )
        for run, name, email in rows
    ]


async def _names(session: AsyncSession, runs: Sequence[Run]) -> dict[str, Any]:
    flows = await session.execute(
        select(Flow.id, Flow.name).where(Flow.id.in_({run.flow_id for run in runs}))
    )
    versions = await session.execute(
        select(FlowVersion.id, FlowVersion.number).where(
            FlowVersion.id.in_({run.flow_version_id for run in runs if run.flow_version_id})
        )
    )
    return {row[0]: row[1] for row in [*flows, *versions]}


def faults_of(check: Check, text: str) -> list[str]:
    """Every fault that a check finds."""
    try:
        check(text)
    except FlowError as error:
        return list(error.faults)
    except EngineError as error:
        return [str(error)]
    return []
