"""What a command answers, in Markdown and rows: each door shows it in its own way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engine.domain import SearchResult


@dataclass(frozen=True, slots=True)
class CommandResult:
    """What a command has to say: Markdown, then a table or hits where it has some."""

    text: str
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    found: SearchResult | None = None
    announcement: str = ""  # what everyone in the channel should know of it


def cut(text: str, most: int = 120) -> str:
    text = " ".join(text.split())
    return text if len(text) <= most else text[: most - 1] + "…"
