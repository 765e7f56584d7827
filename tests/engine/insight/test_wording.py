"""Statistics are worded the same in sentences and in tables."""

from __future__ import annotations

from datetime import date

from engine.insight.statistics import QuestionFigures, SearchFigures, Statistics, StatisticsGroup
from engine.insight.wording import QUESTIONS_HEAD, describe_total


def test_a_sentence_uses_the_terms_of_the_columns() -> None:
    asked = QuestionFigures(4, 1, 1, 1, 1, p50_ms=1200.0, p95_ms=3400.0)
    total = StatisticsGroup("", "all", questions=asked, searches=SearchFigures(1, 0))
    day = date(2026, 3, 1)
    said = describe_total(Statistics(day, day, "day", total, [], 1))

    assert said == (
        "From 2026-03-01 to 2026-03-01: 4 questions (1 answered, 1 with what may be an answer,"
        " 1 not found, 1 failed) and 1 search (0 without hits). Half of the questions took at most"
        " 1,200 ms, and 95 % at most 3,400 ms. 1 person asked or searched."
    )
    for term in QUESTIONS_HEAD[1:5]:
        assert term in said
