"""Why a channel is told less than somebody in it may read, in words, and what helps. Pure.

`engine.chats.audiences` says who narrows a channel; the answer worker adds these words to a question
that found no answer there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from bots import replies
from bots.phrases import t
from bots.replies import PRIVATELY, Button, Reply, Shown, one_line
from engine.chats.audiences import Narrowing
from engine.chats.post_rows import PostInfo

NAMES_MAX = 3  # of people, where they are named in passing
SHARED_WITH = {
    "external": "another organisation",
    "invited": "an organisation that is invited",
    "organisation": "other workspaces of the organisation",
}


@dataclass(frozen=True, slots=True)
class NarrowedChannel:
    """A channel as an explanation needs it; `anonymous`: nobody in it is named."""

    narrowing: Narrowing
    command: str
    anonymous: bool = False


def with_reasons(reply: Reply, shown: Shown, place: NarrowedChannel) -> Reply:
    """An unanswered question in a channel, with who narrows what may be said there, and what helps.

    The same is said whatever the person who asks may read, so that it tells nothing of that.
    """
    searched = bool(shown.answer.searched_kbs)
    if shown.answer.has_sources or (searched and not place.narrowing):
        return reply
    name = one_line(place.narrowing.channel)
    nothing = t(
        "No knowledge base is open to everyone in #{name}, so I have nothing to search here.",
        name=name,
    )
    text = reply.text if searched else nothing
    parts = [text, why_narrowed(place), what_helps(place)]
    ask = Button(PRIVATELY, t("Answer me privately"), shown.post.id, "primary")
    return replace(reply, text="\n\n".join(filter(None, parts)), buttons=[ask, *reply.buttons])


def why_narrowed(place: NarrowedChannel) -> str:
    """Who is in a channel that may read less than its members; empty where nobody is."""
    narrowing = place.narrowing
    name = one_line(narrowing.channel)
    if not narrowing.is_known:
        return t(replies.UNKNOWN_AUDIENCE)
    who = []
    for noun, plural, people in (
        ("guest", "guests", narrowing.guests),
        ("person of another organisation", "people of other organisations", narrowing.external),
    ):
        if people:
            count = f"{len(people)} {noun if len(people) == 1 else plural}"
            names = "" if place.anonymous else _names(people)
            who.append(f"{count}{names}")
    open_to = [SHARED_WITH[kind] for kind in narrowing.shared if kind in SHARED_WITH]
    if open_to:
        who.append(f"people to come, since it is shared with {' and '.join(open_to)}")
    if not who:
        return ""
    return (
        f"In #{name} I use only what everyone there may read. Not all do that the team may read:"
        f" there {'is' if _is_one(narrowing) else 'are'} {'; '.join(who)}."
    )


def _is_one(narrowing: Narrowing) -> bool:
    first = narrowing.guests or narrowing.external
    return len(first) == 1


def _names(people: Sequence[str]) -> str:
    shown = [one_line(person) for person in people[:NAMES_MAX]]
    more = [f"{len(people) - NAMES_MAX} more"] if len(people) > NAMES_MAX else []
    return f" ({', '.join(shown + more)})"


def what_helps(place: NarrowedChannel) -> str:
    """What an admin, or the person who asks, can do about it."""
    name = one_line(place.narrowing.channel)
    return t(
        "An admin can open a knowledge base to everyone there with `{command} grant <knowledge base>"
        " #{name}`; and I can answer you privately, from what you may read.",
        command=place.command,
        name=name,
    )


def or_privately(reply: Reply, post: PostInfo) -> Reply:
    """A refusal in a channel, with a button that asks for one person's eyes."""
    button = Button(PRIVATELY, t("Answer me privately"), post.id, "primary")
    return replace(reply, buttons=[*reply.buttons, button])


def not_open(place: NarrowedChannel) -> str:
    """The knowledge base of a channel is not open to everyone in it."""
    name = one_line(place.narrowing.channel)
    text = t(
        "Questions in #{name} are answered from a knowledge base that not everyone there may read.",
        name=name,
    )
    parts = filter(None, [text, why_narrowed(place), what_helps(place)])
    return "\n\n".join(parts)
