"""Which channels' history is kept, for how long, and what is forgotten."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime, timedelta

from engine import clock
from engine.chats.callers import Caller
from engine.chats.coverage import Coverage
from engine.commands.arguments import channel_or_workspace
from engine.commands.results import CommandResult
from engine.commands.table import Parsed
from engine.engine import Engine
from engine.errors import Forbidden, InvalidInput, NotFound

_PERSON = re.compile(r"<@([A-Z0-9]+)(?:\|[^<>]*)?>")
_MESSAGE = re.compile(r"https?://[^/\s]+/archives/([A-Z0-9]+)/p(\d{7,17})")


async def add(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    channel_id, place = await channel_or_workspace(engine, caller, parsed.text("channel"))
    await _refuse_where_nothing_may_be_kept(engine, caller)
    there = replace(caller.sender, channel_id=channel_id)
    kb = (await engine.chats.senders.behaviour(there)).kb
    if not kb:
        raise InvalidInput(
            f"Which knowledge base? `bind {place} <kb>` sets which one answers {place}; its"
            " messages are stored there too.",
            field="kb",
        )
    days = parsed.number("since")
    since = clock.now() - timedelta(days=days) if days else clock.now()
    covered = await engine.chats.history.add(caller.principal, channel_id or "", kb, since=since)
    back = f"back to {since:%Y-%m-%d}" if days else "from now on"
    return CommandResult(
        f"Messages of {place} are now stored in **{covered.kb}** {back}. `ingest status` shows the"
        " progress.",
        announcement=f"I store this channel's messages {back}, so that I can answer from them. Only"
        " people who can read them here can read such an answer. `ingest remove` stops it.",
    )


async def _refuse_where_nothing_may_be_kept(engine: Engine, caller: Caller) -> None:
    try:
        installed = await engine.chats.installations.of(caller.sender)
    except NotFound:  # the terminal's
        return
    if installed.reading == "live":
        raise Forbidden(
            "This Slack app is distributed to other organisations, and Slack's terms don't let such"
            " an app store messages. Create your own app to store history."
        )


async def pause(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    channel_id, place = await channel_or_workspace(engine, caller, parsed.text("channel"))
    await engine.chats.history.pause(caller.principal, channel_id or "")
    return CommandResult(f"Paused {place}; stored messages still answer.")


async def resume(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    channel_id, place = await channel_or_workspace(engine, caller, parsed.text("channel"))
    await engine.chats.history.resume(caller.principal, channel_id or "")
    return CommandResult(f"Resumed {place}.")


async def remove(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    channel_id, place = await channel_or_workspace(engine, caller, parsed.text("channel"))
    gone = await engine.chats.history.remove(caller.principal, channel_id or "")
    return CommandResult(
        f"Removed {place}: no answer uses its {gone.messages:,} messages from now on.",
        announcement="This channel's messages are no longer stored, and the stored ones are deleted.",
    )


async def status(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    channel_id = ""
    if parsed.text("channel"):
        channel_id = (await channel_or_workspace(engine, caller, parsed.text("channel")))[0] or ""
    covered = await engine.chats.history.coverage(caller.principal, channel_id)
    if not covered:
        return CommandResult("No channel's messages are stored. Start with `ingest add`.")
    rows = [
        [
            f"#{item.channel}",
            item.state,
            f"{item.messages:,}",
            f"{item.ready:,} of {item.conversations:,}",
            _span(item.oldest, item.newest),
            _left(item),
        ]
        for item in covered
    ]
    columns = ("channel", "state", "messages", "conversations found", "from – to", "left")  # noqa: RUF001
    return CommandResult("", columns, rows)


def _span(oldest: datetime | None, newest: datetime | None) -> str:
    if oldest is None or newest is None:
        return "nothing yet"
    return f"{oldest:%Y-%m-%d} – {newest:%Y-%m-%d}"  # noqa: RUF001


def _left(covered: Coverage) -> str:
    """What is missing, in a phrase: an error, a pause, a guess at the time left, or gaps."""
    if covered.error:
        return covered.error
    if covered.next_try_at is not None and covered.next_try_at > clock.now():
        return f"waits until {covered.next_try_at:%H:%M} UTC"
    if covered.eta_s is not None and covered.state == "reading":
        return f"about {max(1, round(covered.eta_s / 60))} minutes"
    gaps = "; ".join(dict.fromkeys(gap.reason for gap in covered.gaps))
    return gaps or "–"  # noqa: RUF001


async def forget(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    what = parsed.text("what")
    if found := _PERSON.fullmatch(what):
        gone = await engine.chats.history.forget_person(
            caller.principal, caller.sender.workspace_id, found[1]
        )
        return CommandResult(
            f"Forgotten: {gone.messages:,} of their messages. I won't store any more of them."
        )
    if found := _MESSAGE.search(what):
        channel_id, place = await channel_or_workspace(engine, caller, found[1])
        ts = f"{found[2][:-6]}.{found[2][-6:]}"
        gone = await engine.chats.history.forget_message(caller.principal, channel_id or "", ts)
        said = "Forgotten: no answer uses it any more." if gone.messages else "It was not stored."
        return CommandResult(f"{place}: {said}")
    if what.startswith(("<#", "#")):
        ref = what.strip("<>").split("|")[0].lstrip("#")
        channel_id, place = await channel_or_workspace(engine, caller, ref)
        gone = await engine.chats.history.remove(caller.principal, channel_id or "")
        return CommandResult(
            f"Forgotten: {gone.messages:,} messages of {place}. I no longer store its messages."
        )
    raise InvalidInput(
        "What should I forget? Mention a person with @, link a channel with #, or paste a message's link.",
        field="what",
    )


async def retention(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    days = parsed.number("age") or None
    covered = await engine.chats.history.coverage(caller.principal)
    for item in covered:
        await engine.chats.history.set_retention(caller.principal, item.channel_id, days)
    if not covered:
        return CommandResult("No channel's messages are stored, so there is nothing to limit.")
    noun = "channel" if len(covered) == 1 else "channels"
    kept = f"are kept for {days} days" if days else "are kept without a limit"
    return CommandResult(f"Messages of {len(covered)} {noun} {kept}.")
