"""A mail server on loopback that keeps what it takes, and fails as a test asks it to."""

from __future__ import annotations

import asyncio
import email
import email.policy
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from engine.db.session import Database
from engine.mail.mail import Mail
from engine.secrets import Secrets
from engine.settings import MailSettings

USER, PASSWORD = b"kb", b"mail-server-password"


@dataclass
class MailServer:
    """What was taken, and how the next messages are answered: replies are used one a message."""

    port: int = 0
    taken: list[EmailMessage] = field(default_factory=list)
    replies: list[str] = field(default_factory=list)
    signed_in: int = 0
    secured: int = 0
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Take a message, or answer as told."""
        reply = self.replies.pop(0) if self.replies else "250 taken"
        if reply.startswith("250"):
            self.secured += session.ssl is not None
            content = envelope.content
            raw = content if isinstance(content, bytes) else str(content).encode()
            self.taken.append(email.message_from_bytes(raw, policy=email.policy.default))
            self.arrived.set()
        return reply

    def authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any
    ) -> AuthResult:
        """Whether the name and the password are right."""
        right = isinstance(data, LoginPassword) and (data.login, data.password) == (USER, PASSWORD)
        self.signed_in += right
        return AuthResult(success=right, handled=False)

    def links(self) -> list[str]:
        """The address in each message, as its text has it."""
        found = []
        for message in self.taken:
            body = message.get_body(("plain",))
            assert body is not None
            words = body.get_content().split()
            found += [word for word in words if word.startswith("http")]
        return found


@asynccontextmanager
async def open_mail_server(
    *, auth: bool = False, tls: ssl.SSLContext | None = None, implicit: bool = False
) -> AsyncIterator[MailServer]:
    """A mail server that listens: with `tls` it offers STARTTLS, or with `implicit` only TLS."""
    mail = MailServer()

    def build() -> SMTP:
        return SMTP(
            mail,
            hostname="mail.example.com",
            ident="test",
            authenticator=mail.authenticate,
            auth_require_tls=tls is not None,
            auth_required=auth,
            tls_context=None if implicit else tls,
            require_starttls=tls is not None and not implicit,
        )

    loop = asyncio.get_running_loop()
    server = await loop.create_server(build, "127.0.0.1", 0, ssl=tls if implicit else None)
    mail.port = server.sockets[0].getsockname()[1]
    try:
        yield mail
    finally:
        server.close()


class _Nothing:
    """Stands where nothing is read."""


def no_mail(db: Database | None = None, secrets: Secrets | None = None) -> Mail:
    """Mail of an installation without a mail server."""
    return Mail(
        db or _Nothing(),  # type: ignore[arg-type]  # nothing is queued
        secrets or Secrets(["k" * 40]),
        MailSettings(),
        public_url="",
    )
