"""`/kb language`: an instruction to the model, by channel, else workspace, else of the question."""

from __future__ import annotations

import pytest

from bots import phrases, replies
from tests.fakes.chat import Room
from tests.fakes.language_models import ScriptedModel

SICK = "@bot How many hours of advanced sick leave can I request?"
WRITTEN = "You can request up to 240 hours of advanced sick leave [1]."
IN_GERMAN = "Answer in German, whatever the language of the question."


async def prompt(room: Room, channel: str = "C1") -> str:
    """The instructions of a model that is asked there."""
    room.engine.answers._asker._model = model = ScriptedModel(WRITTEN)
    await room.say(SICK, channel=channel)
    return model.prompts[0]


@pytest.mark.parametrize("said", ["German", "de", "german"])
async def test_a_channel_has_its_answers_in_a_language(room, said):
    assert "answers are in German" in await room.command(f"language {said}")
    assert IN_GERMAN in await prompt(room)
    assert "Answer in" not in await prompt(room, "C2")


async def test_a_channel_overrules_its_workspace_and_can_go_back_to_the_questions(room):
    await room.command("language German workspace")
    assert IN_GERMAN in await prompt(room, "C2")
    await room.command("language auto")
    assert "Answer in" not in await prompt(room)


async def test_more_detail_is_in_that_language_too(room):
    await room.command("language German")
    await prompt(room)
    room.engine.answers._asker._model = model = ScriptedModel(WRITTEN)
    await room.press("Mehr Details")
    assert IN_GERMAN in model.prompts[0]


async def test_where_answers_are_quoted_that_is_said(room):
    assert "none is configured, so answers stay in the source language" in await room.command(
        "language fr"
    )


async def test_an_unknown_language_is_refused_with_what_is_known(room):
    assert "Unknown language “Klingon”" in await room.command("language Klingon")


async def test_the_setting_is_shown_and_exported(room):
    await room.command("language German")
    assert "language de #help" in await room.command("export-settings")
    await room.command("show")
    assert ["language", "German", "channel"] in room.chat.last.reply.rows


async def test_what_cant_be_checked_against_its_source_is_said_to_be_so(room):
    await room.command("language Japanese")
    said = "病気休暇は240時間まで前借りできます [1]"
    room.engine.answers._asker._model = ScriptedModel(said)
    [shown] = await room.say(SICK)
    assert shown.reply.note == phrases.catalogue("ja")[replies.MAY_BE]


async def test_what_nothing_ties_to_its_source_is_not_shown(room):
    await room.command("language Japanese")
    room.engine.answers._asker._model = ScriptedModel("病気休暇は市長が踊ります [1]")
    [shown] = await room.say(SICK)
    assert "市長" not in shown.reply.text
    assert "I found no answer" in shown.reply.text
