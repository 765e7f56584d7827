"""An inbound message, and all that is written of it, in one short transaction.

`Chats.receive` runs this. The platform is acknowledged after the commit, so statements are few, and
built once: the sender, the settings of the place and whether its history is kept are one query.
The caller says what the message asks of the bot; storing it and taking it on is one commit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from sqlalchemy import and_, bindparam, exists, select
from sqlalchemy.ext.asyncio import AsyncSession

from engine.access.principals import ACTIVE
from engine.chats import behaviour, message_deletion, messages, post_rows, sender_rows
from engine.chats.behaviour import Behaviour
from engine.chats.messages import NewMessage
from engine.chats.places import Place
from engine.chats.post_rows import AcceptedQuestion, NewQuestion, PostState
from engine.chats.sender_rows import Sender, SenderRef
from engine.db.tables import Channel, Identity, Source, Workspace
from engine.errors import NotFound


@dataclass(frozen=True, slots=True)
class HistoryUpdate:
    """What an event changes in a kept channel's history: new or edited messages, ids of deleted ones."""

    messages: Sequence[NewMessage] = ()
    deleted: Sequence[str] = ()

    def __bool__(self) -> bool:
        return bool(self.messages or self.deleted)


@dataclass(frozen=True, slots=True)
class NewInbound:
    """An inbound message; ids are the platform's.

    With a `thread`, `receive` looks up whether the bot was asked in it; with a `question_id`,
    whether that message was a question to the bot. The sender of a message that is not `addressed`
    to the bot gets no row, unless the bot may answer such messages there.
    """

    sender_ref: SenderRef
    channel: str
    thread: str = ""
    question_id: str = ""
    addressed: bool = True
    history_update: HistoryUpdate = field(default_factory=HistoryUpdate)


@dataclass(frozen=True, slots=True)
class InboundContext:
    """What is known of a message before the bot decides what to do with it."""

    sender: Sender
    behaviour: Behaviour
    in_conversation: bool = False
    asked_here: bool = False  # in the thread, by the sender
    answered: bool = False
    kept_in: Place | None = None  # where the channel's history is kept


@dataclass(frozen=True, slots=True)
class NewInteraction:
    """Something else the bot is to do for a message."""

    platform: str
    payload: Mapping[str, object]
    key: str = ""


# What a message asks of the bot. Pure: it may be asked more than once.
Take = Callable[[InboundContext], NewQuestion | NewInteraction | None]

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


async def look(session: AsyncSession, new: NewInbound, *, default_threshold: int) -> InboundContext:
    """What is known of a message's place; `NotFound` where its workspace is not connected."""
    sender_ref = new.sender_ref
    values = {
        "platform": sender_ref.platform,
        "workspace": sender_ref.workspace,
        "person": sender_ref.person,
        "channel": sender_ref.channel,
    }
    row = (await (await session.connection()).execute(_LOOK, values)).one_or_none()
    if row is None:
        raise NotFound(f"No {sender_ref.platform} workspace {sender_ref.workspace!r} is connected.")
    in_conversation = asked_here = answered = False
    if new.thread:
        in_conversation = await post_rows.is_in_conversation(
            session, row.id, new.channel, new.thread
        )
        asked_here = in_conversation and await post_rows.has_asked(
            session, row.id, new.channel, new.thread, row.identity_id or ""
        )
    if new.question_id:
        found = await post_rows.posts_to(
            session, row.tenant_id, row.id, new.channel, new.question_id
        )
        answered = any(post.state is not PostState.WITHDRAWN for post in found)
    return InboundContext(
        sender=Sender(row.tenant_id, row.id, row.identity_id or "", row.channel_id),
        behaviour=behaviour.merge_behaviour(
            row.settings, row.channel_settings or {}, default_threshold=default_threshold
        ),
        in_conversation=in_conversation,
        asked_here=asked_here,
        answered=answered,
        kept_in=_place(sender_ref, row.tenant_id, row.id, row.name, row.settings)
        if row.is_kept
        else None,
    )


def _place(
    sender_ref: SenderRef,
    tenant_id: str,
    workspace_id: str,
    name: str,
    settings: Mapping[str, object],
) -> Place:
    return Place(
        tenant_id=tenant_id,
        workspace_id=workspace_id,
        platform=sender_ref.platform,
        external_id=sender_ref.workspace,
        provider=sender_ref.platform,
        name=name,
        settings=settings,
    )


def asks_nothing(context: InboundContext, new: NewInbound, take: Take) -> bool:
    """Whether nothing is to be written for a message."""
    return not (context.kept_in and new.history_update) and take(context) is None


async def receive(
    session: AsyncSession, new: NewInbound, take: Take, *, default_threshold: int
) -> tuple[InboundContext, AcceptedQuestion | None]:
    """Store a message where its channel's history is kept, and accept what it asks of the bot."""
    try:
        context = await look(session, new, default_threshold=default_threshold)
    except NotFound:
        if not new.sender_ref.enterprise:
            raise
        # A team of an organisation that the bot is in, with its first message.
        await sender_rows.introduce(session, new.sender_ref)
        context = await look(session, new, default_threshold=default_threshold)
    await _keep(session, context, new.history_update)
    sender = context.sender
    is_known = bool(sender.identity_id) and (
        sender.channel_id is not None or not new.sender_ref.channel
    )
    listens = new.addressed or context.in_conversation or context.behaviour.mode == "auto"
    if not is_known and listens:
        context = replace(context, sender=await sender_rows.introduce(session, new.sender_ref))
    match take(context):
        case NewQuestion() as question:
            return context, await post_rows.accept(session, question)
        case NewInteraction(platform, payload, key):
            await post_rows.accept_interaction(session, platform, context.sender, payload, key=key)
        case None:
            pass
    return context, None


async def _keep(
    session: AsyncSession, context: InboundContext, history_update: HistoryUpdate
) -> None:
    place, channel_id = context.kept_in, context.sender.channel_id
    if place is None or channel_id is None:
        return
    if history_update.messages:
        await messages.store_messages(session, place, channel_id, history_update.messages)
    if history_update.deleted:
        await message_deletion.delete_messages(session, place, channel_id, history_update.deleted)
