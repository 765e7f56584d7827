"""A long text as messages that Discord takes, each whole in itself. Pure.

Discord's API counts code points (its issue discord-api-docs 1315), its clients UTF-16 code units,
of which there are never fewer: we count those, so that both agree.

Parts end, as far as can be, at a blank line, else a line, a sentence, a word; at the worst between
two characters as people see them. A fence open at a part's end is closed there and opened again
in the next. Nothing is cut in a link, an address, a citation mark or code that fits a part.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate

import regex

from bots.discord.fences import Fence, find_fences

BUDGET = 1_900  # of the 2,000 that a message's content may have
PARTS_MAX = 5  # more of them are a file
FILE = "answer.md"

_ATOM = re.compile(
    r"!?\[(?:[^\[\]\n]|\[[^\[\]\n]{0,300}\]){0,500}\]\((?:<[^<>\n]{0,2000}>|[^()\s]{0,2000})\)"
    r"|\[\d{1,3}\]"
    r"|<[^<>\s]{1,2000}>|https?://[^\s<>]{1,2000}"
    r"|(?<!`)(`++)[^\n]{1,1000}?(?<!`)\1(?!`)"
    r"|\\[!-/:-@\[-`{-~]"
)
_BLANK = re.compile(r"\n[ \t]*\n+")
_LINE = re.compile(r"\n")
_SENTENCE = re.compile(r"(?<!\d\.)(?<=[.!?…])[\"')\]*_]*[ \t]+|[。！？]+")  # noqa: RUF001 (CJK)
_WORD = re.compile(r"[ \t]+")
_CLUSTER = regex.compile(r"\X")


@dataclass(frozen=True, slots=True)
class MessagePart:
    """A message's text: a piece of the whole, between lines that open and close its fence.

    The bodies of all parts, joined, are the whole.
    """

    body: str
    head: str = ""
    tail: str = ""

    @property
    def text(self) -> str:
        """What is sent."""
        return self.head + self.body + self.tail


def size(text: str) -> int:
    """UTF-16 code units."""
    return len(text) + sum(character > "\uffff" for character in text)


def cut(text: str, most: int) -> str:
    """A line of at most `most` code units, with an ellipsis where something is left out."""
    if size(text) <= most:
        return text
    kept, room = "", most - 1
    for cluster in _CLUSTER.findall(text):
        room -= size(cluster)
        if room < 0:
            break
        kept += cluster
    return f"{kept.rstrip()}…"


def split(text: str, *, budget: int = BUDGET) -> list[str]:
    """The messages of a text, in order; Discord takes none that is blank, so there is none."""
    return [part.text for part in split_parts(text, budget=budget) if part.text.strip()]


def as_file(text: str, source: str, *, budget: int = BUDGET) -> tuple[str, bytes]:
    """For a text of too many parts: its first, which names the file, and the file's bytes.

    `source` is what the file holds: the Markdown that `text` was made of.
    """
    pointer = f"\n\n-# The full text is in {FILE}."
    first = split(text, budget=budget - size(pointer))[0]
    return first + pointer, source.encode()


def split_parts(text: str, *, budget: int = BUDGET) -> list[MessagePart]:
    """The parts of a text. `budget` is at least 200: a fence's two lines take up to 120 of it."""
    if budget < 200:
        raise ValueError(f"A part of {budget} characters may not hold a fence: allow 200 or more.")
    return list(_Cutter(text, budget).parts())


class _Cutter:
    """One text being cut: where its fences and atoms are, and how long it is up to each place."""

    def __init__(self, text: str, budget: int) -> None:
        self._text = text
        self._budget = budget
        self._units = list(accumulate((1 + (c > "\uffff") for c in text), initial=0))
        self._fences = find_fences(text)
        self._starts = [fence.start for fence in self._fences]
        self._atoms = list(self._find_atoms())
        self._atom_starts = [start for start, _ in self._atoms]

    def parts(self) -> Iterator[MessagePart]:
        start = 0
        while start < len(self._text):
            end = self._end(start)
            yield self._part(start, end)
            start = end

    def _part(self, start: int, end: int) -> MessagePart:
        body = self._text[start:end]
        opened, closed = self._open_at(start), self._open_at(end)
        head = opened.opening if opened is not None else ""
        if opened is not None and ">" in opened.prefix and self._text[start - 1] != "\n":
            head += opened.prefix  # the rest of a quoted line is quoted too
        if closed is None:
            return MessagePart(body, head)
        return MessagePart(body, head, ("" if body.endswith("\n") else "\n") + closed.closing)

    def _open_at(self, place: int) -> Fence | None:
        """The fence that a part ending or beginning here must close or open again."""
        at = bisect_right(self._starts, place) - 1
        fence = self._fences[at] if at >= 0 else None
        if fence is None or not fence.start < place:
            return None
        unclosed = fence.close == fence.end == len(self._text)
        return fence if place <= fence.close and (place < fence.end or unclosed) else None

    def _fits(self, start: int, end: int) -> bool:
        return size(self._part(start, end).text) <= self._budget

    def _end(self, start: int) -> int:
        if self._units[-1] - self._units[start] <= self._budget and self._fits(
            start, len(self._text)
        ):
            return len(self._text)
        most = bisect_right(self._units, self._units[start] + self._budget) - 1
        most = max(most, start + 1)
        ends = [start + match.end() for match in _CLUSTER.finditer(self._text[start : most + 64])]
        # The last of them may have been cut short by the window.
        clusters = [end for end in ends[:-1] if end <= most]
        return self._best(start, most, clusters)

    def _best(self, start: int, most: int, clusters: list[int]) -> int:
        whole = set(clusters)
        half = start + (most - start) // 2

        def may(end: int) -> bool:
            return end in whole and not self._is_inside(end) and self._fits(start, end)

        for least in (half, start + 1):
            for ends in self._kinds(start, most):
                for end in sorted(ends, reverse=True):
                    if end >= least and may(end):
                        return end
        for allowed in (may, lambda end: self._fits(start, end)):
            for end in reversed(clusters):
                if allowed(end):
                    return end
        # One cluster longer than a message: no reader sees it as one character.
        return next(
            end for end in range(most, start, -1) if self._fits(start, end) or end == start + 1
        )

    def _kinds(self, start: int, most: int) -> Iterator[list[int]]:
        """Where a part may end, kind by kind, the best first: outside code before inside it."""

        def found(pattern: re.Pattern[str]) -> list[int]:
            return [match.end() for match in pattern.finditer(self._text, start, most)]

        def outside(ends: list[int]) -> list[int]:
            return [end for end in ends if self._open_at(end) is None]

        lines = found(_LINE)
        blanks = found(_BLANK)
        yield outside(blanks)
        yield outside(lines)
        yield blanks
        yield lines
        yield outside(found(_SENTENCE))
        yield found(_WORD)

    def _is_inside(self, place: int) -> bool:
        """Whether a cut here would go through something that is one."""
        at = bisect_right(self._atom_starts, place - 1) - 1
        return at >= 0 and place < self._atoms[at][1]

    def _find_atoms(self) -> Iterator[tuple[int, int]]:
        """What is not cut: spans from `start` to `end`, ends excluded.

        Of a fence its first and last line, with the ends that look inward: no part ends in a fence
        that holds nothing yet, none begins with one that holds nothing any more.
        """
        done = 0
        for fence in self._fences:
            yield from self._atoms_between(done, fence.start)
            yield fence.start, min(fence.code + 1, fence.end)
            if fence.close < fence.end:
                yield fence.close - 1, fence.end
            done = fence.end
        yield from self._atoms_between(done, len(self._text))

    def _atoms_between(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        for match in _ATOM.finditer(self._text, start, end):
            yield match.span()
