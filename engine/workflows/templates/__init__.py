"""Workflows that ship, as text. They run as they are, and a tenant can start its own from one."""

from __future__ import annotations

from pathlib import Path

TEMPLATES = {
    "cited-answer": "Answers from the knowledge bases, checks the answer, and says if it is in doubt.",
}

_FOLDER = Path(__file__).parent


def template_text(name: str) -> str | None:
    """The text of a template, or None where there is no such one."""
    if name not in TEMPLATES:
        return None
    return (_FOLDER / f"{name}.json").read_text(encoding="utf-8")
