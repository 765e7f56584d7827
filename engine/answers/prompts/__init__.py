"""Prompts as files: `load_prompt("answer")` reads answer.md beside this module."""

from __future__ import annotations

from functools import cache
from importlib.resources import files


@cache
def load_prompt(name: str) -> str:
    """The text of a prompt, without the comment at its head that says what it is for."""
    text = files(__name__).joinpath(f"{name}.md").read_text(encoding="utf-8")
    if text.startswith("<!--"):
        text = text.partition("-->")[2]
    return text.strip()
