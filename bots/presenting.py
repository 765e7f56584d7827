"""How an answer is presented: where, and with which links for the people who see it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from bots import replies
from bots.conversation import Joined, Pressed, Said
from bots.platform import Platform, ReplyTarget
from engine import clock
from engine.chats.callers import Caller
from engine.chats.post_rows import PostInfo
from engine.chats.sender_rows import Sender
from engine.domain import Answer, Audience
from engine.engine import Engine
from engine.jobs.leases import ClaimedJob

# In a target's details: what a message forwards, files of it that were not read, a bot that asked.
FORWARDED, UNREAD, BY_BOT = "forwarded", "unread", "by_bot"
LOCALE = "locale"  # in a target's details: the language of the client they use
LONGER = "longer"  # in a target's details: the turn that is to be answered in more detail
PLEASE_DETAIL = 4_000  # characters of an answer with its passages


class SilentReply:
    """A streaming reply that shows nothing until it is finished; `private`: to its asker alone."""

    def __init__(self, platform: Platform, target: ReplyTarget, *, private: bool = False) -> None:
        self._platform = platform
        self._target = target
        self._private = private

    async def step(self, title: str) -> None:
        """Not shown."""

    async def grow(self, text: str) -> None:
        """Not shown."""

    async def finish(self, reply: replies.Reply) -> str:
        """Sent as a whole."""
        if self._private:
            await self._platform.whisper(self._target, reply)
            return ""
        return await self._platform.say(self._target, reply)

    async def abandon(self) -> None:
        """There is nothing to remove."""


def target_of(post: PostInfo, job: ClaimedJob | None = None) -> ReplyTarget:
    """Where a post is replied to."""
    details: Mapping[str, str] = {}
    if job is not None:
        details = job.payload.get("details") or {}
    return ReplyTarget(
        platform=post.platform,
        workspace=post.workspace,
        channel=post.channel,
        person=post.person,
        sender=post.sender,
        thread=post.thread,
        message_id=post.question_id,
        is_direct=post.surface == "direct" or post.sender.channel_id is None,
        details=details,
    )


def target_of_payload(payload: Mapping[str, Any], sender: Sender) -> ReplyTarget:
    """Where the outcome of an interaction goes."""
    if "said" in payload:
        said = Said(**payload["said"])
        return ReplyTarget(
            said.platform,
            said.workspace,
            said.channel,
            said.person,
            sender,
            is_direct=said.place == "direct",
            details=said.details,
        )
    if "pressed" in payload:
        pressed = Pressed(**payload["pressed"])
        return ReplyTarget(
            pressed.platform,
            pressed.workspace,
            pressed.channel,
            pressed.person,
            sender,
            thread=pressed.thread,
            message_id=pressed.message_id,
            is_direct=pressed.place == "direct",
            details=pressed.details,
        )
    if "joined" in payload:
        joined = Joined(**payload["joined"])
        return ReplyTarget(joined.platform, joined.workspace, joined.channel, joined.by, sender)
    inbound = payload["inbound"]
    return ReplyTarget(
        inbound["platform"],
        inbound["workspace"],
        inbound["channel"],
        inbound["author"],
        sender,
        thread=inbound["thread"] or ("" if inbound["place"] == "direct" else inbound["message_id"]),
        message_id=inbound["message_id"],
        is_direct=inbound["place"] == "direct",
        details=payload.get("details") or {},
    )


async def show(
    engine: Engine, caller: Caller, audience: Audience, post: PostInfo, answer: Answer
) -> replies.Shown:
    """An answer with links to its sources and facts about them, for the people who will see it."""
    chat = engine.chats
    links = {
        citation.n: chat.source_link(citation.url, citation.id) for citation in answer.citations
    }
    if not answer.has_sources:
        answer = replace(
            answer, hits=await engine.search.at_messages(caller.principal, answer.hits)
        )
    for n, (url, id_) in replies.closest_ids(answer).items():
        links[n] = chat.source_link(url, id_)
    facts = await chat.posts.facts_of(caller, audience, answer.citations)
    return replies.Shown(answer, post, links, facts)


async def show_passages(
    engine: Engine, caller: Caller, audience: Audience, post: PostInfo, answer: Answer
) -> replies.Reply:
    """The whole answer, then each passage it cites: more detail where no model writes it."""
    shown = await show(engine, caller, audience, post, answer)
    passages = []
    for citation in list(answer.citations)[: replies.SOURCES_MAX]:
        page = await engine.chats.read_page(caller, audience, citation.id)
        start, end = page.highlight or (page.start, page.end)
        passages.append((citation, page.text[start - page.start : end - page.start]))
    return replies.detailed(shown, passages, now=clock.now(), limit=PLEASE_DETAIL)
