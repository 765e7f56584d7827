"""What a run changes outside, each thing once: noted before it is done, and what came of it.

A row of `run_effect` says `intent` before the request leaves and `done` with its result after. A
worker that takes a run over and finds an intent repeats it with the same key where the other side
can tell (a repeatable method, an Idempotency-Key); where it can't, nobody knows whether it happened,
and a person is asked. A test run of a draft notes what it would have done, and does nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import UUID, uuid5

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from engine.clock import now
from engine.db.session import Database
from engine.db.tables import RunEffect, RunPause
from engine.errors import Cancelled, EngineError, LeaseLost, Unavailable
from engine.flow.component import Pause
from engine.jobs.leases import ClaimedJob, must_hold

SENT, AGAIN, SKIP = "Sent", "Send again", "Skip"
ASK_DEADLINE_S = 7 * 86_400.0

How = Literal["done", "assumed", "skipped", "simulated"]
_SETTLED: Mapping[str, How] = {
    "done": "done",
    "assumed": "assumed",
    "skipped": "skipped",
    "simulated": "simulated",
}


class MaybeDone(Exception):
    """The request left and no answer came: whether it was carried out is not known."""


@dataclass(frozen=True, slots=True)
class EffectCall:
    """Something to be done once. `target` and `summary` are shown to people: no secret in them.

    `repeatable`: the other side can tell that a second request with the same key is the first.
    """

    path: str
    kind: str
    target: str
    summary: str
    repeatable: bool
    call_id: str = ""


@dataclass(frozen=True, slots=True)
class EffectOutcome:
    """How it ended: `done` now or before, `assumed` done or `skipped` by a person, or `simulated`."""

    how: How
    result: Mapping[str, Any] = field(default_factory=dict)


def _unchanged(value: Any) -> Any:  # noqa: ANN401 (JSON)
    return value


@dataclass(frozen=True, slots=True)
class EffectLedger:
    """The effects of one attempt of a run. `mask` takes secrets out of what is stored."""

    db: Database
    job: ClaimedJob
    tenant_id: str
    run_id: str
    simulates: bool = False
    mask: Callable[[Any], Any] = _unchanged

    async def once(
        self,
        call: EffectCall,
        do: Callable[[str], Awaitable[Mapping[str, Any]]],
        reply: Mapping[str, Any] | None = None,
    ) -> EffectOutcome:
        """Have `do` carry it out unless that happened before; it gets the key to send.

        `do` raises an `EngineError` where nothing was done, `MaybeDone` where that is not known.
        Raises `Pause` where a person must say what happened; `reply` is what they said.
        """
        known = await self.db.run_write(lambda session: self._begin(session, call, reply))
        if isinstance(known, EffectOutcome):
            return known
        if known == "unknown":
            raise _question(call, "It was interrupted while this was under way.")
        try:
            result = self.mask(dict(await do(self.key_of(call))))
        except MaybeDone as error:
            if call.repeatable:
                await self._end(call, "failed")
                raise Unavailable(str(error)) from None
            await self._end(call, "unknown")
            raise _question(call, str(error)) from None
        except EngineError:
            await self._end(call, "failed")
            raise
        await self._end(call, "done", result)
        return EffectOutcome("done", result)

    async def queued(
        self, call: EffectCall, queue: Callable[[AsyncSession], Awaitable[None]]
    ) -> EffectOutcome:
        """Have `queue` put it into the outbox, together with the note that it was: once, for sure."""

        async def write(session: AsyncSession) -> EffectOutcome:
            known = await self._begin(session, call, None)
            if isinstance(known, EffectOutcome):
                return known
            await queue(session)
            await session.flush()
            row = await session.scalar(self._row(call))
            row.state, row.ended_at = "done", now()
            return EffectOutcome("done")

        return await self.db.run_write(write)

    def key_of(self, call: EffectCall) -> str:
        """The same for each attempt of this effect, and for no other: an Idempotency-Key."""
        return str(uuid5(UUID(self.run_id), f"{call.path}\n{call.call_id}"))

    async def _begin(
        self, session: AsyncSession, call: EffectCall, reply: Mapping[str, Any] | None
    ) -> EffectOutcome | Literal["do", "unknown"]:
        await self._hold(session)
        row = await session.scalar(self._row(call).with_for_update())
        if row is None:
            session.add(
                RunEffect(
                    tenant_id=self.tenant_id,
                    run_id=self.run_id,
                    path=call.path,
                    call_id=call.call_id,
                    kind=call.kind,
                    target=call.target[:300],
                    state="simulated" if self.simulates else "intent",
                    result={},
                )
            )
            return EffectOutcome("simulated") if self.simulates else "do"
        if row.state == "unknown":
            choice = str((reply or {}).get("choice", ""))
            if not choice or not await self._used(session, call):
                return "unknown"
            row.state = {SENT: "assumed", SKIP: "skipped"}.get(choice, "intent")
            if row.state == "intent":
                return "do"
        if row.state in _SETTLED:
            return EffectOutcome(_SETTLED[row.state], row.result)
        if row.state == "intent" and not call.repeatable:
            row.state = "unknown"
            return "unknown"
        row.state = "intent"
        return "do"

    async def _used(self, session: AsyncSession, call: EffectCall) -> bool:
        """Take the answer to the question about this effect, so that it counts once."""
        taken = await session.execute(
            update(RunPause)
            .where(
                RunPause.run_id == self.run_id,
                RunPause.path == call.path,
                RunPause.state == "answered",
            )
            .values(state="used")
            .returning(RunPause.id)
        )
        return taken.first() is not None

    async def _end(
        self, call: EffectCall, state: str, result: Mapping[str, Any] | None = None
    ) -> None:
        async def write(session: AsyncSession) -> None:
            await self._hold(session)
            row = await session.scalar(self._row(call).with_for_update())
            if row is not None:
                row.state, row.result, row.ended_at = state, dict(result or {}), now()

        await self.db.run_write(write)

    def _row(self, call: EffectCall) -> Any:  # noqa: ANN401 (a Select)
        return select(RunEffect).where(
            RunEffect.tenant_id == self.tenant_id,
            RunEffect.run_id == self.run_id,
            RunEffect.path == call.path,
            RunEffect.call_id == call.call_id,
        )

    async def _hold(self, session: AsyncSession) -> None:
        try:
            await must_hold(session, self.job)
        except LeaseLost as error:
            raise Cancelled(str(error)) from error


def _question(call: EffectCall, why: str) -> Pause:
    message = f"Was it sent? {call.summary}: {why}"
    return Pause(
        message,
        form={
            "message": message,
            "to": "asker",
            "schema": {"type": "object", "properties": {}},
            "fields": {},
            "buttons": [SENT, AGAIN, SKIP],
            "deadline_s": ASK_DEADLINE_S,
            "has_timeout_branch": False,
            "sources": [],
        },
    )
