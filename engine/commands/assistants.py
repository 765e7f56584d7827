"""Assistants by command: list, show, create, set, remove, and which one answers a place."""

from __future__ import annotations

from engine.access import gate
from engine.assistants.profiles import AssistantProfile, parse_value
from engine.assistants.rows import AssistantInfo
from engine.chats.callers import Caller
from engine.commands.arguments import channel_or_workspace
from engine.commands.results import CommandResult, cut
from engine.commands.table import Parsed
from engine.engine import Engine
from engine.serializers import assistant as serialized

HIDDEN = ("id", "may_edit", "created_at", "updated_at")
SHOWN_MAX = 300  # characters of a value


async def list_all(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    del parsed
    found = await engine.assistants.list_all(caller.principal)
    rows = [[item.slug, item.profile.name, item.profile.description] for item in found]
    said = "" if rows else "There is no assistant for you yet."
    return CommandResult(said, ("assistant", "name", "about"), rows)


async def show(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    found = await engine.assistants.get(caller.principal, parsed.text("assistant"))
    return CommandResult(
        f"Settings of **{found.profile.name}**:", ("setting", "value"), _rows(found)
    )


def _rows(info: AssistantInfo) -> list[list[str]]:
    shown = serialized(info)
    shown["kbs"] = "everything the asker may read" if shown["kbs"] is None else shown["kbs"]
    rows = []
    for name, value in shown.items():
        if name in HIDDEN or value is None or value in ("", []):
            continue
        text = ", ".join(value) if isinstance(value, list) else str(value)
        rows.append([name.replace("_", "-"), cut(text, SHOWN_MAX)])
    return rows


async def create(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    workspace = gate.workspace_token(caller.sender.workspace_id)
    made = await engine.assistants.create(
        caller.principal,
        {
            "name": parsed.text("name"),
            "prompt": parsed.text("prompt"),
            "visible_to": ["everyone", workspace],
        },
    )
    return CommandResult(
        f"Created **{made.profile.name}**, which answers from all that the asker may read. Next:"
        f" `assistant set {made.slug} kbs …`, or `assistant bind {made.slug}` to have it answer here."
    )


async def set_(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    ref, name = parsed.text("assistant"), parsed.text("setting").replace("-", "_").lower()
    value = parse_value(AssistantProfile, name, parsed.text("value"))
    changed = await engine.assistants.update(caller.principal, ref, {name: value})
    return CommandResult(
        f"**{changed.profile.name}**: {name.replace('_', '-')} is set. The next answer uses it."
    )


async def remove(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    gone = await engine.assistants.remove(caller.principal, parsed.text("assistant"))
    return CommandResult(f"Deleted **{gone.profile.name}**. Places it answered are as before it.")


async def bind(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    found = await engine.assistants.get(caller.principal, parsed.text("assistant"))
    channel_id, place = await channel_or_workspace(engine, caller, parsed.text("place"))
    await engine.chats.senders.change_behaviour(
        caller, {"assistant": found.id}, channel_id=channel_id
    )
    return CommandResult(f"Questions in {place} are now answered by **{found.profile.name}**.")


async def unbind(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    channel_id, place = await channel_or_workspace(engine, caller, parsed.text("place"))
    await engine.chats.senders.change_behaviour(caller, {"assistant": None}, channel_id=channel_id)
    return CommandResult(f"Questions in {place} are no longer answered by an assistant.")
