"""Statistics as sentences and table rows, worded the same at every door."""

from __future__ import annotations

from collections.abc import Sequence

from engine.insight.statistics import Statistics, StatisticsGroup
from engine.wording import counted

QUESTIONS_HEAD = (
    "questions",
    "answered",
    "may be",
    "not found",
    "failed",
    "p50 ms",
    "p95 ms",
    "helpful",
    "not helpful",
)


def describe_total(found: Statistics) -> str:
    """The totals in a few sentences."""
    asked = found.total.questions
    said = [_counts(found)]
    if asked.p50_ms is not None and asked.p95_ms is not None:
        said.append(
            f"Half of the questions took at most {asked.p50_ms:,.0f} ms, and 95 % at most"
            f" {asked.p95_ms:,.0f} ms."
        )
    if found.people is not None:
        said.append(f"{counted(found.people, 'person', 'people')} asked or searched.")
    return " ".join(said)


def _counts(found: Statistics) -> str:
    asked, searched = found.total.questions, found.total.searches
    return (
        f"From {found.first} to {found.last}: {counted(asked.questions, 'question')}"
        f" ({asked.answered:,} answered, {asked.maybe:,} with what may be an answer,"
        f" {asked.not_found:,} not found, {asked.failed:,} failed) and"
        f" {counted(searched.searches, 'search', 'searches')}"
        f" ({searched.without_hits:,} without hits)."
    )


def question_row(group: StatisticsGroup) -> Sequence[str]:
    """A row under `QUESTIONS_HEAD`."""
    asked = group.questions
    return (
        f"{asked.questions:,}",
        f"{asked.answered:,}",
        f"{asked.maybe:,}",
        f"{asked.not_found:,}",
        f"{asked.failed:,}",
        _ms(asked.p50_ms),
        _ms(asked.p95_ms),
        f"{asked.helpful:,}",
        f"{asked.unhelpful:,}",
    )


OTHER_HEAD = (
    "searches",
    "without hits",
    "model calls",
    "tokens",
    "credits",
    "ingested",
    "failed files",
)


def other_row(group: StatisticsGroup) -> Sequence[str]:
    """A row under `OTHER_HEAD`."""
    models = group.models
    return (
        f"{group.searches.searches:,}",
        f"{group.searches.without_hits:,}",
        f"{models.calls:,}",
        f"{models.input_tokens + models.output_tokens:,}",
        f"{models.cost:,.2f}",
        f"{group.ingestions.done:,}",
        f"{group.ingestions.failed:,}",
    )


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"
