"""Pipelines that ship: one JSON file each, and what each is for."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

TEMPLATES = {
    "book": "Long texts in parts and chapters, whose headings may be plain lines.",
    "chat": "Exported conversations: windows that overlap, languages kept apart.",
    "general": "Any document, cut along its headings. What a knowledge base has unless it names another.",
    "laws": "Statutes and contracts: cut by part, chapter, section and article.",
    "presentation": "Slides: each one a passage of its own.",
    "qa_sheet": "Tables of questions and answers: each row a passage of its own.",
    "technical_docs": "Manuals with code: languages kept apart, code that does not parse is flagged.",
}


@cache
def template_text(name: str) -> str | None:
    """The DSL of a template, None where there is none of that name."""
    if name not in TEMPLATES:
        return None
    return files(__name__).joinpath(f"{name}.json").read_text(encoding="utf-8")
