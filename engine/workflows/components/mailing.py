"""Email: writes to people through the installation's mail server, once."""

from __future__ import annotations

import fnmatch
import re
from typing import Any

from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncSession

from engine.errors import InvalidInput, Unavailable
from engine.flow.component import ComponentParam, Inputs, Output
from engine.flow.context import RunContext
from engine.mail.mail import NOT_SET_UP
from engine.workflows.component import (
    STRING,
    STRINGS,
    Text,
    WorkflowComponent,
    WorkflowRun,
)
from engine.workflows.effects import EffectCall
from engine.workflows.recipients import members_of, require_addresses

TO_MAX = 20
_ADDRESS = re.compile(r"[^\s@<>,;:\"()\[\]\\]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+")


class Email(WorkflowComponent):
    """Sends an e-mail to members, and to addresses that `allow` names, such as `*@customer.example`.

    It is queued with the note that it was, so it is queued once. What it rests on must be readable to
    each recipient; an address of nobody here may get nothing from the knowledge bases.
    """

    type = "Email"
    aliases = ("email", "SendEmail", "Mail")
    effect = "write"
    literal = frozenset({"allow"})
    output = {"outcome": STRING, "to": STRINGS}  # noqa: RUF012 (a ClassVar of the base)

    class Param(ComponentParam):
        to: list[str] | str
        subject: Text = Field(min_length=1, max_length=200)
        text: Text = Field(min_length=1, max_length=100_000)
        allow: tuple[str, ...] = Field(default=(), max_length=50)

    param: Param

    @classmethod
    def faults_of(cls, param: Any) -> list[str]:  # noqa: ANN401
        """Patterns that name no domain."""
        return [
            f"param `allow`: {pattern!r} names no domain: write *@example.com"
            for pattern in param.allow
            if pattern.count("@") != 1 or set(pattern.partition("@")[2]) & set("*?[")
        ]

    async def _work(self, context: RunContext[WorkflowRun], inputs: Inputs) -> Output:
        run, mail = context.services, context.services.services.mail
        addresses = self._addresses()
        members = await members_of(run, addresses)
        strangers = [
            address
            for address in addresses
            if address not in members
            and not any(fnmatch.fnmatchcase(address, item.lower()) for item in self.param.allow)
        ]
        if strangers:
            raise InvalidInput(
                f"component {self.id!r}: {strangers[0]} is no member's address, and `allow` does not"
                " name it, so nothing was sent.",
                field="to",
            )
        await require_addresses(run, list(self.sources), addresses)
        if mail is None or not mail.is_set_up:
            raise Unavailable(NOT_SET_UP)
        subject = " ".join(self.param.subject.split())
        call = EffectCall(
            path=context.path + self.id,
            kind="email",
            target=", ".join(addresses),
            summary=f"an e-mail to {len(addresses)} addresses",
            repeatable=True,
        )

        async def queue(session: AsyncSession) -> None:
            for address in addresses:
                await mail.queue(
                    session,
                    run.principal.tenant_id,
                    address,
                    "workflow",
                    subject=subject,
                    text=self.param.text,
                    who=run.principal.name,
                )

        ended = await run.effects.queued(call, queue)
        return {"outcome": ended.how, "to": addresses}

    def _addresses(self) -> list[str]:
        given = self.param.to
        listed = re.split(r"[,;\s]+", given) if isinstance(given, str) else given
        addresses = list(dict.fromkeys(item.strip().lower() for item in listed if item.strip()))
        wrong = [item for item in addresses if not _ADDRESS.fullmatch(item)]
        if wrong or not 1 <= len(addresses) <= TO_MAX:
            raise InvalidInput(
                f"component {self.id!r}: `to` takes 1 to {TO_MAX} e-mail addresses"
                + (f", and {wrong[0][:60]!r} is none." if wrong else "."),
                field="to",
            )
        return addresses
