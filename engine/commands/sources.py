"""What admins do with connected sources by command."""

from __future__ import annotations

from engine.chats.callers import Caller
from engine.commands.results import CommandResult, cut
from engine.commands.table import Parsed
from engine.engine import Engine
from engine.errors import InvalidInput
from engine.sources.reports import SourceInfo
from engine.sources.sources import NewSource
from engine.wording import counted


async def connect(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    behaviour = await engine.chats.senders.behaviour(caller.sender)
    kb = behaviour.kb
    if not kb:
        kbs = await engine.knowledge_bases.list_readable(caller.principal)
        if len(kbs) != 1:
            names = ", ".join(kb.name for kb in kbs) or "none: `create` one first"
            raise InvalidInput(
                f"Which knowledge base? `bind` this channel to one of: {names}.", field="kb"
            )
        kb = kbs[0].id
    kind = parsed.text("kind")
    words = parsed.text("settings").split()
    named = [word.removeprefix("credential=") for word in words if word.startswith("credential=")]
    pairs = [word for word in words if not word.startswith("credential=")]
    settings = engine.sources.settings_of(kind, pairs)
    credential = named[-1] if named else ""
    new = NewSource(kind, parsed.text("name"), kb, settings, credential=credential)
    info, findings = await engine.sources.add(caller.principal, new)
    said = " ".join(finding.text for finding in findings)
    return CommandResult(f"Connected **{info.name}** to **{info.kb}**. {said}")


async def list_all(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    del parsed
    found = await engine.sources.list_all(caller.principal)
    if not found:
        kinds = ", ".join(kind.kind for kind in engine.sources.kinds())
        return CommandResult(f"No source is connected. `source connect` takes: {kinds}.")
    rows = [
        [
            one.name,
            one.kind,
            one.kb,
            one.state,
            f"{one.documents.get('ready', 0):,}",
            one.last_run.state if one.last_run else "not yet",
            cut(_trouble(one)),
        ]
        for one in found
    ]
    columns = ("source", "kind", "knowledge base", "state", "answering", "last sync", "what to do")
    return CommandResult("", columns, rows)


async def show(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    info = await engine.sources.get(caller.principal, parsed.text("source"))
    left = sum(info.items.get(state, 0) for state in ("left_out", "failed"))
    permissions = f"the same for everyone who may read {info.kb}"
    if info.has_permissions:
        as_of = info.permissions_as_of
        permissions = f"as of {as_of:%Y-%m-%d %H:%M} UTC" if as_of else "not read yet: nobody"
    rows = [
        ["kind", info.kind],
        ["knowledge base", info.kb],
        ["state", info.state],
        [
            "answering",
            f"{counted(info.documents.get('ready', 0), 'document')} ({info.coverage:.0%})",
        ],
        ["left out", f"{left:,}"],
        ["permissions", permissions],
        ["last sync", info.last_run.state if info.last_run else "not yet"],
        ["what to do", cut(_trouble(info)) or "nothing"],
    ]
    return CommandResult(f"**{info.name}**", ("", ""), rows)


def _trouble(info: SourceInfo) -> str:
    if info.withheld:
        return f"{info.withheld:,} deletions wait for `source confirm {info.name}`"
    if info.error:
        return info.error
    return "; ".join(f"{scope.title}: {scope.error}" for scope in info.scopes if scope.error)


async def check(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    findings = await engine.sources.check(caller.principal, parsed.text("source"))
    rows = [["ok" if one.ok else "bad", one.text] for one in findings]
    return CommandResult("", ("", "found"), rows)


async def why(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    found = await engine.sources.why(caller.principal, parsed.text("source"), limit=20)
    if not found:
        return CommandResult("Nothing is left out.")
    rows = [[cut(one.title, 60), one.state, cut(one.reason)] for one in found]
    return CommandResult("", ("item", "state", "why"), rows)


async def sync(engine: Engine, caller: Caller, name: str) -> CommandResult:
    info = await engine.sources.sync(caller.principal, name)
    return CommandResult(
        f"**{info.name}** is being synced; `source show {info.name}` says how far."
    )


async def pause(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    info = await engine.sources.pause(caller.principal, parsed.text("source"))
    return CommandResult(f"Paused **{info.name}**; what is stored keeps answering.")


async def resume(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    info = await engine.sources.resume(caller.principal, parsed.text("source"))
    return CommandResult(f"Resumed **{info.name}**.")


async def confirm(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    info = await engine.sources.confirm(caller.principal, parsed.text("source"))
    return CommandResult(
        f"The next sync of **{info.name}** makes sure and removes what is still missing."
    )


async def remove(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    name = parsed.text("source")
    gone = counted(await engine.sources.remove(caller.principal, name), "document")
    return CommandResult(f"Removed {name} with {gone}: no answer uses them from now on.")
