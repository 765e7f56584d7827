"""The verbs of channel history: what platforms and imports write, what admins ask for.

`Engine.chats.history` is a `History`. A platform's adapter holds a `Place` (its workspace) and names
channels, people and messages in the platform's own ids; admins are principals as everywhere. Each
verb is one short transaction; those that change a lot are several.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from engine.access import gate
from engine.chats import (
    accounts,
    channels,
    coverage,
    membership,
    message_deletion,
    messages,
    places,
    retention,
    source_jobs,
    sources,
)
from engine.chats.accounts import NewPerson, PersonInfo
from engine.chats.channels import ChannelInfo, NewChannel
from engine.chats.coverage import Coverage, ImportProgress
from engine.chats.forgetting import forget_questions
from engine.chats.messages import NewMessage, NewThread, Stored
from engine.chats.places import NewWorkspace, Place
from engine.chats.sources import Receipt
from engine.db.session import Database
from engine.domain import Lane, Principal, Scope
from engine.errors import InvalidInput, NotFound

IMPORT_BATCH = 500  # messages a transaction


class History:
    """Channels, their messages and what is made of them."""

    def __init__(self, db: Database) -> None:
        self._db = db

    # What a platform tells. Everything may come twice, late, or out of order.

    async def place(self, platform: str, external_id: str) -> Place:
        """The connected workspace a platform's id names; `NotFound` where there is none."""
        async with self._db.read() as session:
            return await places.get_place(session, platform, external_id)

    async def kept_place(self, platform: str, workspace: str, channel: str) -> Place | None:
        """The workspace of a channel whose messages are kept, in the platform's ids; else None."""
        async with self._db.read() as session:
            return await places.kept_place(session, platform, workspace, channel)

    async def kept_home(
        self, platform: str, workspace: str, channel: str
    ) -> tuple[Place, str, str] | None:
        """Where what is said in a channel or thread is kept: place, channel and thread; else None."""
        async with self._db.read() as session:
            return await places.kept_home(session, platform, workspace, channel)

    async def put_thread(self, place: Place, channel: str, new: NewThread) -> None:
        """What a platform tells of a thread of a channel: its title, its tags."""

        async def commit(session: AsyncSession) -> None:
            channel_id = await channels.channel_id_of(session, place, channel)
            await messages.put_threads(session, place, channel_id, [new])

        await self._db.run_write(commit)

    async def delete_thread(self, place: Place, channel: str, thread: str) -> int:
        """A thread was deleted: it is out of the next answer; says how many messages went."""

        async def commit(session: AsyncSession) -> int:
            channel_id = await channels.channel_id_of(session, place, channel)
            return await message_deletion.delete_thread(session, place, channel_id, thread)

        return await self._db.run_write(commit)

    async def reacted(
        self, place: Place, channel: str, external_id: str, emoji: str, by: int
    ) -> None:
        """Some more or less of a reaction to a message; without an emoji they all went."""

        async def commit(session: AsyncSession) -> None:
            channel_id = await channels.channel_id_of(session, place, channel)
            await messages.count_reaction(session, place, channel_id, external_id, emoji, by)

        await self._db.run_write(commit)

    async def store(
        self,
        place: Place,
        channel: str,
        new: Iterable[NewMessage],
        *,
        threads: Sequence[NewThread] = (),
        lane: Lane = Lane.LIVE,
    ) -> Stored:
        """Keep messages, new or edited, of a channel whose history is kept; else nothing."""
        new = list(new)

        async def commit(session: AsyncSession) -> Stored:
            channel_id = await channels.channel_id_of(session, place, channel)
            await messages.put_threads(session, place, channel_id, threads)
            return await messages.store_messages(session, place, channel_id, new, lane=lane)

        return await self._db.run_write(commit)

    async def delete(
        self, place: Place, channel: str, external_ids: Collection[str], *, missed: bool = False
    ) -> int:
        """Messages were deleted: they are out of the next answer."""

        async def commit(session: AsyncSession) -> int:
            channel_id = await channels.channel_id_of(session, place, channel)
            return await message_deletion.delete_messages(
                session, place, channel_id, external_ids, missed=missed
            )

        return await self._db.run_write(commit)

    async def put_people(self, place: Place, people: Iterable[NewPerson]) -> None:
        """Accounts of the workspace, as the platform tells of them now."""
        people = list(people)
        await self._db.run_write(lambda session: accounts.put_people(session, place, people))

    async def put_channels(
        self, place: Place, new: Iterable[NewChannel], *, at: datetime | None = None
    ) -> None:
        """Channels as the platform described them at `at`: name, whether they are public."""
        new = list(new)
        await self._db.run_write(lambda session: channels.put_channels(session, place, new, at=at))

    async def set_members(
        self, place: Place, channel: str, people: Iterable[NewPerson], *, at: datetime | None = None
    ) -> None:
        """The whole list of who is in a channel, as it was at `at`: fresh from there on."""
        people = list(people)

        async def commit(session: AsyncSession) -> None:
            channel_id = await channels.channel_id_of(session, place, channel)
            ids = await accounts.put_people(session, place, people, at=at)
            await membership.set_members(session, place, channel_id, ids.values(), at=at)

        await self._db.run_write(commit)

    async def joined(self, place: Place, channel: str, person: NewPerson) -> None:
        """Somebody came into a channel."""

        async def commit(session: AsyncSession) -> None:
            channel_id = await channels.channel_id_of(session, place, channel)
            [identity_id] = (await accounts.put_people(session, place, [person])).values()
            await membership.add_member(session, place, channel_id, identity_id)

        await self._db.run_write(commit)

    async def left(self, place: Place, channel: str, subject: str) -> None:
        """Somebody left a channel; from this instant they read nothing of it as its member."""

        async def commit(session: AsyncSession) -> None:
            channel_id = await channels.channel_id_of(session, place, channel)
            identity_id = await accounts.identity_id_of(session, place, subject)
            if identity_id is not None:
                await membership.remove_member(session, place, channel_id, identity_id)

        await self._db.run_write(commit)

    async def lost(self, place: Place, channel: str) -> None:
        """The channel can't be seen any more: bot removed, archived, deleted. Nobody reads it."""

        async def commit(session: AsyncSession) -> None:
            channel_id = await channels.channel_id_of(session, place, channel)
            await membership.forget_membership(session, place, channel_id)

        await self._db.run_write(commit)

    async def lost_and_asked(self, place: Place, channel: str) -> None:
        """Who reads a channel is uncertain: unknown from this instant, and asked again at once."""

        async def commit(session: AsyncSession) -> None:
            channel_id = await channels.channel_id_of(session, place, channel)
            await membership.forget_membership(session, place, channel_id)
            await source_jobs.queue_channel_sync(
                session, place.tenant_id, place.workspace_id, channel
            )

        await self._db.run_write(commit)

    async def lost_all(self, place: Place, *, ask: bool = True) -> None:
        """The same of every channel of a workspace; without `ask` there is nobody to be asked."""

        async def commit(session: AsyncSession) -> None:
            await membership.forget_every_membership(session, place)
            if ask:
                await source_jobs.queue_sync(session, place.tenant_id, place.workspace_id)

        await self._db.run_write(commit)

    async def placed(
        self, place: Place, person: NewPerson, reads: Mapping[str, bool | None]
    ) -> None:
        """Somebody came, went, or reads other channels now; see `membership.place_member`."""

        async def commit(session: AsyncSession) -> None:
            for channel in await membership.place_member(session, place, person, reads):
                await source_jobs.queue_channel_sync(
                    session, place.tenant_id, place.workspace_id, channel
                )

        await self._db.run_write(commit)

    async def became_shared(self, place: Place, channel: str, kinds: Sequence[str]) -> None:
        """A channel is open to others than its workspace: they count in its audience at once."""
        async with self._db.read() as session:
            channel_id = await channels.channel_id_of(session, place, channel)
            if await channels.is_marked(session, place, channel_id, kinds):
                return
        await self._db.run_write(
            lambda session: channels.mark_shared(session, place, channel_id, kinds)
        )

    async def renumbered(self, place: Place, old: str, new: str) -> None:
        """The platform gave a channel another id: who is in it is unknown until it was asked."""

        async def commit(session: AsyncSession) -> None:
            await channels.renumber(session, place, old, new)
            for id_ in (old, new):
                with suppress(NotFound):
                    channel_id = await channels.channel_id_of(session, place, id_)
                    await membership.forget_membership(session, place, channel_id)

        await self._db.run_write(commit)

    async def made_private(self, place: Place, channel: str) -> None:
        """A public channel became private."""

        async def commit(session: AsyncSession) -> None:
            channel_id = await channels.channel_id_of(session, place, channel)
            await channels.make_private(session, place, channel_id)

        await self._db.run_write(commit)

    # What an export tells

    async def begin_import(
        self, principal: Principal, new: NewWorkspace, people: Sequence[NewPerson]
    ) -> Place:
        """A workspace known from an export: its people, linked to members by address.

        The person who imports reads its public channels; listed members read its private ones.
        """
        gate.require(principal, Scope.KB_ADMIN)
        if not new.imported:
            raise InvalidInput("An import is marked as one.", field="imported")

        async def commit(session: AsyncSession) -> Place:
            place = await places.put_workspace(session, principal.tenant_id, new)
            await accounts.put_people(session, place, people)
            await accounts.link_by_email(session, place, people)
            await accounts.admit_importer(session, principal, place)
            detail = {"platform": new.platform, "name": new.name, "people": len(people)}
            await gate.audit(session, principal, "history.import", place.workspace_id, detail)
            return place

        return await self._db.run_write(commit)

    async def import_channel(
        self,
        principal: Principal,
        place: Place,
        kb_id: str,
        channel: NewChannel,
        members: Collection[str],
    ) -> str:
        """A channel of an export and who is in it, to go into a knowledge base; our id of it."""
        gate.require(principal, Scope.KB_ADMIN)

        async def commit(session: AsyncSession) -> str:
            await gate.get_writable_kb(session, principal, kb_id)
            [channel_id] = (await channels.put_channels(session, place, [channel])).values()
            known = await accounts.identity_ids_of(session, place, members)
            await membership.set_members(session, place, channel_id, known.values())
            await sources.open_imported(session, principal, channel_id, kb_id)
            return channel_id

        return await self._db.run_write(commit)

    async def import_messages(
        self,
        place: Place,
        channel: str,
        new: Sequence[NewMessage],
        *,
        threads: Sequence[NewThread] = (),
    ) -> Stored:
        """The messages of an export's channel, in transactions of some hundred."""
        total = Stored()
        for at in range(0, max(1, len(new)), IMPORT_BATCH):
            some = new[at : at + IMPORT_BATCH]
            total += await self.store(
                place, channel, some, threads=threads if not at else (), lane=Lane.BULK
            )
        return total

    async def progress(self, principal: Principal, channel_ids: Collection[str]) -> ImportProgress:
        """How far the documents of imported channels are."""
        async with self._db.read() as session:
            return await coverage.progress(session, principal, channel_ids)

    # What admins ask for

    async def find_channel(self, principal: Principal, ref: str) -> ChannelInfo:
        """A channel by id or name."""
        async with self._db.read() as session:
            return await channels.find_channel(session, principal, ref)

    async def find_person(self, principal: Principal, ref: str) -> PersonInfo:
        """An account by the platform's id or by name."""
        async with self._db.read() as session:
            return await accounts.find_person(session, principal, ref)

    async def list_channels(self, principal: Principal) -> list[ChannelInfo]:
        """Every channel of the tenant that is known."""
        async with self._db.read() as session:
            return await channels.list_channels(session, principal)

    async def add(
        self, principal: Principal, channel: str, kb_id: str, *, since: datetime | None = None
    ) -> Coverage:
        """Keep a channel's history from now on, and read back as far as `since`."""
        return await self._db.run_write(
            lambda session: sources.add_source(session, principal, channel, kb_id, since=since)
        )

    async def pause(self, principal: Principal, channel: str) -> Coverage:
        """Read nothing more of a channel; what is stored still answers."""
        return await self._db.run_write(
            lambda session: sources.pause_source(session, principal, channel)
        )

    async def resume(self, principal: Principal, channel: str) -> Coverage:
        """Continue where reading stopped."""
        return await self._db.run_write(
            lambda session: sources.resume_source(session, principal, channel)
        )

    async def remove(self, principal: Principal, channel: str) -> Receipt:
        """Keep a channel's history no longer: out of every answer at once, its rows follow."""
        return await self._db.run_write(
            lambda session: sources.remove_source(session, principal, channel)
        )

    async def coverage(self, principal: Principal, channel: str = "") -> list[Coverage]:
        """How much of each channel is kept and found: times, gaps, counts, when it will be done."""
        async with self._db.read() as session:
            return await coverage.coverage(session, principal, channel)

    async def set_retention(self, principal: Principal, channel: str, days: int | None) -> Coverage:
        """How long a channel's messages are kept; None keeps them."""
        return await self._db.run_write(
            lambda session: retention.set_retention(session, principal, channel, days)
        )

    async def forget_message(self, principal: Principal, channel: str, external_id: str) -> Receipt:
        """Forget one message, at once."""
        return await self._db.run_write(
            lambda session: retention.forget_message(session, principal, channel, external_id)
        )

    async def rename_authors(
        self, tenant_id: str, workspace_id: str, channel_id: str | None
    ) -> None:
        """Derive what is kept of a channel, or of a whole workspace, again: its people have other names.

        Nothing of it is in an answer until it has the new names.
        """
        after = ""
        while True:
            start = after
            after = await self._db.run_write(
                lambda session, start=start: message_deletion.scrub_some(  # type: ignore[misc]
                    session, tenant_id, workspace_id, channel_id, after=start
                )
            )
            if not after:
                return

    async def forget_person(self, principal: Principal, workspace_id: str, subject: str) -> Receipt:
        """Forget all that somebody wrote in a workspace, and keep nothing more of them.

        Once this returns, nothing of it is in any answer.
        """
        gone = Receipt(0, 0)
        while True:
            some = await self._db.run_write(
                lambda session: retention.forget_person_some(
                    session, principal, workspace_id, subject
                )
            )
            if not some.messages:
                break
            gone = Receipt(gone.messages + some.messages, gone.documents + some.documents)
        detail = {"messages": gone.messages}

        async def note(session: AsyncSession) -> None:
            await forget_questions(session, principal.tenant_id, workspace_id, subject)
            await gate.audit(session, principal, "person.forget", subject, detail)

        await self._db.run_write(note)
        return gone
