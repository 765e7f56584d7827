"""Writing to people. `Engine.mail` is a `Mail`: rooms above queue with it, the worker delivers.

A message is queued in the transaction of its cause, so it is sent exactly if that happened, and
perhaps twice: then with the same `Message-ID`. Its job holds it encrypted until it has been sent.
"""

from __future__ import annotations

import json
import logging
from datetime import datetime
from email.utils import parseaddr
from typing import Any

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from engine import clock
from engine.access import gate
from engine.db.session import Database
from engine.db.tables import Job, User
from engine.domain import Lane, Principal
from engine.errors import Conflict, InvalidInput, LinkExpired, Unavailable
from engine.jobs import endings
from engine.jobs.kinds import MAIL
from engine.jobs.leases import ClaimedJob
from engine.jobs.outbox import enqueue
from engine.mail import smtp
from engine.mail.letters import MailLetter, Template, build_message
from engine.secrets import Secrets
from engine.settings import MailSettings

log = logging.getLogger(__name__)

# Seconds until the next try: mail servers that put off unknown senders want minutes (RFC 6647, 5).
RETRIES_S = (60.0, 300.0, 900.0, 1800.0, 3600.0, 7200.0)
NOT_SET_UP = "No mail server is set: set mail.host and mail.sender, then restart the server."


class Mail:
    """Queues and sends messages; without a mail server it queues nothing."""

    def __init__(
        self, db: Database, secrets: Secrets, settings: MailSettings, *, public_url: str
    ) -> None:
        self._db = db
        self._secrets = secrets
        self._settings = settings
        self._public_url = public_url

    @property
    def is_set_up(self) -> bool:
        """Whether messages can be sent."""
        return self._settings.is_set_up

    def link(self, page: str, secret: str) -> str:
        """The address of a page with a secret, which no server sees and no log keeps."""
        return f"{self._public_url}/{page}#{secret}"

    async def queue(
        self,
        session: AsyncSession,
        tenant_id: str,
        to: str,
        template: Template,
        *,
        until: datetime | None = None,
        **values: Any,  # noqa: ANN401 (what the template takes)
    ) -> None:
        """Queue a message in the caller's transaction; after `until` it is of no more use."""
        if not self.is_set_up:
            return
        said = {"to": to, "template": template, "values": values}
        if until is not None:
            said["until"] = until.isoformat()
        await enqueue(
            session,
            tenant_id=tenant_id,
            kind=MAIL,
            payload={"sealed": self._secrets.encrypt("mail", json.dumps(said))},
            lane=Lane.LIVE,
            max_attempts=len(RETRIES_S) + 1,
        )

    async def notify(self, session: AsyncSession, tenant_id: str, user: User, what: str) -> None:
        """Tell somebody what has changed about their account, in case it was not them."""
        if user.email:
            await self.queue(
                session,
                tenant_id,
                user.email,
                "notice",
                name=user.name,
                what=what,
                at=f"{clock.now():%Y-%m-%d %H:%M} UTC",
                account=f"{self._public_url}/account",
            )

    async def deliver(self, job: ClaimedJob) -> None:
        """Send the message of a job and end the job.

        `Unavailable` where another try may help, `MailRefused` where none will.
        """
        said = self.opened(job)
        until = said.get("until")
        if until and datetime.fromisoformat(until) <= clock.now():
            raise LinkExpired("The message came too late: what it is about has expired.")
        letter = MailLetter(said["to"], said["template"], said["values"])
        message = build_message(
            letter, sender=self._settings.sender, message_id=self.message_id(job.id)
        )
        try:
            await smtp.send(self._settings, message)
        except Unavailable as error:
            wait_s = RETRIES_S[min(job.attempt, len(RETRIES_S)) - 1]
            raise Unavailable(str(error), retry_after_s=wait_s) from None

        async def commit(session: AsyncSession) -> None:
            await endings.finish(session, job)
            await forget(session, job)

        await self._db.run_write(commit)

    def opened(self, job: ClaimedJob) -> dict[str, Any]:
        """What a job's payload says, decrypted."""
        found = json.loads(self._secrets.decrypt("mail", job.payload["sealed"]))
        assert isinstance(found, dict)  # noqa: S101 (sealed by us)
        return found

    def message_id(self, job_id: str) -> str:
        """The same for each try of a job: a second delivery shows as one."""
        domain = parseaddr(self._settings.sender)[1].rpartition("@")[2]
        return f"<{job_id}@{domain}>"

    async def test(self, principal: Principal, to: str) -> str:
        """Send a message to try the settings, at once; the server it went to.

        Only the installation's owners may: it writes to anybody.
        """
        async with self._db.read() as session:
            await gate.require_operator(session, principal)
        gate.require_assured(principal, "send a test message")
        if not self.is_set_up:
            raise Conflict(NOT_SET_UP)
        if "@" not in to or not to.isprintable() or " " in to:
            raise InvalidInput(f"{to[:80]!r} is not an e-mail address.", field="to")
        letter = MailLetter(to, "test", {"url": self._public_url})
        message = build_message(
            letter, sender=self._settings.sender, message_id=self.message_id(clock.new_id())
        )
        await smtp.send(self._settings, message)
        return f"{self._settings.host}:{smtp.port_of(self._settings)}"

    async def check(self) -> None:
        """Connect to the mail server and sign in; raises what `smtp.send` would."""
        await smtp.check(self._settings)


async def forget(session: AsyncSession, job: ClaimedJob) -> None:
    """Empty the payload of a job that has ended: links in messages are secrets."""
    await session.execute(update(Job).where(Job.id == job.id).values(payload={}))
