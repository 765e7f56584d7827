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
from engine.insight.statistics import QuestionFigures
from engine.operations.audit_log import AuditEntry
from engine.search.query_statistics import SearchCounts


async def usage(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    days = parsed.number("days") or 7
    since = clock.now() - timedelta(days=days)
    found = await engine.chats.posts.usage(caller.principal, since)
    counted = await engine.insight.statistics(caller.principal, days=days)
    asked = counted.total.questions
    rows = [
        ["questions", f"{found.questions:,}"],
        ["answered from sources", f"{found.answered:,}"],
        ["people", f"{found.people:,}"],
        ["tokens read and written", f"{found.input_tokens:,} and {found.output_tokens:,}"],
        ["questions in all, here and elsewhere", f"{asked.questions:,}"],
        ["answered, may be an answer, not found, failed", _outcomes(asked)],
        ["half within, 95 % within", _durations(asked)],
        ["found helpful, not helpful", f"{asked.helpful:,}, {asked.unhelpful:,}"],
    ]
    return CommandResult(f"The last {days} days:", ("", ""), rows)


def _outcomes(asked: QuestionFigures) -> str:
    numbers = (asked.answered, asked.maybe, asked.not_found, asked.failed)
    return ", ".join(f"{number:,}" for number in numbers)


def _durations(asked: QuestionFigures) -> str:
    if asked.p50_ms is None or asked.p95_ms is None:
        return "nothing was asked"
    return f"{asked.p50_ms:,.0f} ms, {asked.p95_ms:,.0f} ms"


async def searches(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    days = parsed.number("days") or 7
    found = await engine.search.statistics(caller.principal, days=days)
    rows = [
        [f"{item.day:%Y-%m-%d}", *_counted(item.counts)]
        for item in found.days
        if item.counts.searches
    ]
    rows.append(["all", *_counted(found.total)])
    said = f"The last {days} days, by UTC; {found.people:,} people."
    return CommandResult(said, ("day", "searches", "found nothing", "failed", "mean ms"), rows)


def _counted(counts: SearchCounts) -> list[str]:
    numbers = (counts.searches, counts.without_hits, counts.failed)
    return [*(f"{number:,}" for number in numbers), f"{counts.mean_ms:,.0f}"]


async def storage(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    del parsed
    found = await engine.operations.resources(caller.principal)
    waiting = sum(sum(states.values()) for states in found.jobs.values())
    rows = [
        ["knowledge bases", f"{found.knowledge_bases:,}"],
        ["documents", f"{found.documents:,}"],
        ["passages", f"{found.chunks:,}"],
        ["stored files", f"{found.stored_bytes / 1e6:,.1f} MB"],
        ["index", f"{found.index_bytes / 1e6:,.1f} MB"],
        ["jobs waiting or running", f"{waiting:,}"],
        ["workers", f"{found.workers:,}"],
    ]
    return CommandResult("", ("", ""), rows)


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
    found = await engine.operations.all_health()
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
