"""An assistant set for a channel answers there, for everyone in it, from what they all may read."""

from __future__ import annotations

from tests.fakes.language_models import ScriptedModel

SICK = "@bot How many hours of advanced sick leave can I request?"
WRITTEN = "You can request up to 240 hours of advanced sick leave [1]."
SALARY = "@bot What is the salary of the chief gardener?"


async def made(room) -> None:
    await room.command('assistant create "Help desk" Answer like a pirate.', by="ada")


async def test_a_channels_next_answer_is_its_assistants(room) -> None:
    await made(room)
    await room.command("assistant set help-desk citations off", by="ada")
    [before] = await room.say(SICK, by="bob")
    said = await room.command("assistant bind help-desk <#C1>", by="ada")
    [bound] = await room.say(SICK, by="bob")
    [elsewhere] = await room.say(SICK, by="bob", channel="C2")
    await room.command("assistant unbind <#C1>", by="ada")
    [after] = await room.say(SICK, by="bob")
    assert said == "Questions in #help are now answered by **Help desk**."
    assert "[1]" in before.reply.text
    assert bound.reply.text == "You can request up to 240 hours of advanced sick leave."
    assert "[1]" in elsewhere.reply.text
    assert after.reply.text == before.reply.text


async def test_the_instructions_of_a_workspaces_assistant_reach_the_model(room) -> None:
    systems: list[str] = []

    class Listening(ScriptedModel):
        async def stream(self, system: str, prompt: str, *, max_tokens: int = 1024):
            systems.append(system)
            async for piece in super().stream(system, prompt, max_tokens=max_tokens):
                yield piece

    room.engine.answers._asker._model = Listening(WRITTEN, WRITTEN)
    await made(room)
    await room.command("assistant bind help-desk workspace", by="ada")
    await room.say(SICK, by="bob")
    await room.command("assistant remove help-desk", by="ada")
    await room.command("confirm", by="ada")
    assert ["pirate" in system for system in systems] == [True]


async def test_an_assistant_tells_a_channel_nothing_that_its_people_may_not_read(room) -> None:
    await made(room)
    await room.command("assistant set help-desk kbs board, notes", by="ada")
    await room.command("assistant bind help-desk <#C1>", by="ada")
    [shown] = await room.say(SALARY, by="ada")
    assert "81,000" not in repr(shown)


async def test_whoever_is_in_a_channel_may_ask_its_assistant(room) -> None:
    await made(room)
    await room.command("assistant set help-desk visible-to", by="ada")
    await room.command("assistant set help-desk citations off", by="ada")
    await room.command("assistant bind help-desk <#C1>", by="ada")
    [shown] = await room.say(SICK, by="gus")
    listed = await room.command("assistant list", by="gus")
    assert shown.reply.text.startswith("You can request up to 240 hours of advanced sick leave.")
    assert "[1]" not in shown.reply.text
    assert "help-desk" not in listed


async def test_a_channels_settings_name_its_assistant_and_are_exported(room) -> None:
    await made(room)
    await room.command("assistant bind help-desk <#C1>", by="ada")
    await room.command("show <#C1>", by="ada")
    shown = repr(room.chat.last)
    exported = await room.command("export-settings", by="ada")
    assert "Help desk" in shown
    assert "assistant bind help-desk #help" in exported
