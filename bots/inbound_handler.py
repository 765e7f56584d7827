"""What happens at once when a platform delivers something: little, and durable.

An adapter verifies and translates. The inbound handler decides what is asked and writes a job for
it, once however often it is delivered; the platform is acknowledged after that. The answer worker
does everything slow, and is woken.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict
from hashlib import blake2b
from typing import Any

from bots.conversation import (
    Ask,
    Decision,
    Greet,
    Ignore,
    InboundMessage,
    Joined,
    Known,
    Nod,
    OfferRerun,
    Pressed,
    Refuse,
    RunCommand,
    Said,
    Withdraw,
    decide,
)
from bots.presenting import BY_BOT, FORWARDED, UNREAD
from engine.chats.behaviour import Behaviour
from engine.chats.inbound import HistoryUpdate, InboundContext, NewInbound, NewInteraction, Take
from engine.chats.post_rows import AcceptedQuestion, NewQuestion, Surface
from engine.chats.sender_rows import SenderRef
from engine.commands.table import parse
from engine.engine import Engine
from engine.errors import InvalidInput

log = logging.getLogger(__name__)

Wake = Callable[[], None]
SAMPLE_MAX = 200  # characters of a message that is replied to without an answer
UNREAD_MAX = 5  # names of files that are told of


class InboundHandler:
    """Queues what the platforms deliver. `wake` wakes the answer worker."""

    def __init__(self, engine: Engine, wake: Wake) -> None:
        self._engine = engine
        self._wake = wake

    async def message(
        self,
        message: InboundMessage,
        details: Mapping[str, str] | None = None,
        *,
        history_update: HistoryUpdate | None = None,
    ) -> tuple[Decision, AcceptedQuestion | None]:
        """Decide what a message asks, and queue it; `NotFound` where no workspace is connected.

        `history_update` is what the history of its channel stores of it, if that is enabled.
        """
        history_update = history_update or HistoryUpdate()
        if not history_update and (message.by_us or (message.is_notice and message.kind == "new")):
            return decide(message, Known()), None

        decision: Decision = Ignore("not received")

        def take(context: InboundContext) -> NewQuestion | NewInteraction | None:
            nonlocal decision
            decision = decide(message, _known(context))
            return _taken(message, decision, context, details or {})

        _, accepted = await self._engine.chats.receive(_new_inbound(message, history_update), take)
        log.debug("decided", extra={"decision": type(decision).__name__})
        if not isinstance(decision, Ignore):
            self._wake()
        return decision, accepted

    async def said(self, said: Said) -> AcceptedQuestion | None:
        """Queue a slash command; its answer to a question is shown only to the person who asked."""
        try:
            parsed = parse(said.line)
        except InvalidInput:
            parsed = None  # the interaction says what is wrong with it
        key = f"said:{said.key}" if said.key else ""

        def take(context: InboundContext) -> NewQuestion | NewInteraction:
            if parsed is None or parsed.command.name != "ask":
                return NewInteraction(said.platform, {"do": "command", "said": asdict(said)}, key)
            return NewQuestion(
                platform=said.platform,
                sender=context.sender,
                surface="private",
                channel=said.channel,
                question=parsed.text("question"),
                key=key,
                details={"details": said.details},
            )

        channel = "" if said.place == "direct" else said.channel
        return await self._take_on(
            SenderRef(said.platform, said.workspace, said.person, channel, said.enterprise), take
        )

    async def pressed(self, pressed: Pressed) -> None:
        """Queue a button, a shortcut or a form."""
        channel = "" if pressed.place == "direct" else pressed.channel
        interaction = NewInteraction(
            pressed.platform,
            {"do": "press", "pressed": asdict(pressed)},
            f"press:{pressed.key}" if pressed.key else "",
        )
        sender_ref = SenderRef(
            pressed.platform, pressed.workspace, pressed.person, channel, pressed.enterprise
        )
        await self._take_on(sender_ref, lambda _: interaction)

    async def joined(self, joined: Joined) -> None:
        """Queue the greeting of a channel that the bot was added to."""
        place = f"{joined.platform}:{joined.workspace}:{joined.channel}"
        interaction = NewInteraction(
            joined.platform, {"do": "onboard", "joined": asdict(joined)}, f"joined:{place}"
        )
        sender_ref = SenderRef(
            joined.platform, joined.workspace, joined.by, joined.channel, joined.enterprise
        )
        await self._take_on(sender_ref, lambda _: interaction)

    async def _take_on(self, sender_ref: SenderRef, take: Take) -> AcceptedQuestion | None:
        _, accepted = await self._engine.chats.receive(
            NewInbound(sender_ref, sender_ref.channel), take
        )
        self._wake()
        return accepted


_INTERACTIONS: Mapping[type, str] = {
    Greet: "greet",
    Nod: "nod",
    OfferRerun: "rerun",
    Refuse: "refuse",
    RunCommand: "run",
    Withdraw: "withdraw",
}


def _new_inbound(message: InboundMessage, history_update: HistoryUpdate) -> NewInbound:
    is_direct = message.place == "direct"
    # A bot that calls us may be on the list; whether it is, the settings of the place say.
    may_ask = message.by_bot and message.calls_bot and not message.by_us
    passed_by = message.by_us or message.is_notice or (message.by_bot and not may_ask)
    listens = message.kind == "new" and not message.calls_bot and not is_direct and not passed_by
    return NewInbound(
        sender_ref=SenderRef(
            message.platform,
            message.workspace,
            message.author,
            "" if is_direct else message.channel,
            message.enterprise,
        ),
        channel=message.channel,
        thread=message.thread if listens else "",
        question_id=message.message_id if message.kind != "new" else "",
        addressed=(message.calls_bot or is_direct) and not passed_by,
        history_update=history_update,
    )


def _known(context: InboundContext) -> Known:
    return Known(
        mode=context.behaviour.mode,
        respond_to=context.behaviour.respond_to,
        answer_bots=context.behaviour.answer_bots,
        in_conversation=context.in_conversation,
        asked_here=context.asked_here,
        answered=context.answered,
    )


def _taken(
    message: InboundMessage, decision: Decision, context: InboundContext, details: Mapping[str, str]
) -> NewQuestion | NewInteraction | None:
    """The job that a decision asks for."""
    key = _key(message)
    match decision:
        case Ignore():
            return None
        case Ask(question, addressed, forwarded):
            more = {FORWARDED: forwarded} if forwarded else {}
            if message.files:
                more[UNREAD] = ", ".join(message.files[:UNREAD_MAX])
            if message.by_bot:
                more[BY_BOT] = "yes"
            return NewQuestion(
                platform=message.platform,
                sender=context.sender,
                # Nobody sees what would be shown to a bot alone.
                surface="channel" if message.by_bot else _surface(message, context.behaviour),
                channel=message.channel,
                question=question,
                question_id=message.message_id,
                # Outside a thread the message becomes the root of one.
                thread=message.thread or message.message_id,
                addressed=addressed,
                key=key,
                details={"details": {**details, **more}},
            )
    payload: dict[str, Any] = {"do": _INTERACTIONS[type(decision)], "inbound": _plain(message)}
    match decision:
        case RunCommand(line):
            payload["line"] = line
        case Refuse(why):
            payload["why"] = why
            payload["files"] = ", ".join(message.files[:UNREAD_MAX])
        case OfferRerun(question):
            payload["question"] = question
        case _:
            pass
    payload["details"] = dict(details)
    return NewInteraction(message.platform, payload, f"{payload['do']}:{key}")


def _surface(message: InboundMessage, behaviour: Behaviour) -> Surface:
    if message.place == "direct":
        return "direct"
    return "private" if behaviour.private else "channel"


def _key(message: InboundMessage) -> str:
    """The same for every delivery of a message: a mention comes as two events."""
    said = f"{message.platform}:{message.workspace}:{message.channel}:{message.message_id}"
    if message.kind == "new":
        return said
    return f"{said}:{message.kind}:{hash_of(message.text)}"


def hash_of(text: str) -> str:
    """A short name for a text, so that each edit counts once."""
    return blake2b(text.encode(), digest_size=6).hexdigest()


def _plain(message: InboundMessage) -> dict[str, Any]:
    """What an interaction needs of a message, as JSON."""
    return {
        "platform": message.platform,
        "workspace": message.workspace,
        "channel": message.channel,
        "place": message.place,
        "message_id": message.message_id,
        "thread": message.thread,
        "author": message.author,
        "text": message.text[:SAMPLE_MAX],  # tells its language; gone with the job
    }
