"""What language models an organisation uses, what they cost, and its quotas."""

from __future__ import annotations

from engine.chats.callers import Caller
from engine.commands.results import CommandResult
from engine.commands.table import Parsed
from engine.engine import Engine


async def credits_left(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    days = parsed.number("days") or 30
    left = await engine.llms.read_credits(caller.principal)
    used = await engine.llms.read_usage(caller.principal, days=days, by="model")
    said = "Nothing is counted off here: there is no account of credits."
    if left.balance is not None:
        said = f"{left.balance:,.2f} credits are left."
    rows = []
    for item in used:
        tokens = item.input_tokens + item.output_tokens
        rows.append([item.name, f"{item.calls:,}", f"{tokens:,}", f"{item.cost:.4f}"])
    said = f"{said} The last {days} days:"
    return CommandResult(said, ("model", "calls", "tokens", "credits") if rows else (), rows)


async def list_models(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    del parsed
    keys = await engine.llms.list_keys(caller.principal)
    answers = await engine.llms.default_of(caller.principal)
    said = f"Answers are written by {answers}." if answers else "No model: answers are quoted."
    rows = [[key.name, key.api_key, key.base_url, "" if key.enabled else "off"] for key in keys]
    return CommandResult(said, ("model", "key", "base URL", "") if rows else (), rows)


async def choose_model(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    said = parsed.text("model")
    name = await engine.llms.set_default(caller.principal, "" if said == "none" else said)
    return CommandResult(f"Answers are written by {name or 'the model of the installation'}.")


async def list_quotas(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    del parsed
    found = await engine.quotas.list_all(caller.principal)
    rows = [
        [quota.subject, quota.kind, f"{quota.amount:,}", "operator" if quota.by_operator else ""]
        for quota in found
    ]
    said = "" if rows else "There are no quotas. Set one with `limits quota`."
    return CommandResult(said, ("of", "what", "at most", "set by") if rows else (), rows)


async def set_quota(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    subject, kind, amount = parsed.text("subject"), parsed.text("what"), parsed.number("number")
    if not amount:
        await engine.quotas.remove(caller.principal, subject, kind)
        return CommandResult(f"No quota {kind} of {subject} any more.")
    kept = await engine.quotas.set(caller.principal, subject, kind, amount)
    return CommandResult(f"{kind} of {subject}: at most {kept.amount:,}.")
