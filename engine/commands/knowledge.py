"""Knowledge bases, who may read them, and the web pages that go into them."""

from __future__ import annotations

from engine.access import gate
from engine.access.permissions import GrantLevel
from engine.chats.callers import Caller
from engine.commands import sources
from engine.commands.arguments import channel_or_workspace, managed_kb, quoted
from engine.commands.results import CommandResult
from engine.commands.table import (
    WORKSPACE,
    Parsed,
)
from engine.documents.adding import NewDocument
from engine.documents.search_settings import ALL, describe_search, parse_setting
from engine.engine import Engine
from engine.errors import InvalidInput, NotFound
from engine.net.fetching import canonical_url


async def list_all(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    del parsed
    kbs = await engine.knowledge_bases.list_managed(caller.principal)
    rows = [[kb.name, kb.description, f"{kb.created_at:%Y-%m-%d}"] for kb in kbs]
    said = "All knowledge bases:" if rows else "There is no knowledge base yet: `create` one."
    return CommandResult(said, ("knowledge base", "about", "made"), rows)


async def create(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    made = await engine.knowledge_bases.create(
        caller.principal, parsed.text("name"), description=parsed.text("description")
    )
    workspace = gate.workspace_token(caller.sender.workspace_id)
    await engine.knowledge_bases.grant(caller.principal, made.id, workspace)
    return CommandResult(
        f"Created **{made.name}**. All members and this workspace's full members may read it."
        f" Next: `source add <url> {quoted(made.name)}`, or `bind` a channel to it."
    )


async def delete(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    gone = await engine.knowledge_bases.delete(caller.principal, parsed.text("kb"))
    return CommandResult(f"Deleted **{gone.name}**. No answer uses it from now on.")


async def grant(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    kb_id, name = await managed_kb(engine, caller, parsed.text("kb"))
    token, readers = await _grantee(engine, caller, parsed)
    level = GrantLevel(parsed.text("level") or GrantLevel.WRITE)
    await engine.knowledge_bases.grant(caller.principal, kb_id, token, level)
    more = {GrantLevel.READ: "", GrantLevel.WRITE: "", GrantLevel.MANAGE: " and manage"}[level]
    return CommandResult(f"{readers} can now read{more} **{name}**.")


async def revoke(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    kb_id, name = await managed_kb(engine, caller, parsed.text("kb"))
    token, readers = await _grantee(engine, caller, parsed)
    await engine.knowledge_bases.revoke(caller.principal, kb_id, token)
    return CommandResult(f"{readers} can no longer read **{name}** unless another grant allows it.")


async def _grantee(engine: Engine, caller: Caller, parsed: Parsed) -> tuple[str, str]:
    named = parsed.text("place")
    if named.partition(":")[0] in {"everyone", "group", "user"}:
        return named, "Everyone" if named == "everyone" else named.replace(":", " ", 1)
    channel_id, place = await channel_or_workspace(
        engine, caller, parsed.text("place") or WORKSPACE
    )
    if channel_id is None:
        return gate.workspace_token(caller.sender.workspace_id), "The workspace's full members"
    return gate.channel_token(channel_id), f"The people of {place}"


async def reembed(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    kb_id, name = await managed_kb(engine, caller, parsed.text("kb"))
    queued = await engine.knowledge_bases.reembed(
        caller.principal, kb_id, model=parsed.text("model")
    )
    return CommandResult(
        f"**{name}** moves from the vectors of {queued.from_space} to those of {queued.to_space}"
        f" ({queued.documents:,} documents). It answers with the old ones until all new ones are"
        " made."
    )


async def show_ranking(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    kb_id, name = await managed_kb(engine, caller, parsed.text("kb"))
    kbs = await engine.knowledge_bases.list_managed(caller.principal)
    search = next(kb.search for kb in kbs if kb.id == kb_id)
    rows = [list(row) for row in describe_search(search, engine.settings.search).items()]
    return CommandResult(f"How **{name}** is searched:", ("setting", "value"), rows)


async def set_ranking(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    kb_id, name = await managed_kb(engine, caller, parsed.text("kb"))
    setting, value = parse_setting(parsed.text("setting"), parsed.text("value"))
    changed = await engine.knowledge_bases.set_search(caller.principal, kb_id, {setting: value})
    return CommandResult(f"**{name}**: {setting} is {changed.search[setting]} from now on.")


async def reset_ranking(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    kb_id, name = await managed_kb(engine, caller, parsed.text("kb"))
    setting = parsed.text("setting") or ALL
    await engine.knowledge_bases.set_search(caller.principal, kb_id, reset=[setting])
    which = "everything" if setting == ALL else setting
    return CommandResult(f"**{name}**: {which} is back to the default.")


async def add_source(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    behaviour = await engine.chats.senders.behaviour(caller.sender)
    kb = parsed.text("kb") or behaviour.kb
    if not kb:
        kbs = await engine.knowledge_bases.list_readable(caller.principal)
        if len(kbs) != 1:
            names = ", ".join(kb.name for kb in kbs) or "none: `create` one first"
            raise InvalidInput(f"Which knowledge base? There are: {names}.", field="kb")
        kb = kbs[0].id
    url = canonical_url(parsed.text("url"))
    added = await engine.documents.add(caller.principal, kb, NewDocument(url=url, external_id=url))
    if added.unchanged:
        return CommandResult(f"{url} is already there and has not changed.")
    return CommandResult(f"Added {url}. `source status` shows when it is searchable.")


async def sync_source(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    if "://" not in parsed.text("url"):
        return await sources.sync(engine, caller, parsed.text("url"))
    url = canonical_url(parsed.text("url"))
    for kb in await engine.knowledge_bases.list_readable(caller.principal):
        cursor = ""
        while True:
            page = await engine.documents.page(caller.principal, kb.id, cursor=cursor)
            if any(url in {document.external_id, document.url} for document in page.documents):
                new = NewDocument(url=url, external_id=url)
                added = await engine.documents.add(caller.principal, kb.id, new)
                return CommandResult(
                    f"{url} is " + ("unchanged." if added.unchanged else "pending.")
                )
            if not (cursor := page.next_cursor):
                break
    raise NotFound(f"{url} has not been added: run `source add`.")


async def source_status(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    del parsed
    status = await engine.operations.status(caller.principal)
    rows = [
        [
            kb.name,
            f"{kb.documents:,}",
            str(kb.states.get("pending", 0) + kb.states.get("running", 0)),
            str(kb.states.get("failed", 0)),
        ]
        for kb in status.knowledge_bases
    ]
    return CommandResult("", ("knowledge base", "answer", "on their way", "failed"), rows)
