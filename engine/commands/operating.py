"""Use, limits, health, the audit log and the roles of a workspace."""

from __future__ import annotations

from datetime import timedelta

from engine import clock
from engine.chats.callers import Caller
from engine.commands.results import CommandResult, cut
from engine.commands.table import (
    Parsed,
)
from engine.domain import Role
from engine.engine import Engine
from engine.operations.audit_log import AuditEntry


async def usage(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    days = parsed.number("days") or 7
    since = clock.now() - timedelta(days=days)
    found = await engine.chats.posts.usage(caller.principal, since)
    rows = [
        ["questions", f"{found.questions:,}"],
        ["answered from sources", f"{found.answered:,}"],
        ["people", f"{found.people:,}"],
        ["tokens read and written", f"{found.input_tokens:,} and {found.output_tokens:,}"],
    ]
    return CommandResult(f"The last {days} days:", ("", ""), rows)


async def limits(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    del parsed
    limits = await engine.chats.question_limits.get(caller.sender.tenant_id)
    what = {"tokens-a-day": "model tokens a day"}
    rows = [
        [name, f"{value:,}" if value else "none", what.get(name, "questions in five minutes")]
        for name, value in limits.items()
    ]
    return CommandResult("Change one with `limits set`.", ("limit", "number", "of"), rows)


async def set_limit(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    name, number = parsed.text("limit"), parsed.number("number")
    await engine.chats.question_limits.set(caller.principal, name, number)
    return CommandResult(f"The limit {name} is now {number:,}." if number else f"No limit {name}.")


async def feedback_report(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    del parsed
    good, bad, rated = await engine.chats.posts.feedback_report(caller.principal)
    rows = [
        [f"{item.at:%Y-%m-%d}", cut(item.question), " ".join([item.reason, item.text]).strip()]
        for item in rated
    ]
    said = f"Helpful: {good}. Not helpful: {bad}."
    return CommandResult(said, ("day", "question", "what was wrong") if rows else (), rows)


async def health(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    del caller, parsed
    found = await engine.operations.health()
    rows = [[name, fault or "well"] for name, fault in found.items()]
    model = engine.settings.llm.model or "none: answers are quoted from the documents"
    rows.append(["language model", model])
    return CommandResult("", ("part", "state"), rows)


async def audit_log(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    entries = await engine.operations.list_audit(
        caller.principal, limit=parsed.number("number") or 10
    )
    rows = [
        [f"{entry.at:%Y-%m-%d %H:%M}", entry.actor, entry.action, _detail(entry)]
        for entry in entries
    ]
    return CommandResult("Times are UTC.", ("when", "who", "what", "details"), rows)


def _detail(entry: AuditEntry) -> str:
    return cut(", ".join(f"{k}: {v}" for k, v in entry.detail.items() if v not in (None, "", {})))


async def roles(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    del parsed
    rows = await engine.chats.senders.list_roles(caller)
    said = "" if rows else "Only the person who installed the bot has a role here."
    return CommandResult(said, ("who", "role", "why") if rows else (), rows)


async def give_role(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    role = Role(parsed.text("role"))
    name, given = await engine.chats.senders.give_role(caller, parsed.text("person"), role)
    return CommandResult(f"{name} is now {given} here. What they may read does not change.")


async def take_role(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    name, _ = await engine.chats.senders.give_role(caller, parsed.text("person"), None)
    return CommandResult(f"{name} no longer has a role in this workspace.")
