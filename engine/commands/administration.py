"""What each command of the table does: one short function a command, each through engine verbs.

Bots call `run` for slash commands, and the command line for its admin commands. Permission is checked here, whatever a door has checked before; each change is audited by
the verb that makes it. `ask` is not here: it is a question, and its door answers it.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select

from engine import clock
from engine.access import gate
from engine.answers.answer_languages import OF_THE_QUESTION, name_of, parse_language
from engine.chats import behaviour, callers, feedback, linking, sender_rows
from engine.chats.behaviour import Behaviour
from engine.chats.callers import Caller
from engine.chats.sources import Coverage
from engine.commands.table import (
    COMMANDS,
    EVERYBODY,
    WORKSPACE,
    Command,
    Parsed,
    Permission,
    nearest,
)
from engine.db.tables import AuditEvent, Channel, Identity, Tenant, User, Workspace
from engine.documents import knowledge_bases
from engine.documents.adding import NewDocument
from engine.domain import Role, SearchResult
from engine.engine import Engine
from engine.errors import Forbidden, InvalidInput, NotFound
from engine.net.fetching import canonical_url

SOURCES_SHOWN = 15
SEARCH_HITS = 5


@dataclass(frozen=True, slots=True)
class CommandResult:
    """What a command has to say: Markdown, then a table or hits where it has some."""

    text: str
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    found: SearchResult | None = None
    announcement: str = ""  # what everyone in the channel should know of it


_PERSON = re.compile(r"<@([A-Z0-9]+)(?:\|[^<>]*)?>")
_MESSAGE = re.compile(r"https?://[^/\s]+/archives/([A-Z0-9]+)/p(\d{7,17})")

Run = Callable[[Engine, Caller, Parsed], Awaitable[CommandResult]]


async def run(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    """Do what a command says. Raises `Forbidden` for who may not, and what its verb raises."""
    require(caller, parsed.command)
    return await _RUNS[parsed.command.name](engine, caller, parsed)


def require(caller: Caller, command: Command) -> None:
    """Return when the caller may use the command, else raise `Forbidden` with who may."""
    allowed = {
        Permission.EVERYONE: True,
        Permission.CURATOR: caller.is_curator,
        Permission.ADMIN: caller.is_admin,
    }
    if not allowed[command.permission]:
        raise Forbidden(
            f"`{command.name}` is for {command.permission}: an admin of this workspace, whoever"
            " installed the bot, or somebody an admin gave the role with `roles give`."
        )


# For everyone


async def _search(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    behaviour = await engine.chats.senders.behaviour(caller.sender)
    found = await engine.search.find(
        caller.principal, parsed.text("query"), kb=behaviour.kb, limit=SEARCH_HITS
    )
    found = replace(found, hits=await engine.search.at_messages(caller.principal, found.hits))
    return CommandResult(found.notice if not found.hits else "", found=found)


async def _sources(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    del parsed
    behaviour = await engine.chats.senders.behaviour(caller.sender)
    kbs = await engine.knowledge_bases.list_readable(caller.principal)
    bound = next((kb.name for kb in kbs if kb.id == behaviour.kb), "")
    if not kbs:
        return CommandResult("There is no knowledge base you may read here.")
    rows = [
        [kb.name, f"{kb.document_count:,}", f"{kb.updated_at:%Y-%m-%d}", kb.description]
        for kb in kbs[:SOURCES_SHOWN]
    ]
    said = f"Questions here are answered from **{bound}**." if bound else "You may read these:"
    return CommandResult(said, ("knowledge base", "documents", "changed", "about"), rows)


async def _help(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    del engine
    asked = parsed.text("command").strip().lower()
    if asked:
        return _help_on(asked)
    shown = [c for c in COMMANDS if c.permission is Permission.EVERYONE or caller.is_admin]
    said = (
        "Mention me with a question, or write to me directly. I answer from what your team has"
        " written, and every answer links to the page or message it rests on."
    )
    return CommandResult(
        said, ("command", "what it does"), [[f"`{c.usage}`", c.help] for c in shown]
    )


def _help_on(asked: str) -> CommandResult:
    found = [c for c in COMMANDS if c.name == asked or c.name.startswith(asked + " ")]
    if not found:
        close = nearest(asked)
        guess = f" Did you mean `{close.name}`?" if close else ""
        raise NotFound(f"There is no command “{asked[:60]}”.{guess}")
    lines: list[str] = []
    for command in found:
        lines.append(f"`{command.usage}`\n{command.help}")
        lines += [f"• {parameter.name}: {parameter.help}" for parameter in command.parameters]
        if command.example:
            lines.append(f"For example `{command.example}`")
        lines.append(f"For {command.permission}; {command.effect}.\n")
    return CommandResult("\n".join(lines).strip())


async def _privacy(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    del parsed
    linked = await engine.chats.senders.linked_member(caller.sender)
    behaviour = await engine.chats.senders.behaviour(caller.sender)
    unnamed = "Who wrote a message of this place is not named where I quote it.\n"
    unnamed = unnamed if behaviour.anonymous else ""
    who = f"your membership as {linked}" if linked else "this account alone; it is not linked"
    return CommandResult(
        "**Who sees an answer decides what it may use.** In a channel I use only what everyone who"
        " can see it may read; in private, what you may read yourself.\n"
        "I keep your question, the answer and the passages it rests on, so that you can go on from"
        " there. Messages that don't ask me anything are kept only in channels where an admin"
        " turned that on, which is said in the channel.\n"
        f"What you may read follows from {who}.\n{unnamed}"
        "An admin deletes what was kept of you with `forget`."
    )


async def _link(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    del parsed
    linked = await engine.chats.senders.linked_member(caller.sender)
    if linked:
        return CommandResult(f"This account is linked to {linked}. `unlink` undoes it.")
    code = linking.link_code(engine.secrets, caller.sender)
    return CommandResult(
        "Give this code to Scrubjay where it knows you, within ten minutes: "
        f"`scrubjay bot link {code} --as <your e-mail>`, or ask your admin to."
        " Don't post it anywhere."
    )


async def _unlink(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    del parsed
    undone = await engine.db.run_write(lambda s: linking.unlink_account(s, caller))
    return CommandResult("The link is undone." if undone else "This account was not linked.")


async def _feedback(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    last = await engine.chats.posts.recent(caller.sender, limit=1)
    if not last:
        raise NotFound("I have not answered you here yet.")
    rating = 1 if parsed.text("rating") == "good" else -1
    await engine.chats.posts.rate(caller, last[0].id, rating, text=parsed.text("text"))
    return CommandResult(f"Thank you: kept for my answer to “{_cut(last[0].question)}”.")


# Knowledge bases and channels


async def _list(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    del parsed
    async with engine.db.read() as session:
        kbs = await knowledge_bases.list_managed_kbs(session, caller.principal)
    rows = [[kb.name, kb.description, f"{kb.created_at:%Y-%m-%d}"] for kb in kbs]
    said = "All knowledge bases:" if rows else "There is no knowledge base yet: `create` one."
    return CommandResult(said, ("knowledge base", "about", "made"), rows)


async def _create(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    made = await engine.knowledge_bases.create(
        caller.principal, parsed.text("name"), description=parsed.text("description")
    )
    workspace = gate.workspace_token(caller.sender.workspace_id)
    await engine.db.run_write(
        lambda s: knowledge_bases.grant_kb(s, caller.principal, made.id, workspace)
    )
    return CommandResult(
        f"Made **{made.name}**, which all members and this workspace's full members may read."
        f" Next: `source add <url> {_quoted(made.name)}`, or `bind` a channel to it."
    )


async def _delete(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    gone = await engine.knowledge_bases.delete(caller.principal, parsed.text("kb"))
    return CommandResult(f"Deleted **{gone.name}**: it is out of every answer from now on.")


async def _grant(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    kb_id, name = await _managed_kb(engine, caller, parsed.text("kb"))
    token, who = await _grantee(engine, caller, parsed)
    await engine.db.run_write(lambda s: knowledge_bases.grant_kb(s, caller.principal, kb_id, token))
    return CommandResult(f"{who} may read **{name}** from now on.")


async def _revoke(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    kb_id, name = await _managed_kb(engine, caller, parsed.text("kb"))
    token, who = await _grantee(engine, caller, parsed)
    await engine.db.run_write(
        lambda s: knowledge_bases.revoke_kb(s, caller.principal, kb_id, token)
    )
    return CommandResult(
        f"{who} may not read **{name}** any more, unless something else lets them."
    )


async def _grantee(engine: Engine, caller: Caller, parsed: Parsed) -> tuple[str, str]:
    channel_id, place = await _place(engine, caller, parsed.text("place") or WORKSPACE)
    if channel_id is None:
        return gate.workspace_token(caller.sender.workspace_id), "The workspace's full members"
    return gate.channel_token(channel_id), f"The people of {place}"


async def _managed_kb(engine: Engine, caller: Caller, name: str) -> tuple[str, str]:
    async with engine.db.read() as session:
        kbs = await knowledge_bases.list_managed_kbs(session, caller.principal)
    for kb in kbs:
        if name in {kb.name, kb.id}:
            return kb.id, kb.name
    names = ", ".join(kb.name for kb in kbs) or "none yet"
    raise NotFound(f"There is no knowledge base “{name[:60]}”. There are: {names}.")


async def _bind(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    kb_id, name = await _managed_kb(engine, caller, parsed.text("kb"))
    channel_id, place = await _place(engine, caller, parsed.text("channel"))
    await _change(engine, caller, {"kb": kb_id}, channel_id)
    return CommandResult(f"{place} is answered from **{name}** from now on.")


async def _unbind(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    channel_id, place = await _place(engine, caller, parsed.text("channel"))
    await _change(engine, caller, {"kb": None}, channel_id)
    return CommandResult(f"{place} is answered from all that its people may read.")


async def _show(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    channel_id, place = await _place(engine, caller, parsed.text("channel"))
    async with engine.db.read() as session:
        sender = sender_rows.Sender(
            caller.sender.tenant_id,
            caller.sender.workspace_id,
            caller.sender.identity_id,
            channel_id,
        )
        threshold = engine.settings.bots.auto_threshold
        found = await behaviour.behaviour_of(session, sender, default_threshold=threshold)
        kbs = await knowledge_bases.list_managed_kbs(session, caller.principal)
    names = {kb.id: kb.name for kb in kbs}
    return CommandResult(
        f"Settings of {place}:", ("setting", "value", "set for"), _shown(found, names)
    )


def _shown(found: Behaviour, names: Mapping[str, str]) -> list[list[str]]:
    values = {
        "mode": found.mode,
        "threshold": f"{found.threshold} %",
        "kb": names.get(found.kb, "all that may be read"),
        "private": "on" if found.private else "off",
        "respond_to": ", ".join(found.respond_to) or EVERYBODY,
        "escalate_to": found.escalate_to or "nobody",
        "anonymous": "on" if found.anonymous else "off",
        "language": name_of(found.language) or "that of the question",
    }
    return [[name.replace("_", "-"), value, found.origins[name]] for name, value in values.items()]


async def _mode(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    channel_id, place = await _place(engine, caller, parsed.text("place"))
    mode = parsed.text("mode")
    await _change(engine, caller, {"mode": mode}, channel_id)
    meaning = {
        "mention": "I answer when I am mentioned, and in threads where I was",
        "auto": "I answer when I am mentioned, and unasked where I am sure",
        "off": "I answer nobody",
    }
    return CommandResult(f"{place}: {meaning[mode]}.")


async def _threshold(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    channel_id, place = await _place(engine, caller, parsed.text("place"))
    percent = parsed.number("percent")
    await _change(engine, caller, {"threshold": percent}, channel_id)
    return CommandResult(f"{place}: unasked, I speak only when I am at least {percent} % sure.")


async def _respond_to(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    channel_id, place = await _place(engine, caller, "")
    people = list(parsed.many("people"))
    await _change(engine, caller, {"respond_to": people or None}, channel_id)
    who = ", ".join(f"<@{person}>" for person in people) if people else EVERYBODY
    return CommandResult(f"{place}: I answer {who}.")


async def _private(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    channel_id, place = await _place(engine, caller, parsed.text("place"))
    on = parsed.text("switch") == "on"
    await _change(engine, caller, {"private": on}, channel_id)
    return CommandResult(
        f"{place}: " + ("only the asker sees an answer." if on else "answers are public.")
    )


async def _escalate_to(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    channel_id, place = await _place(engine, caller, parsed.text("place"))
    group = parsed.text("group")
    nobody = group.lower() in {"nobody", "none", "off"}
    await _change(engine, caller, {"escalate_to": None if nobody else group}, channel_id)
    return CommandResult(f"{place}: “Ask a human” calls {'nobody' if nobody else group}.")


async def _anonymous(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    channel_id, place = await _place(engine, caller, parsed.text("place"))
    on = parsed.text("switch") == "on"
    await _change(engine, caller, {"anonymous": on}, channel_id)
    await engine.chats.history.rename_authors(
        caller.sender.tenant_id, caller.sender.workspace_id, channel_id
    )
    if on:
        return CommandResult(
            f"{place}: who wrote a message is not named where it is quoted from now on. What is"
            " kept is made anew without the names; names within what people wrote stay."
        )
    return CommandResult(f"{place}: who wrote a message is named where it is quoted.")


async def _language(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    channel_id, place = await _place(engine, caller, parsed.text("place"))
    code = parse_language(parsed.text("language"))
    await _change(engine, caller, {"language": code}, channel_id)
    said = f"{place}: answers are in {name_of(code) or 'the language of their question'}."
    if code and not engine.answers.writes:
        said += " That takes a language model, and none is configured: answers are quoted."
    elif code:
        said += (
            " What is answered from documents in another language can't be checked, and says so."
        )
    return CommandResult(said)


async def _place(engine: Engine, caller: Caller, ref: str) -> tuple[str | None, str]:
    """The channel a command is about (None: the workspace) and how it is called."""
    if ref.lower() == WORKSPACE:
        return None, "The workspace"
    async with engine.db.read() as session:
        if ref:
            channel = await sender_rows.find_channel(session, caller.sender, ref)
        else:
            here = await sender_rows.get_channel(session, caller.sender)
            if here is None:
                raise InvalidInput(
                    "Which channel? Name one with #, or say `workspace`.", field="channel"
                )
            channel = here
    return channel.id, f"#{channel.name}"


async def _change(
    engine: Engine, caller: Caller, changes: Mapping[str, object], channel_id: str | None
) -> None:
    await engine.db.run_write(
        lambda s: behaviour.change_behaviour(s, caller, changes, channel_id=channel_id)
    )


# Sources


async def _source_add(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    behaviour = await engine.chats.senders.behaviour(caller.sender)
    kb = parsed.text("kb") or behaviour.kb
    if not kb:
        kbs = await engine.knowledge_bases.list_readable(caller.principal)
        if len(kbs) != 1:
            names = ", ".join(kb.name for kb in kbs) or "none: `create` one first"
            raise InvalidInput(f"Into which knowledge base? There are: {names}.", field="kb")
        kb = kbs[0].id
    url = canonical_url(parsed.text("url"))
    added = await engine.documents.add(caller.principal, kb, NewDocument(url=url, external_id=url))
    if added.unchanged:
        return CommandResult(f"{url} is there already, unchanged.")
    return CommandResult(f"Added {url}. `source status` says when it answers.")


async def _source_sync(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    url = canonical_url(parsed.text("url"))
    for kb in await engine.knowledge_bases.list_readable(caller.principal):
        cursor = ""
        while True:
            page = await engine.documents.page(caller.principal, kb.id, cursor=cursor)
            if any(url in {document.external_id, document.url} for document in page.documents):
                new = NewDocument(url=url, external_id=url)
                added = await engine.documents.add(caller.principal, kb.id, new)
                return CommandResult(
                    f"{url} is " + ("unchanged." if added.unchanged else "on its way.")
                )
            if not (cursor := page.next_cursor):
                break
    raise NotFound(f"{url} was not added yet: `source add` it.")


async def _source_status(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
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


# Channel history


async def _ingest_add(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    channel_id, place = await _place(engine, caller, parsed.text("channel"))
    await _refuse_where_nothing_may_be_kept(engine, caller)
    there = replace(caller.sender, channel_id=channel_id)
    kb = (await engine.chats.senders.behaviour(there)).kb
    if not kb:
        raise InvalidInput(
            f"Into which knowledge base? `bind {place} <kb>` says which one answers {place}; its"
            " messages go there as well.",
            field="kb",
        )
    days = parsed.number("since")
    since = clock.now() - timedelta(days=days) if days else clock.now()
    covered = await engine.chats.history.add(caller.principal, channel_id or "", kb, since=since)
    back = f"back to {since:%Y-%m-%d}" if days else "from now on"
    return CommandResult(
        f"Messages of {place} are kept in **{covered.kb}** {back}. `ingest status` says how far"
        " that is.",
        announcement=f"Messages of this channel are kept {back}, so that I can answer from them. Who may"
        " read them here may read such an answer, nobody else. `ingest remove` ends it.",
    )


async def _refuse_where_nothing_may_be_kept(engine: Engine, caller: Caller) -> None:
    try:
        installed = await engine.chats.installations.of(caller.sender)
    except NotFound:  # the terminal's
        return
    if installed.reading == "live":
        raise Forbidden(
            "This Slack app is distributed to organisations that don't own it, and Slack's terms let"
            " such an app keep no messages. Make an app of your own to have history kept."
        )


async def _ingest_pause(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    channel_id, place = await _place(engine, caller, parsed.text("channel"))
    await engine.chats.history.pause(caller.principal, channel_id or "")
    return CommandResult(f"{place} is not read any further; what is kept of it still answers.")


async def _ingest_resume(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    channel_id, place = await _place(engine, caller, parsed.text("channel"))
    await engine.chats.history.resume(caller.principal, channel_id or "")
    return CommandResult(f"{place} is read on from where it was.")


async def _ingest_remove(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    channel_id, place = await _place(engine, caller, parsed.text("channel"))
    gone = await engine.chats.history.remove(caller.principal, channel_id or "")
    return CommandResult(
        f"{place} is kept no longer: {gone.messages:,} messages are out of every answer now.",
        announcement="Messages of this channel are kept no longer, and what was kept is deleted.",
    )


async def _ingest_status(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    channel_id = ""
    if parsed.text("channel"):
        channel_id = (await _place(engine, caller, parsed.text("channel")))[0] or ""
    covered = await engine.chats.history.coverage(caller.principal, channel_id)
    if not covered:
        return CommandResult("No channel's messages are kept. `ingest add` begins with one.")
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


def _left(one: Coverage) -> str:
    """What is missing, in a phrase: an error, a pause, a guess at the time left, or gaps."""
    if one.error:
        return one.error
    if one.next_try_at is not None and one.next_try_at > clock.now():
        return f"waits until {one.next_try_at:%H:%M} UTC"
    if one.eta_s is not None and one.state == "reading":
        return f"about {max(1, round(one.eta_s / 60))} minutes"
    gaps = "; ".join(dict.fromkeys(gap.reason for gap in one.gaps))
    return gaps or "–"  # noqa: RUF001


async def _forget(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    what = parsed.text("what")
    if found := _PERSON.fullmatch(what):
        gone = await engine.chats.history.forget_person(
            caller.principal, caller.sender.workspace_id, found[1]
        )
        return CommandResult(
            f"Forgotten: {gone.messages:,} messages of theirs. Nothing more of them is kept."
        )
    if found := _MESSAGE.search(what):
        channel_id, place = await _place(engine, caller, found[1])
        ts = f"{found[2][:-6]}.{found[2][-6:]}"
        gone = await engine.chats.history.forget_message(caller.principal, channel_id or "", ts)
        said = "Forgotten: it is in no answer any more." if gone.messages else "It was not kept."
        return CommandResult(f"{place}: {said}")
    if what.startswith(("<#", "#")):
        ref = what.strip("<>").split("|")[0].lstrip("#")
        channel_id, place = await _place(engine, caller, ref)
        gone = await engine.chats.history.remove(caller.principal, channel_id or "")
        return CommandResult(
            f"Forgotten: {gone.messages:,} messages of {place}, which is kept no longer."
        )
    raise InvalidInput(
        "Forget what? Mention a person with @, link a channel with #, or paste a message's link.",
        field="what",
    )


async def _retention(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    days = parsed.number("age") or None
    covered = await engine.chats.history.coverage(caller.principal)
    for item in covered:
        await engine.chats.history.set_retention(caller.principal, item.channel_id, days)
    if not covered:
        return CommandResult("No channel's messages are kept, so there is nothing to limit.")
    noun = "channel" if len(covered) == 1 else "channels"
    kept = f"are kept for {days} days" if days else "are kept without a limit"
    return CommandResult(f"Messages of {len(covered)} {noun} {kept}.")


# Running it


async def _usage(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    days = parsed.number("days") or 7
    since = clock.now() - timedelta(days=days)
    async with engine.db.read() as session:
        found = await feedback.usage(session, caller.principal, since)
    rows = [
        ["questions", f"{found.questions:,}"],
        ["answered from sources", f"{found.answered:,}"],
        ["people", f"{found.people:,}"],
        ["tokens read and written", f"{found.input_tokens:,} and {found.output_tokens:,}"],
    ]
    return CommandResult(f"The last {days} days:", ("", ""), rows)


async def _limits(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    del parsed
    limits = await engine.chats.question_limits.get(caller.sender.tenant_id)
    what = {"tokens-a-day": "tokens of the model a day"}
    rows = [
        [name, f"{value:,}" if value else "none", what.get(name, "questions in five minutes")]
        for name, value in limits.items()
    ]
    return CommandResult("Change one with `limits set`.", ("limit", "number", "of"), rows)


async def _limits_set(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    name, number = parsed.text("limit"), parsed.number("number")

    async def change(session: Any) -> None:  # noqa: ANN401 (run_write's)
        tenant = await session.get_one(Tenant, caller.sender.tenant_id)
        before = dict(tenant.settings.get("bot_limits", {}))
        tenant.settings = {**tenant.settings, "bot_limits": {**before, name: number}}
        detail = {"limit": name, "from": before.get(name), "to": number}
        await gate.audit(session, caller.principal, "bot.limits", tenant.id, detail)

    await engine.db.run_write(change)
    return CommandResult(
        f"The limit {name} is {number:,} from now on." if number else f"No limit {name}."
    )


async def _feedback_report(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    del parsed
    async with engine.db.read() as session:
        good, bad, rated = await feedback.feedback_report(session, caller.principal)
    rows = [
        [f"{item.at:%Y-%m-%d}", _cut(item.question), " ".join([item.reason, item.text]).strip()]
        for item in rated
    ]
    said = f"Helpful: {good}. Not helpful: {bad}."
    return CommandResult(said, ("day", "question", "what was wrong") if rows else (), rows)


async def _health(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    del caller, parsed
    found = await engine.operations.health()
    rows = [[name, fault or "well"] for name, fault in found.items()]
    model = engine.settings.llm.model or "none: answers are quoted from the documents"
    rows.append(["language model", model])
    return CommandResult("", ("part", "state"), rows)


async def _audit(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    async with engine.db.read() as session:
        rows = list(
            await session.scalars(
                select(AuditEvent)
                .where(AuditEvent.tenant_id == caller.sender.tenant_id)
                .order_by(AuditEvent.id.desc())
                .limit(parsed.number("number") or 10)
            )
        )
        actors = {row.actor for row in rows}
        users = await session.execute(select(User.id, User.name).where(User.id.in_(actors)))
        accounts = await session.execute(
            select(Identity.id, Identity.name).where(
                Identity.id.in_(actors), Identity.tenant_id == caller.sender.tenant_id
            )
        )
        names: dict[str, str] = {row[0]: row[1] for row in [*users, *accounts]}
    told = [
        [f"{row.at:%Y-%m-%d %H:%M}", names.get(row.actor, row.actor), row.action, _detail(row)]
        for row in rows
    ]
    return CommandResult("Times are UTC.", ("when", "who", "what", "details"), told)


def _detail(row: AuditEvent) -> str:
    return _cut(", ".join(f"{k}: {v}" for k, v in row.detail.items() if v not in (None, "", {})))


async def _roles(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    del parsed
    async with engine.db.read() as session:
        rows = await callers.list_roles(session, caller)
    said = "" if rows else "Nobody has a role here but whoever installed the bot."
    return CommandResult(said, ("who", "role", "why") if rows else (), rows)


async def _roles_give(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    role = Role(parsed.text("role"))
    name, given = await engine.db.run_write(
        lambda s: callers.give_role(s, caller, parsed.text("person"), role)
    )
    return CommandResult(
        f"{name} is {given} here from now on. It changes nothing about what they may read."
    )


async def _roles_take(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    name, _ = await engine.db.run_write(
        lambda s: callers.give_role(s, caller, parsed.text("person"), None)
    )
    return CommandResult(f"{name} has no role of this workspace any more.")


async def _setup(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    """What a door without forms says; where there are forms, the bot opens one instead."""
    del parsed
    async with engine.db.read() as session:
        kbs = await knowledge_bases.list_managed_kbs(session, caller.principal)
    names = ", ".join(f"`{kb.name}`" for kb in kbs) or "none yet; `create <name>` makes one"
    return CommandResult(
        f"1. Knowledge bases: {names}.\n"
        "2. `bind <#channel> <kb>` says which one answers a channel.\n"
        "3. `mode <mention|auto|off>` says when; `threshold` how sure an unasked answer must be.\n"
        "4. Ask something."
    )


async def _export(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    del parsed
    async with engine.db.read() as session:
        kbs = await knowledge_bases.list_managed_kbs(session, caller.principal)
        workspace = await session.get_one(Workspace, caller.sender.workspace_id)
        channels = list(
            await session.scalars(
                select(Channel).where(Channel.workspace_id == workspace.id).order_by(Channel.name)
            )
        )
    names = {kb.id: kb.name for kb in kbs}
    lines = _as_commands(workspace.settings.get("bot", {}), WORKSPACE, names)
    for channel in channels:
        lines += _as_commands(channel.settings.get("bot", {}), f"#{channel.name}", names)
    if not lines:
        return CommandResult("Nothing is set: every place has the defaults.")
    return CommandResult("```\n" + "\n".join(lines) + "\n```")


def _as_commands(stored: Mapping[str, Any], place: str, names: Mapping[str, str]) -> list[str]:
    lines = []
    for name, value in sorted(stored.items()):
        if name == "kb" and value in names and place != WORKSPACE:
            lines.append(f"bind {place} {_quoted(names[value])}")
        elif name in {"anonymous", "private"}:
            lines.append(f"{name} {'on' if value else 'off'} {place}")
        elif name == "language":
            lines.append(f"language {value or OF_THE_QUESTION} {place}")
        elif name in {"mode", "threshold", "escalate_to"}:
            lines.append(f"{name.replace('_', '-')} {_quoted(str(value))} {place}")
    return lines


def _quoted(name: str) -> str:
    return f'"{name}"' if shlex.quote(name) != name else name


def _cut(text: str, most: int = 120) -> str:
    text = " ".join(text.split())
    return text if len(text) <= most else text[: most - 1] + "…"


_RUNS: Mapping[str, Run] = {
    "anonymous": _anonymous,
    "audit": _audit,
    "bind": _bind,
    "create": _create,
    "delete": _delete,
    "escalate-to": _escalate_to,
    "export-settings": _export,
    "feedback": _feedback,
    "feedback report": _feedback_report,
    "forget": _forget,
    "grant": _grant,
    "health": _health,
    "ingest add": _ingest_add,
    "ingest pause": _ingest_pause,
    "ingest remove": _ingest_remove,
    "ingest resume": _ingest_resume,
    "ingest status": _ingest_status,
    "help": _help,
    "language": _language,
    "limits": _limits,
    "limits set": _limits_set,
    "link": _link,
    "list": _list,
    "mode": _mode,
    "privacy": _privacy,
    "private": _private,
    "respond-to": _respond_to,
    "retention": _retention,
    "revoke": _revoke,
    "roles": _roles,
    "roles give": _roles_give,
    "roles take": _roles_take,
    "search": _search,
    "setup": _setup,
    "show": _show,
    "source add": _source_add,
    "source status": _source_status,
    "source sync": _source_sync,
    "sources": _sources,
    "threshold": _threshold,
    "unbind": _unbind,
    "unlink": _unlink,
    "usage": _usage,
}
