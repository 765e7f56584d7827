"""Which languages a document is in, and what language a chunk is given."""

from __future__ import annotations

import pytest

from engine.index.detection import guess_language
from ingestion.convert.document import ConversionLimits
from ingestion.convert.markdown import from_text
from ingestion.languages import LanguageOf, Stretch, find_languages, shares

ENGLISH = "The backup of the shop is made at night, and it is kept for a year."
GERMAN = "Die Sicherung des Ladens wird in der Nacht gemacht und bleibt das Jahr da."
JAPANESE = "バックアップは毎晩行われ、一年間保存されます。"


def test_neighbours_of_one_language_are_one_stretch_and_code_is_in_none() -> None:
    code = "```\nfor the in of and\n```"
    document = from_text(
        "\n\n".join([ENGLISH, ENGLISH, code, GERMAN, JAPANESE]), ConversionLimits()
    )
    found = find_languages(document, min_confidence=0.5)
    assert [stretch.language for stretch in found] == ["en", "de", "ja"]
    assert document.text[found[0].start : found[0].end] == f"{ENGLISH}\n\n{ENGLISH}"
    by_language = shares(found)
    assert list(by_language) == ["en", "de", "ja"]
    assert sum(by_language.values()) == pytest.approx(1, abs=0.01)


def test_a_paragraph_that_says_too_little_is_in_no_language() -> None:
    document = from_text("Server 7\n\n" + ENGLISH, ConversionLimits())
    assert [s.language for s in find_languages(document, min_confidence=0.5)] == ["en"]


@pytest.mark.parametrize(
    ("text", "language"), [(ENGLISH, "en"), (GERMAN, "de"), (JAPANESE, "ja"), ("", ""), ("7 8", "")]
)
def test_confidence_is_high_for_plain_text_and_nil_for_none(text: str, language: str) -> None:
    guessed, confidence = guess_language(text)
    assert guessed == language
    assert confidence > 0.5 if language else confidence == 0


def test_mixed_text_is_less_sure_than_plain_text() -> None:
    assert guess_language(f"{ENGLISH} {GERMAN}")[1] < guess_language(ENGLISH)[1]


def test_a_chunk_has_the_language_of_most_of_it() -> None:
    language_of = LanguageOf([Stretch(0, 10, "en", 1), Stretch(12, 40, "de", 1)], "fr")
    assert [language_of(0, 10), language_of(5, 30), language_of(10, 12), language_of(0, 5)] == [
        "en",
        "de",
        "fr",
        "en",
    ]
