"""A question back where someone asks about nothing in particular: what it may be about.

"It doesn't work" names nothing. The choices are titles among what a search for it finds, so they
hold only what everyone who will see them may read; each is a question that can be asked. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from engine.domain import Hit, Passage
from engine.markup.plain import plain

CHOICES = 3
TITLE_MAX = 80
INTRO = "What is this about? Choose one, or say it in a sentence:"
_CHOICE = re.compile(r"^(\d)\. (.+)$", re.MULTILINE)


def propose(question: str, hits: Sequence[Hit]) -> list[str]:
    """Up to three questions that say what `question` may be about, the likeliest first."""
    asked = " ".join(question.split())
    titles = dict.fromkeys(filter(None, (_title(hit) for hit in hits)))
    return [f"{title}: {asked}" for title in list(titles)[:CHOICES]]


def sources_of(choices: Sequence[str], hits: Sequence[Hit]) -> list[Hit]:
    """The hits that the choices were made from, without those that would only be searched."""
    return [hit for hit in hits if any(choice.startswith(f"{_title(hit)}: ") for choice in choices)]


def render(choices: Sequence[str]) -> str:
    """The question back, with its choices numbered."""
    lines = [f"{n}. {choice}" for n, choice in enumerate(choices, start=1)]
    return "\n".join([INTRO, *lines])


def parse(text: str) -> list[str]:
    """The choices of a question back, as `render` wrote it; none for any other answer."""
    if not text.startswith(INTRO):
        return []
    return [match[2] for match in _CHOICE.finditer(text)]


def topic_of(choice: str) -> str:
    """What a choice is about: its title."""
    return choice.partition(": ")[0]


def _title(hit: Hit) -> str:
    best: Passage | None = hit.passages[0] if hit.passages else None
    title = " ".join(plain(hit.title or (best.where if best else "")).split())
    title = title.replace("[", "(").replace("]", ")").replace(": ", " - ")
    return title if len(title) <= TITLE_MAX else title[: TITLE_MAX - 1].rstrip() + "…"
