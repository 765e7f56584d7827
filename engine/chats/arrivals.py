"""A message that arrives at a bot, and all that is written of it, in one short transaction.

`Chat.receive` runs this. The platform is acknowledged after the commit, so statements are few, and
built once: who wrote where, what is set there and whether its history is kept are one query. What
the message asks of the bot is for the caller to say; keeping it and taking it on is one commit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from sqlalchemy import and_, bindparam, exists, select
from sqlalchemy.ext.asyncio import AsyncSession

from engine.access.principals import ACTIVE
from engine.chats import behaviour, messages, post_rows, sender_rows
from engine.chats.behaviour import Behaviour
from engine.chats.channels import Place
from engine.chats.messages import NewMessage
from engine.chats.post_rows import Accepted, NewQuestion, PostState
from engine.chats.sender_rows import Met, Sighting
from engine.db.tables import Channel, Identity, Source, Workspace
from engine.errors import NotFound


@dataclass(frozen=True, slots=True)
class Heard:
    """What a kept channel's history takes from an event: messages that stand, ids of deleted ones."""

    messages: Sequence[NewMessage] = ()
    deleted: Sequence[str] = ()

    def __bool__(self) -> bool:
        return bool(self.messages or self.deleted)


@dataclass(frozen=True, slots=True)
class Arriving:
    """A message at the door; ids are the platform's.

    Of a `thread` it is looked up whether the bot was asked in it, of a `question_id` whether it is
    a question to the bot. Who said something that is not `addressed` to the bot is not written
    down, unless the place is one where it may answer that.
    """

    seen: Sighting
    channel: str
    thread: str = ""
    question_id: str = ""
    addressed: bool = True
    heard: Heard = field(default_factory=Heard)


@dataclass(frozen=True, slots=True)
class Arrival:
    """What is known when a message arrives."""

    met: Met
    behaviour: Behaviour
    in_conversation: bool = False
    answered: bool = False
    kept_in: Place | None = None  # where the channel's history is kept


@dataclass(frozen=True, slots=True)
class NewErrand:
    """Something else the bot is to do for a message."""

    platform: str
    payload: Mapping[str, object]
    key: str = ""


# What a message asks of the bot. Pure: it may be asked more than once.
Take = Callable[[Arrival], NewQuestion | NewErrand | None]

_LOOK = (
    select(
        Workspace.tenant_id,
        Workspace.id,
        Workspace.name,
        Workspace.settings,
        Identity.id.label("identity_id"),
        Channel.id.label("channel_id"),
        Channel.settings.label("channel_settings"),
        exists().where(Source.channel_id == Channel.id).label("is_kept"),
    )
    .outerjoin(
        Identity,
        and_(
            Identity.tenant_id == Workspace.tenant_id,
            Identity.provider == Workspace.platform,
            Identity.subject == bindparam("person"),
        ),
    )
    .outerjoin(
        Channel,
        and_(Channel.workspace_id == Workspace.id, Channel.external_id == bindparam("channel")),
    )
    .where(
        Workspace.platform == bindparam("platform"),
        Workspace.external_id == bindparam("workspace"),
        Workspace.state == ACTIVE,
    )
)


async def look(session: AsyncSession, new: Arriving, *, default_threshold: int) -> Arrival:
    """What is known of a message's place; `NotFound` where its workspace is not connected."""
    seen = new.seen
    values = {
        "platform": seen.platform,
        "workspace": seen.workspace,
        "person": seen.person,
        "channel": seen.channel,
    }
    row = (await (await session.connection()).execute(_LOOK, values)).one_or_none()
    if row is None:
        raise NotFound(f"No {seen.platform} workspace {seen.workspace!r} is connected.")
    in_conversation = answered = False
    if new.thread:
        in_conversation = await post_rows.is_in_conversation(
            session, row.id, new.channel, new.thread
        )
    if new.question_id:
        found = await post_rows.posts_to(
            session, row.tenant_id, row.id, new.channel, new.question_id
        )
        answered = any(post.state is not PostState.WITHDRAWN for post in found)
    return Arrival(
        met=Met(row.tenant_id, row.id, row.identity_id or "", row.channel_id),
        behaviour=behaviour.merge_behaviour(
            row.settings, row.channel_settings or {}, default_threshold=default_threshold
        ),
        in_conversation=in_conversation,
        answered=answered,
        kept_in=_place(seen, row.tenant_id, row.id, row.name, row.settings)
        if row.is_kept
        else None,
    )


def _place(
    seen: Sighting, tenant_id: str, workspace_id: str, name: str, settings: Mapping[str, object]
) -> Place:
    return Place(
        tenant_id=tenant_id,
        workspace_id=workspace_id,
        platform=seen.platform,
        external_id=seen.workspace,
        provider=seen.platform,
        name=name,
        settings=settings,
    )


def asks_nothing(arrival: Arrival, new: Arriving, take: Take) -> bool:
    """Whether nothing is to be written for a message."""
    return not (arrival.kept_in and new.heard) and take(arrival) is None


async def receive(
    session: AsyncSession, new: Arriving, take: Take, *, default_threshold: int
) -> tuple[Arrival, Accepted | None]:
    """Keep a message where its channel's history is kept, and take on what it asks of the bot."""
    try:
        arrival = await look(session, new, default_threshold=default_threshold)
    except NotFound:
        if not new.seen.enterprise:
            raise
        await sender_rows.introduce(session, new.seen)  # a team of an organisation, seen just now
        arrival = await look(session, new, default_threshold=default_threshold)
    await _keep(session, arrival, new.heard)
    met = arrival.met
    is_known = bool(met.identity_id) and (met.channel_id is not None or not new.seen.channel)
    listens = new.addressed or arrival.in_conversation or arrival.behaviour.mode == "auto"
    if not is_known and listens:
        arrival = replace(arrival, met=await sender_rows.introduce(session, new.seen))
    match take(arrival):
        case NewQuestion() as question:
            return arrival, await post_rows.accept(session, question)
        case NewErrand(platform, payload, key):
            await post_rows.accept_errand(session, platform, arrival.met, payload, key=key)
        case None:
            pass
    return arrival, None


async def _keep(session: AsyncSession, arrival: Arrival, heard: Heard) -> None:
    place, channel_id = arrival.kept_in, arrival.met.channel_id
    if place is None or channel_id is None:
        return
    if heard.messages:
        await messages.store_messages(session, place, channel_id, heard.messages)
    if heard.deleted:
        await messages.delete_messages(session, place, channel_id, heard.deleted)
