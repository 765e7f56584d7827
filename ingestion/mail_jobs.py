"""What a worker does for mail: hand messages to the mail server, and write to who forgot a password."""

from __future__ import annotations

import logging

from sqlalchemy.ext.asyncio import AsyncSession

from engine.engine import Engine
from engine.jobs.kinds import MAIL, RESET
from engine.jobs.leases import ClaimedJob
from engine.mail.mail import forget
from ingestion.worker import Handler

log = logging.getLogger(__name__)


class _SealedHandler:
    """A job whose payload holds secrets: however it ends, they are forgotten."""

    alone = False
    feeds = False

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def waiting(self, session: AsyncSession, job: ClaimedJob, reason: str) -> None:
        """It is tried again."""

    async def failed(self, session: AsyncSession, job: ClaimedJob, error: str, code: str) -> None:
        """The row keeps the reason, without what it was about."""
        log.warning("a message was not sent: %s", error, extra={"code": code})
        await forget(session, job)

    async def cancelled(self, session: AsyncSession, job: ClaimedJob) -> None:
        """Nobody waits for it."""
        await forget(session, job)


class SendMail(_SealedHandler):
    """Sends one message."""

    async def run(self, job: ClaimedJob) -> bool:
        """Send it; the job ends with it."""
        await self._engine.mail.deliver(job)
        return True


class SendPasswordReset(_SealedHandler):
    """Writes to an address that asked for a new password, if it is somebody's."""

    async def run(self, job: ClaimedJob) -> bool:
        """Queue the message; the job ends in the same transaction."""
        await self._engine.people.mailed_links.send_reset(job)
        return True


def mail_handlers(engine: Engine) -> dict[str, Handler]:
    """A handler for each kind of job that is about mail."""
    return {MAIL: SendMail(engine), RESET: SendPasswordReset(engine)}
