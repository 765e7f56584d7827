"""What everyone may say: search, the sources, help, privacy, linking and feedback."""

from __future__ import annotations

from dataclasses import replace

from engine.chats.callers import Caller
from engine.commands.permissions import may_use, usable
from engine.commands.results import CommandResult, cut
from engine.commands.table import (
    COMMANDS,
    Parsed,
    nearest,
)
from engine.engine import Engine
from engine.errors import Forbidden, NotFound
from engine.search.filters import split_operators

SOURCES_SHOWN = 15
SEARCH_HITS = 5


async def search(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    behaviour = await engine.chats.senders.behaviour(caller.sender)
    query, filters, order = split_operators(parsed.text("query"))
    found = await engine.search.find(
        caller.principal,
        query,
        kb=behaviour.kb,
        limit=SEARCH_HITS,
        filters=filters,
        order=order,
    )
    found = replace(found, hits=await engine.search.at_messages(caller.principal, found.hits))
    return CommandResult(found.notice if not found.hits else "", found=found)


async def sources(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    del parsed
    behaviour = await engine.chats.senders.behaviour(caller.sender)
    kbs = await engine.knowledge_bases.list_readable(caller.principal)
    bound = next((kb.name for kb in kbs if kb.id == behaviour.kb), "")
    if not kbs:
        return CommandResult("You have no access to a knowledge base here.")
    rows = [
        [kb.name, f"{kb.document_count:,}", f"{kb.updated_at:%Y-%m-%d}", kb.description]
        for kb in kbs[:SOURCES_SHOWN]
    ]
    said = f"Questions here are answered from **{bound}**." if bound else "You may read these:"
    return CommandResult(said, ("knowledge base", "documents", "changed", "about"), rows)


async def show_help(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    del engine
    asked = parsed.text("command").strip().lower()
    if asked:
        return _help_on(asked, caller)
    said = (
        "Mention me with a question, or write to me directly. I answer from what your team has"
        " written, and every answer links to its sources."
    )
    return list_commands(caller, said)


def list_commands(caller: Caller, said: str) -> CommandResult:
    """The commands somebody may use here, under a text."""
    shown = [[f"`{command.usage}`", command.help] for command in usable(caller)]
    return CommandResult(said, ("command", "what it does"), shown)


def unknown(caller: Caller, said: str, line: str = "") -> CommandResult:
    """There is no such command: the nearest that the caller may use, and all of these.

    `line` is all that was said, where that is more: "kb list" means `list`.
    """
    near = ", ".join(f"`{command.usage}`" for command in nearest(line or said, usable(caller)))
    return list_commands(
        caller, f"There is no command “{said[:60]}”. The nearest: {near}. You may use these:"
    )


def _help_on(asked: str, caller: Caller) -> CommandResult:
    named = [c for c in COMMANDS if c.name == asked or c.name.startswith(asked + " ")]
    if not named:
        return unknown(caller, asked)
    found = [command for command in named if may_use(caller, command)]
    if not found:
        raise Forbidden(f"`{asked}` is for {named[0].permission}.")
    lines: list[str] = []
    for command in found:
        lines.append(f"`{command.usage}`\n{command.help}")
        lines += [f"• {parameter.name}: {parameter.help}" for parameter in command.parameters]
        if command.example:
            lines.append(f"For example `{command.example}`")
        lines.append(f"For {command.permission}; {command.effect}.\n")
    return CommandResult("\n".join(lines).strip())


async def privacy(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    del parsed
    linked = await engine.chats.senders.linked_member(caller.sender)
    behaviour = await engine.chats.senders.behaviour(caller.sender)
    unnamed = "I don't name the authors of messages I quote here.\n"
    unnamed = unnamed if behaviour.anonymous else ""
    account = f"your membership as {linked}" if linked else "this account alone; it is not linked"
    return CommandResult(
        "**An answer uses only what everyone who can see it may read.** In private, it uses what you"
        " may read.\n"
        "I store your question, the answer and its passages, so that you can ask follow-ups. I store"
        " other messages only in channels where an admin turned that on; the channel is told.\n"
        f"What you may read depends on {account}.\n{unnamed}"
        "An admin can delete what I stored about you with `forget`."
    )


async def link(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    del parsed
    linked = await engine.chats.senders.linked_member(caller.sender)
    if linked:
        return CommandResult(f"This account is linked to {linked}. `unlink` undoes it.")
    code = engine.chats.senders.link_code(caller.sender)
    return CommandResult(
        "Within ten minutes, run this where you are signed in to Scrubjay: "
        f"`scrubjay bot link {code} --as <your e-mail>`. Or ask your admin to."
        " Don't post it anywhere."
    )


async def unlink(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    del parsed
    undone = await engine.chats.senders.unlink(caller)
    return CommandResult("Unlinked." if undone else "This account was not linked.")


async def feedback(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    last = await engine.chats.posts.recent(caller.sender, limit=1)
    if not last:
        raise NotFound("I haven't answered you here yet.")
    rating = 1 if parsed.text("rating") == "good" else -1
    await engine.chats.posts.rate(caller, last[0].id, rating, text=parsed.text("text"))
    return CommandResult(f"Thank you. Saved for my answer to “{cut(last[0].question)}”.")
