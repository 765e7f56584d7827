"""reStructuredText, kept as people wrote it: this only marks where its blocks begin and end.

Headings are lines ruled below, or above and below; their levels follow the order in which the
rules first appear. Comments and field lists at the top are hidden; nothing is included or run.
"""

from __future__ import annotations

import re

from ingestion.convert.document import (
    Block,
    BlockKind,
    ConversionLimits,
    Converted,
    Outline,
    clean,
    too_many_blocks,
    too_much_text,
)
from ingestion.convert.encoding import decode_text, doubt

MIME = "text/x-rst"

_RULE = re.compile(r"([!-/:-@\[-`{-~])\1{1,}[ \t]*$")
_DIRECTIVE = re.compile(r"\.\. +([\w:+.-]+)::(?:[ \t]+(.*))?$")
_COMMENT = re.compile(r"\.\.(?:[ \t]|$)")
_TARGET = re.compile(r"\.\. +(?:_[^:]*:|\[[^\]]*\]|\|[^|]*\|)")
_FIELD = re.compile(r":([^:\n]+):(?:[ \t]+(.*))?$")
_ITEM = re.compile(r"[ \t]*(?:[-*+\u2022]|\(?(?:\d{1,4}|[A-Za-z]|#)[.)])[ \t]+\S")
_GRID = re.compile(r"[ \t]*\+(?:[-=]+\+)+[ \t]*$")
_SIMPLE = re.compile(r"[ \t]*=+(?:[ \t]+=+)+[ \t]*$")
_ROLE = re.compile(r":[\w:+.-]+:`([^`]*)`")
_LINK = re.compile(r"`([^`<]*?)\s*<[^`>]*>`__?")
_MARKS = re.compile(r"(\*{1,2}|`{1,2})(?=\S)(.+?)(?<=\S)\1_{0,2}")
_CODE = frozenset(("code", "code-block", "sourcecode", "parsed-literal", "math", "highlight"))
_HIDDEN = frozenset(
    (
        *(
            "image",
            "include",
            "toctree",
            "contents",
            "raw",
            "meta",
            "role",
            "default-role",
            "index",
        ),
        *("highlight", "currentmodule", "module", "py:currentmodule", "automodule", "autoclass"),
        *("only", "tabularcolumns", "figure"),
    )
)
_TABLES = frozenset(("table", "csv-table", "list-table"))


def convert(data: bytes, limits: ConversionLimits) -> Converted:
    """The file's own text, decoded and with line feeds only, its blocks marked."""
    text, encoding = decode_text(data)
    text = clean(text)
    if len(text) > limits.text_chars:
        raise too_much_text(limits)
    scanner = _RstScanner(text, limits)
    blocks = scanner.scan()
    metadata: dict[str, str | int | float | bool | list[str]] = {}
    if encoding != "utf-8":
        metadata["encoding"] = encoding
    facts = scanner.facts
    title = next((b.heading_path[-1] for b in blocks if b.kind == "heading"), "")
    return Converted(
        text=text,
        blocks=blocks,
        mime=MIME,
        title=facts.get("title", "") or title,
        author=facts.get("author", "") or facts.get("authors", ""),
        metadata=metadata,
        notice=doubt(data, encoding),
    )


def plain_inline(text: str) -> str:
    """One line as it reads: no roles, no link targets, no emphasis."""
    text = _LINK.sub(lambda m: m[1], _ROLE.sub(lambda m: m[1], text))
    return " ".join(_MARKS.sub(lambda m: m[2], text).split())


class _RstScanner:
    """Walks the lines once; each method takes the line a block begins on and returns its end."""

    def __init__(self, text: str, limits: ConversionLimits) -> None:
        self._limits = limits
        self._lines = text.split("\n")
        self._starts = [0]
        for line in self._lines:
            self._starts.append(self._starts[-1] + len(line) + 1)
        self._outline = Outline()
        self._rules: list[str] = []
        self._blocks: list[Block] = []
        self.facts: dict[str, str] = {}

    def scan(self) -> list[Block]:
        at = 0
        while at < len(self._lines):
            at = self._block(at) if self._lines[at].strip() else at + 1
        return self._blocks

    def _block(self, at: int) -> int:  # noqa: PLR0911 (one return a kind of block)
        line = self._lines[at]
        if (end := self._heading(at)) > at:
            return end
        if line.startswith(".."):
            return self._explicit(at)
        if _GRID.match(line):
            return self._emit("table", at, self._until_blank(at))
        if _SIMPLE.match(line):
            return self._emit("table", at, self._simple_table(at))
        if _FIELD.match(line) and not any(b.kind == "paragraph" for b in self._blocks):
            return self._fields(at)
        if _ITEM.match(line):
            return self._emit("list", at, self._list_end(at))
        if line.startswith((" ", "\t")):
            return self._emit("quote", at, self._indented(at))
        if line.startswith(">>>"):
            return self._emit("code", at, self._until_blank(at))
        return self._paragraph(at)

    def _heading(self, at: int) -> int:
        """The end of a heading that begins here, or `at` where none does."""
        lines = self._lines
        line = lines[at].rstrip()
        over = _RULE.match(line)
        if over and at + 2 < len(lines):
            title, under = lines[at + 1].strip(), lines[at + 2].rstrip()
            if title and under == line and not _RULE.match(title) and len(under) >= len(title):
                return self._mark_heading(at, at + 3, f"{line[0]}{line[0]}", title)
        if over:
            if len(line) >= 4 and not (at + 1 < len(lines) and lines[at + 1].strip()):
                return at + 1  # a transition
            return at
        if at + 1 < len(lines) and not line.startswith((" ", "\t")):
            under = lines[at + 1].rstrip()
            if _RULE.match(under) and len(under) >= min(len(line), 4) and under != "::":
                return self._mark_heading(at, at + 2, under[0], line.strip())
        return at

    def _mark_heading(self, at: int, end: int, rule: str, title: str) -> int:
        if rule not in self._rules:
            self._rules.append(rule)
        level = min(self._rules.index(rule) + 1, 6)
        name = plain_inline(title) or title
        path = self._outline.enter(level, name)
        self._append(Block("heading", self._starts[at], self._starts[end] - 1, level, None, path))
        return end

    def _explicit(self, at: int) -> int:
        """A directive, a target or a comment, with what is indented below it."""
        end = self._indented(at)
        line = self._lines[at]
        match = _DIRECTIVE.match(line)
        if match:
            name = match[1].lower()
            if name in _CODE:
                return self._emit("code", at, end)
            if name in _TABLES:
                return self._emit("table", at, end)
            return self._emit("hidden" if name in _HIDDEN else "quote", at, end)
        if _TARGET.match(line) and "[" not in line[:6]:
            return self._emit("hidden", at, end)
        if _TARGET.match(line):
            return self._emit("paragraph", at, end)  # a footnote
        return self._emit("hidden", at, end) if _COMMENT.match(line) else self._paragraph(at)

    def _fields(self, at: int) -> int:
        end = at
        while end < len(self._lines) and self._lines[end].strip():
            if match := _FIELD.match(self._lines[end]):
                self.facts.setdefault(match[1].strip().lower(), (match[2] or "").strip())
            end += 1
        return self._emit("hidden", at, end)

    def _paragraph(self, at: int) -> int:
        end = at + 1
        while end < len(self._lines) and self._lines[end].strip():
            if self._heading(end) > end or self._lines[end].startswith(".. "):
                break
            end += 1
        self._emit("paragraph", at, end)
        if self._lines[end - 1].rstrip().endswith("::"):
            begin = end
            while begin < len(self._lines) and not self._lines[begin].strip():
                begin += 1
            if begin < len(self._lines) and self._lines[begin].startswith((" ", "\t")):
                return self._emit("code", begin, self._indented(begin))
        return end

    def _list_end(self, at: int) -> int:
        end, blank = at + 1, False
        while end < len(self._lines):
            line = self._lines[end]
            if not line.strip():
                blank = True
            elif line.startswith((" ", "\t")) or _ITEM.match(line):
                blank = False
            elif blank or self._heading(end) > end:
                break
            end += 1
        return end

    def _indented(self, at: int) -> int:
        """The line after what is indented at or below `at`."""
        end = at + 1
        for number in range(at + 1, len(self._lines)):
            line = self._lines[number]
            if line.strip() and not line.startswith((" ", "\t")):
                break
            if line.strip():
                end = number + 1
        return end

    def _until_blank(self, at: int) -> int:
        end = at + 1
        while end < len(self._lines) and self._lines[end].strip():
            end += 1
        return end

    def _simple_table(self, at: int) -> int:
        """A table between rules: it ends with the rule that an empty line follows."""
        for number in range(at + 1, len(self._lines)):
            if _SIMPLE.match(self._lines[number]):
                after = self._lines[number + 1 : number + 2]
                if not after or not after[0].strip():
                    return number + 1
        return self._until_blank(at)

    def _emit(self, kind: BlockKind, at: int, end: int) -> int:
        last = end
        while last > at + 1 and not self._lines[last - 1].strip():
            last -= 1
        start, stop = self._starts[at], self._starts[last] - 1
        self._append(Block(kind, start, stop, 0, None, self._outline.path))
        return end

    def _append(self, block: Block) -> None:
        if len(self._blocks) >= self._limits.blocks:
            raise too_many_blocks(self._limits)
        self._blocks.append(block)
