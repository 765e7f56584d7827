"""The language of short texts: rarely told wrongly, left open where it is unclear."""

# ruff: noqa: RUF001 (letters of many alphabets are what this is about)
from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.index.detection import detect_language, guess_language

SHORT = Path(__file__).parents[3] / "benchmarks" / "data" / "short_texts.jsonl"


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("What is the policy for travel?", "en"),
        ("Wie lautet die Regel für Reisen?", "de"),
        ("¿Cuál es la política de viajes?", "es"),
        ("Quelle est la règle pour les voyages ?", "fr"),
        ("Qual è la regola per i viaggi?", "it"),
        ("Qual é a regra para as viagens?", "pt"),
        ("Wat is de regel voor het reizen?", "nl"),
        ("Какое правило для поездок?", "ru"),
        ("旅行的规定是什么", "zh"),
        ("旅行の規則は何ですか", "ja"),
        ("여행 규정은 무엇입니까", "ko"),
        ("ما هي قواعد السفر", "ar"),
        ("Унде гарантують відпустку працівникам?", "uk"),
        ("Làm thế nào để đặt lại mật khẩu?", "vi"),
        ("Unde se află biroul din Cluj?", "ro"),
        ("Şirketin güvenlik kuralları", "tr"),
        ("Gdzie znajduje się biuro w Krakowie?", "pl"),
        ("12345 !!", ""),
        ("", ""),
    ],
)
def test_a_sentence_tells_its_language(text: str, language: str) -> None:
    assert detect_language(text) == language


@pytest.mark.parametrize(
    "text",
    [
        "Smith, J. D. and Brown, M. L.",
        "N-terminal cleavage of the precursor",
        "C. R. Acad. Sci.",
        "J. D. M. L. P.",
        "What is Les Huguenots about?",
        "Jean Dupont, M. A., and P. L. Martin",
        "A B C D",
        "https://example.org/le/la?l=d",
        "le_la_les = d.l(c, j)",
        "10.20.30.40",
    ],
)
def test_initials_names_and_code_make_nothing_french(text: str) -> None:
    assert detect_language(text) in {"en", ""}


def test_short_texts_are_rarely_told_wrongly() -> None:
    """Twelve words at most, in 18 languages or none: of 220, at most 3 are wrong, most are right."""
    rows = [json.loads(line) for line in SHORT.read_text(encoding="utf-8").splitlines()]
    asked = [(text, row["language"]) for row in rows for text in row["texts"]]
    said = [(text, language, detect_language(text)) for text, language in asked]
    wrong = [one for one in said if one[2] not in {"", one[1]}]
    assert len(wrong) <= 3, wrong
    foreign = [found == language for _, language, found in said if language not in {"", "en"}]
    assert sum(foreign) / len(foreign) > 0.85


def test_how_sure_it_is_falls_with_what_is_mixed_in() -> None:
    assert guess_language("") == ("", 0.0)
    assert guess_language("東京都の天気は晴れです")[1] > guess_language("東京都 is the capital")[1]
