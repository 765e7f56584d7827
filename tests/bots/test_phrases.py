"""The bot's phrases: every catalogue whole, with the same places, and spoken to who understands it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from bots import phrases, replies
from bots.phrases import LANGUAGES, catalogue, speak, t

BOTS = Path(phrases.__file__).parent
BUTTON_MAX = 75  # characters of a label in Slack; Discord takes 80
PLACE = re.compile(r"\{\w+\}")
CODE = re.compile(r"`[^`]*`")


def spoken() -> tuple[set[str], set[str]]:
    """Every phrase in the code, and those of them that are labels of buttons."""
    found, labels = set(), set()
    for module in BOTS.glob("*.py"):
        tree = ast.parse(module.read_text(encoding="utf-8"))
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            if getattr(call.func, "id", "") == "t":
                found.add(phrase_of(call))
            if getattr(call.func, "id", "") == "Button":
                inner = [arg for arg in call.args if isinstance(arg, ast.Call)]
                labels |= {phrase_of(arg) for arg in inner if getattr(arg.func, "id", "") == "t"}
    return found, labels


def phrase_of(call: ast.Call) -> str:
    first = call.args[0]
    if isinstance(first, ast.Constant):
        return str(first.value)
    assert isinstance(first, ast.Name | ast.Attribute)
    return str(getattr(replies, first.id if isinstance(first, ast.Name) else first.attr, "text"))


PHRASES, LABELS = spoken()
PHRASES -= {"text"}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_catalogue_has_every_phrase_and_no_other(language):
    assert len(PHRASES) > 40
    assert set(catalogue(language)) == PHRASES
    said = catalogue(language)
    assert {key for key, value in said.items() if value == key} <= {"No"}


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_translation_has_the_places_and_the_commands_of_its_phrase(language):
    for source, said in catalogue(language).items():
        assert sorted(PLACE.findall(said)) == sorted(PLACE.findall(source)), source
        assert CODE.findall(said) == CODE.findall(source), source


@pytest.mark.parametrize("language", LANGUAGES)
def test_labels_fit_their_buttons(language):
    assert len(LABELS) > 10
    for label in LABELS:
        assert 0 < len(catalogue(language)[label]) <= BUTTON_MAX


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (("de",), "Löschen"),
        (("pt-BR",), "Excluir"),
        (("zh_CN",), "删除"),
        (("", "fr"), "Supprimer"),
        (("en-US", "fr"), "Delete"),
        (("sv",), "Delete"),
        ((), "Delete"),
    ],
)
def test_a_language_is_spoken_where_there_is_a_catalogue_for_it(wanted, said):
    speak(*wanted)
    assert t("Delete") == said
    speak()


def test_what_is_filled_in_is_not_read_as_a_place():
    speak("de")
    assert t("Shared by {name}.", name="{command}") == "Geteilt von {command}."
    speak()


@pytest.mark.parametrize(
    ("question", "button"),
    [
        ("@bot Wie viele Stunden schlafen die Schwalben im Winter eigentlich?", "Löschen"),
        ("@bot 冬にツバメはどこで眠りますか？", "削除"),  # noqa: RUF001 (a question mark)
        ("@bot Где зимой спят ласточки и почему?", "Удалить"),
        ("@bot Where do the swallows sleep in winter?", "Delete"),
    ],
)
async def test_people_are_answered_with_phrases_of_the_language_they_ask_in(room, question, button):
    [shown] = await room.say(question, by="bob")
    assert button in [one.label for one in shown.reply.buttons]


async def test_the_language_that_is_set_for_a_channel_is_spoken_there(room):
    await room.command("language fr")
    [shown] = await room.say("@bot Where do the swallows sleep in winter?", by="bob")
    assert "Supprimer" in [one.label for one in shown.reply.buttons]
