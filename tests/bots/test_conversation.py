from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from bots.conversation import (
    Ask,
    Greet,
    Ignore,
    InboundMessage,
    Known,
    Nod,
    OfferRerun,
    Refuse,
    RunCommand,
    Withdraw,
    decide,
)

WRITTEN = InboundMessage("slack", "T1", "C1", "channel", "1.0", "U1", "how do I rotate the key?")
CALLED = replace(WRITTEN, calls_bot=True)
DIRECT = replace(WRITTEN, place="direct")
REPLY = replace(WRITTEN, thread="0.9")
AUTO = Known(mode="auto")
OURS = Known(in_conversation=True)
ASKED = "how do I rotate the key?"


def saying(message: InboundMessage, text: str) -> InboundMessage:
    return replace(message, text=text)


@pytest.mark.parametrize(
    ("message", "known", "decision"),
    [
        (CALLED, Known(), Ask(ASKED)),
        (DIRECT, Known(), Ask(ASKED)),
        (DIRECT, Known(mode="off"), Ask(ASKED)),
        (replace(CALLED, place="group"), Known(), Ask(ASKED)),
        (saying(CALLED, "rotate key"), Known(), Ask("rotate key")),
        (WRITTEN, Known(), Ignore("not addressed")),
        (WRITTEN, AUTO, Ask(ASKED, addressed=False)),
        (saying(WRITTEN, "the build is green"), AUTO, Ignore("not addressed")),
        (saying(WRITTEN, "why?"), AUTO, Ignore("not addressed")),
        (replace(WRITTEN, calls_others=True), AUTO, Ignore("said to someone else")),
        (replace(WRITTEN, place="group"), AUTO, Ignore("not addressed")),
        (REPLY, AUTO, Ignore("a thread of others")),
        (REPLY, OURS, Ask(ASKED)),
        (replace(REPLY, calls_others=True), OURS, Ignore("said to someone else")),
        (replace(REPLY, replies_to_other=True), OURS, Ignore("a reply to someone else")),
        (saying(REPLY, "thanks a lot!"), OURS, Nod()),
        (saying(REPLY, "lol"), OURS, Ignore("talk in a thread of ours")),
        (
            saying(REPLY, "I did that yesterday"),
            replace(OURS, asked_here=False),
            Ask("I did that yesterday", addressed=False),
        ),
        (saying(REPLY, "the printer is broken"), OURS, Ask("the printer is broken")),
        (saying(REPLY, "tell me how to deploy"), OURS, Ask("tell me how to deploy")),
        (WRITTEN, Known(mode="off"), Ignore("off")),
        (CALLED, Known(mode="off"), Refuse("off")),
        (CALLED, Known(respond_to=("U2",)), Refuse("not for you")),
        (WRITTEN, Known(mode="auto", respond_to=("U2",)), Ignore("not for them")),
        (CALLED, Known(respond_to=("U1",)), Ask(ASKED)),
        (saying(CALLED, ""), Known(), Greet()),
        (saying(CALLED, "👋"), Known(), Greet()),
        (saying(CALLED, "Hello there!"), Known(), Greet()),
        (saying(DIRECT, "hi"), Known(), Greet()),
        (saying(DIRECT, "help"), Known(), RunCommand("help")),
        (saying(CALLED, "Help!"), Known(), RunCommand("help")),
        (saying(DIRECT, "thank you!"), Known(), Nod()),
        (saying(replace(CALLED, thread="0.9"), "thanks 🙏"), Known(), Nod()),
        (saying(CALLED, "a" * 4001), Known(), Refuse("too long")),
        (replace(CALLED, by_bot=True), Known(), Ignore("a bot")),
        (replace(CALLED, by_us=True), Known(), Ignore("our own")),
        (replace(CALLED, is_notice=True), Known(), Ignore("a notice")),
        (replace(WRITTEN, kind="deleted"), Known(answered=True), Withdraw()),
        (replace(WRITTEN, kind="deleted"), AUTO, Ignore("deleted, and not a question to us")),
        (replace(CALLED, kind="edited"), Known(answered=True), OfferRerun(ASKED)),
        (
            replace(CALLED, kind="edited", age=timedelta(minutes=3)),
            Known(answered=True),
            Ignore("edited long after it was asked"),
        ),
        (replace(CALLED, kind="edited"), Known(), Ignore("edited, and not a question to us")),
    ],
)
def test_what_a_message_asks_of_the_bot(message, known, decision):
    assert decide(message, known) == decision


@pytest.mark.parametrize("place", ["channel", "direct", "group"])
@pytest.mark.parametrize("text", ["", "hi", "help", "thanks", "what is it?", "x" * 9000, "…", "ok"])
@pytest.mark.parametrize("thread", ["", "0.9"])
@pytest.mark.parametrize("mode", ["mention", "auto", "off"])
@pytest.mark.parametrize("people", [(), ("U2",)])
def test_a_person_who_addresses_the_bot_is_never_met_with_silence(
    place, text, thread, mode, people
):
    message = replace(CALLED, place=place, text=text, thread=thread)
    assert not isinstance(decide(message, Known(mode=mode, respond_to=people)), Ignore)
