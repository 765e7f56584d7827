"""How many questions people may ask a bot, and how many tokens its answers may use."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, time

from sqlalchemy.ext.asyncio import AsyncSession

from engine import clock
from engine.access import gate
from engine.chats import feedback
from engine.chats.sender_rows import Sender
from engine.db.session import Database
from engine.db.tables import Tenant
from engine.domain import Principal
from engine.errors import RateLimited
from engine.limits import Limits
from engine.settings import BotSettings

WINDOW_S = 300.0  # of the limits on questions


class QuestionLimits:
    """The verbs of limits: `Engine.chats.question_limits`. A tenant's own win over the settings'."""

    def __init__(self, db: Database, limits: Limits, defaults: BotSettings) -> None:
        self._db = db
        self._limits = limits
        self._defaults = defaults

    async def get(self, tenant_id: str) -> dict[str, int]:
        """Questions in five minutes (user, channel, tenant) and tokens-a-day; 0 is no limit."""
        limits = {
            "user": self._defaults.questions_per_person,
            "channel": self._defaults.questions_per_channel,
            "tenant": self._defaults.questions_per_tenant,
            "tokens-a-day": self._defaults.tokens_per_day,
        }
        async with self._db.read() as session:
            tenant = await session.get_one(Tenant, tenant_id)
            own: Mapping[str, int] = tenant.settings.get("bot_limits", {})
        return {name: int(own.get(name, value)) for name, value in limits.items()}

    async def set(self, principal: Principal, name: str, number: int) -> None:
        """A tenant's own limit; 0 is none. The command table checks the caller and the name."""

        async def commit(session: AsyncSession) -> None:
            tenant = await session.get_one(Tenant, principal.tenant_id)
            before = dict(tenant.settings.get("bot_limits", {}))
            tenant.settings = {**tenant.settings, "bot_limits": {**before, name: number}}
            detail = {"limit": name, "from": before.get(name), "to": number}
            await gate.audit(session, principal, "bot.limits", tenant.id, detail)

        await self._db.run_write(commit)

    async def spend(self, sender: Sender, channel: str) -> None:
        """Count a question; `RateLimited` says whose limit is reached and when it is over."""
        limits = await self.get(sender.tenant_id)
        if (budget := limits["tokens-a-day"]) and await self._spent_today(
            sender.tenant_id
        ) >= budget:
            midnight = (24 * 3600) - (clock.now() - _today()).total_seconds()
            raise RateLimited(
                "Your organisation has used up today's tokens.", retry_after_s=midnight
            )
        whose = {
            "user": (f"{sender.tenant_id}:chat:i:{sender.identity_id}", "You have"),
            "channel": (
                f"{sender.tenant_id}:chat:c:{sender.workspace_id}:{channel}",
                "This channel has",
            ),
            "tenant": (f"{sender.tenant_id}:chat", "Your organisation has"),
        }
        for name, (key, who) in whose.items():
            limit = limits[name]
            if not limit:
                continue
            wait_s = await self._limits.take(key, rate_per_s=limit / WINDOW_S, burst=float(limit))
            if wait_s > 0:
                questions = "question" if limit == 1 else "questions"
                raise RateLimited(
                    f"{who} asked {limit} {questions} in five minutes, which is the limit.",
                    retry_after_s=wait_s,
                )

    async def _spent_today(self, tenant_id: str) -> int:
        async with self._db.read() as session:
            return await feedback.tokens_spent(session, tenant_id, _today())


def _today() -> datetime:
    return datetime.combine(clock.now().date(), time(), tzinfo=UTC)
