"""The people who write to a bot, the places they write in, and the audience of an answer. `Engine.chats.senders` is a `Senders`.

Each verb is one short transaction over `sender_rows.py`, `callers.py`, `behaviour.py`, `linking.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from datetime import datetime

from engine.access import gate
from engine.chats import audiences, behaviour, callers, channels, linking, sender_rows
from engine.chats.audiences import Narrowing
from engine.chats.behaviour import Behaviour, SettingsOf
from engine.chats.callers import Caller, admin_caller, caller_of
from engine.chats.channels import ChannelInfo
from engine.chats.post_rows import Surface
from engine.chats.sender_rows import Person, Sender, SenderRef, Stale
from engine.db.session import Database
from engine.domain import Audience, Principal, Role
from engine.errors import NotFound
from engine.secrets import Secrets


class Senders:
    """The verbs of people who write, and of the places they write in."""

    def __init__(self, db: Database, secrets: Secrets, *, default_threshold: int) -> None:
        self._db = db
        self._secrets = secrets
        self._default_threshold = default_threshold

    async def homes_of(self, platform: str, person: str) -> list[str]:
        """The workspaces somebody wrote in, the most recent first."""
        async with self._db.read() as session:
            return await sender_rows.homes_of(session, platform, person)

    async def meet(self, sender_ref: SenderRef) -> Sender:
        """The rows of a sender and their channel, made where they are new."""
        sender = None
        with suppress(NotFound):  # a team of an organisation, seen for the first time
            async with self._db.read() as session:
                sender = await sender_rows.meet(session, sender_ref)
        if sender is not None:
            return sender
        return await self._db.run_write(lambda session: sender_rows.introduce(session, sender_ref))

    async def learn_person(self, sender: Sender, person: Person) -> None:
        """Keep what the platform says of somebody."""
        await self._db.run_write(lambda session: sender_rows.learn_person(session, sender, person))

    async def stale(self, sender: Sender) -> Stale:
        """What the platform should be asked again before an answer rests on it."""
        async with self._db.read() as session:
            return await sender_rows.what_is_stale(session, sender)

    async def unknown_people(self, sender: Sender, subjects: Collection[str]) -> list[str]:
        """Those of a channel's members that nothing, or nothing fresh, is known of."""
        async with self._db.read() as session:
            return await sender_rows.unknown_people(session, sender, subjects)

    async def names_of(self, sender: Sender, subjects: Collection[str]) -> dict[str, str]:
        """Names by the platform's ids, of those that are known."""
        async with self._db.read() as session:
            return await sender_rows.names_of(session, sender, subjects)

    async def learn_channel(
        self,
        sender: Sender,
        *,
        name: str,
        is_public: bool,
        members: Collection[str],
        people: Mapping[str, Person],
        bots: Collection[str] = (),
        shared: Collection[str] = (),
        asked_at: datetime | None = None,
    ) -> None:
        """Keep what the platform, asked at `asked_at`, says of a channel and of all in it."""
        await self._db.run_write(
            lambda session: sender_rows.learn_channel(
                session,
                sender,
                name=name,
                is_public=is_public,
                members=members,
                people=people,
                bots=bots,
                shared=shared,
                asked_at=asked_at,
            )
        )

    async def open_terminal(self, principal: Principal, channel: str) -> tuple[SenderRef, Sender]:
        """The workspace that `scrubjay chat` plays in: all members of the tenant are in it."""
        return await self._db.run_write(
            lambda session: sender_rows.open_terminal(session, principal, channel)
        )

    async def caller(self, sender: Sender) -> Caller:
        """Who somebody is now."""
        async with self._db.read() as session:
            return await caller_of(session, sender)

    async def admin(self, principal: Principal, workspace: str, channel: str = "") -> Caller:
        """A member at the command line, as somebody who gives commands in a workspace."""
        async with self._db.read() as session:
            return await admin_caller(session, principal, workspace, channel)

    async def behaviour(self, sender: Sender) -> Behaviour:
        """What is set for the place somebody writes in."""
        threshold = self._default_threshold
        async with self._db.read() as session:
            return await behaviour.behaviour_of(session, sender, default_threshold=threshold)

    async def change_behaviour(
        self, caller: Caller, changes: Mapping[str, object], *, channel_id: str | None
    ) -> None:
        """Set values for a channel, or with None for the workspace; None as a value unsets one."""
        await self._db.run_write(
            lambda session: behaviour.change_behaviour(
                session, caller, changes, channel_id=channel_id
            )
        )

    async def list_settings(self, caller: Caller) -> list[SettingsOf]:
        """What is set for the caller's workspace, then for each of its channels by name."""
        async with self._db.read() as session:
            return await behaviour.list_settings(session, caller)

    async def channel(self, sender: Sender) -> ChannelInfo | None:
        """The channel somebody writes in; None in a direct message."""
        if sender.channel_id is None:
            return None
        async with self._db.read() as session:
            return await channels.get_channel(session, sender, sender.channel_id)

    async def find_channel(self, sender: Sender, ref: str) -> ChannelInfo:
        """A channel of the sender's workspace by the platform's id or its name."""
        async with self._db.read() as session:
            return await channels.find_channel_here(session, sender, ref)

    async def audience(self, caller: Caller, surface: Surface) -> Audience:
        """Who will see an answer there."""
        sender = caller.sender
        if surface != "channel":
            return gate.audience_of_asker(caller.principal)
        if sender.channel_id is None:
            raise NotFound("No such channel.")
        async with self._db.read() as session:
            return await gate.audience_of_channel(session, sender.tenant_id, sender.channel_id)

    async def narrowing(self, sender: Sender) -> Narrowing | None:
        """Who narrows what the sender's channel may be told; None in a direct message."""
        async with self._db.read() as session:
            return await audiences.narrowing(session, sender)

    async def list_roles(self, caller: Caller) -> list[tuple[str, str, str]]:
        """Name, role and reason, of everybody with a role in the caller's workspace."""
        async with self._db.read() as session:
            return await callers.list_roles(session, caller)

    async def give_role(self, caller: Caller, person: str, role: Role | None) -> tuple[str, str]:
        """Make somebody of the workspace admin or curator here; None undoes it. Their name, role."""
        return await self._db.run_write(
            lambda session: callers.give_role(session, caller, person, role)
        )

    async def linked_member(self, sender: Sender) -> str:
        """The name of the member an account is linked to, or an empty text."""
        async with self._db.read() as session:
            return await linking.linked_member(session, sender)

    def link_code(self, sender: Sender) -> str:
        """What somebody enters at a door where they are known, to link this account; ten minutes."""
        return linking.link_code(self._secrets, sender)

    async def link(self, principal: Principal, code: str) -> str:
        """Link the account a code was made for to the principal; its name."""
        secrets = self._secrets
        return await self._db.run_write(
            lambda session: linking.link_account(session, secrets, principal, code)
        )

    async def unlink(self, caller: Caller) -> bool:
        """Unlink the caller's account; False where it was not linked."""
        return await self._db.run_write(lambda session: linking.unlink_account(session, caller))
