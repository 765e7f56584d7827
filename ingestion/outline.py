"""A document's outline by patterns: which lines begin a section, and of what level. Pure.

For texts whose headings the file does not mark, or marks otherwise than its readers think of them:
the articles of a law, the chapters of a book, numbered paragraphs. HierarchicalMerger makes the
outline, Splitter cuts by it: `apply_outline` gives the same text with other headings.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import regex

from ingestion.convert.document import Block, Converted, Outline

LINE_MAX = 500  # characters of a line that are looked at; a heading is shorter
MATCH_TIMEOUT_S = 0.5  # patterns are a flow author's, lines anybody's
TOTAL_TIMEOUT_S = 60.0  # of all lines of a document: the thread can't be stopped from outside
WHOLE = frozenset({"code", "hidden", "table"})

Pattern = Any  # regex's own, which mypy does not know


class SlowPattern(ValueError):
    """Patterns took longer than is allowed over one line, or over all of them."""


@dataclass(frozen=True, slots=True)
class OutlineSection:
    """A heading of `level` (from 1) at [start, head_end), and the end of all below it."""

    level: int
    title: str
    start: int
    head_end: int
    end: int


def compile_levels(levels: Sequence[Sequence[str]]) -> list[list[Pattern]]:
    """The patterns of each level; `ValueError` says which is none."""
    compiled = []
    for level in levels:
        row = []
        for text in level:
            try:
                row.append(regex.compile(text))
            except regex.error as error:
                raise ValueError(f"{text!r} is not a pattern: {error}") from None
        compiled.append(row)
    return compiled


def find_sections(
    document: Converted, levels: Sequence[Sequence[Pattern]], *, hierarchy: int
) -> list[OutlineSection]:
    """Sections in order: each line that one of the first `hierarchy` levels matches begins one.

    Of several levels that match, the one that matches most of the line has it (so `^##` wins over
    `^#`), then the outermost. Code and tables begin none. Raises `SlowPattern`.
    """
    found: list[OutlineSection] = []
    ends_at = time.monotonic() + TOTAL_TIMEOUT_S
    for start, end in _lines(document):
        if time.monotonic() > ends_at:
            raise SlowPattern("its patterns take too long over all lines: make them simpler")
        line = document.text[start : min(end, start + LINE_MAX)]
        level = _level(line, levels[:hierarchy])
        if level:
            found.append(OutlineSection(level, _title(document.text[start:end]), start, end, end))
    return _closed(found, len(document.text))


def outline_tree(sections: Sequence[OutlineSection]) -> list[dict[str, Any]]:
    """Sections as a tree: title, level, start, end, children."""
    roots: list[dict[str, Any]] = []
    stack: list[dict[str, Any]] = []
    for section in sections:
        node: dict[str, Any] = {
            "title": section.title,
            "level": section.level,
            "start": section.start,
            "end": section.end,
            "children": [],
        }
        while stack and stack[-1]["level"] >= section.level:
            stack.pop()
        (stack[-1]["children"] if stack else roots).append(node)
        stack.append(node)
    return roots


def flat(tree: Sequence[Mapping[str, Any]]) -> Iterator[tuple[int, int, str]]:
    """(start, level, title) of each node of a tree, in the order of the text."""
    for node in tree:
        yield node["start"], node["level"], node["title"]
        yield from flat(node["children"])


def apply_outline(document: Converted, tree: Sequence[Mapping[str, Any]]) -> Converted:
    """The same text under the headings of `tree` instead of the file's own.

    A line that begins a section becomes a heading; a heading the outline does not know becomes
    a paragraph.
    """
    heads = list(flat(tree))
    starts = [start for start, _, _ in heads]
    outline = Outline()
    blocks: list[Block] = []
    for block in document.blocks:
        if block.kind in WHOLE:
            blocks.append(replace(block, heading_path=outline.path))
            continue
        at = block.start
        kind = "paragraph" if block.kind == "heading" else block.kind
        inside = heads[bisect_left(starts, block.start) : bisect_left(starts, block.end)]
        for start, level, title in inside:
            _add(blocks, replace(block, kind=kind, level=0), at, start, outline.path)
            end = _line_end(document.text, start, block.end)
            path = outline.enter(level, title)
            blocks.append(
                replace(block, kind="heading", start=start, end=end, level=level, heading_path=path)
            )
            at = end
        _add(blocks, replace(block, kind=kind, level=0), at, block.end, outline.path)
    return replace(document, blocks=[b for b in blocks if document.text[b.start : b.end].strip()])


def _add(blocks: list[Block], block: Block, start: int, end: int, path: tuple[str, ...]) -> None:
    if start < end:
        blocks.append(replace(block, start=start, end=end, heading_path=path))


def _lines(document: Converted) -> Iterator[tuple[int, int]]:
    """Lines [start, end) of what may hold headings, blank ones left out."""
    text = document.text
    for block in document.blocks:
        if block.kind in WHOLE:
            continue
        start = block.start
        while start < block.end:
            end = _line_end(text, start, block.end)
            if text[start:end].strip():
                yield start, end
            start = end + 1


def _line_end(text: str, start: int, limit: int) -> int:
    end = text.find("\n", start, limit)
    return limit if end < 0 else end


def _level(line: str, levels: Sequence[Sequence[Pattern]]) -> int:
    best, longest = 0, -1
    for number, patterns in enumerate(levels, start=1):
        for pattern in patterns:
            try:
                match = pattern.search(line, timeout=MATCH_TIMEOUT_S, concurrent=True)
            except TimeoutError:
                raise SlowPattern(
                    f"the pattern {pattern.pattern!r} takes too long on some line: make it simpler"
                ) from None
            if match is not None and match.end() - match.start() > longest:
                best, longest = number, match.end() - match.start()
    return best


def _title(line: str) -> str:
    return " ".join(line.strip().lstrip("#").split())[:200]


def _closed(sections: Sequence[OutlineSection], length: int) -> list[OutlineSection]:
    """Each section with the end of all below it: where one as high or higher begins."""
    closed: list[OutlineSection] = []
    open_: list[tuple[int, int]] = []  # (level, end) of those behind, innermost last
    for section in reversed(sections):
        while open_ and open_[-1][0] > section.level:
            open_.pop()
        end = open_[-1][1] if open_ else length
        closed.append(replace(section, end=end))
        open_.append((section.level, section.start))
    return closed[::-1]
