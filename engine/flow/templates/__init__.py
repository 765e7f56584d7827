"""Pipelines that ship: one JSON file each, and what each is for."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

TEMPLATES = {
    "book": "Long texts in parts and chapters, whose headings may be plain lines.",
    "chat": "Exported conversations: windows that overlap; languages are kept apart.",
    "general": "Any document, split at its headings. The default.",
    "laws": "Statutes and contracts: split by part, chapter, section and article.",
    "presentation": "Slides: each slide is a passage.",
    "qa_sheet": "Tables of questions and answers: each row is a passage.",
    "technical_docs": "Manuals with code: languages are kept apart, code that does not parse is "
    "flagged.",
}


@cache
def template_text(name: str) -> str | None:
    """The DSL of a template, None where there is none of that name."""
    if name not in TEMPLATES:
        return None
    return files(__name__).joinpath(f"{name}.json").read_text(encoding="utf-8")
