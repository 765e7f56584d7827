"""Triggers: what starts a workflow by itself. A schedule is due, and a run begins.

A trigger works as a service key and never as the person who made it: what the key may read at the
moment of the run bounds what the run may. Each instant of a schedule is one job, which begins the
run and queues the next instant in one transaction; the run's idempotency key is the trigger and the
instant, so that no instant begins two. Whatever keeps a trigger from working is kept on its row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from engine import clock
from engine.access import gate
from engine.db.tables import ApiToken, Flow, Run, Trigger
from engine.domain import Lane, Principal, Scope
from engine.errors import EngineError, NotFound, Unauthenticated
from engine.flow.graph import Graph
from engine.flow.store import ENDED
from engine.jobs import endings, outbox
from engine.jobs.kinds import FIRE_TRIGGER
from engine.jobs.leases import ClaimedJob
from engine.people.api_tokens import principal_of_run, service_key_that_asks
from engine.workflows import definitions, runs
from engine.workflows.components.begin import all_fields, check_fields
from engine.workflows.loading import begin_of
from engine.workflows.schedules import check_schedule, next_after, zone_of

ACTIVE, PAUSED, STOPPED = "active", "paused", "stopped"
LATE = timedelta(minutes=5)  # after this an instant counts as missed
AGAIN_S = 30.0  # while the run before is still at work
OVERLAP_WAIT = timedelta(hours=1)
NAME_MAX = 60
Load = Callable[[str], Graph]


@dataclass(frozen=True, slots=True)
class NewTrigger:
    """A schedule of a workflow. `key` names the service key that its runs work as.

    `catch_up` says what becomes of an instant that nobody was there for, `overlap` of one that is
    due while the run before is at work.
    """

    schedule: str
    key: str
    zone: str = "UTC"
    name: str = ""
    inputs: Mapping[str, Any] = field(default_factory=dict)
    catch_up: Literal["skip", "once"] = "skip"
    overlap: Literal["skip", "queue"] = "skip"


@dataclass(frozen=True, slots=True)
class TriggerInfo:
    """A trigger; `key` is its service key's name, `last_run` the state of its last run."""

    id: str
    name: str
    workflow: str
    schedule: str
    zone: str
    key: str
    inputs: Mapping[str, Any]
    catch_up: str
    overlap: str
    state: str
    next_at: datetime | None
    last_run_id: str
    last_run: str
    last_error: str
    created_at: datetime


async def add(
    session: AsyncSession, principal: Principal, ref: str, new: NewTrigger, *, load: Load
) -> TriggerInfo:
    """A new trigger of a published workflow, for who may make service keys."""
    _require(principal)
    what = await definitions.runnable(session, principal, ref)
    given = check_fields(all_fields(begin_of(load(what.dsl)).inputs), new.inputs)
    schedule = check_schedule(new.schedule, new.zone)
    key = await service_key_that_asks(session, principal.tenant_id, new.key)
    row = Trigger(
        id=clock.new_id(),
        tenant_id=principal.tenant_id,
        flow_id=what.flow_id,
        name=" ".join(new.name.split())[:NAME_MAX] or schedule,
        key_id=key.id,
        schedule=schedule,
        zone=zone_of(new.zone).key,
        inputs=dict(given),
        catch_up=new.catch_up,
        overlap=new.overlap,
        state=ACTIVE,
        rev=1,
        last_run_id="",
        last_error="",
        next_at=next_after(schedule, new.zone, clock.now()),
    )
    session.add(row)
    await session.flush()
    await _queue(session, row)
    detail = {"workflow": what.name, "schedule": schedule, "key": key.name}
    await gate.audit(session, principal, "trigger.add", row.id, detail)
    return await _info(session, row)


async def list_all(session: AsyncSession, principal: Principal, ref: str = "") -> list[TriggerInfo]:
    """The tenant's triggers, or those of one workflow, oldest first."""
    gate.require(principal, Scope.KB_MANAGE)
    query = select(Trigger).where(Trigger.tenant_id == principal.tenant_id).order_by(Trigger.id)
    if ref:
        flow = await definitions.get_workflow(session, principal, ref)
        query = query.where(Trigger.flow_id == flow.id)
    return [await _info(session, row) for row in await session.scalars(query)]


async def set_active(
    session: AsyncSession, principal: Principal, trigger_id: str, *, active: bool
) -> TriggerInfo:
    """Pause a trigger, or let it work again from the next instant on."""
    _require(principal)
    row = await _find(session, principal, trigger_id)
    row.rev += 1  # what is queued for it counts no more
    row.state = ACTIVE if active else PAUSED
    row.last_error = "" if active else row.last_error
    row.next_at = next_after(row.schedule, row.zone, clock.now()) if active else None
    if active:
        await _queue(session, row)
    await gate.audit(session, principal, "trigger.set", row.id, {"state": row.state})
    return await _info(session, row)


async def remove(session: AsyncSession, principal: Principal, trigger_id: str) -> TriggerInfo:
    """Forget a trigger; its runs stay."""
    _require(principal)
    row = await _find(session, principal, trigger_id)
    gone = await _info(session, row)
    await session.execute(
        delete(Trigger).where(Trigger.id == row.id, Trigger.tenant_id == row.tenant_id)
    )
    await gate.audit(session, principal, "trigger.remove", row.id, {"workflow": gone.workflow})
    return gone


async def fire(session: AsyncSession, job: ClaimedJob, *, load: Load) -> None:
    """Begin the run of an instant and queue the next one; end the job in the same transaction."""
    row = await session.scalar(
        select(Trigger)
        .where(Trigger.id == job.payload["trigger_id"], Trigger.tenant_id == job.tenant_id)
        .with_for_update()
    )
    if row is None or row.state != ACTIVE or row.rev != job.payload["rev"]:
        await endings.finish(session, job)
        return
    at, planned = clock.now(), datetime.fromisoformat(job.payload["at"])
    is_missed = at - planned > LATE and row.catch_up == "skip"
    if not is_missed and await _is_at_work(session, row):
        if row.overlap == "queue" and at - planned < OVERLAP_WAIT:
            await endings.hold(session, job, "The run before is at work.", retry_in_s=AGAIN_S)
            return
        is_missed = True
    await endings.finish(session, job)
    if not is_missed:
        try:
            async with session.begin_nested():
                await _begin(session, row, planned, load)
        except Unauthenticated:
            row.state, row.next_at = STOPPED, None
            row.last_error = "Its service key is not valid any more: add the trigger with another."
            return
        except EngineError as error:
            row.last_error = str(error)[:500]
    row.next_at = next_after(row.schedule, row.zone, max(at, planned))
    await _queue(session, row)


async def go_on(session: AsyncSession, job: ClaimedJob, error: str) -> None:
    """After a job that failed for good: keep why, and queue the next instant."""
    row = await session.scalar(
        select(Trigger)
        .where(Trigger.id == job.payload["trigger_id"], Trigger.tenant_id == job.tenant_id)
        .with_for_update()
    )
    if row is None or row.state != ACTIVE or row.rev != job.payload["rev"]:
        return
    row.last_error = error[:500]
    row.next_at = next_after(row.schedule, row.zone, clock.now())
    await _queue(session, row)


async def _begin(session: AsyncSession, row: Trigger, planned: datetime, load: Load) -> None:
    principal = await principal_of_run(session, row.tenant_id, row.key_id)
    flow = await session.get(Flow, row.flow_id)
    ref = row.flow_id.removeprefix("template:") if flow is None else flow.id
    what = await definitions.runnable(session, principal, ref)
    graph = load(what.dsl)
    row.last_run_id = await runs.start(
        session,
        principal,
        gate.audience_of_asker(principal),
        what,
        graph.text,
        given=check_fields(all_fields(begin_of(graph).inputs), row.inputs),
        trigger="schedule",
        key=f"{row.id}@{planned.isoformat()}",
    )
    row.last_error = ""


async def _queue(session: AsyncSession, row: Trigger) -> None:
    if row.next_at is None:
        return
    await outbox.enqueue(
        session,
        tenant_id=row.tenant_id,
        kind=FIRE_TRIGGER,
        payload={"trigger_id": row.id, "rev": row.rev, "at": row.next_at.isoformat()},
        lane=Lane.INTERACTIVE,
        run_at=row.next_at,
    )


async def _is_at_work(session: AsyncSession, row: Trigger) -> bool:
    if not row.last_run_id:
        return False
    run = await session.get(Run, row.last_run_id)
    return run is not None and run.tenant_id == row.tenant_id and run.state not in ENDED


def _require(principal: Principal) -> None:
    gate.require(principal, Scope.KB_MANAGE)
    gate.require_verb(principal, "token.create_service")


async def _find(session: AsyncSession, principal: Principal, trigger_id: str) -> Trigger:
    row = await session.scalar(
        select(Trigger)
        .where(Trigger.id == trigger_id, Trigger.tenant_id == principal.tenant_id)
        .with_for_update()
    )
    if row is None:
        raise NotFound(f"No trigger {trigger_id[:64]!r}.")
    return row


async def _info(session: AsyncSession, row: Trigger) -> TriggerInfo:
    flow = await session.get(Flow, row.flow_id)
    key = await session.get(ApiToken, row.key_id)
    run = await session.get(Run, row.last_run_id) if row.last_run_id else None
    return TriggerInfo(
        id=row.id,
        name=row.name,
        workflow=flow.name if flow is not None else row.flow_id.removeprefix("template:"),
        schedule=row.schedule,
        zone=row.zone,
        key=key.name if key is not None else "",
        inputs=row.inputs,
        catch_up=row.catch_up,
        overlap=row.overlap,
        state=row.state,
        next_at=row.next_at,
        last_run_id=row.last_run_id,
        last_run=run.state if run is not None else "",
        last_error=row.last_error or (run.error if run is not None else ""),
        created_at=row.created_at,
    )
