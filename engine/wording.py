"""Words that every door makes in the same way."""

from __future__ import annotations


def counted(number: int, one: str, many: str = "") -> str:
    """1 document, 2,000 documents."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
