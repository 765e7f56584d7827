"""Questions of runs to people: who may see one, and a reply, which is taken once.

Whom a run asks sees the question only where they may read everything it rests on. The asker of the
run always sees it. A reply wakes the run; one that comes while it still works on another branch is
found by the worker when that branch ends.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from engine.access import gate
from engine.access.cited import all_readable
from engine.clock import new_id, now
from engine.db.tables import Flow, Job, Run, RunPause, User, UserGroup
from engine.domain import JobState, Lane, Principal, Role, Scope
from engine.errors import Conflict, InvalidInput, NotFound
from engine.flow import events
from engine.flow.records import NodeRecord
from engine.flow.store import ENDED, RunState
from engine.jobs import outbox
from engine.jobs.kinds import EXPIRE_PAUSE
from engine.workflows.components.people import TIMED_OUT, check_reply
from engine.workflows.definitions import WORKFLOW
from engine.workflows.runs import (
    PauseInfo,
    add_event,
    end_now,
    enqueue,
    family,
    is_asker,
    pause_info,
)


async def open_pause(session: AsyncSession, run: Run, node: NodeRecord) -> None:
    """Ask: a row, and a job for its deadline. A question that is open stays as it is."""
    known = await session.scalar(
        select(RunPause.id).where(
            RunPause.run_id == run.id,
            RunPause.path == node.node_id,
            RunPause.state.in_(["open", "answered"]),
        )
    )
    if known is not None:
        return
    deadline = now() + timedelta(seconds=float(node.form.get("deadline_s", 604_800)))
    pause_id = new_id()
    session.add(
        RunPause(
            id=pause_id,
            tenant_id=run.tenant_id,
            run_id=run.id,
            path=node.node_id,
            message=node.error,
            form=dict(node.form),
            deadline_at=deadline,
        )
    )
    await session.flush()
    await outbox.enqueue(
        session,
        tenant_id=run.tenant_id,
        kind=EXPIRE_PAUSE,
        payload={"pause_id": pause_id},
        lane=Lane.INTERACTIVE,
        run_at=deadline,
    )


async def answered(session: AsyncSession, run_id: str) -> dict[str, tuple[str, Mapping[str, Any]]]:
    """The replies that a run has got, by path: the id of the question, and what was said."""
    rows = await session.scalars(
        select(RunPause).where(RunPause.run_id == run_id, RunPause.state == "answered")
    )
    return {row.path: (row.id, row.reply) for row in rows}


async def list_open(session: AsyncSession, principal: Principal) -> list[PauseInfo]:
    """The questions that wait for this principal's reply, oldest first."""
    gate.require(principal, Scope.KB_ASK)
    rows = await session.execute(
        select(RunPause, Run, Flow.name)
        .join(Run, Run.id == RunPause.run_id)
        .outerjoin(Flow, Flow.id == Run.flow_id)
        .where(RunPause.tenant_id == principal.tenant_id, RunPause.state == "open")
        .order_by(RunPause.id)
        .limit(500)
    )
    found = []
    for pause, run, name in rows:
        if await _may_answer(session, principal, run, pause):
            found.append(pause_info(pause, name or run.flow_id.removeprefix("template:")))
    return found


async def reply(
    session: AsyncSession,
    principal: Principal,
    run_id: str,
    *,
    path: str = "",
    fields: Mapping[str, Any] | None = None,
    choice: str = "",
) -> PauseInfo:
    """Answer a question of a run; with one open, `path` may be left out. Taken once."""
    gate.require(principal, Scope.KB_ASK)
    run = await session.scalar(
        select(Run)
        .where(Run.id == run_id, Run.tenant_id == principal.tenant_id, Run.kind == WORKFLOW)
        .with_for_update()
    )
    pause = await _find(session, principal, run, path)
    assert run is not None  # noqa: S101 (it has a pause)
    if pause.run_id != run.id:
        run = await session.scalar(select(Run).where(Run.id == pause.run_id).with_for_update())
        assert run is not None  # noqa: S101 (it has a pause)
    values = check_reply(pause.form, fields or {}, choice)
    said = {"fields": values, "choice": choice, "by": principal.name}
    if not await _take(session, pause, said, by=principal.name, by_id=principal.user_id):
        fresh = await session.get_one(RunPause, pause.id, populate_existing=True)
        raise Conflict(_told(fresh))
    await gate.audit(session, principal, "workflow.reply", run.id, {"path": pause.path})
    await add_event(session, run, events.RESUMED, f"{principal.name} replied", path=pause.path)
    await _wake(session, run)
    return pause_info(await session.get_one(RunPause, pause.id, populate_existing=True), "")


async def expire(session: AsyncSession, pause_id: str) -> None:
    """The deadline of a question is over: follow the branch for it, or end the run `expired`."""
    pause = await session.get(RunPause, pause_id)
    if pause is None or pause.state != "open":
        return
    run = await session.scalar(select(Run).where(Run.id == pause.run_id).with_for_update())
    if run is None or run.state in ENDED:
        return
    if pause.form.get("has_timeout_branch"):
        said = {"fields": {}, "choice": "", "by": "", TIMED_OUT: True}
        if await _take(session, pause, said, by="", by_id=None):
            await add_event(session, run, events.RESUMED, "nobody replied in time", path=pause.path)
            await _wake(session, run)
    elif run.state == RunState.PAUSED:
        pause.state = "expired"
        await end_now(session, run, RunState.EXPIRED, f"Nobody replied in time: {pause.message}")


async def _take(
    session: AsyncSession,
    pause: RunPause,
    said: Mapping[str, Any],
    *,
    by: str,
    by_id: str | None,
) -> bool:
    """Whether this reply is the one that counts."""
    taken = await session.execute(
        update(RunPause)
        .where(RunPause.id == pause.id, RunPause.state == "open")
        .values(
            state="answered",
            reply=dict(said),
            answered_by=by,
            answered_by_id=by_id,
            answered_at=now(),
        )
        .returning(RunPause.id)
    )
    return taken.scalar_one_or_none() is not None


async def _wake(session: AsyncSession, run: Run) -> None:
    """Queue the run again, unless a worker is at it: that one looks for replies when it pauses."""
    job = await session.get(Job, run.job_id) if run.job_id else None
    if job is not None and job.state in {JobState.QUEUED, JobState.RUNNING}:
        return
    if run.state == RunState.PAUSED:
        run.state, run.message = RunState.QUEUED, "queued"
        await enqueue(session, run)


async def _find(
    session: AsyncSession, principal: Principal, run: Run | None, path: str
) -> RunPause:
    missing = NotFound("No open question of this run that you may answer.")
    if run is None:
        raise missing
    family_ids = await family(session, run.id)  # also what the runs that it started ask
    query = select(RunPause).where(RunPause.run_id.in_(family_ids))
    rows = [
        row
        for row in await session.scalars(query.order_by(RunPause.id))
        if (not path or path in {row.path, row.id})
        and await _may_answer(session, principal, run, row)
    ]
    waiting = [row for row in rows if row.state == "open"]
    if len(waiting) > 1:
        paths = ", ".join(row.path for row in waiting)
        raise InvalidInput(f"Several questions are open; name one: {paths}.", field="path")
    if waiting:
        return waiting[0]
    if rows and run.state not in ENDED:
        raise Conflict(_told(rows[-1]))
    if rows:
        raise Conflict(f"This run is over ({run.state}).")
    raise missing


def _told(pause: RunPause) -> str:
    at: datetime | None = pause.answered_at
    if pause.state in {"answered", "used"}:
        who = pause.answered_by or "Nobody in time; the run"
        return f"{who} answered at {at:%H:%M} UTC." if at else f"{who} answered."
    return f"This question is {pause.state}."


async def _may_answer(
    session: AsyncSession, principal: Principal, run: Run, pause: RunPause
) -> bool:
    to = str(pause.form.get("to", "asker"))
    kind, _, name = to.partition(":")
    if to == "asker":
        if principal.user_id is not None:
            return run.user_id == principal.user_id
        return run.user_id is None and is_asker(run.who, principal)
    if principal.user_id is None or not await _is_named(session, principal, kind, name.strip()):
        return False
    sources = pause.form.get("sources", [])
    return await all_readable(session, principal.tenant_id, principal.tokens, sources)


async def _is_named(session: AsyncSession, principal: Principal, kind: str, name: str) -> bool:
    if kind == "role":
        strongest_first = [str(role) for role in Role]
        return name in strongest_first[strongest_first.index(principal.role) :]
    if kind == "user":
        email = await session.scalar(select(User.email).where(User.id == principal.user_id))
        return (
            name in {principal.user_id, principal.name}
            or (email or "").casefold() == name.casefold()
        )
    group_id = await session.scalar(
        select(UserGroup.id).where(
            UserGroup.tenant_id == principal.tenant_id,
            func.lower(UserGroup.name) == name.casefold(),
        )
    )
    return group_id is not None and gate.group_token(group_id) in principal.tokens
