"""From one person's eyes to a channel's: shown to them as it will be posted, then posted on a yes.

`Interactions` shows the preview; on a yes the answer worker posts an answer, and `Interactions` a
call for help. A yes carries the fingerprint of what was previewed, so what is posted is what was
seen or nothing. Refusals go to the person alone.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from hashlib import blake2b

from bots import replies
from bots.presenting import show
from engine import clock
from engine.chats.callers import Caller
from engine.chats.post_rows import PostInfo
from engine.domain import Audience
from engine.engine import Engine
from engine.errors import InvalidInput, NotFound

SHARED_BY = "shared_by"  # in a target's details: the name of the person who shares an answer
PREVIEWED = "previewed"  # the fingerprint of what they saw
FOR_CHANNEL = "for_channel"  # the question is asked again, for what its channel may be told


async def channel_of(engine: Engine, post: PostInfo) -> str:
    """The name of the channel a private reply was shown in; `NotFound` in a direct message."""
    channel = await engine.chats.senders.channel(post.sender)
    if channel is None:
        raise NotFound("There is no channel to post this in.")
    return channel.name


async def shared_answer(
    engine: Engine, caller: Caller, audience: Audience, post: PostInfo, by: str
) -> replies.Reply:
    """A private answer as its channel would see it; `InvalidInput` where not all there may read it.

    `post` is the private one, or the one that is about to show it. Nothing is asked again.
    """
    if post.turn_id is None:
        raise NotFound("This answer no longer exists: ask again.")
    name = await channel_of(engine, post)
    try:
        answer = await engine.chats.posts.stored_answer(caller, audience, post.turn_id)
    except NotFound:
        raise InvalidInput(replies.not_shared(name), field="channel") from None
    public = replace(post, surface="channel")
    shown = await show(engine, caller, audience, public, answer)
    return replies.shared(replies.answered(shown, now=clock.now()), post.question, by)


async def preview_of_answer(
    engine: Engine, caller: Caller, audience: Audience, post: PostInfo, *, asked_again: bool = False
) -> replies.Reply:
    """What `post`'s channel would see of its answer, with a button that posts it."""
    reply = await shared_answer(engine, caller, audience, post, caller.principal.name)
    channel = await channel_of(engine, post)
    value = f"{post.id}:{fingerprint(reply, channel)}"
    return replies.preview(reply, channel, replies.POST_ANSWER, value, narrowed=asked_again)


def fingerprint(reply: replies.Reply, channel: str) -> str:
    """Tells whether a message reads as it was previewed: its words, sources and place.

    Links and buttons are left out: they are the bot's own, and open what the sources name.
    """
    sources = [(source.n, source.title, source.detail) for source in reply.sources]
    words = asdict(replace(reply, sources=(), buttons=(), rated=""))
    said = repr((channel, sorted(words.items()), sources))
    return blake2b(said.encode(), digest_size=6).hexdigest()


def split_value(value: str) -> tuple[str, str]:
    """The post's id and the fingerprint that a button of a preview carries."""
    post_id, _, seen = value.partition(":")
    return post_id, seen
