"""Workflows by command: run one, see its runs, answer its questions, stop it.

What a run says is for the eyes of who asked, so a run by command is too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from engine.chats.callers import Caller
from engine.commands.results import CommandResult, cut
from engine.commands.table import Parsed
from engine.engine import Engine
from engine.errors import InvalidInput, NotFound
from engine.flow.store import RunState
from engine.workflows.runs import PauseInfo, RunInfo

WAIT_S = 20.0  # a command that takes longer answers with how to look again
SHOWN = 15
_PAIR = re.compile(r"(?:^|\s)([A-Za-z][A-Za-z0-9_-]{0,60})[:=](\"[^\"]*\"|\S+)")


def parse_inputs(said: str, properties: Mapping[str, Any]) -> dict[str, Any]:
    """`name=value` for inputs of these names; the rest of a line is `query`."""
    found: dict[str, Any] = {}
    rest = said
    for match in _PAIR.finditer(said):
        name = match[1]
        if name not in properties:
            continue
        found[name] = _typed(name, match[2].strip('"'), properties[name].get("type", "string"))
        rest = rest.replace(match.group().strip(), " ", 1)
    rest = " ".join(rest.split())
    if rest and "query" in properties:
        found.setdefault("query", rest)
    elif rest and len(properties) == 1:
        found.setdefault(next(iter(properties)), rest)
    elif rest:
        raise InvalidInput(
            f"“{rest[:60]}” is no input: write {', '.join(f'{name}=…' for name in properties)}.",
            field="inputs",
        )
    return found


def _typed(name: str, text: str, kind: str) -> Any:  # noqa: ANN401 (JSON)
    try:
        if kind == "integer":
            return int(text)
        if kind == "number":
            return float(text)
    except ValueError:
        raise InvalidInput(f"`{name}` must be a number, not “{text[:40]}”.", field=name) from None
    if kind == "boolean":
        return text.casefold() in {"yes", "true", "on", "1"}
    return text


async def run(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    workflows, name = engine.workflows, parsed.text("workflow")
    schema = await workflows.input_schema(caller.principal, name)
    inputs = parse_inputs(parsed.text("inputs"), schema["properties"])
    run_id = await workflows.start(caller.principal, name, inputs, trigger="chat")
    return result_of(await workflows.wait(caller.principal, run_id, timeout_s=WAIT_S))


async def list_all(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    del parsed
    found = await engine.workflows.list_all(caller.principal)
    rows = [[info.name, info.description] for info in found if info.published or info.is_template]
    return CommandResult("Run one with `run <name>`:", ("workflow", "what it does"), rows)


async def list_runs(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    del parsed
    found = await engine.workflows.list_runs(caller.principal, limit=SHOWN)
    rows = [
        [item.id, item.workflow, item.state, f"{item.started_at:%Y-%m-%d %H:%M}"] for item in found
    ]
    said = "" if rows else "You have not run a workflow yet."
    return CommandResult(said, ("run", "workflow", "state", "started"), rows)


async def show(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    return result_of(await engine.workflows.get_run(caller.principal, parsed.text("run")))


async def questions(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    del parsed
    found = await engine.workflows.list_questions(caller.principal)
    if not found:
        return CommandResult("No workflow waits for you.")
    return CommandResult("\n\n".join(question_text(item) for item in found[:SHOWN]))


async def reply(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    workflows, run_id = engine.workflows, parsed.text("run")
    waiting = [
        item for item in await workflows.list_questions(caller.principal) if item.run_id == run_id
    ]
    fields, choice = _reply_of(parsed.text("reply"), waiting[0] if waiting else None)
    answered = await workflows.reply(
        caller.principal,
        run_id,
        path=waiting[0].path if waiting else "",
        fields=fields,
        choice=choice,
    )
    try:
        return result_of(await workflows.wait(caller.principal, run_id, timeout_s=WAIT_S))
    except NotFound:  # somebody else's run: they see how it ends
        return CommandResult(f"Saved. The run continues: {cut(answered.message)}")


def _reply_of(said: str, question: PauseInfo | None) -> tuple[dict[str, Any], str]:
    """The fields and the button of a reply: the button's words first, then `name=value`."""
    if question is None:
        return {}, ""
    choice = ""
    for label in question.form.get("buttons", []):
        if said.casefold().startswith(str(label).casefold()):
            choice, said = str(label), said[len(str(label)) :].strip()
            break
    properties = question.form.get("schema", {}).get("properties", {})
    return (parse_inputs(said, properties) if properties and said else {}), choice


async def cancel(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    state = await engine.workflows.cancel(caller.principal, parsed.text("run"))
    return CommandResult("Cancelled." if state == RunState.CANCELLED else f"The run is {state}.")


def question_text(question: PauseInfo) -> str:
    """A question as people read it, with how to answer."""
    lines = [f"**{question.workflow}** asks: {question.message}"]
    buttons = question.form.get("buttons", [])
    names = list(question.form.get("schema", {}).get("properties", {}))
    if buttons:
        lines.append(f"Choose: {', '.join(buttons)}.")
    fields = " ".join(f"{name}=…" for name in names) if len(names) > 1 else ""
    example = " ".join(
        filter(None, [buttons[0] if buttons else "", fields or ("…" if names else "")])
    )
    lines.append(f"Answer with `workflow reply {question.run_id} {example}`.")
    return "\n".join(lines)


def result_of(run_info: RunInfo) -> CommandResult:
    """What a run has said, asks, or came to."""
    asked = [question_text(item) for item in run_info.pauses if item.state == "open"]
    if run_info.state == RunState.PAUSED and asked:
        return CommandResult("\n\n".join([*filter(None, [run_info.text]), *asked]))
    if run_info.state in {RunState.DONE, RunState.PARTIAL}:
        return CommandResult(run_info.text or f"**{run_info.workflow}** is done.")
    if run_info.is_over:
        return CommandResult(f"**{run_info.workflow}** is {run_info.state}: {run_info.message}")
    return CommandResult(
        f"**{run_info.workflow}** is at work. `workflow show {run_info.id}` shows how far it is."
    )
