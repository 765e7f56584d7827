"""Executes a run that a worker has claimed: from its own text, on from where it stopped.

Everything that changes is written with the checkpoint it belongs to, in one transaction: what was
spent, the questions that are open, and at the end the job. Who the run works for is computed anew at
every attempt, never more than they held when it began; who lost access ends it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from engine.access import gate
from engine.clock import now
from engine.db.tables import ApiToken, Run
from engine.domain import Audience, Principal, Scope
from engine.errors import Cancelled, EngineError, LeaseLost, Unauthenticated
from engine.flow.checkpoints import SqlRunStore
from engine.flow.context import CancelToken, RunIds
from engine.flow.graph import Graph
from engine.flow.records import NodeState
from engine.flow.run import run_flow
from engine.flow.store import ENDED, RunState, RunUpdate
from engine.jobs import endings
from engine.jobs.leases import ClaimedJob, must_hold
from engine.people.api_tokens import principal_of_run
from engine.workflows import pauses
from engine.workflows.budget import RunBudget, RunMeter, RunUsage
from engine.workflows.children import any_ended, open_budgets
from engine.workflows.component import WorkflowRun, WorkflowServices
from engine.workflows.effects import EffectLedger
from engine.workflows.loading import load_workflow
from engine.workflows.run_secrets import RunSecrets, secrets_of
from engine.workflows.runs import close_pauses, end_now, enqueue, wake_parent
from engine.workflows.sandbox import CodeSandbox
from engine.workflows.stored_secrets import open_secrets
from engine.workflows.templating import TemplateRenderer

WRITE_INTERVAL_S = 0.25  # people watch


@dataclass(frozen=True, slots=True)
class _Claimed:
    """A run's row as its attempt needs it."""

    id: str
    tenant_id: str
    flow_id: str
    dsl: str
    who: Mapping[str, Any]
    audience: Mapping[str, Any]
    input: Mapping[str, Any]
    budget: RunBudget
    usage: RunUsage
    replies: Mapping[str, tuple[str, Mapping[str, Any]]]
    started_at: Any
    simulates: bool


async def execute(services: WorkflowServices, job: ClaimedJob) -> bool:
    """Run it until it ends or waits for a person; whether the job is finished with it."""
    claimed = await services.db.run_write(lambda session: _claim(session, job))
    if claimed is None:
        return False
    try:
        async with services.db.read() as session:
            principal = await principal_of(session, claimed.tenant_id, claimed.who)
            audience = await audience_of(session, principal, claimed.audience)
            lent = await open_budgets(session, claimed.id)
        graph = load_workflow(claimed.dsl)
        secrets = await _secrets(services, claimed.tenant_id, graph)
        if services.model_of is not None:
            counted = await services.model_of(principal, own=services.model)
            services = replace(services, model=counted)
    except EngineError as error:
        reason = str(error)
        await services.db.run_write(lambda session: _refuse(session, job, reason))
        return True
    meter = RunMeter(claimed.budget, claimed.usage)
    for path, budget in lent.items():
        meter.hold(path, budget)
    run = WorkflowRun(
        services=services,
        run_id=claimed.id,
        principal=principal,
        audience=audience,
        meter=meter,
        started_at=claimed.started_at,
        effects=EffectLedger(
            db=services.db,
            job=job,
            tenant_id=claimed.tenant_id,
            run_id=claimed.id,
            simulates=claimed.simulates,
            mask=secrets.mask,
        ),
        secrets=secrets,
        sandbox=CodeSandbox(at=claimed.started_at, seed=claimed.id),
        templates=TemplateRenderer(),
    )
    token = CancelToken()
    loop = asyncio.get_running_loop()
    began, spent = loop.time(), meter.usage.active_s

    def active() -> float:
        return spent + loop.time() - began

    limit = claimed.budget.active_s
    stopping = loop.call_later(
        max(0.0, limit - spent), token.cancel, f"The run has worked for {limit:g} s, its limit."
    )
    store = _WorkflowRunStore(
        services, job, run, {id_ for id_, _ in claimed.replies.values()}, active
    )
    try:
        await run_flow(
            graph,
            RunIds(
                tenant_id=claimed.tenant_id,
                flow_id=claimed.flow_id,
                run_id=claimed.id,
                job_id=job.id,
                correlation_id=job.correlation_id,
            ),
            run,
            input=claimed.input,
            reply={path: said for path, (_, said) in claimed.replies.items()},
            token=token,
            store=store,
            scope={"sys": _sys(claimed, principal), "secret": secrets.markers},
            meter=meter,
            interval_s=WRITE_INTERVAL_S,
            tells_end=True,
        )
    finally:
        stopping.cancel()
        await run.sandbox.aclose()
        await run.templates.aclose()
    return True


async def _secrets(services: WorkflowServices, tenant_id: str, graph: Graph) -> RunSecrets:
    """The secrets that a workflow names."""
    names = secrets_of(graph)
    if not names or services.secrets is None:
        return RunSecrets()
    async with services.db.read() as session:
        return RunSecrets(await open_secrets(session, services.secrets, tenant_id, names))


def _sys(claimed: _Claimed, principal: Principal) -> dict[str, Any]:
    return {
        "query": str(claimed.input.get("query") or ""),
        "user_name": principal.name,
        "now": claimed.started_at.isoformat(timespec="seconds"),
        "run_id": claimed.id,
        "workflow": claimed.flow_id,
        "language": "",
    }


async def _claim(session: AsyncSession, job: ClaimedJob) -> _Claimed | None:
    run = await session.scalar(select(Run).where(Run.id == job.payload["run_id"]).with_for_update())
    if run is None or run.state in ENDED or run.job_id != job.id:
        return None
    run.state = RunState.RUNNING
    return _Claimed(
        id=run.id,
        tenant_id=run.tenant_id,
        flow_id=run.flow_id,
        dsl=run.dsl,
        who=run.who,
        audience=run.audience,
        input=run.input,
        budget=RunBudget.of(run.budget),
        usage=RunUsage.of(run.usage),
        replies=await pauses.answered(session, run.id),
        started_at=run.started_at,
        simulates=run.simulates,
    )


async def _refuse(session: AsyncSession, job: ClaimedJob, message: str) -> None:
    run = await session.scalar(select(Run).where(Run.id == job.payload["run_id"]).with_for_update())
    if run is not None and run.state not in ENDED:
        await end_now(session, run, RunState.FAILED, message)
    await endings.finish(session, job)


async def principal_of(session: AsyncSession, tenant_id: str, who: Mapping[str, Any]) -> Principal:
    """Who a run works for, with what they hold now of what they held when it began.

    Raises `Unauthenticated` where they, their token or their session have no access any more.
    """
    await _require_credential(session, tenant_id, who)
    scopes = [Scope(scope) for scope in who["scopes"]]
    if who["user_id"]:
        found = await gate.principal_of_user(session, tenant_id, who["user_id"], scopes=scopes)
    elif who["identity_id"]:
        found = await gate.principal_of_identity(session, tenant_id, who["identity_id"])
    else:
        found = await principal_of_run(session, tenant_id, who["api_token_id"] or "")
    return replace(
        found,
        tokens=found.tokens & frozenset(who["tokens"]),
        scopes=found.scopes & frozenset(scopes),
        api_token_id=who["api_token_id"],
        session_id=who["session_id"],
        assured=False,
        assistants=None,  # the door let them in to this one
    )


async def _require_credential(
    session: AsyncSession, tenant_id: str, who: Mapping[str, Any]
) -> None:
    if not who["api_token_id"]:
        return
    token = await session.scalar(
        select(ApiToken).where(ApiToken.id == who["api_token_id"], ApiToken.tenant_id == tenant_id)
    )
    at = now()
    if (
        token is None
        or token.revoked_at is not None
        or (token.expires_at is not None and token.expires_at <= at)
    ):
        raise Unauthenticated("The token that started this run is not valid any more.")


async def audience_of(
    session: AsyncSession, principal: Principal, stored: Mapping[str, Any]
) -> Audience:
    """Who sees what a run says, with what all of them hold now and held when it began."""
    own = gate.audience_of_asker(principal)
    kind, _, channel_id = str(stored["key"]).partition(":")
    if kind == "ch":
        now_there = await gate.audience_of_channel(session, principal.tenant_id, channel_id)
    else:
        now_there = own
    return Audience(
        key=stored["key"],
        label=stored["label"],
        tokens=now_there.tokens & frozenset(stored["tokens"]),
    )


class _WorkflowRunStore(SqlRunStore):
    """Writes with each checkpoint what belongs to it: spending, questions, at the end the job."""

    def __init__(
        self,
        services: WorkflowServices,
        job: ClaimedJob,
        run: WorkflowRun,
        handed: set[str],
        active: Any,  # noqa: ANN401 (a callable)
    ) -> None:
        super().__init__(services.db, also=self._settle)
        self._job, self._run, self._handed, self._active = job, run, handed, active

    async def write(self, ids: RunIds, change: RunUpdate) -> None:
        """As ever, without any secret of the run."""
        await super().write(ids, _masked(change, self._run.secrets))

    async def _settle(self, session: AsyncSession, ids: RunIds, change: RunUpdate) -> None:
        try:
            job = await must_hold(session, self._job)
        except LeaseLost as error:
            raise Cancelled(str(error)) from error
        usage = self._run.meter.usage
        usage.active_s = self._active()
        row = await session.scalar(
            select(Run)
            .where(Run.id == ids.run_id)
            .with_for_update()
            .execution_options(populate_existing=True)
        )
        if row is None:
            raise Cancelled("The run was deleted.")
        row.usage = usage.to_json()
        for node in change.nodes:
            if node.state is NodeState.PAUSED and node.form and "child" not in node.form:
                await pauses.open_pause(session, row, node)
        if any(node.state is NodeState.DONE for node in change.nodes):
            job.lost = 0  # it came further: what stopped its worker was not the run
        if change.state in ENDED:
            await close_pauses(session, row.id)
            await session.flush()
            await endings.finish(session, self._job)
            await wake_parent(session, row)
        elif change.state is RunState.PAUSED:
            await session.flush()
            await endings.finish(session, self._job)
            waiting = await pauses.answered(session, row.id)
            replied = any(id_ not in self._handed for id_, _ in waiting.values())
            # What it waits for may have come while another branch was at work.
            if replied or await any_ended(session, sorted(self._run.waits)):
                await enqueue(session, row)
        await session.flush()


def _masked(change: RunUpdate, secrets: RunSecrets) -> RunUpdate:
    if not secrets.markers:
        return change
    mask = secrets.mask
    return replace(
        change,
        message=mask(change.message),
        error=mask(change.error),
        output=None if change.output is None else mask(change.output),
        nodes=[
            replace(node, output=mask(node.output), error=mask(node.error), form=mask(node.form))
            for node in change.nodes
        ],
        events=[
            replace(event, entry=mask(event.entry), data=mask(event.data))
            for event in change.events
        ],
    )


async def give_up(session: AsyncSession, run_id: str, state: RunState, message: str) -> None:
    """End a run whose job ended without it."""
    row = await session.scalar(select(Run).where(Run.id == run_id).with_for_update())
    if row is not None and row.state not in ENDED:
        await end_now(session, row, state, message)
