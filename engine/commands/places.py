"""How the bot behaves in a channel or in the whole workspace."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from engine.assistants.answer_languages import OF_THE_QUESTION, name_of, parse_language
from engine.chats.behaviour import Behaviour
from engine.chats.callers import Caller
from engine.commands.arguments import channel_or_workspace, managed_kb, quoted
from engine.commands.results import CommandResult
from engine.commands.table import (
    EVERYBODY,
    WORKSPACE,
    Parsed,
)
from engine.engine import Engine


async def bind(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    kb_id, name = await managed_kb(engine, caller, parsed.text("kb"))
    channel_id, place = await channel_or_workspace(engine, caller, parsed.text("channel"))
    await engine.chats.senders.change_behaviour(caller, {"kb": kb_id}, channel_id=channel_id)
    return CommandResult(f"Questions in {place} are now answered from **{name}**.")


async def unbind(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    channel_id, place = await channel_or_workspace(engine, caller, parsed.text("channel"))
    await engine.chats.senders.change_behaviour(caller, {"kb": None}, channel_id=channel_id)
    return CommandResult(
        f"Questions in {place} are now answered from everything its people may read."
    )


async def show(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    channel_id, place = await channel_or_workspace(engine, caller, parsed.text("channel"))
    found = await engine.chats.senders.behaviour(replace(caller.sender, channel_id=channel_id))
    kbs = await engine.knowledge_bases.list_managed(caller.principal)
    names = {kb.id: kb.name for kb in kbs}
    assistant = None
    if found.assistant:
        assistant = await engine.assistants.bound(caller.principal, found.assistant)
    return CommandResult(
        f"Settings of {place}:",
        ("setting", "value", "set for"),
        _shown(found, names, assistant.profile.name if assistant else "none"),
    )


def _shown(found: Behaviour, names: Mapping[str, str], assistant: str) -> list[list[str]]:
    values = {
        "mode": found.mode,
        "threshold": f"{found.threshold} %",
        "kb": names.get(found.kb, "everything its people may read"),
        "assistant": assistant,
        "private": "on" if found.private else "off",
        "respond_to": ", ".join(found.respond_to) or EVERYBODY,
        "answer_bots": ", ".join(found.answer_bots) or "none",
        "escalate_to": found.escalate_to or "nobody",
        "anonymous": "on" if found.anonymous else "off",
        "language": name_of(found.language) or "the question's language",
    }
    return [[name.replace("_", "-"), value, found.origins[name]] for name, value in values.items()]


async def mode(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    channel_id, place = await channel_or_workspace(engine, caller, parsed.text("place"))
    mode = parsed.text("mode")
    await engine.chats.senders.change_behaviour(caller, {"mode": mode}, channel_id=channel_id)
    meaning = {
        "mention": "I answer mentions, and threads where I was mentioned",
        "auto": "I answer mentions, threads where I was mentioned, and unprompted when I am sure",
        "off": "I don't answer",
    }
    return CommandResult(f"{place}: {meaning[mode]}.")


async def threshold(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    channel_id, place = await channel_or_workspace(engine, caller, parsed.text("place"))
    percent = parsed.number("percent")
    await engine.chats.senders.change_behaviour(
        caller, {"threshold": percent}, channel_id=channel_id
    )
    return CommandResult(f"{place}: I answer unprompted only when I am at least {percent} % sure.")


async def respond_to(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    channel_id, place = await channel_or_workspace(engine, caller, "")
    people = list(parsed.many("people"))
    await engine.chats.senders.change_behaviour(
        caller, {"respond_to": people or None}, channel_id=channel_id
    )
    asked_by = ", ".join(f"<@{person}>" for person in people) if people else EVERYBODY
    return CommandResult(f"{place}: I answer {asked_by}.")


async def answer_bots(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    channel_id, place = await channel_or_workspace(engine, caller, "")
    given = [bot for bot in parsed.many("bots") if bot.lower() not in {"none", "nobody", "off"}]
    await engine.chats.senders.change_behaviour(
        caller, {"answer_bots": given or None}, channel_id=channel_id
    )
    if not given:
        return CommandResult(f"{place}: I answer no bots and no workflows.")
    named = ", ".join(f"`{bot}`" for bot in given)
    return CommandResult(
        f"{place}: I answer {named} when they mention me, once a thread, from what everyone in the"
        " channel may read."
    )


async def private(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    channel_id, place = await channel_or_workspace(engine, caller, parsed.text("place"))
    on = parsed.text("switch") == "on"
    await engine.chats.senders.change_behaviour(caller, {"private": on}, channel_id=channel_id)
    return CommandResult(
        f"{place}: " + ("only the asker sees an answer." if on else "answers are public.")
    )


async def escalate_to(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    channel_id, place = await channel_or_workspace(engine, caller, parsed.text("place"))
    group = parsed.text("group")
    nobody = group.lower() in {"nobody", "none", "off"}
    await engine.chats.senders.change_behaviour(
        caller, {"escalate_to": None if nobody else group}, channel_id=channel_id
    )
    return CommandResult(f"{place}: “Ask a human” calls {'nobody' if nobody else group}.")


async def anonymous(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    channel_id, place = await channel_or_workspace(engine, caller, parsed.text("place"))
    on = parsed.text("switch") == "on"
    await engine.chats.senders.change_behaviour(caller, {"anonymous": on}, channel_id=channel_id)
    await engine.chats.history.rename_authors(
        caller.sender.tenant_id, caller.sender.workspace_id, channel_id
    )
    if on:
        return CommandResult(
            f"{place}: from now on I don't name authors when I quote their messages. I am"
            " rebuilding what is stored without the names. Names that people typed stay."
        )
    return CommandResult(f"{place}: from now on I name authors when I quote their messages.")


async def language(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    channel_id, place = await channel_or_workspace(engine, caller, parsed.text("place"))
    code = parse_language(parsed.text("language"))
    await engine.chats.senders.change_behaviour(caller, {"language": code}, channel_id=channel_id)
    said = f"{place}: answers are in {name_of(code) or 'the language of their question'}."
    if code and not engine.answers.writes:
        said += " This needs a language model; none is configured, so answers stay in the source language."
    elif code:
        said += " Answers from documents in another language can't be verified, and say so."
    return CommandResult(said)


async def export_settings(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    del parsed
    kbs = await engine.knowledge_bases.list_managed(caller.principal)
    names = {kb.id: kb.name for kb in kbs}
    names |= {item.id: item.slug for item in await engine.assistants.list_all(caller.principal)}
    lines: list[str] = []
    for place in await engine.chats.senders.list_settings(caller):
        named = f"#{place.channel}" if place.channel else WORKSPACE
        lines += _as_commands(place.values, named, names)
    if not lines:
        return CommandResult("Nothing is set: defaults apply everywhere.")
    return CommandResult("```\n" + "\n".join(lines) + "\n```")


def _as_commands(stored: Mapping[str, Any], place: str, names: Mapping[str, str]) -> list[str]:
    lines = []
    for name, value in sorted(stored.items()):
        if name == "kb" and value in names and place != WORKSPACE:
            lines.append(f"bind {place} {quoted(names[value])}")
        elif name == "assistant" and value in names:
            lines.append(f"assistant bind {names[value]} {place}")
        elif name in {"anonymous", "private"}:
            lines.append(f"{name} {'on' if value else 'off'} {place}")
        elif name in {"respond_to", "answer_bots"} and place == WORKSPACE:
            lines.append(f"{name.replace('_', '-')} {' '.join(value)}")
        elif name == "language":
            lines.append(f"language {value or OF_THE_QUESTION} {place}")
        elif name in {"mode", "threshold", "escalate_to"}:
            lines.append(f"{name.replace('_', '-')} {quoted(str(value))} {place}")
    return lines


async def setup(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    """What a door without forms says; where there are forms, the bot opens one instead."""
    del parsed
    kbs = await engine.knowledge_bases.list_managed(caller.principal)
    names = ", ".join(f"`{kb.name}`" for kb in kbs) or "none yet; `create <name>` makes one"
    return CommandResult(
        f"1. Knowledge bases: {names}.\n"
        "2. `bind <#channel> <kb>` sets which one answers a channel.\n"
        "3. `mode <mention|auto|off>` sets when; `threshold` how sure an unprompted answer must be.\n"
        "4. Ask something."
    )
