"""Workflows that ship, as text. They run as they are, and a tenant can start its own from one."""

from __future__ import annotations

from pathlib import Path

TEMPLATES = {
    "cited-answer": "Answers from the knowledge bases, checks the answer, and says if it is in doubt.",
    "meeting-minutes": "Lists decisions and tasks of minutes, has you check them, and mails them.",
    "onboarding-guide": "Writes a guide for a newcomer from the documents, and says what they lack.",
    "support-triage": "Answers from the documents; what they don't answer, a person does.",
    "weekly-digest": "Gathers what was written about a subject lately, and mails it.",
}

_FOLDER = Path(__file__).parent


def template_text(name: str) -> str | None:
    """The text of a template, or None where there is no such one."""
    if name not in TEMPLATES:
        return None
    return (_FOLDER / f"{name}.json").read_text(encoding="utf-8")
