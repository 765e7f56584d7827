"""Which languages a document is in, paragraph by paragraph. Pure.

LanguageDetector hands the stretches on; Splitter keeps them apart by them, Tokenizer gives each
chunk the language of most of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from engine.index.detection import guess_language
from ingestion.convert.document import Converted

PROSE = frozenset({"heading", "list", "paragraph", "quote", "table"})


@dataclass(frozen=True, slots=True)
class Stretch:
    """[start, end) of a text in one language (ISO 639-1); `confidence` is its least sure paragraph's."""

    start: int
    end: int
    language: str
    confidence: float


def find_languages(document: Converted, *, min_confidence: float) -> list[Stretch]:
    """Stretches of one language, rising; a paragraph less sure than that belongs to none.

    Code is in no language. Neighbours of the same language are one stretch.
    """
    found: list[Stretch] = []
    for block in document.blocks:
        if block.kind not in PROSE:
            continue
        language, confidence = guess_language(document.text[block.start : block.end])
        if not language or confidence < min_confidence:
            continue
        if found and found[-1].language == language:
            last = found[-1]
            found[-1] = replace(last, end=block.end, confidence=min(confidence, last.confidence))
        else:
            found.append(Stretch(block.start, block.end, language, round(confidence, 3)))
    return found


def shares(stretches: Sequence[Stretch]) -> dict[str, float]:
    """How much of the text whose language is known each one has, the most first."""
    letters: Counter[str] = Counter()
    for stretch in stretches:
        letters[stretch.language] += stretch.end - stretch.start
    total = letters.total()
    return {language: round(count / total, 3) for language, count in letters.most_common()}


class LanguageOf:
    """The language of most of a span; asked in any order."""

    def __init__(self, stretches: Sequence[Stretch], default: str) -> None:
        self._stretches = stretches
        self._default = default
        self._at = 0

    def __call__(self, start: int, end: int) -> str:
        """The language, or the default where none is known for it."""
        if not self._stretches:
            return self._default
        if self._at and self._stretches[self._at - 1].end > start:
            self._at = 0  # asked backwards: look from the start
        while self._at < len(self._stretches) and self._stretches[self._at].end <= start:
            self._at += 1
        letters: Counter[str] = Counter()
        for stretch in self._stretches[self._at :]:
            if stretch.start >= end:
                break
            letters[stretch.language] += min(stretch.end, end) - max(stretch.start, start)
        return letters.most_common(1)[0][0] if letters else self._default
