"""Commands in a chat: who may, what they change, what is confirmed, what is audited."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from engine.commands.table import COMMANDS, Effect, Permission
from engine.db.tables import AuditEvent
from tests.fakes.chat import Room

SAMPLES = {
    "bind": "bind <#C1> notes",
    "delete": "delete notes",
    "create": "create wiki",
    "mode": "mode auto",
    "threshold": "threshold 50",
    "respond-to": "respond-to everyone",
    "answer-bots": "answer-bots none",
    "private": "private on",
    "escalate-to": "escalate-to nobody",
    "source add": "source add http://127.0.0.1:9/x",
    "source sync": "source sync http://127.0.0.1:9/x",
    **{
        f"source {verb}": f"source {verb} handbook"
        for verb in ("check", "confirm", "pause", "remove", "resume", "show", "why")
    },
    "source connect": "source connect web handbook url=http://127.0.0.1:9/",
    "limits set": "limits set user 5",
    "roles give": "roles give bob curator",
    "roles take": "roles take bob",
    "grant": "grant notes #team",
    "revoke": "revoke notes #team",
    "forget": "forget <@U1>",
    "assistant show": "assistant show travel-help",
    "assistant unbind": "assistant unbind",
    "workflow cancel": "workflow cancel 0192f0c1a7e37c4e9d1b2a3c4d5e6f70",
    "workflow show": "workflow show 0192f0c1a7e37c4e9d1b2a3c4d5e6f70",
}
ADMINS_OWN = [c for c in COMMANDS if c.permission is Permission.ADMIN]


async def actions(room: Room) -> list[str]:
    async with room.engine.db.read() as session:
        rows = await session.scalars(select(AuditEvent).order_by(AuditEvent.id))
        return [row.action for row in rows]


@pytest.mark.parametrize("who", ["bob", "gus"])
async def test_admin_commands_are_refused_to_others_and_change_nothing(room, who):
    before = await actions(room)
    for command in ADMINS_OWN:
        line = SAMPLES.get(command.name, command.example or command.name)
        said = await room.command(line, by=who)
        assert said.startswith("You don't have permission to do this here."), command.name
        assert room.chat.last.whom == who
    assert await actions(room) == before


async def test_every_command_answers_an_admin(room):
    for command in COMMANDS:
        line = SAMPLES.get(command.name, command.example or command.name)
        said = await room.command(line, by="ada")
        last = room.chat.last
        assert said or last.reply.rows or last.reply.sources, command.name
        assert "went wrong" not in said, command.name
        assert last.whom == "ada"


async def test_a_curator_hides_a_document_by_its_id_and_shows_it_again(room, notes):
    [document] = (await notes.engine.documents.page(notes.owner, "notes", limit=1)).documents
    await room.command("roles give bob curator", by="ada")
    said = await room.command(f"document hide {document.id}", by="bob")
    assert said == f"**{document.title}** is hidden: no answer uses it from now on."
    assert (await notes.engine.documents.get(notes.owner, document.id)).hidden
    await room.command("help", by="bob")
    assert any("document hide" in row[0] for row in room.chat.last.reply.rows)
    said = await room.command(f"document unhide {document.id}", by="bob")
    assert said == f"**{document.title}** can be found again."
    assert (await actions(room))[-2:] == ["document.hide", "document.unhide"]


async def test_search_settings_are_shown_set_and_reset_by_command(room, notes):
    said = await room.command("ranking set notes alpha 0.25")
    assert said == "**notes**: alpha is 0.25 from now on."
    await room.command("ranking show notes")
    rows = [list(row) for row in room.chat.last.reply.rows]
    assert ["alpha", "0.25"] in rows
    assert ["top_k", "10 (default)"] in rows
    assert "alpha" in await room.command("ranking set notes alpha loud")
    said = await room.command("ranking reset notes")
    assert said == "**notes**: everything is back to the default."
    kb = await notes.engine.knowledge_bases.get(notes.owner, "notes")
    assert dict(kb.search) == {}


async def test_a_knowledge_base_is_moved_to_another_model_by_command(room, notes, monkeypatch):
    said = await room.command("reembed notes")
    assert "already uses the vectors of hashing_test_384" in said
    said = await room.command("reembed notes multilingual")
    assert "multilingual-e5-small is not installed" in said
    monkeypatch.setattr(notes.engine.knowledge_bases, "_check_model", lambda _: "")
    said = await room.command("reembed notes multilingual")
    assert said.startswith("**notes** moves from the vectors of hashing_test_384 to those of me5")
    found = await notes.engine.operations.status(notes.owner)
    status = next(kb for kb in found.knowledge_bases if kb.name == "notes")
    assert (status.space, status.next_space, status.moved) == (
        "hashing_test_384",
        "me5_small_int8",
        0,
    )


async def test_a_curator_sets_metadata_and_a_search_narrows_by_it(room, notes):
    [document] = (await notes.engine.documents.page(notes.owner, "notes", limit=1)).documents
    await room.command("roles give bob curator", by="ada")
    line = f'document set {document.id} tags=a,b team_keyword="people ops" feature:pagerank=1.5'
    assert await room.command(line, by="bob") == f"**{document.title}** is changed."
    info = await notes.engine.documents.get(notes.owner, document.id)
    assert (list(info.tags), info.fields) == (["a", "b"], {"team_keyword": "people ops"})
    assert info.features == {"pagerank": 1.5}
    word = document.title.split()[0]
    await room.command(f'search {word} meta:"team_keyword=people ops"', by="ada")
    assert len(room.chat.last.reply.sources) == 1
    said = await room.command(f"search {word} meta:team_keyword=nobody", by="ada")
    assert "passes the filters" in said
    assert "price_float" in await room.command(f"search {word} meta:price_float=x", by="ada")


async def test_what_destroys_waits_for_the_same_person_to_confirm_it(room):
    said = await room.command("delete notes")
    assert said.startswith("Run `delete notes`?")
    question = room.chat.last
    [refused] = await room.press("Yes, do it", by="bob", on=question)
    assert refused.reply.text.startswith("There is nothing to confirm")
    [done] = await room.press("Yes, do it", by="ada", on=question)
    assert done.reply.text.startswith("Deleted **notes**")
    [twice] = await room.press("Yes, do it", by="ada", on=question)
    assert twice.reply.text.startswith("There is nothing to confirm")
    assert "kb.delete" in await actions(room)


async def test_what_is_declined_is_not_done(room):
    await room.command("delete notes")
    question = room.chat.last
    await room.press("No", on=question)
    [late] = await room.press("Yes, do it", on=question)
    assert late.reply.text.startswith("There is nothing to confirm")
    assert "notes" in [row[0] for row in await rows(room, "list")]


async def rows(room: Room, line: str, **more: str) -> list[list[str]]:
    await room.command(line, **more)
    return [list(row) for row in room.chat.last.reply.rows]


async def test_a_channel_overrules_its_workspace_and_that_the_default(room):
    await room.command("mode auto workspace")
    await room.command("threshold 90 workspace")
    await room.command("mode off <#C1|help>")
    shown = {row[0]: row[1:] for row in await rows(room, "show <#C1>")}
    assert shown["mode"] == ["off", "channel"]
    assert shown["threshold"] == ["90 %", "workspace"]
    assert shown["private"] == ["off", "default"]
    assert {r[0]: r[1] for r in await rows(room, "show #team")}["mode"] == "auto"
    assert await room.command("export-settings") == (
        "```\nmode auto workspace\nthreshold 90 workspace\nmode off #help\n```"
    )


async def test_every_change_leaves_an_audit_row_with_old_and_new(room):
    await room.command("mode auto")
    await room.command("mode off")
    async with room.engine.db.read() as session:
        [first, second] = [
            row.detail
            for row in await session.scalars(select(AuditEvent).order_by(AuditEvent.id))
            if row.action == "bot.settings"
        ]
    assert (first["from"], first["to"]) == ({"mode": None}, {"mode": "auto"})
    assert (second["from"], second["to"]) == ({"mode": "auto"}, {"mode": "off"})
    audit = await rows(room, "audit 5")
    assert ["Owner", "bot.settings"] in [row[1:3] for row in audit]


async def test_a_role_lets_a_person_change_settings_and_read_nothing_more(room):
    await room.command("roles give bob admin")
    assert (await room.command("mode auto", by="bob")).startswith("#help: I answer mentions")
    await room.command("ask what is the salary of the chief gardener?", by="bob")
    assert "81,000" not in repr(room.chat.last)
    await room.command("roles take bob")
    assert (await room.command("mode off", by="bob")).startswith("You don't have permission")


async def test_a_guest_can_be_given_no_role(room):
    assert "guests can't be given a role" in await room.command("roles give gus admin")


async def test_no_one_becomes_owner_in_a_chat(room):
    said = await room.command("roles give bob owner")
    assert said.startswith("“role” can't be “owner”")


async def test_an_account_is_linked_with_a_code_from_the_chat(room, notes):
    said = await room.command("link", by="bob")
    code = said.split("link ")[1].split(" ")[0]
    assert await notes.engine.chats.senders.link(notes.owner, code) == "Bob"
    await room.command("ask what is the salary of the chief gardener?", by="bob")
    assert "81,000 rupees" in room.chat.last.reply.text
    await room.command("unlink", by="bob")
    await room.command("ask what is the salary of the chief gardener?", by="bob")
    assert "81,000" not in repr(room.chat.last)


async def test_an_unknown_command_offers_the_nearest(room):
    for who, sees in (("gus", False), ("ada", True)):
        said = await room.command("searc x", by=who)
        assert said.startswith("There is no command “searc”. The nearest: `search <query>`, `")
        assert said.count("`") == 6
        shown = {
            row[0].strip("`").split(" <")[0].split(" [")[0] for row in room.chat.last.reply.rows
        }
        assert "search" in shown
        assert ("mode" in shown) is sees


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("binde #help notes", "bind"),
        ("ingest ad #help", "ingest add"),
        ("kb list", "list"),
        ("role give bob", "roles give"),
        ("thresh 5", "threshold"),
    ],
)
async def test_what_was_probably_meant_is_among_the_three(room, said, meant):
    found = await room.command(said)
    assert meant in [part.split(" <")[0].split(" [")[0] for part in found.split("`")[1::2]]


async def test_what_others_may_use_is_offered_to_nobody_else(room):
    said = await room.command("thresh 5", by="gus")
    assert "threshold" not in said.partition("The nearest")[2]
    assert "is for admins" in await room.command("help mode", by="gus")
    assert "`mode <mention|auto|off>" in await room.command("help mode", by="ada")


async def test_help_shows_a_person_what_they_may_use(room):
    for who in ("gus", "bob", "ada"):
        caller_rows = await rows(room, "help", by=who)
        names = {row[0].strip("`").split(" <")[0].split(" [")[0] for row in caller_rows}
        for command in COMMANDS:
            allowed = command.permission is Permission.EVERYONE or who == "ada"
            assert (command.name in names) is allowed, (who, command.name)


async def test_every_command_that_changes_something_leaves_an_audit_row(room):
    missing = []
    # `setup` says what to type, and of no stored channel there is nothing to limit.
    silent = {"setup", "retention"}
    changing = [c for c in COMMANDS if c.effect is not Effect.READS and c.name not in silent]
    for command in sorted(changing, key=lambda command: command.effect is Effect.DESTROYS):
        before = len(await actions(room))
        await room.command(SAMPLES.get(command.name, command.example or command.name), by="ada")
        if any(button.label == "Yes, do it" for button in room.chat.last.reply.buttons):
            await room.press("Yes, do it", by="ada")
        refused = room.chat.last.reply.kind == "trouble"
        if len(await actions(room)) == before and not refused:
            missing.append((command.name, room.chat.last.reply.text[:120]))
    assert missing == []


async def test_a_curator_saves_a_threads_answer_for_its_channel(room, notes):
    await room.command("bind <#C1> notes")
    await room.command("roles give bob curator")
    room.chat.thread = [("Gus", "How do I reset the coffee machine?"), ("Bob", "Hold both keys.")]
    await room.say("the build is green")
    from tests.fakes.chat import Shown

    message = Shown("C1", "q1", _shortcut("save"))
    [refused] = await room.press("save", by="gus", on=message, text="Hold both keys.")
    assert "Only curators" in refused.reply.text
    [saved] = await room.press("save", by="bob", on=message, text="Hold both keys for ten seconds.")
    assert saved.reply.text == "Saved in **notes**. I can answer from it within a minute."
    await notes.drain()
    [shown] = await room.say("@bot how do I reset the coffee machine?", by="gus")
    assert "Hold both keys for ten seconds" in shown.reply.text
    await room.say("@bot how do I reset the coffee machine?", by="bob", channel="C2")


def _shortcut(action: str):
    from bots.replies import Button, Reply

    return Reply("", buttons=[Button(action, action)])
