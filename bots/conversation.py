"""What a message in a chat asks of the bot: `decide`, pure, the same on every platform.

An adapter turns what its platform sends into an `InboundMessage`; `inbound_handler.py` adds what is
known of the channel and queues what was decided. Someone who addressed the bot gets an answer or a
reason. Everyone else is left alone, unless the channel is set to `auto` and the message asks
something.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

from bots.smalltalk import asks, small_talk
from engine.chats.behaviour import Mode
from engine.commands.table import find_command

RERUN_WITHIN = timedelta(minutes=2)  # after this an edited question is history
QUESTION_MAX = 4_000  # characters of a message that are taken for a question
CONTEXT_MAX = 4_000  # of what it forwards
ABOUT_THIS = "What do the sources say about this?"  # the question where something is only forwarded

PlaceKind = Literal["channel", "direct", "group"]
Kind = Literal["new", "edited", "deleted"]


@dataclass(frozen=True, slots=True)
class InboundMessage:
    """A message as its platform delivered it, in plain words; ids are the platform's.

    `text` is Markdown with the bot's own mention taken off; `calls_bot` says that it was there,
    `calls_others` that someone else is mentioned first. `enterprise` is set where the workspace
    is a team of an organisation.
    """

    platform: str
    workspace: str
    channel: str
    place: PlaceKind
    message_id: str
    author: str
    text: str
    kind: Kind = "new"
    thread: str = ""  # the thread's root; empty outside one
    calls_bot: bool = False
    calls_others: bool = False
    replies_to_other: bool = False  # it is a reply to a message of someone else
    forwarded: str = ""  # what it forwards or quotes of another message
    files: Sequence[str] = ()  # names of what is attached
    by_bot: bool = False
    bot_ids: Sequence[str] = ()  # of a bot or workflow, all that name it: account, bot, app
    by_us: bool = False
    is_notice: bool = False  # joins, topics, pins: nothing that a person wrote
    age: timedelta = timedelta(0)  # of the message, where it was edited
    enterprise: str = ""
    author_team: str = ""  # where it is not the workspace: someone external


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of the channel that a message is in."""

    mode: Mode = "mention"
    respond_to: Sequence[str] = ()
    answer_bots: Sequence[str] = ()
    in_conversation: bool = False  # the bot has been asked in this thread before
    asked_here: bool = True  # by the author of this message, among others
    answered: bool = False  # there is a post that answers this very message


@dataclass(frozen=True, slots=True)
class Ask:
    """Answer it. `addressed`: silence would be rude. `context`: what was forwarded with it."""

    question: str
    addressed: bool = True
    context: str = ""


@dataclass(frozen=True, slots=True)
class RunCommand:
    """Run a command that was written as words: "help"."""

    line: str


@dataclass(frozen=True, slots=True)
class Greet:
    """Say what the bot does."""


@dataclass(frozen=True, slots=True)
class Nod:
    """Acknowledge it; there is nothing to say."""


@dataclass(frozen=True, slots=True)
class Refuse:
    """Say why there is no answer here."""

    why: Literal["off", "not for you", "too long", "files alone"]


@dataclass(frozen=True, slots=True)
class OfferRerun:
    """The question was edited just after it was asked."""

    question: str


@dataclass(frozen=True, slots=True)
class Withdraw:
    """The question was deleted: so is its answer."""


@dataclass(frozen=True, slots=True)
class Ignore:
    """Nothing to do; `why` is for the log and for tests."""

    why: str


Decision = Ask | RunCommand | Greet | Nod | Refuse | OfferRerun | Withdraw | Ignore

_WORD = re.compile(r"\w", re.UNICODE)
# Commands that people type as words, without the slash. Others would swallow questions: "search
# for …" is one.
_SPOKEN = frozenset({"help", "privacy", "sources"})


def decide(message: InboundMessage, known: Known) -> Decision:  # noqa: PLR0911 (a return a rule)
    """What a message asks of the bot."""
    if message.by_us:
        return Ignore("our own")
    if message.kind == "deleted":
        return Withdraw() if known.answered else Ignore("deleted, and not a question to us")
    if message.is_notice:
        return Ignore("a notice")
    if message.by_bot:
        return _by_bot(message, known)
    text = message.text.strip()
    if message.kind == "new" and message.forwarded.strip() and not _WORD.search(text):
        text = ABOUT_THIS  # what is forwarded is the question
    addressed = message.calls_bot or message.place == "direct"
    if message.kind == "edited":
        return _edited(message, known, text)
    if addressed:
        return _addressed(message, known, text)
    return _overheard(message, known, text)


def _by_bot(message: InboundMessage, known: Known) -> Decision:
    """A bot or workflow on the list may ask, where no talk with it can come of that.

    It has to mention us, in a message that opens a thread: what answers our answers is not heard.
    """
    allowed = set(message.bot_ids or (message.author,)) & set(known.answer_bots)
    if not allowed or message.kind != "new" or not message.calls_bot or message.place != "channel":
        return Ignore("a bot")
    if message.thread or known.in_conversation or known.mode == "off":
        return Ignore("a bot in a thread")
    text = message.text.strip()
    if not _WORD.search(text) or len(text) > QUESTION_MAX:
        return Ignore("a bot that asks nothing")
    return Ask(text, context=_context(message))


def _context(message: InboundMessage) -> str:
    return message.forwarded.strip()[:CONTEXT_MAX]


def _edited(message: InboundMessage, known: Known, text: str) -> Decision:
    if not known.answered:
        return Ignore("edited, and not a question to us")
    if message.age > RERUN_WITHIN or not _WORD.search(text) or len(text) > QUESTION_MAX:
        return Ignore("edited long after it was asked")
    return OfferRerun(text)


def _addressed(message: InboundMessage, known: Known, text: str) -> Decision:  # noqa: PLR0911
    if known.mode == "off" and message.place != "direct":
        return Refuse("off")
    if known.respond_to and message.author not in known.respond_to:
        return Refuse("not for you")
    said = text.rstrip("?!. ").lower()
    if said in _SPOKEN and find_command(said) is not None:
        return RunCommand(said)
    if message.files and not _WORD.search(text):
        return Refuse("files alone")
    talk = small_talk(text)
    if not _WORD.search(text) or talk == "greeting":
        return Greet()
    if talk:
        return Nod()
    if len(text) > QUESTION_MAX:
        return Refuse("too long")
    return Ask(text, context=_context(message))


def _overheard(message: InboundMessage, known: Known, text: str) -> Decision:  # noqa: PLR0911
    if known.mode == "off":
        return Ignore("off")
    if known.respond_to and message.author not in known.respond_to:
        return Ignore("not for them")
    if message.calls_others:
        return Ignore("said to someone else")
    if message.replies_to_other:
        return Ignore("a reply to someone else")
    ours = known.in_conversation and bool(message.thread)
    if ours and message.files and not _WORD.search(text):
        return Refuse("files alone")
    if not _WORD.search(text) or len(text) > QUESTION_MAX:
        return Ignore("no question")
    if ours:
        return _in_our_thread(message, text, known)
    if known.mode == "auto" and message.place == "channel" and asks(text) and len(text.split()) > 1:
        # A reply in a thread of others is part of their talk: only what opens a thread is answered.
        return Ignore("a thread of others") if message.thread else Ask(text, addressed=False)
    return Ignore("not addressed")


def _in_our_thread(message: InboundMessage, text: str, known: Known) -> Decision:
    """What is said in a thread of ours, and not to someone else, is said to us.

    A remark of somebody who has asked nothing there, and asks nothing in so many words, is answered
    only where there is a sure answer to it.
    """
    talk = small_talk(text)
    if talk in {"thanks", "greeting"}:
        return Nod()
    if talk:
        return Ignore("talk in a thread of ours")
    addressed = known.asked_here or asks(text)
    return Ask(text, addressed=addressed, context=_context(message))


@dataclass(frozen=True, slots=True)
class Joined:
    """The bot was added to a channel: it says once what it does."""

    platform: str
    workspace: str
    channel: str
    by: str
    enterprise: str = ""


@dataclass(frozen=True, slots=True)
class Pressed:
    """Someone pressed a button, chose a shortcut or sent a form; ids are the platform's.

    `action` is ours; `value` the id of a post or of a confirmation. `details` holds what the
    adapter needs to reply, and what a form was filled with.
    """

    platform: str
    workspace: str
    channel: str
    person: str
    action: str
    value: str = ""
    key: str = ""  # the same press delivered again has the same
    enterprise: str = ""
    message_id: str = ""
    thread: str = ""
    place: PlaceKind = "channel"
    details: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Said:
    """A slash command; `line` is the text after it."""

    platform: str
    workspace: str
    channel: str
    person: str
    line: str
    key: str = ""
    enterprise: str = ""
    place: PlaceKind = "channel"
    details: dict[str, str] = field(default_factory=dict)
