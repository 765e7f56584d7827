"""Slash commands, their completion, menus, buttons and forms, as Discord sends them."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from bots.discord import streaming, tree
from bots.discord.bot import open_discord_bot
from engine.commands.table import COMMANDS, Effect, Permission, parse
from engine.documents.adding import NewDocument
from tests.fakes.discord import Fault, Interaction, Json, text_of
from tests.fakes.discord_checks import check_commands
from tests.fakes.discord_rooms import (
    ADA,
    BOB,
    GUILD,
    GUS,
    HELP,
    LEADS,
    MANAGERS,
    TEAM,
    Answer,
    path_of,
)
from tests.fakes.discord_world import SEND

SICK = "How many hours of advanced sick leave can I request?"
FILLED: dict[str, dict[str, object]] = {
    "anonymous": {"switch": "off", "place": TEAM},
    "ask": {"question": SICK},
    "audit": {"number": 5},
    "assistant bind": {"assistant": "travel-help", "place": HELP},
    "assistant create": {"name": "Travel help", "prompt": "Be brief."},
    "assistant remove": {"assistant": "travel-help"},
    "assistant set": {"assistant": "travel-help", "setting": "opener", "value": "Hello"},
    "assistant show": {"assistant": "travel-help"},
    "bind": {"channel": HELP, "kb": "notes"},
    "create": {"name": "wiki of ours", "description": "what we wrote"},
    "delete": {"kb": "board"},
    "escalate-to": {"group": f"<@&{MANAGERS}>"},
    "answer-bots": {"bots": "none"},
    "feedback": {"rating": "bad", "text": "it changed in May"},
    "forget": {"what": f"<@{GUS}>"},
    "grant": {"kb": "notes", "place": TEAM},
    "help": {"command": "mode"},
    "ingest add": {"channel": HELP, "since": "30d"},
    "ingest pause": {"channel": HELP},
    "ingest remove": {"channel": HELP},
    "document hide": {"document": "https://docs.example/leave"},
    "document set": {"document": "https://docs.example/leave", "values": "tags=a team=b"},
    "document unhide": {"document": "https://docs.example/leave"},
    "ingest resume": {"channel": HELP},
    "language": {"language": "de", "place": TEAM},
    "limits model": {"model": "none"},
    "limits quota": {"subject": "user", "what": "documents", "number": 20},
    "limits set": {"limit": "user", "number": 20},
    "mode": {"mode": "auto", "place": TEAM},
    "people activate": {"member": "cy@x.org"},
    "people add": {"email": "cy@x.org", "role": "curator"},
    "people deactivate": {"member": "cy@x.org"},
    "people group-add": {"group": "staff", "member": "cy@x.org"},
    "people group-create": {"group": "staff"},
    "people group-delete": {"group": "staff"},
    "people group-remove": {"group": "staff", "member": "cy@x.org"},
    "people invite": {"email": "cy@x.org", "role": "curator", "groups": "staff"},
    "people provider-check": {"provider": "google"},
    "people provider-remove": {"provider": "google"},
    "people remove": {"member": "cy@x.org"},
    "people reset-factors": {"member": "cy@x.org"},
    "people test-mail": {"email": "cy@x.org"},
    "people uninvite": {"email": "cy@x.org"},
    "people role": {"member": "cy@x.org", "role": "guest"},
    "private": {"switch": "off", "place": TEAM},
    "ranking show": {"kb": "notes"},
    "ranking reset": {"kb": "notes", "setting": "alpha"},
    "ranking set": {"kb": "notes", "setting": "alpha", "value": "0.5"},
    "reembed": {"kb": "notes", "model": "minilm"},
    "respond-to": {"people": f"<@{BOB}> <@{GUS}>"},
    "retention": {"age": "365d"},
    "revoke": {"kb": "notes", "place": TEAM},
    "roles give": {"person": BOB, "role": "curator"},
    "roles take": {"person": BOB},
    "run": {"workflow": "cited-answer", "inputs": "sick leave"},
    "search": {"query": "sick leave"},
    **{
        f"source {verb}": {"source": "handbook"}
        for verb in ("check", "confirm", "pause", "remove", "resume", "show", "why")
    },
    "source connect": {"kind": "web", "name": "handbook", "settings": "url=http://127.0.0.1:9/"},
    "source add": {"url": "https://docs.example/new"},
    "source sync": {"url": "https://docs.example/leave"},
    "threshold": {"percent": 80, "place": TEAM},
    "workflow cancel": {"run": "0192f0c1a7e37c4e9d1b2a3c4d5e6f70"},
    "workflow reply": {"run": "0192f0c1a7e37c4e9d1b2a3c4d5e6f70", "reply": "yes"},
    "workflow show": {"run": "0192f0c1a7e37c4e9d1b2a3c4d5e6f70"},
}


def test_the_commands_keep_to_what_discord_takes():
    commands = tree.payload()
    check_commands(commands)
    paths = [tree.path_of(command) for command in COMMANDS]
    assert len(set(paths)) == len(COMMANDS)
    assert tree.digest(commands) == tree.digest(json.loads(json.dumps(commands)))


def test_everything_in_the_table_can_be_filled_in_and_read_back():
    for command in COMMANDS:
        given = tree.FilledCommand("", command, FILLED.get(command.name, {}))
        assert parse(given.line).command is command
    gap = tree.FilledCommand("", parse("ingest add").command, {"since": "30d"})
    assert parse(gap.line).values == {"channel": "", "since": 30}
    quoted = tree.FilledCommand("", parse("create x").command, {"name": 'a "b" c'})
    assert parse(quoted.line).text("name") == "a 'b' c"


async def test_every_command_is_answered_for_who_said_it(room):
    for channel in (HELP, TEAM):  # so that both are known
        await room.say(ADA, f"{room.mention} hello", channel=channel)
    for command in COMMANDS:
        if command.name in {"setup", "ask"}:
            continue
        used = await room.slash(ADA, path_of(command.name), FILLED.get(command.name))
        assert (used.kind, used.is_done, used.is_private) == (5, True, True), command.name
        assert "went wrong" not in used.text, command.name
        assert "There is no command" not in used.text, command.name
        if command.effect is Effect.DESTROYS:
            assert "This can't be undone" in used.text, command.name
            done = await room.press(ADA, used.shown[-1], "No")
            assert "Nothing was changed" in done.text


async def test_what_is_for_admins_is_refused_to_others_and_hidden_from_them(room):
    with pytest.raises(AssertionError, match="hidden"):
        room.discord.interactions.slash(BOB, HELP, "kb-admin health")
    for item in room.discord.interactions.commands[""]:  # a server's admins may show them
        item.pop("default_member_permissions", None)
    for command in COMMANDS:
        if command.permission is Permission.ADMIN and command.name != "setup":
            used = await room.slash(BOB, path_of(command.name), FILLED.get(command.name))
            assert used.is_private
            assert "for admins" in used.text, command.name


async def test_a_question_is_answered_privately_in_place_of_thinking(room, monkeypatch):
    monkeypatch.setattr(streaming, "EDIT_S", 0.0)
    room.write(
        "You can request up to 240 hours of advanced sick leave [1]. Advanced sick leave is up to 240"
        " hours [1]."
    )
    used = await room.slash(GUS, "ask", {"question": SICK})
    assert used.kind == 5
    assert used.is_private
    assert "240 hours" in used.text
    assert "Only you can see this" in used.text
    grown = [edit["content"] for edit in used.edits if str(edit.get("content")).endswith(" …")]
    assert len(grown) > 1
    assert room.shown() == []


async def test_a_private_answer_is_shared_with_the_channel(room):
    used = await room.slash(BOB, "ask", {"question": SICK})
    preview = await room.press(BOB, used.shown[-1], "Share with channel")
    assert room.shown() == []
    assert preview.is_private
    await room.press(BOB, preview.shown[-1], "Post it")
    shown = Answer(room.shown())
    assert shown.channel == HELP
    assert "Shared by Bob" in shown.text
    assert "240 hours" in shown.text


async def test_what_not_all_may_read_is_not_shared(room):
    used = await room.slash(ADA, "ask", {"question": "What is the salary of the gardener?"})
    assert "81,000" in used.text
    refused = await room.press(ADA, used.shown[-1], "Share with channel")
    assert room.shown() == []
    assert "not everyone in #help may read" in refused.text


async def test_an_answer_is_rated_explained_and_deleted(room):
    shown = await room.answer_to(BOB, f"{room.mention} {SICK}")
    rated = await room.press(GUS, shown.buttons, "👍")
    assert rated.kind == 6
    assert "Thank you" in rated.text
    down = await room.press(GUS, shown.buttons, "👎")
    assert down.modal is not None
    sent = room.discord.interactions.submit(down, reason=["outdated"], text="It changed.")
    await room.settle()
    assert sent.is_private
    assert "Thank you" in sent.text
    before = len(room.shown())
    await room.press(GUS, shown.buttons, "More detail")
    assert len(room.shown()) > before
    refused = await room.press(GUS, shown.buttons, "Delete")
    assert "Only the person who asked" in refused.text
    await room.press(BOB, shown.buttons, "Delete")
    assert not [item for item in room.shown() if item in shown.messages]


async def test_help_is_asked_for_once_and_of_no_one_else(room):
    await room.slash(ADA, "kb-admin escalate-to", {"group": f"<@&{MANAGERS}>"})
    shown = await room.answer_to(BOB, f"{room.mention} {SICK}")
    await room.press(GUS, shown.buttons, "Ask a human")
    call = room.shown()[-1]
    assert call["mention_roles"] == [MANAGERS]
    again = await room.press(GUS, shown.buttons, "Ask a human")
    assert "already" in again.text
    await room.press(ADA, call, "Mark resolved")
    assert "Resolved by" in text_of(room.discord.world.find_message(call["channel_id"], call["id"]))


async def test_a_button_works_after_a_restart(room):
    used = await room.slash(BOB, "ask", {"question": SICK})
    await room.disconnect()
    async with open_discord_bot(room.notes.engine) as other:
        room.bot = other
        await room.connect()
        more = await room.press(BOB, used.shown[-1], "More detail")
        assert "240 hours" in more.text
        await room.disconnect()


async def test_menus_on_a_message(room):
    asked = room.discord.talk.say(HELP, GUS, SICK)
    answer = room.discord.talk.say(HELP, BOB, "It is 240 hours, says the handbook.")
    await room.settle()

    async def choose(user: str, name: str, message: Json) -> Interaction:
        used = room.discord.interactions.choose(user, HELP, name, message["id"])
        await room.settle()
        assert used.is_private
        return used

    assert "240 hours" in (await choose(BOB, "Ask about this", asked)).text
    assert "docs.example/leave" in (await choose(BOB, "Find similar", asked)).text
    assert "240 hours" in (await choose(BOB, "Summarise thread", asked)).text
    assert "Only curators" in (await choose(GUS, "Save as answer", answer)).text
    await room.slash(ADA, "kb-admin bind", {"channel": HELP, "kb": "notes"})
    assert "Saved in" in (await choose(ADA, "Save as answer", answer)).text


async def test_a_channel_is_set_up_by_a_form(room):
    await room.say(ADA, f"{room.mention} hello")
    opened = room.discord.interactions.slash(ADA, HELP, "kb-admin setup")
    await room.settle()
    assert opened.modal is not None
    sent = room.discord.interactions.submit(opened, kb=["notes"], mode=["auto"], question=SICK)
    await room.settle()
    assert sent.is_private
    assert "Questions in #help are now answered from **notes**" in sent.text
    assert "240 hours" in sent.text
    for command in room.discord.interactions.commands[""]:
        command.pop("default_member_permissions", None)
    refused = await room.slash(BOB, "kb-admin setup")
    assert refused.is_private
    assert refused.modal is None


async def test_what_is_typed_is_completed_from_what_one_may_see(room):
    def complete(user: str, name: str, option: str, typed: str, **more: Any) -> Interaction:
        return room.discord.interactions.complete(user, HELP, name, option, typed, **more)

    await room.say(ADA, f"{room.mention} hello")
    address = "https://docs.example/leave"
    page = NewDocument(
        data=b"# Leave\n\nAsk.", filename="leave.md", url=address, external_id=address
    )
    await room.notes.engine.documents.add(room.notes.owner, "notes", page)
    kbs = complete(ADA, "kb-admin bind", "kb", "", channel=HELP)
    places = complete(ADA, "kb-admin mode", "place", "le", mode="auto")
    pages = complete(ADA, "kb-admin source sync", "url", "leave")
    helped = complete(GUS, "kb help", "command", "limits")
    await room.settle()
    assert {choice["value"] for choice in kbs.choices} == {"notes", "board"}
    assert places.choices == [
        {"name": "#leads", "value": LEADS},
        {"name": "The whole server", "value": "workspace"},
    ]
    assert [choice["value"] for choice in pages.choices] == ["https://docs.example/leave"]
    assert [choice["value"] for choice in helped.choices] == [
        "answer-bots",
        "limits",
        *("limits set", "limits credits", "limits models", "limits model"),
        *("limits quotas", "limits quota"),
    ]
    for command in room.discord.interactions.commands[""]:
        command.pop("default_member_permissions", None)
    his = complete(GUS, "kb-admin mode", "place", "le", mode="auto")
    hidden = complete(GUS, "kb-admin base delete", "kb", "")
    await room.settle()
    assert LEADS not in {choice["value"] for choice in his.choices}
    assert [choice["value"] for choice in hidden.choices] == ["notes"]


async def test_a_late_answer_comes_by_direct_message(room):
    room.discord.interactions.slash(BOB, HELP, "ask", question=SICK)
    await room.discord.until(lambda: room.discord.rest.called("POST", "/interactions/*"))
    room.discord.interactions.life_s = -1.0
    await room.settle()
    direct = room.discord.shown(room.discord.dm(BOB))
    assert "240 hours" in text_of(direct[0])


async def test_an_interaction_that_came_too_late_is_answered_all_the_same(room):
    room.discord.interactions.deadline_s = -1.0
    await room.slash(BOB, "ask", {"question": SICK})
    direct = room.discord.shown(room.discord.dm(BOB))
    assert "240 hours" in text_of(direct[0])


@pytest.mark.parametrize("via", [True, False])
async def test_rate_limits_and_faults_lose_nothing(room, via):
    path = "/webhooks/*/*/messages/@original"
    room.discord.rest.fail("PATCH", path, Fault(429, retry_after_s=0.2, via=via), times=1)
    room.discord.rest.fail("POST", "/interactions/*", Fault(502), times=1)
    room.discord.interactions.slash(BOB, HELP, "kb help")
    [used] = room.discord.interactions.all.values()
    async with asyncio.timeout(60):
        while not used.is_done:
            await room.settle()
    assert "search" in used.text


async def test_commands_are_registered_only_when_they_changed(room):
    assert not await room.bot.sync_commands()
    assert len(room.discord.rest.called("PUT", "/applications/*/commands")) == 1
    room.discord.rest.fail("PUT", "/applications/*/commands", Fault(500), times=1)
    await room.notes.engine.limits.forget(
        f"discord:commands:applications/{room.discord.world.application_id}"
    )
    await room.bot.introduce()  # a fault of Discord's is no reason to stop
    assert len(room.discord.rest.called("PUT", "/applications/*/commands")) == 2


async def test_what_the_bot_lacks_is_named_by_health(room):
    room.discord.talk.overwrite(TEAM, deny={GUILD: SEND})
    used = await room.slash(ADA, "kb-admin health")
    assert "#team" in used.text
    assert "Send Messages" in used.text
    assert "gateway" in used.text
